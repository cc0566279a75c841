"""Precision-recall curves on COCO's 101 points, and the score at which F1 is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.scoring.matching import IOU_THRESHOLDS, RECALL_THRESHOLDS, Matches

if TYPE_CHECKING:
    from odapi_repro.evaluation.scoring.metrics import Scores


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """The curves of one class, or their mean over the classes that have objects.

    Attributes:
        name: the class; empty for the mean.
        recalls: float64 [101], 0 to 1.
        at_50, at_75, mean: float64 [101], precision at IoU 0.5, at 0.75 and on average over the
            ten IoU thresholds; its mean over `recalls` is AP50, AP75 and AP.
    """

    name: str
    recalls: NDArray[np.float64]
    at_50: NDArray[np.float64]
    at_75: NDArray[np.float64]
    mean: NDArray[np.float64]


@dataclass(frozen=True)
class BestF1:
    """The score at which a class is best cut, at IoU 0.5.

    Attributes:
        name: the class.
        score: detections of at least this score are kept; None where none at all is right.
        f1, precision, recall: of those, 0 to 1; None where the class has no object, or none found.
    """

    name: str
    score: float | None
    f1: float | None
    precision: float | None
    recall: float | None


def precision_recall(scores: Scores, category_names: Sequence[str]) -> list[PrecisionRecall]:
    """Gives the mean curves first, then those of each class that has objects.

    Precision is COCO's: interpolated (the best at this recall or a higher one), 0 beyond the
    recall that is reached. Area range `all`, at most 100 detections of a class on an image.

    Source: pycocotools' `COCOeval.accumulate`.
    """
    precision = np.asarray(scores.precision)[:, :, :, 0, -1]
    known = [k for k in range(precision.shape[2]) if precision[0, 0, k] > -1]
    if not known:
        return []
    means = precision[:, :, known].mean(axis=2)
    return [
        _curves("", means),
        *(_curves(category_names[k], precision[:, :, k]) for k in known),
    ]


def best_f1(matches: Matches, category_names: Sequence[str]) -> list[BestF1]:
    """Gives, for each class, the score at which F1 is best at IoU 0.5.

    From the detections themselves, not from the 101 points. Of several scores with the same F1 the
    highest is taken. Chosen on these very images, it looks a little better than on others.
    """
    counts = ~matches.truth_ignored[0]
    objects = np.bincount(matches.truth_categories[counts], minlength=matches.num_categories)
    ignored = matches.ignored[0, 0]
    right = matches.matched[0, 0] & ~ignored
    found = []
    for k, name in enumerate(category_names):
        rows = np.flatnonzero((matches.categories == k) & ~ignored)
        rows = rows[np.argsort(-matches.scores[rows], kind="stable")]
        found.append(_best_cut(name, matches.scores[rows], right[rows], int(objects[k])))
    return found


def _curves(name: str, precision: NDArray[Any]) -> PrecisionRecall:
    """Of precision [T, R]."""
    at_50, at_75 = (int(np.argmin(np.abs(IOU_THRESHOLDS - iou))) for iou in (0.5, 0.75))
    return PrecisionRecall(
        name=name,
        recalls=np.array(RECALL_THRESHOLDS),
        at_50=precision[at_50],
        at_75=precision[at_75],
        mean=precision.mean(axis=0),
    )


def _best_cut(
    name: str, scores: NDArray[np.float64], is_right: NDArray[np.bool_], num_objects: int
) -> BestF1:
    """Of one class, by falling score."""
    if not num_objects or not is_right.any():
        return BestF1(name, None, None, None, None)
    # Detections of equal score go together: a cut lies below the last of them.
    last = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True])
    hits, kept = np.cumsum(is_right)[last], last + 1
    f1 = 2 * hits / (kept + num_objects)
    best = int(np.argmax(f1))
    return BestF1(
        name,
        score=float(scores[last[best]]),
        f1=float(f1[best]),
        precision=float(hits[best] / kept[best]),
        recall=float(hits[best] / num_objects),
    )
