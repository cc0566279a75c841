"""The stages at which a two-stage detector can lose an object, and what of the model sets each.

One stage follows the other as the tensors do in the OD API's faster_rcnn_meta_arch; where one step
of it has several settings, it is cut so that every stage has one owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from odapi_repro.errors import UserError
from odapi_repro.evaluation.inference.stage_tensors import has_stages
from odapi_repro.factors import FACTORS, POST_HOC_FACTORS
from odapi_repro.pipeline import Pipeline, descend, set_field


@dataclass(frozen=True)
class ChainStage:
    """One stage of the chain.

    Attributes:
        name: of the stage: what an object must have got to pass it.
        part: of the detector that it belongs to.
        lost: why an object is lost here, as a clause.
        settings: what changes it on a trained checkpoint, the nearest first.
        training: what changes it by a training.
        owned_by_training: whether the first of `training` owns the stage, not of `settings`.
    """

    name: str
    part: str
    lost: str
    settings: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    owned_by_training: bool = False

    @property
    def owner(self) -> str:
        """What sets the stage: a factor of `run --ablate`, or a part of the config to be edited."""
        return (self.training if self.owned_by_training else self.settings)[0]

    @property
    def owner_is_factor(self) -> bool:
        """Whether `run --ablate` has a factor of the owner's name."""
        return self.owner in FACTORS or self.owner in POST_HOC_FACTORS


BOX_STAGES: Final = (
    ChainStage(
        "anchor",
        "first stage",
        "no anchor's decoded box overlaps it enough",
        training=("anchors", "image_size", "schedule_length"),
        owned_by_training=True,
    ),
    ChainStage(
        "rpn_nms",
        "first stage",
        "its boxes fell to the NMS of the first stage",
        settings=("rpn_nms_iou",),
    ),
    ChainStage(
        "proposal",
        "first stage",
        "its boxes came after the last proposal",
        settings=("proposals", "rpn_nms_iou"),
        training=("loss_weights", "schedule_length"),
    ),
    ChainStage(
        "refined_box",
        "second stage",
        "it has a proposal, but no refined box of its class overlaps it enough",
        settings=("crop_size",),
        training=("loss_weights", "rois_per_image", "image_size", "schedule_length"),
        owned_by_training=True,
    ),
    ChainStage(
        "score",
        "post-processing",
        "none of the refined boxes on it is above the score threshold, for whatever class",
        settings=("score_threshold",),
        training=("schedule_length",),
    ),
    ChainStage(
        "class",
        "post-processing",
        "boxes on it are above the score threshold, for other classes only",
        settings=("score_threshold",),
        training=("loss_weights", "rois_per_image", "schedule_length"),
        owned_by_training=True,
    ),
    ChainStage(
        "nms",
        "post-processing",
        "its boxes fell to the final NMS: a higher score of its class lay over them",
        settings=("nms_iou", "soft_nms"),
    ),
    ChainStage(
        "detection",
        "post-processing",
        "its boxes came after the last detection kept",
        settings=("detections_per_image", "detections_per_class"),
    ),
    ChainStage(
        "own_detection",
        "post-processing",
        "its detection was counted for a neighbour",
        settings=("nms_iou", "soft_nms"),
    ),
)
"""Of boxes; the last one is passed exactly by what COCO's matching of boxes finds."""

MASK_STAGES: Final = (
    ChainStage(
        "mask_grid",
        "mask",
        "even its true mask, at the head's resolution, overlaps it too little",
        settings=("mask_size",),
    ),
    ChainStage(
        "mask_box",
        "mask",
        "even its true mask, in the box that was found, overlaps it too little",
        settings=("mask_size",),
        training=("loss_weights", "image_size", "schedule_length"),
        owned_by_training=True,
    ),
    ChainStage(
        "mask",
        "mask",
        "the box is found; what the mask head drew in it overlaps too little",
        settings=("mask_size", "crop_size"),
        training=("loss_weights", "schedule_length", "rois_per_image"),
        owned_by_training=True,
    ),
)
"""After those of boxes; the last one is passed exactly by what COCO's matching of masks finds."""


@dataclass(frozen=True)
class ChainSettings:
    """What the chain must know of a pipeline.

    Attributes:
        max_proposals: `first_stage_max_proposals`.
        score_threshold, nms_iou, soft_nms_sigma, class_agnostic_nms, max_classes_per_detection:
            of the second stage's `batch_non_max_suppression`.
        mask_size: height and width of the mask head's grid; None where no masks are predicted.
    """

    max_proposals: int
    score_threshold: float
    nms_iou: float
    soft_nms_sigma: float = 0.0
    class_agnostic_nms: bool = False
    max_classes_per_detection: int = 1
    mask_size: tuple[int, int] | None = None

    @property
    def stages(self) -> tuple[ChainStage, ...]:
        """The stages in order."""
        return BOX_STAGES + (MASK_STAGES if self.mask_size else ())


def chain_settings(pipeline: Pipeline, fields: Mapping[str, Any] | None = None) -> ChainSettings:
    """Gives the settings of a pipeline.

    Args:
        pipeline: that was evaluated.
        fields: dotted field -> value: what the pass and the variant set in it.

    Raises:
        UserError: it is no Faster or Mask R-CNN, or has one stage only.
    """
    if not has_stages(pipeline):
        raise UserError(
            f"{pipeline.path} has no chain of recall: it is no two-stage detector",
            expected="model.faster_rcnn with number_of_stages 2 or 3",
        )

    def edit(proto: Any) -> None:
        for path, value in (fields or {}).items():
            set_field(proto, path, value)

    edited = pipeline.edited(edit)
    model: Any = edited.model
    nms = model.second_stage_post_processing.batch_non_max_suppression
    head = descend(model, "second_stage_box_predictor.mask_rcnn_box_predictor")
    return ChainSettings(
        max_proposals=int(model.first_stage_max_proposals),
        score_threshold=float(nms.score_threshold),
        nms_iou=float(nms.iou_threshold),
        soft_nms_sigma=float(nms.soft_nms_sigma),
        class_agnostic_nms=bool(nms.use_class_agnostic_nms),
        max_classes_per_detection=int(nms.max_classes_per_detection),
        mask_size=(int(head.mask_height), int(head.mask_width)) if edited.predicts_masks else None,
    )
