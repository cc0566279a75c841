"""The 12 COCO metrics, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["METRIC_NAMES", "coco_metrics"]

# In the order of COCOeval.stats.
METRIC_NAMES = (
    "AP",
    "AP50",
    "AP75",
    "APs",
    "APm",
    "APl",
    "AR1",
    "AR10",
    "AR100",
    "ARs",
    "ARm",
    "ARl",
)


def coco_metrics(
    ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], iou_type: str
) -> dict[str, float | None]:
    """Gives the 12 metrics in points (0 to 100); None where COCO says -1 (nothing to score).

    Args:
        ground_truth: a COCO instances data set (images, annotations, categories).
        detections: in COCO's results format; those of images that are not in `ground_truth` are an
            error, none at all is a score of 0.
        iou_type: `bbox` or `segm`.

    Source: pycocotools' `COCOeval.summarize`.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        # COCOeval writes into annotations.
        truth.dataset = {
            **ground_truth,
            "annotations": [dict(annotation) for annotation in ground_truth["annotations"]],
        }
        truth.createIndex()
        if detections:
            found = truth.loadRes([dict(detection) for detection in detections])
        else:
            found = COCO()
            found.dataset = {**ground_truth, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [float(value) for value in evaluation.stats]
    return {
        name: None if value == -1 else 100.0 * value
        for name, value in zip(METRIC_NAMES, stats, strict=True)
    }
