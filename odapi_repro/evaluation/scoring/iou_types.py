"""What overlaps are measured on: boxes or masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import Detections, GroundTruth, compressed_masks

IouType = Literal["bbox", "segm"]


def of_type(
    truth: GroundTruth, detections: Detections, iou_type: str
) -> tuple[GroundTruth, Detections]:
    """Gives both with what is compared, boxes or compressed masks; detections with nothing else.

    Raises:
        DataError: boxes are asked for and there are masks only, or the other way round; masks of
            the ground truth that are none.
        ValueError: `iou_type` is neither `bbox` nor `segm`.
    """
    if iou_type == "bbox":
        if detections.boxes is None:
            raise DataError(
                "the detections hold masks, and boxes are asked for",
                expected="'bbox' in every detection",
                mend="score masks, or write the boxes too",
                where=detections.where,
            )
        return replace(truth, masks=None), replace(detections, masks=None)
    if iou_type != "segm":
        raise ValueError(f"iou_type is {iou_type!r}, not 'bbox' or 'segm'")
    if detections.masks is None and detections.num:
        raise DataError(
            "the detections hold boxes, and masks are asked for",
            expected="'segmentation' in every detection",
            mend="score boxes, or write the masks too",
            where=detections.where,
        )
    masks = compressed_masks(truth)
    return replace(truth, masks=masks), replace(
        detections, boxes=None, masks=detections.masks or ()
    )
