"""Small COCO sets, written by hand or made by a seed, for the tests of the breakdown."""

from __future__ import annotations

from typing import Any

import numpy as np

from odapi_repro.evaluation.coco_data import (
    Detections,
    GroundTruth,
    detections_of,
    ground_truth_of,
)

Json = dict[str, Any]
Box = list[float]
SIDE = 400


def data_set(
    objects: list[tuple[int, int, Box]],
    *,
    crowds: list[tuple[int, int, Box]] | None = None,
    images: int = 1,
    classes: int = 2,
) -> Json:
    """Objects and crowd regions as (image from 1, class from 1, x y width height)."""
    every = [(*one, 0) for one in objects] + [(*one, 1) for one in crowds or ()]
    return {
        "images": [
            {"id": i + 1, "file_name": f"{i + 1}.png", "height": SIDE, "width": SIDE}
            for i in range(images)
        ],
        "categories": [{"id": k + 1, "name": "abcdefgh"[k]} for k in range(classes)],
        "annotations": [
            {
                "id": number + 1,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": crowd,
            }
            for number, (image, category, box, crowd) in enumerate(every)
        ],
    }


def results(found: list[tuple[int, int, Box, float]]) -> list[Json]:
    """Detections as (image from 1, class from 1, x y width height, score)."""
    return [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in found
    ]


def columns(data: Json, found: list[Json]) -> tuple[GroundTruth, Detections]:
    truth = ground_truth_of(data)
    return truth, detections_of(found, truth)


def random_set(seed: int, *, crowds: float = 0.0) -> tuple[Json, list[Json]]:
    """Thirty images of three classes: near hits, wrong classes, duplicates, false alarms."""
    rng = np.random.default_rng(seed)
    objects, regions, found = [], [], []
    for image in range(1, 31):
        for _ in range(rng.integers(0, 6)):
            box = [*rng.uniform(0, 220, 2).tolist(), *rng.uniform(10, 150, 2).tolist()]
            category = int(rng.integers(1, 4))
            (regions if rng.random() < crowds else objects).append((image, category, box))
            for _ in range(rng.integers(0, 5)):
                moved = np.maximum(np.array(box) + rng.normal(0, 10, 4), 1.0).tolist()
                other = int(rng.integers(1, 4))
                found.append(
                    (image, category if rng.random() < 0.6 else other, moved, float(rng.random()))
                )
        for _ in range(rng.integers(0, 3)):
            box = [*rng.uniform(0, 220, 2).tolist(), *rng.uniform(10, 150, 2).tolist()]
            found.append((image, int(rng.integers(1, 4)), box, float(rng.random())))
    return data_set(objects, crowds=regions, images=30, classes=3), results(found)


NAMES = ("disc", "square", "triangle", "ring", "star", "cross")
MIXED_SIZES = ((640, 480), (480, 640), (500, 375))  # width, height


def scene(
    seed: int = 0,
    *,
    images: int = 8,
    sizes: tuple[tuple[int, int], ...] = ((800, 600),),
    names: tuple[str, ...] = NAMES,
) -> tuple[Json, list[Json]]:
    """Three objects an image, nearly all of them detected, and false alarms of low score."""
    rng = np.random.default_rng(seed)
    rows, objects, found = [], [], []
    for image in range(1, images + 1):
        width, height = sizes[image % len(sizes)]
        rows.append({"id": image, "file_name": f"{image}", "width": width, "height": height})

        def box(share: float, size: tuple[int, int] = (width, height)) -> Box:
            sides = rng.uniform(40, share * np.array(size))
            return [*rng.uniform(0, size - sides).tolist(), *sides.tolist()]

        for _ in range(3):
            place, category = box(1 / 3), int(rng.integers(len(names))) + 1
            objects.append((image, category, place))
            if rng.random() < 0.92:
                off = rng.normal(0, 0.03, 4) * np.tile(place[2:], 2)
                moved = np.maximum(np.array(place) + off, 0).tolist()
                found.append((image, category, moved, float(rng.uniform(0.3, 1))))
        for _ in range(4):
            category = int(rng.integers(len(names))) + 1
            found.append((image, category, box(1 / 2), float(rng.uniform(0, 0.3))))
    content = data_set(objects, images=images)
    content["images"] = rows
    content["categories"] = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
    return content, results(found)
