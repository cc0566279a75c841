"""Where the parts that the rules compare lie, in each meta-architecture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from odapi_repro.pipeline import Pipeline, descend


@dataclass(frozen=True)
class Part:
    """One choice of a oneof: what was chosen, its message, and where it lies.

    Attributes:
        kind: name of the chosen field; empty when none is.
        message: the chosen message; None when none is.
        path: dotted path of the message that holds the oneof.
    """

    kind: str
    message: Any
    path: str

    @property
    def chosen_path(self) -> str:
        """Path of the chosen message, or of the message that should hold one."""
        return f"{self.path}.{self.kind}" if self.kind else self.path

    def at(self, field: str) -> str:
        """Path of a field of the chosen message."""
        return f"{self.chosen_path}.{field}"


def choice(message: Message, oneof: str, path: str) -> Part:
    """Gives what is chosen in a oneof of a message that lies at `path`."""
    kind = message.WhichOneof(oneof)
    return Part(str(kind or ""), getattr(message, kind) if kind else None, path)


def classification_loss(pipeline: Pipeline) -> Part:
    """Gives the loss of the classes; Faster R-CNN's second stage, where unset means softmax."""
    if pipeline.meta_architecture == "ssd":
        loss, path = "loss.classification_loss", "model.ssd.loss.classification_loss"
    elif pipeline.meta_architecture == "faster_rcnn":
        loss = "second_stage_classification_loss"
        path = f"model.faster_rcnn.{loss}"
    elif pipeline.meta_architecture == "center_net":
        loss = "object_center_params.classification_loss"
        path = f"model.center_net.{loss}"
    else:
        return Part("", None, "model")
    found = choice(descend(pipeline.model, loss), "classification_loss", path)
    if not found.kind and pipeline.meta_architecture == "faster_rcnn":
        # losses_builder.build_faster_rcnn_classification_loss
        return Part("weighted_softmax", found.message, path)
    return found


def localization_loss(pipeline: Pipeline) -> Part:
    """Gives the loss of the boxes; Faster R-CNN's is fixed and has no field."""
    if pipeline.meta_architecture == "ssd":
        loss, path = "loss.localization_loss", "model.ssd.loss.localization_loss"
    elif pipeline.meta_architecture == "center_net":
        loss = "object_detection_task.localization_loss"
        path = f"model.center_net.{loss}"
    else:
        return Part("", None, "model")
    return choice(descend(pipeline.model, loss), "localization_loss", path)


def box_predictor(pipeline: Pipeline) -> Part:
    """Gives SSD's box predictor, or that of Faster R-CNN's second stage."""
    if pipeline.meta_architecture == "ssd":
        name = "box_predictor"
    elif pipeline.meta_architecture == "faster_rcnn":
        name = "second_stage_box_predictor"
    else:
        return Part("", None, "model")
    path = f"model.{pipeline.meta_architecture}.{name}"
    return choice(descend(pipeline.model, name), "box_predictor_oneof", path)


def anchor_generator(pipeline: Pipeline) -> Part:
    """Gives SSD's anchors, or those of Faster R-CNN's first stage."""
    if pipeline.meta_architecture == "ssd":
        name = "anchor_generator"
    elif pipeline.meta_architecture == "faster_rcnn":
        name = "first_stage_anchor_generator"
    else:
        return Part("", None, "model")
    path = f"model.{pipeline.meta_architecture}.{name}"
    return choice(descend(pipeline.model, name), "anchor_generator_oneof", path)


def image_resizer(pipeline: Pipeline) -> Part:
    """Gives the resizer; experimental models have none."""
    if pipeline.meta_architecture not in ("ssd", "faster_rcnn", "center_net"):
        return Part("", None, "model")
    path = f"model.{pipeline.meta_architecture}.image_resizer"
    return choice(descend(pipeline.model, "image_resizer"), "image_resizer_oneof", path)


def ratio(value: float, reference: float) -> float:
    """Gives value / reference; NaN where it means nothing, so that no comparison holds."""
    if not reference or not math.isfinite(value) or not math.isfinite(reference):
        return math.nan
    return value / reference


def rounded(value: float) -> float:
    """Gives a float as it would be written: float32 holds 7 significant digits."""
    return float(f"{value:.7g}")


def is_smaller_part(value: float, reference: float, share: float = 0.95) -> bool:
    """Whether a value is below `share` of the reference's."""
    return ratio(value, reference) < share
