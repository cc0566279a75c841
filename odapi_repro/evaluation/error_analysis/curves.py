"""Precision-recall curves, and recall by size, IoU threshold and class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.scoring.detection_matching import (
    AREA_RANGES,
    IOU_THRESHOLDS,
    RECALL_THRESHOLDS,
    Matches,
)

if TYPE_CHECKING:
    from odapi_repro.evaluation.scoring.metrics import Scores


# --- Precision-recall curves on COCO's 101 points, and the score at which F1 is best ---


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


# --- Recall by object size, IoU threshold and class, as COCO's AR counts it ---


@dataclass(frozen=True)
class SizeRecall:
    """Recall of the objects of one size, on average over the classes that have some.

    Attributes:
        size: `all`, `small`, `medium` or `large`.
        objects: of that size, over all classes; those that count.
        average: AR100 in points, on average over the IoU thresholds; None without objects.
        by_iou: recall in points at each of the ten IoU thresholds.
    """

    size: str
    objects: int
    average: float | None
    by_iou: tuple[float | None, ...]


@dataclass(frozen=True)
class ClassRecall:
    """Recall of one class.

    Attributes:
        name: the class.
        objects: that count.
        at_50: recall at IoU 0.5 in points; None without objects.
        average: AR100 in points; None without objects.
        by_size: AR100 by size (`small`, `medium`, `large`), None without such objects.
    """

    name: str
    objects: int
    at_50: float | None
    average: float | None
    by_size: tuple[float | None, ...]


@dataclass(frozen=True)
class RecallTable:
    """Recall of one model, with 100 detections of a class on an image.

    Attributes:
        ious: the ten thresholds.
        sizes: `all` first.
        classes: in the order of the data set.
    """

    ious: tuple[float, ...]
    sizes: tuple[SizeRecall, ...]
    classes: tuple[ClassRecall, ...]


def recall_table(scores: Scores, matches: Matches, category_names: Sequence[str]) -> RecallTable:
    """Gives the recall of one model by size, IoU threshold and class.

    Args:
        scores: of the model; its `recall` is COCOeval's [T, K, A, M].
        matches: of the same detections, for the number of objects.
        category_names: of the data set, [K].

    Source: pycocotools' `COCOeval.accumulate` and `summarize` (AR is the mean of recall over the
    thresholds, and over the classes that have objects of the size).
    """
    recall = np.asarray(scores.recall)[:, :, :, -1]  # [T, K, A]
    objects = _objects(matches)
    sizes = list(AREA_RANGES)
    return RecallTable(
        ious=tuple(IOU_THRESHOLDS.tolist()),
        sizes=tuple(
            SizeRecall(
                size,
                objects=int(objects[:, a].sum()),
                average=_mean(recall[:, :, a]),
                by_iou=tuple(_mean(at_iou) for at_iou in recall[:, :, a]),
            )
            for a, size in enumerate(sizes)
        ),
        classes=tuple(
            ClassRecall(
                name,
                objects=int(objects[k, 0]),
                at_50=_mean(recall[0, k, 0]),
                average=_mean(recall[:, k, 0]),
                by_size=tuple(_mean(recall[:, k, a]) for a in range(1, len(sizes))),
            )
            for k, name in enumerate(category_names)
        ),
    )


def _objects(matches: Matches) -> NDArray[np.int64]:
    """How many objects count, int64 [K, A]."""
    counted = np.zeros((matches.num_categories, len(AREA_RANGES)), np.int64)
    for a, ignored in enumerate(matches.truth_ignored):
        np.add.at(counted[:, a], matches.truth_categories[~ignored], 1)
    return counted


def _mean(values: NDArray[Any]) -> float | None:
    """In points; COCO marks what has no object with -1."""
    known = np.atleast_1d(values)
    known = known[known > -1]
    return 100.0 * float(known.mean()) if len(known) else None
