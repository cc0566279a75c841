"""The detections of one cell of a sweep, from those that inference wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from odapi_repro.evaluation.coco_data import Detections
from odapi_repro.evaluation.post_processing.fusion import (
    box_voting,
    concatenate,
    consensus,
    union,
    weighted_boxes,
)
from odapi_repro.evaluation.post_processing.suppression import keep_best, soft_nms
from odapi_repro.features.sweep.sweep_cells import PostHocCell, Source

Load = Callable[[Source], Detections]


def detections_of_cell(
    cell: PostHocCell, load: Load, ap_of: Callable[[Detections], float]
) -> Detections:
    """Gives what a cell found, by image and falling score where a step made it.

    Args:
        cell: how its detections are made.
        load: gives the detections of a variant of a pass.
        ap_of: the AP of a set of detections, for the step that takes the best member.
    """
    members = [load(source) for source in cell.members]
    step = cell.step
    if step is None:
        return members[0]
    if step.method == "best":
        return members[best_member(members, ap_of)]
    if step.method == "box_voting":
        # It moves the boxes that NMS kept: nothing to cap again.
        assert cell.candidates is not None
        return box_voting(members[0], load(cell.candidates), _iou(cell))
    if step.method == "soft_union":
        fused = soft_nms(concatenate(members), method="gaussian", min_score=cell.min_score)
    elif step.method == "weighted_boxes":
        fused = weighted_boxes(members, _iou(cell))
    elif step.method == "consensus":
        fused = consensus(members, _iou(cell), step.num_agreeing)
    else:
        fused = union(members, _iou(cell), class_agnostic=cell.class_agnostic)
    return keep_best(fused, per_class=cell.per_class, per_image=cell.per_image)


def best_member(members: Sequence[Detections], ap_of: Callable[[Detections], float]) -> int:
    """Gives the index of the member with the highest AP, the last of equals."""
    scores = [ap_of(dataclasses.replace(one, masks=None)) for one in members]
    return max(range(len(members)), key=lambda index: (scores[index], index))


def _iou(cell: PostHocCell) -> float:
    assert cell.step is not None
    assert cell.step.iou_threshold is not None
    return cell.step.iou_threshold
