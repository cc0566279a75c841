"""What suggests that detections or a ground truth were not meant as they are read."""

from __future__ import annotations

from collections.abc import Mapping

from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.coco_data import (
    Detections,
    GroundTruth,
    box_oddities,
    misread_truth,
    odd_areas,
)
from odapi_repro.evaluation.error_analysis.permuted_classes import (
    PermutedClasses,
    one_class,
    permuted_classes,
)
from odapi_repro.foreign_text import shortened_name

_MOST_MOVED = 5  # classes that are named
_NAME = 40  # letters of a class in a sentence


def oddities_of_truth(truth: GroundTruth) -> list[str]:
    """Gives sentences on a ground truth of which boxes or areas seem to be others than meant."""
    boxes, areas = misread_truth(truth), odd_areas(truth)
    lines = []
    if boxes:
        lines.append(f"Do not judge a model by these scores: of the ground truth's boxes, {boxes}.")
    if areas:
        lines.append(f"Do not read the metrics by size: {areas}.")
    return lines


def oddities_of_detections(
    label: str,
    detections: Detections,
    truth: GroundTruth,
    breakdowns: Mapping[str, Breakdown],
) -> list[str]:
    """Gives sentences on boxes and classes of detections that seem to be others than meant.

    Args:
        label: what the model is called.
        detections: of it.
        truth: the data set.
        breakdowns: of the detections, by IoU type.
    """
    if not detections.num:
        return [f"Do not judge {label} by these scores: it holds no detections, an empty list."]
    found = box_oddities(detections, truth)
    iou_type, own = next(iter(breakdowns.items()))
    one = one_class(truth, detections, own.outcomes)
    permuted = permuted_classes(truth, detections, own.outcomes, iou_type)
    used = set(truth.categories.tolist())
    if one is not None:
        found.append(
            f"all of its {detections.num:,} detections are of one class,"
            f" {shortened_name(one.name, _NAME)}, and {one.other:,} of the {one.objects:,} objects"
            " that they lie on are of others. Were the classes written, or does it know this one"
            " alone?"
        )
    elif permuted is not None:
        found.append(_permutation(permuted))
    elif used and used.isdisjoint(detections.categories.tolist()):
        found.append(
            f"none of its {detections.num:,} detections is of a class that has objects here. Are"
            " the ids of the classes those that it was trained with?"
        )
    return [
        f"Do not judge {label} by these scores: {clause}{'' if clause.endswith('?') else '.'}"
        for clause in found
    ]


def _permutation(permuted: PermutedClasses) -> str:
    """The clause that says so: what would be found, and which classes are called what."""
    listed = ", ".join(
        f"{shortened_name(one.truth, _NAME)} is detected as"
        f" {shortened_name(one.detected, _NAME)} {one.count:,}x"
        for one in permuted.moved[:_MOST_MOVED]
    )
    more = len(permuted.moved) - _MOST_MOVED
    listed += f", and {more:,} more class{'es' if more > 1 else ''} likewise" if more > 0 else ""
    return (
        f"the label maps may be permuted. At IoU 0.5 it finds {permuted.found:,} of"
        f" {permuted.objects:,} objects, and with other class ids it would find"
        f" {permuted.found_then:,}:"
        f" {permuted.pattern + '; ' if permuted.pattern else ''}{listed}"
    )
