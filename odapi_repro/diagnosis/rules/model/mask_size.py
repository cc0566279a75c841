"""The grid on which Mask R-CNN predicts masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline

_PATH = "model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor"
_SIDES = ("mask_height", "mask_width")


class MaskSize(Rule):
    """Masks are predicted on another grid than the reference's.

    Each object's mask has this many cells, whatever its size in the image; it is enlarged to the
    box. On a coarse grid thin parts and the edges of large objects are lost. Boxes do not change.

    Anti-pattern

        mask_rcnn_box_predictor { predict_instance_masks: true }

    Both sides are then 15, the proto's default, and not the reference's 33.

    Best practice

        mask_rcnn_box_predictor { predict_instance_masks: true mask_height: 33 mask_width: 33 }

    Source

    predictors/heads/keras_mask_head.MaskRCNNMaskHead (features are resized to the grid),
    faster_rcnn_meta_arch.loss (true masks are cropped to it). results/mask_rcnn-mask_recall-proxy:
    one trained proxy lost 5.1 mask AP from 15 to 7 cells and 0.3 from 15 to 30.
    """

    code: ClassVar[str] = "MOD024"
    name: ClassVar[str] = "model.mask_size"
    causes: ClassVar[tuple[str, ...]] = ("mask_size_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the sides of the grid."""
        ours = _sides(subject.pipeline)
        if ours is None:
            return
        theirs = _sides(subject.reference_pipeline) or (33, 33)
        if min(ours) > 0 and (not _sides(subject.reference_pipeline) or ours == theirs):
            return
        coarse = min(ours) < 0.6 * min(theirs)
        yield self.finding(
            "mask_size_changed",
            Severity.FATAL if min(ours) <= 0 else Severity.WARNING if coarse else Severity.INFO,
            fields=[f"{_PATH}.{side}" for side in _SIDES],
            found=f"masks are predicted on {ours[0]}x{ours[1]} cells",
            expected=f"{theirs[0]}x{theirs[1]}; left out, both sides are 15",
            why="Features cannot be resized to no cells: the OD API stops."
            if min(ours) <= 0
            else "Masks lose their edges and thin parts; boxes are as before."
            if coarse
            else "Mask AP changes little at such sizes, and box AP not at all.",
            loss_ap=60.0 if min(ours) <= 0 else 2.0 if coarse else 0.2,  # judged
            fix=[
                FieldFix(f"{_PATH}.{side}", value)
                for side, value in zip(_SIDES, theirs, strict=True)
            ],
        )


def _sides(pipeline: Pipeline) -> tuple[int, int] | None:
    """Height and width of the grid; None where no masks are predicted."""
    if not pipeline.predicts_masks:
        return None
    predictor = pipeline.proto.model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor
    if not predictor.predict_instance_masks:
        return None
    return int(predictor.mask_height), int(predictor.mask_width)
