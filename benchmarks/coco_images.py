"""A COCO-format set with image files, for timings: real-sized JPEGs, polygons, crowds as RLE.

Textured pictures of COCO's common sizes at a quality that gives about 150 kB each, as COCO's train
images have; about 7 objects an image, polygons with as many vertices as annotators click (a dozen
to a hundred, one object in eight of several parts), one object in a hundred a crowd.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from synthetic_coco import synthetic_coco

from odapi_repro.datasets.shapes import background, draw_clutter

__all__ = ["polygons_of", "write_coco_images"]

_JPEG_QUALITY = 95
_MOST_PICTURES = 2000  # further images are links to those of the same size: files of their own


def write_coco_images(folder: Path, num_images: int, seed: int = 0) -> tuple[Path, Path]:
    """Writes `instances.json` and a folder of JPEGs and gives both paths; kept when whole."""
    annotations, images = folder / "instances.json", folder / "images"
    if annotations.exists():
        return annotations, images
    images.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truth, _ = synthetic_coco(num_images, 1, seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    drawn: dict[tuple[int, int], list[Path]] = {}
    for number, image in enumerate(truth["images"]):
        path = images / image["file_name"]
        same = drawn.setdefault((image["height"], image["width"]), [])
        if number >= _MOST_PICTURES and same:
            path.hardlink_to(same[number % len(same)])
            continue
        same.append(path)
        picture = background(rng, image["height"], image["width"])
        draw_clutter(rng, picture)
        picture += rng.normal(0, 6, picture.shape).astype(np.float32)
        encoded = cv2.imencode(
            ".jpg",
            np.clip(picture, 0, 255).astype(np.uint8),
            [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
        )[1]
        path.write_bytes(encoded.tobytes())
    for annotation in truth["annotations"]:
        annotation["segmentation"], area = _outline(rng, annotation, *sizes[annotation["image_id"]])
        annotation["area"] = area
    annotations.write_text(json.dumps(truth))
    return annotations, images


def _outline(
    rng: np.random.Generator, annotation: dict[str, Any], height: int, width: int
) -> tuple[Any, float]:
    """Gives a segmentation within the annotation's box, and its area."""
    x, y, box_width, box_height = annotation["bbox"]
    if annotation["iscrowd"]:
        counts, area = _runs(rng, x, y, box_width, box_height, height, width)
        return {"counts": counts, "size": [height, width]}, float(area)
    return polygons_of(rng, x, y, box_width, box_height)


def polygons_of(
    rng: np.random.Generator, x: float, y: float, box_width: float, box_height: float
) -> tuple[list[list[float]], float]:
    """Gives COCO polygons within a box, and their area."""
    parts = int(rng.integers(2, 4)) if rng.random() < 0.12 else 1
    polygons, area = [], 0.0
    for part in range(parts):
        left, span = x + box_width * part / parts, box_width / parts
        vertices = int(np.clip(rng.lognormal(np.log(24.0), 0.6), 6, 150))
        angles = np.sort(rng.uniform(0, 2 * np.pi, vertices))
        radii = rng.uniform(0.6, 1.0, vertices)
        xs = left + span / 2 * (1 + radii * np.cos(angles))
        ys = y + box_height / 2 * (1 + radii * np.sin(angles))
        polygons.append(np.stack([xs, ys], axis=1).round(2).reshape(-1).tolist())
        area += 0.5 * abs(float(np.sum(xs * np.roll(ys, -1) - ys * np.roll(xs, -1))))
    return polygons, round(area, 4)


def _runs(
    rng: np.random.Generator, x: float, y: float, box_width: float, box_height: float,
    height: int, width: int,
) -> tuple[list[int], int]:  # fmt: skip
    """Gives an uncompressed RLE of ragged columns within the box, and its area."""
    left, right = int(x), max(int(x + box_width), int(x) + 1)
    top, bottom = int(y), max(int(y + box_height), int(y) + 1)
    counts, written, area = [], 0, 0
    for column in range(left, min(right, width)):
        first = min(top + int(rng.integers(0, max((bottom - top) // 3, 1))), height - 1)
        start, run = column * height + first, max(min(bottom, height) - first, 1)
        counts += [start - written, run]
        written = start + run
        area += run
    counts.append(height * width - written)
    return counts, area
