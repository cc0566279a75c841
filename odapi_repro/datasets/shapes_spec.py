"""What the embedded data set is made of: its size, classes and proportions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from odapi_repro.datasets.label_map import LabelMap

GENERATOR_VERSION = 3
"""Raise it whenever the same spec would give other files."""

SHAPES_LABEL_MAP = LabelMap(
    {1: "disc", 2: "square", 3: "triangle", 4: "star", 5: "ring", 6: "cross"}
)


@dataclass(frozen=True)
class ShapesSpec:
    """Settings of the generator; equal specs give equal files on the same library versions.

    Attributes:
        seed: of all randomness; image i of a split depends on (seed, split, i) alone.
        train_images: images of the training split.
        val_images: images of the evaluation split, disjoint from training by construction.
        train_shards: files of the training split; image i goes to file i modulo this.
        val_shards: files of the evaluation split.
        image_sizes: (height, width) in pixels, drawn uniformly.
        max_objects: most objects drawn in one image (a crowd region comes on top).
        size_shares: shares of small, medium and large objects when drawn (COCO's 32^2, 96^2).
        empty_share: share of images without any object.
        crowd_share: share of images with a crowd region.
        class_shares: relative frequency of the six classes, by id.
        jpeg_quality: 1 to 100.
    """

    seed: int = 0
    train_images: int = 800
    val_images: int = 160
    train_shards: int = 100
    val_shards: int = 10
    image_sizes: tuple[tuple[int, int], ...] = (
        (192, 256),
        (224, 256),
        (256, 256),
        (256, 224),
        (256, 192),
    )
    max_objects: int = 8
    size_shares: tuple[float, float, float] = (0.24, 0.46, 0.30)
    empty_share: float = 0.02
    crowd_share: float = 0.05
    class_shares: tuple[float, ...] = (0.21, 0.20, 0.18, 0.15, 0.14, 0.12)
    jpeg_quality: int = 90

    def digest(self) -> str:
        """Gives 12 hexadecimal digits that name the spec and the generator's version."""
        content = {"generator": GENERATOR_VERSION, **dataclasses.asdict(self)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
