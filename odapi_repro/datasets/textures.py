"""Colours, textures and backgrounds of the embedded data set, from a numpy Generator alone."""

from __future__ import annotations

import colorsys
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

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
