"""Images of shapes with boxes, masks and crowd regions: the scenes of the embedded data set.

A class is the outline of an object; colour, texture, size, rotation and aspect vary within it.
Objects cover each other; boxes, areas and masks describe what is visible, as COCO's do.
"""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP, ShapesSpec

# --- Colours, textures and backgrounds of the embedded data set, from a numpy Generator alone ---


Image = NDArray[np.float32]
Colour = NDArray[np.float32]

_CLASS_HUES = (0.0, 0.5, 0.17, 0.67, 0.33, 0.83)


def background(rng: np.random.Generator, height: int, width: int) -> Image:
    """Gives a textured background, float32 [height, width, 3], 0 to 255.

    A blend of two muted colours by noise, a gradient or stripes, with fine grain on top.
    """
    first, second = _muted_colour(rng), _muted_colour(rng)
    kind = rng.choice(["smooth", "gradient", "stripes", "octaves"], p=[0.3, 0.25, 0.15, 0.3])
    if kind == "smooth":
        blend = value_noise(rng, height, width, cells=int(rng.integers(2, 6)))
    elif kind == "gradient":
        blend = _ramp(rng, height, width)
    elif kind == "stripes":
        blend = _stripes(rng, height, width, period=float(rng.uniform(10, 48)))
        second = first + (second - first) * np.float32(0.5)
    else:
        blend = np.zeros((height, width), np.float32)
        for octave in range(4):
            blend += value_noise(rng, height, width, cells=4 * 2**octave) / 2**octave
        blend /= 1.875
    image = first + blend[..., None] * (second - first)
    if rng.random() < 0.5:
        spread = np.float32(rng.uniform(10, 40))
        image += (value_noise(rng, height, width, cells=24)[..., None] - 0.5) * spread
    image += np.float32(rng.uniform(1, 6)) * rng.standard_normal((height, width, 1), np.float32)
    return np.clip(image, 0, 255, out=image)


def draw_clutter(rng: np.random.Generator, image: Image) -> None:
    """Draws strokes and ragged blobs, which belong to no class, into `image`."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(0, 7))):
        colour = tuple(float(v) for v in _muted_colour(rng))
        if rng.random() < 0.7:
            points = np.cumsum(
                rng.normal(0, rng.uniform(8, 28), (int(rng.integers(3, 7)), 2)), axis=0
            ) + rng.uniform(0, 1, 2) * (width, height)
            cv2.polylines(
                image, [_curve(points)], False, colour, int(rng.integers(1, 5)), cv2.LINE_AA
            )
        else:
            # Radii that alternate between near and far look like a splash, never like a disc.
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(9, 16))))
            radii = rng.uniform(0.15, 1, len(angles)) * rng.uniform(8, 36)
            centre = rng.uniform(0, 1, 2) * (width, height)
            points = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
            closed = _curve(np.concatenate([points, points[:1]]))
            cv2.fillPoly(image, [closed], colour, cv2.LINE_AA)


def object_colour(rng: np.random.Generator, class_id: int, behind: Colour) -> Colour:
    """Gives a colour for an object, float32 [3], that stands out against the colour `behind`.

    Most objects lean towards the hue of their class, one in seven has any hue: colour
    helps a short training along and does not decide the class.
    """
    colour = np.zeros(3, np.float32)
    for _ in range(8):
        hue = rng.normal(_CLASS_HUES[class_id - 1], 0.05) if rng.random() < 0.85 else rng.random()
        colour = _rgb(hue % 1.0, rng.uniform(0.45, 1.0), rng.uniform(0.35, 1.0))
        if float(np.abs(colour - behind).sum()) > 150:
            break
    return colour


def object_fill(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Image:
    """Gives an object's surface, float32 [height, width, 3]: `colour`, textured and shaded."""
    other = _rgb(rng.random(), rng.uniform(0.2, 0.9), rng.uniform(0.3, 1.0))
    kind = rng.choice(["plain", "stripes", "noise", "gradient"], p=[0.3, 0.2, 0.25, 0.25])
    if kind == "stripes":
        period = max(5.0, float(rng.uniform(0.12, 0.35)) * max(height, width))
        strength = np.float32(rng.uniform(0.2, 0.55)) * _stripes(rng, height, width, period=period)
    elif kind == "noise":
        strength = np.float32(rng.uniform(0.3, 0.6)) * value_noise(rng, height, width, cells=8)
    elif kind == "gradient":
        strength = np.float32(rng.uniform(0.3, 0.6)) * _ramp(rng, height, width)
    else:
        strength = np.zeros((height, width), np.float32)
    surface = colour + strength[..., None] * (other - colour)
    light = np.float32(rng.uniform(0.05, 0.35)) * (_ramp(rng, height, width) - np.float32(0.5))
    surface *= (1 + light)[..., None]
    surface += 3 * rng.standard_normal((height, width, 1), np.float32)
    return np.clip(surface, 0, 255, out=surface)


