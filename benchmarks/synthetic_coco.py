"""A COCO-like data set and detections without images, for timings: made in seconds, from a seed.

80 classes of very different frequency, about 7 objects an image (some images have none), one in a
hundred a crowd, two in five small and one in four large; detections around the objects, near and
far, of the right class and of others, and around nothing. Scores are rounded to four digits, so
that many are equal, as those of real detectors in half precision are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["synthetic_coco"]

# COCO numbers its 80 classes from 1 to 90 and leaves these out.
_UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
CATEGORY_IDS = np.array([i for i in range(1, 91) if i not in _UNUSED_IDS])
OBJECTS_PER_IMAGE = 7.0
_SIZES = np.array([[640, 480], [480, 640], [640, 427], [500, 375], [612, 612]])


def synthetic_coco(
    num_images: int, detections_per_image: int, seed: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Gives an instances data set and results for it, as `json.load` would give them.

    Args:
        num_images: images, with ids that are not in order.
        detections_per_image: so many on every image.
        seed: the same one gives the same set.
    """
    rng = np.random.default_rng(seed)
    ids = rng.choice(10 * num_images, num_images, replace=False) + 1
    sizes = _SIZES[rng.integers(len(_SIZES), size=num_images)]
    shares = 1.0 / np.arange(1, 81)
    shares = rng.permutation(shares / shares.sum())

    # Negative binomial: mean 7, and a variance as wide as in COCO.
    counts = rng.negative_binomial(1.2, 1.2 / (1.2 + OBJECTS_PER_IMAGE), num_images)
    owners = np.repeat(np.arange(num_images), counts)
    boxes = _random_boxes(rng, sizes[owners])
    classes = rng.choice(80, len(owners), p=shares)
    crowds = rng.random(len(owners)) < 0.01
    areas = boxes[:, 2] * boxes[:, 3] * rng.uniform(0.4, 0.9, len(owners))

    images = np.repeat(np.arange(num_images), detections_per_image)
    found = _random_boxes(rng, sizes[images])
    labels = rng.choice(80, len(images), p=shares)
    scores = rng.beta(1.0, 12.0, len(images))
    # Where there are objects, three detections in five are about one of them.
    about = (counts[images] > 0) & (rng.random(len(images)) < 0.6)
    first = np.concatenate(([0], np.cumsum(counts)))
    chosen = first[images[about]] + rng.integers(0, counts[images[about]])
    spread = rng.choice([0.03, 0.1, 0.3], len(chosen), p=[0.3, 0.3, 0.4])
    object_boxes = boxes[chosen]
    moved = rng.normal(0.0, spread[:, None], (len(chosen), 4)) * object_boxes[:, [2, 3, 2, 3]]
    found[about] = object_boxes + moved
    found[:, 2:] = np.maximum(found[:, 2:], 0.0)
    right = rng.random(len(chosen)) < 0.8
    labels[about] = np.where(right, classes[chosen], labels[about])
    scores[about] = rng.beta(1.0 + 0.15 / spread, 3.0)

    truth = {
        "images": [
            {"id": id_, "file_name": f"{id_:012d}.jpg", "width": width, "height": height}
            for id_, (width, height) in zip(ids.tolist(), sizes.tolist(), strict=True)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": area,
                "iscrowd": crowd,
            }
            for number, (image, category, box, area, crowd) in enumerate(
                zip(
                    ids[owners].tolist(),
                    CATEGORY_IDS[classes].tolist(),
                    boxes.round(2).tolist(),
                    areas.round(2).tolist(),
                    crowds.astype(int).tolist(),
                    strict=True,
                ),
                start=1,
            )
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in CATEGORY_IDS.tolist()],
    }
    results = [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in zip(
            ids[images].tolist(),
            CATEGORY_IDS[labels].tolist(),
            found.round(2).tolist(),
            scores.round(4).tolist(),
            strict=True,
        )
    ]
    return truth, results


def _random_boxes(rng: np.random.Generator, sizes: np.ndarray) -> np.ndarray:
    """Gives x y width height, [N, 4], within images of the given width and height, [N, 2]."""
    side = rng.lognormal(np.log(42.0), 1.1, len(sizes))
    shape = rng.lognormal(0.0, 0.5, len(sizes))
    spans = np.minimum(np.stack([side * shape, side / shape], axis=1), sizes)
    return np.concatenate([rng.random((len(sizes), 2)) * (sizes - spans), spans], axis=1)
