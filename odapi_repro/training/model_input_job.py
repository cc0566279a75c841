"""What the child that draws model inputs is told, and the files in which it leaves them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odapi_repro.datasets.model_input import ModelInput
from odapi_repro.files import replacing, write_json


@dataclass(frozen=True)
class ModelInputJob:
    """Draws of the records of one file.

    Attributes:
        pipeline_path: a pipeline.config whose train_input_reader reads that file in order, with
            batch size 1.
        folder: where the inputs go, one file each.
        source_ids: of the records, in their order.
        boxes_in_records: objects in each of them.
        draws: passes over the file.
        seed: of the augmentation.
    """

    pipeline_path: str
    folder: str
    source_ids: tuple[str, ...]
    boxes_in_records: tuple[int, ...]
    draws: int
    seed: int


def write_input_job(job: ModelInputJob, path: Path) -> None:
    """Writes the job as JSON."""
    write_json(path, dataclasses.asdict(job))


def read_input_job(path: Path) -> ModelInputJob:
    """Reads a job that `write_input_job` wrote."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["source_ids"] = tuple(fields["source_ids"])
    fields["boxes_in_records"] = tuple(fields["boxes_in_records"])
    return ModelInputJob(**fields)


def write_input(one: ModelInput, path: Path) -> None:
    """Writes one input; masks take a bit a pixel."""
    arrays: dict[str, Any] = {
        "image": one.image,
        "true_size": np.array([one.true_height, one.true_width]),
        "boxes": one.boxes,
        "class_ids": one.class_ids,
        "boxes_in_record": np.array(one.boxes_in_record),
        "source_id": np.frombuffer(one.source_id.encode(), np.uint8),
    }
    if one.masks is not None:
        arrays["masks"] = np.packbits(one.masks, axis=-1)
    with replacing(path) as file:
        np.savez(file, **arrays)


def read_input(path: Path) -> ModelInput:
    """Reads an input that `write_input` wrote."""
    with np.load(path, allow_pickle=False) as held:
        image = held["image"]
        masks = None
        if "masks" in held:
            masks = np.unpackbits(held["masks"], axis=-1, count=image.shape[1]).astype(np.bool_)
        height, width = held["true_size"].tolist()
        return ModelInput(
            source_id=held["source_id"].tobytes().decode(),
            image=image,
            true_height=height,
            true_width=width,
            boxes=held["boxes"],
            class_ids=held["class_ids"],
            masks=masks,
            boxes_in_record=int(held["boxes_in_record"]),
        )