def value_noise(rng: np.random.Generator, height: int, width: int, *, cells: int) -> Image:
    """Gives smooth noise, float32 [height, width], 0 to 1, with about `cells` bumps across."""
    grid = rng.random((cells + 1, cells + 1), dtype=np.float32)
    noise = cast(Image, cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))
    np.clip(noise, 0, 1, out=noise)
    return noise


def _stripes(rng: np.random.Generator, height: int, width: int, *, period: float) -> Image:
    along = _direction(rng, height, width)
    wave: Image = np.sin(
        along * np.float32(2 * np.pi / period) + np.float32(rng.uniform(0, 2 * np.pi))
    )
    wave *= np.float32(rng.uniform(0.5, 3))
    np.clip(wave, -0.5, 0.5, out=wave)
    wave += np.float32(0.5)
    return wave


def _ramp(rng: np.random.Generator, height: int, width: int) -> Image:
    along = _direction(rng, height, width)
    low, high = float(along.min()), float(along.max())
    return (along - np.float32(low)) / np.float32(max(high - low, 1e-6))


def _direction(rng: np.random.Generator, height: int, width: int) -> Image:
    angle = rng.uniform(0, 2 * np.pi)
    rows = np.arange(height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    columns = np.arange(width, dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    return rows + columns


def _curve(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Gives a smooth curve through `points` [n, 2] as whole pixels [m, 2]."""
    for _ in range(2):  # Chaikin's corner cutting
        near, far = points[:-1], points[1:]
        cut = np.stack([0.75 * near + 0.25 * far, 0.25 * near + 0.75 * far], axis=1)
        points = np.concatenate([points[:1], cut.reshape(-1, 2), points[-1:]])
    return np.round(points).astype(np.int32)


def _muted_colour(rng: np.random.Generator) -> Colour:
    return _rgb(rng.random(), rng.uniform(0.0, 0.4), rng.uniform(0.2, 0.95))


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32) * np.float32(255)


# --- Images of shapes with boxes, masks and crowd regions: the scenes of the embedded data set ---


MIN_VISIBLE_SHARE = 0.25
MIN_VISIBLE_PIXELS = 60
_SPLIT_CODES = {"train": 0, "val": 1}
_SPLIT_OFFSETS = {"train": 1, "val": 500_001}
_SIDE_RANGES = ((16.0, 31.0), (34.0, 94.0), (100.0, 140.0))  # sqrt of the area, COCO's sizes
_FIXED_POINT_BITS = 4

Points = NDArray[np.float64]
Mask = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn image and what is visible in it, backmost object first.

    Attributes:
        image_id: COCO's integer id; unique over both splits.
        image: uint8 [height, width, 3], RGB.
        masks: one bool [height, width] an annotation, disjoint.
        class_ids: one id an annotation.
        is_crowd: one flag an annotation.
    """

    image_id: int
    image: NDArray[np.uint8]
    masks: tuple[NDArray[np.bool_], ...]
    class_ids: tuple[int, ...]
    is_crowd: tuple[bool, ...]

    def boxes(self) -> NDArray[np.int64]:
        """Gives the tight boxes of the masks in whole pixels, [N, 4], ymin xmin ymax xmax."""
        found = []
        for mask in self.masks:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            found.append((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
        return np.array(found, np.int64).reshape(-1, 4)

    def annotated(self, *, split: str, jpeg_quality: int) -> AnnotatedImage:
        """Gives the scene as an annotated image with a JPEG and PNG masks."""
        height, width = self.image.shape[:2]
        encoded = cv2.imencode(
            ".jpg", self.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
        )[1].tobytes()
        scale = np.array([height, width, height, width], np.float64)
        return AnnotatedImage(
            source_id=str(self.image_id),
            filename=f"{split}_{self.image_id:06d}.jpg",
            height=height,
            width=width,
            image_format="jpeg",
            encoded_image=encoded,
            boxes=(self.boxes() / scale).astype(np.float32),
            class_ids=np.array(self.class_ids, np.int64),
            class_names=tuple(SHAPES_LABEL_MAP.items[i] for i in self.class_ids),
            areas=np.array([mask.sum() for mask in self.masks], np.float32),
            is_crowd=np.array(self.is_crowd, np.bool_),
            masks_png=tuple(
                cv2.imencode(".png", mask.astype(np.uint8))[1].tobytes() for mask in self.masks
            ),
        )


def draw_scene(spec: ShapesSpec, split: str, index: int) -> Scene:
    """Gives image `index` of `split` (`train` or `val`); it depends on (seed, split, index)."""
    rng = np.random.default_rng([spec.seed, _SPLIT_CODES[split], index])
    height, width = spec.image_sizes[int(rng.integers(len(spec.image_sizes)))]
    image = background(rng, height, width)
    draw_clutter(rng, image)
    owner = np.zeros((height, width), np.int32)  # 0: nothing, k: the k-th drawn object
    class_ids, crowd, full_areas = [], [], []
    if rng.random() >= spec.empty_share:
        for plan in _plans(rng, spec):
            polygons = _placed(rng, plan, owner)
            alpha = _coverage(polygons, height, width)
            covered = alpha >= 128
            if not covered.any():
                continue
            for contours in polygons:
                _paint(rng, image, _coverage([contours], height, width), plan.class_id)
            class_ids.append(plan.class_id)
            crowd.append(plan.is_crowd)
            full_areas.append(sum(_area(contours) for contours in polygons))
            owner[covered] = len(class_ids)
    masks = [owner == i + 1 for i in range(len(class_ids))]
    kept = [
        i
        for i, mask in enumerate(masks)
        if mask.sum() >= max(MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE * full_areas[i])
    ]
    blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 0.7)))
    return Scene(
        image_id=_SPLIT_OFFSETS[split] + index,
        image=np.clip(np.round(blurred), 0, 255).astype(np.uint8),
        masks=tuple(masks[i] for i in kept),
        class_ids=tuple(class_ids[i] for i in kept),
        is_crowd=tuple(crowd[i] for i in kept),
    )


@functools.cache
def outline(class_id: int) -> tuple[Points, ...]:
    """Gives the contours of a class, [n, 2] each, centred, with an area of one pixel."""
    name = SHAPES_LABEL_MAP.items[class_id]
    circle = _polygon(36)
    contours: dict[str, list[Points]] = {
        "disc": [circle],
        "square": [_polygon(4)],
        "triangle": [_polygon(3)],
        "star": [_polygon(10) * np.where(np.arange(10) % 2, 0.45, 1.0)[:, None]],
        "ring": [circle, circle[::-1] * 0.55],
        "cross": [_cross(0.34)],
    }
    side = np.sqrt(_area(contours[name]))
    return tuple(points / side for points in contours[name])


@dataclass(frozen=True)
class _Plan:
    class_id: int
    side: float  # square root of the area in pixels
    is_crowd: bool


def _plans(rng: np.random.Generator, spec: ShapesSpec) -> list[_Plan]:
    """Gives the objects of one image from back to front: roughly by size, so that few vanish."""
    shares = np.array(spec.class_shares) / sum(spec.class_shares)
    counts = np.arange(1, spec.max_objects + 1)
    weights = np.exp(-0.5 * ((counts - 3.0) / 2.0) ** 2)
    plans = []
    for _ in range(int(rng.choice(counts, p=weights / weights.sum()))):
        low, high = _SIDE_RANGES[int(rng.choice(3, p=np.array(spec.size_shares)))]
        side = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        plans.append(_Plan(int(rng.choice(len(shares), p=shares)) + 1, side, False))
    plans.sort(key=lambda plan: -plan.side * float(rng.uniform(0.6, 1.6)))
    if rng.random() < spec.crowd_share:
        class_id = int(rng.choice(len(shares), p=shares)) + 1
        plans.insert(len(plans) // 2, _Plan(class_id, float(rng.uniform(55, 90)), True))
    return plans


def _placed(rng: np.random.Generator, plan: _Plan, owner: NDArray[np.int32]) -> list[list[Points]]:
    """Gives the contours of the plan's object, or of each member of its crowd, in pixels."""
    height, width = owner.shape
    size = np.array([width, height], np.float64)
    reach = min(plan.side * 0.42, 0.42 * min(height, width))
    centres = rng.uniform(reach, size - reach, (5, 2))
    if rng.random() < 0.8:  # mostly the emptiest of five places, sometimes any
        free = [_occupied(owner, centre, plan.side) for centre in centres]
        centres = centres[int(np.argmin(free)) :]
    if not plan.is_crowd:
        return [_transformed(rng, plan.class_id, plan.side, centres[0])]
    member = float(rng.uniform(9, 13))
    columns, rows = int(rng.integers(4, 7)), int(rng.integers(3, 6))
    spacing = member * 1.05
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
    offsets = (grid - grid.mean(0) + 0.5 * (grid[:, 1:] % 2) * (1, 0)) * spacing
    offsets += rng.normal(0, member * 0.12, offsets.shape)
    return [_transformed(rng, plan.class_id, member, centres[0] + o) for o in offsets]


def _transformed(
    rng: np.random.Generator, class_id: int, side: float, centre: Points
) -> list[Points]:
    aspect = float(np.exp(rng.normal(0, 0.12)))
    angle = float(rng.uniform(0, 2 * np.pi))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = (turn * side) @ np.diag([np.sqrt(aspect), 1 / np.sqrt(aspect)])
    return [points @ matrix.T + centre for points in outline(class_id)]


def _coverage(objects: list[list[Points]], height: int, width: int) -> Mask:
    """Gives how much of each pixel the objects cover, uint8 [height, width], anti-aliased."""
    alpha = np.zeros((height, width), np.uint8)
    factor = 2**_FIXED_POINT_BITS
    for contours in objects:
        fixed = [np.round(points * factor).astype(np.int32) for points in contours]
        if len(objects) == 1:
            cv2.fillPoly(alpha, fixed, 255, cv2.LINE_AA, _FIXED_POINT_BITS)
        else:  # the members of a crowd must not cancel each other's holes
            member = np.zeros_like(alpha)
            cv2.fillPoly(member, fixed, 255, cv2.LINE_AA, _FIXED_POINT_BITS)
            np.maximum(alpha, member, out=alpha)
    return alpha


def _paint(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    alpha: Mask,
    class_id: int,
) -> None:
    """Paints an object into `image` where `alpha` covers it, sometimes with an edge line."""
    covered = alpha >= 128
    if not covered.any():
        return
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    part, inside, alpha = image[window], covered[window], alpha[window]
    colour = object_colour(rng, class_id, part[inside].mean(axis=0))
    fill = object_fill(rng, alpha.shape[0], alpha.shape[1], colour)
    if rng.random() < 0.35:
        inner = cast(Mask, cv2.erode(alpha, np.ones((3, 3), np.uint8)))
        edge = (inner < 128) & inside
        fill[edge] = fill[edge] * np.float32(rng.uniform(0.2, 0.6))
    part += alpha[..., None].astype(np.float32) / np.float32(255) * (fill - part)


def _occupied(owner: NDArray[np.int32], centre: Points, side: float) -> float:
    x, y = np.round(centre).astype(int)
    half = max(int(side / 2), 1)
    return float((owner[max(y - half, 0) : y + half, max(x - half, 0) : x + half] > 0).mean())


def _polygon(corners: int) -> Points:
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _cross(half_width: float) -> Points:
    arm = np.array([[half_width, half_width], [half_width, 1.0], [-half_width, 1.0]])
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    turns = [np.linalg.matrix_power(quarter, k) for k in range(4)]
    return np.concatenate([arm @ turn.T for turn in turns])


def _area(contours: Sequence[Points]) -> float:
    """Gives the area within the contours; one that runs the other way is a hole."""
    total = 0.0
    for x, y in (points.T for points in contours):
        total += float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    return abs(total)
