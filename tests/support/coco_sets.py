"""COCO sets written by hand: image files beside a json, and their conversion."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.conversion.conversion_request import ConversionRequest, SplitRequest
from odapi_repro.datasets.conversion.convert import Conversion, convert
from odapi_repro.datasets.tfrecord import read_records

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}, {"id": 90, "name": "brush"}]


@dataclass
class CocoSet:
    """A json's content and the folder that its images lie in."""

    folder: Path
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def json_path(self) -> Path:
        return self.folder / "instances.json"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def output(self) -> Path:
        return self.folder / "records"

    def image(self, number: int, *, height: int = 40, width: int = 60, name: str = "") -> None:
        file_name = name or f"{number}.jpg"
        path = self.images / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        self.content.setdefault("images", []).append(
            {"id": number, "file_name": file_name, "height": height, "width": width}
        )

    def annotation(self, image: int, box: list[float], category: int = 1, **more: Any) -> int:
        found = self.content.setdefault("annotations", [])
        number = len(found) + 1
        found.append(
            {
                "id": number, "image_id": image, "category_id": category, "bbox": box,
                "area": box[2] * box[3], "iscrowd": 0, **more,
            }
        )  # fmt: skip
        return number

    def write(self) -> Path:
        self.content.setdefault("annotations", [])
        self.content.setdefault("categories", CATEGORIES)
        self.json_path.write_text(json.dumps(self.content))
        return self.json_path

    def request(self, **more: Any) -> ConversionRequest:
        split_fields = {"name", "shards", "keypoint_annotations", "subset", "images", "image_dir"}
        split = {key: more.pop(key) for key in list(more) if key in split_fields}
        made = SplitRequest(
            **{
                "name": "train", "annotations": self.json_path, "image_dir": self.images,
                "shards": 2, **split,
            }
        )  # fmt: skip
        return replace(ConversionRequest((made,), self.output), **more)

    def convert(self, **more: Any) -> Conversion:
        self.write()
        return convert(self.request(**more))

    def records(self, split: str = "train") -> dict[str, AnnotatedImage]:
        images = [
            AnnotatedImage.from_example(data)
            for path in sorted(self.output.glob(f"{split}-*.tfrecord"))
            for data in read_records(path)
        ]
        return {image.source_id: image for image in images}
