"""The non-maximum suppression that makes the detections of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from odapi_repro.pipeline import Pipeline, descend

_WHERE = {"ssd": "post_processing", "faster_rcnn": "second_stage_post_processing"}


@dataclass(frozen=True)
class FinalNms:
    """BatchNonMaxSuppression of the last stage, and where it lies.

    Attributes:
        message: the proto; defaults where the config sets nothing.
        path: dotted path.
    """

    message: Any
    path: str

    def at(self, field: str) -> str:
        """Path of one of its fields."""
        return f"{self.path}.{field}"


def final_nms(pipeline: Pipeline) -> FinalNms | None:
    """Gives SSD's or Faster R-CNN's; None for CenterNet, which needs none, and other models."""
    where = _WHERE.get(pipeline.meta_architecture)
    if where is None:
        return None
    path = f"{where}.batch_non_max_suppression"
    return FinalNms(descend(pipeline.model, path), f"model.{pipeline.meta_architecture}.{path}")
