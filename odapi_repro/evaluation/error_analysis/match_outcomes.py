"""What became of each detection and of each object: found, or the kind of error it is.

The kinds are those of TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying Object
Detection Errors", ECCV 2020, section 2.1), decided in the order of its published code (tidecv,
`TIDERun._eval_image`), on COCO's own matching: what counts as found here counts as found in AP,
with crowd regions and the limit of 100 detections as COCO has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.coco_data import Detections, GroundTruth, compressed_masks
from odapi_repro.evaluation.scoring.detection_matching import IOU_THRESHOLDS, Matches

BACKGROUND_IOU = 0.1
"""Below this overlap with every object a detection is taken for background (TIDE's t_b)."""


class Outcome(IntEnum):
    """What a detection is at one IoU threshold; an object is FOUND or MISSED or neither."""

    FOUND = 0
    CLASSIFICATION = 1
    LOCALISATION = 2
    BOTH = 3
    DUPLICATE = 4
    BACKGROUND = 5
    MISSED = 6
    IGNORED = 7


@dataclass(frozen=True, eq=False)
class Overlaps:
    """The object that each detection overlaps most, of its own class and of the others.

    N detections, those of the `Matches`, in their order. Crowd regions are no objects.

    Attributes:
        same_iou, same_object: [N], IoU with the object of the detection's class, and which
            annotation it is; 0 and -1 without one.
        other_iou, other_object: the same over objects of other classes.
    """

    same_iou: NDArray[np.float64]
    same_object: NDArray[np.int64]
    other_iou: NDArray[np.float64]
    other_object: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of detections and objects at one IoU threshold.

    N detections, those of the `Matches`, in their order; G annotations.

    Attributes:
        matches: the detections, and what COCO matched them with.
        threshold: IoU from which on an object counts as found.
        kinds: int8 [N], an `Outcome` each.
        objects: int64 [N], the annotation that decided it: the one that was found, that the box
            is too far from, of another class, or found already; -1 for the other kinds.
    """

    matches: Matches
    threshold: float
    kinds: NDArray[np.int8]
    objects: NDArray[np.int64]

    def found_objects(self, kept: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Tells which annotations are found, bool [G].

        `kept` (bool [N]) leaves detections out: those of lower score, for which COCO's matches of
        the others stay what they are.
        """
        return self._objects_of(Outcome.FOUND, kept=kept)

    def missed_objects(self, kept: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Tells which objects are missed in TIDE's sense, bool [G].

        Not found, and no detection would find them with a better box or the right class, so that
        mending localisation and classification leaves them as they are.
        """
        nearly = self._objects_of(Outcome.LOCALISATION, Outcome.CLASSIFICATION, kept=kept)
        missed: NDArray[np.bool_] = ~(
            self.matches.truth_ignored[0] | self.found_objects(kept) | nearly
        )
        return missed

    def _objects_of(self, *kinds: Outcome, kept: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        chosen = np.isin(self.kinds, kinds)
        if kept is not None:
            chosen &= kept
        is_one = np.zeros(len(self.matches.truth_images), np.bool_)
        is_one[self.objects[chosen]] = True
        return is_one


def outcomes_at(matches: Matches, overlaps: Overlaps, threshold: float = 0.5) -> Outcomes:
    """Gives what became of every detection and object at one of COCO's IoU thresholds.

    A wrong detection is, whichever fits first:

    - localisation: its class's nearest object overlaps it by less than `threshold`, but by 0.1;
    - classification: an object of another class overlaps it by `threshold`;
    - duplicate: an object of its class does, which another detection has found (or which COCO
      never counts as found, see `matching.match`: the annotation with the id 0);
    - background: no object overlaps it by 0.1;
    - both: what is left, an object of another class that it overlaps too little.

    Raises:
        ValueError: `threshold` is none of COCO's ten.
    """
    index = int(np.argmin(np.abs(IOU_THRESHOLDS - threshold)))
    if abs(IOU_THRESHOLDS[index] - threshold) > 1e-9:
        raise ValueError(f"{threshold} is not one of COCO's IoU thresholds")
    ignored = matches.ignored[0, index]
    found = matches.matched[0, index] & ~ignored
    kinds = np.full(matches.num, Outcome.BOTH, np.int8)
    objects = np.full(matches.num, -1, np.int64)
    kinds[np.maximum(overlaps.same_iou, overlaps.other_iou) < BACKGROUND_IOU] = Outcome.BACKGROUND
    near = overlaps.same_iou >= BACKGROUND_IOU
    enough = overlaps.same_iou >= threshold
    # From the last to the first, so that the first one that fits stands.
    for kind, is_it, which in (
        (Outcome.DUPLICATE, enough, overlaps.same_object),
        (Outcome.CLASSIFICATION, overlaps.other_iou >= threshold, overlaps.other_object),
        (Outcome.LOCALISATION, near & ~enough, overlaps.same_object),
        (Outcome.IGNORED, ignored, np.full(matches.num, -1)),
        (Outcome.FOUND, found, matches.ground_truth[index]),
    ):
        kinds[is_it] = kind
        objects[is_it] = which[is_it]
    return Outcomes(matches, float(IOU_THRESHOLDS[index]), kinds, objects)


def overlaps_of(
    truth: GroundTruth, detections: Detections, matches: Matches, iou_type: str
) -> Overlaps:
    """Gives the objects that the detections of `matches` overlap most.

    Args:
        truth, detections, iou_type: what `matches` was made from.
        matches: by `matching.match`.
    """
    from pycocotools import mask as mask_api

    objects = np.flatnonzero(~matches.truth_ignored[0])
    of_image = _by_image(truth.images[objects], truth.num_images)
    shapes: tuple[Any, Any] = (detections.boxes, truth.boxes)
    if iou_type == "segm":
        shapes = (detections.masks, compressed_masks(truth))
    same_iou, other_iou = np.zeros(matches.num), np.zeros(matches.num)
    same_object, other_object = np.full((2, matches.num), -1)
    for image, places in enumerate(_by_image(matches.images, truth.num_images)):
        annotations = objects[of_image[image]]
        if not len(places) or not len(annotations):
            continue
        ious = mask_api.iou(
            _chosen(shapes[0], matches.rows[places]),
            _chosen(shapes[1], annotations),
            np.zeros(len(annotations), np.uint8),
        )
        same = truth.categories[annotations] == matches.categories[places][:, None]
        for masked, iou, which in (
            (ious * same, same_iou, same_object),
            (ious * ~same, other_iou, other_object),
        ):
            best = masked.argmax(axis=1)
            iou[places] = masked[np.arange(len(places)), best]
            which[places] = np.where(iou[places] > 0, annotations[best], -1)
    return Overlaps(same_iou, same_object, other_iou, other_object)


def _by_image(images: NDArray[np.int32], count: int) -> list[NDArray[np.int64]]:
    """The positions of each image's entries, in their order."""
    order = np.argsort(images, kind="stable")
    return np.split(order, np.searchsorted(images[order], np.arange(1, count)))


def _chosen(shapes: Any, rows: NDArray[np.int64]) -> Any:
    if isinstance(shapes, np.ndarray):
        return shapes[rows]
    return [shapes[row] for row in rows.tolist()]
