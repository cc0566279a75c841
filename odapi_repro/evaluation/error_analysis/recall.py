"""Recall by object size, IoU threshold and class, as COCO's AR counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.scoring.matching import AREA_RANGES, IOU_THRESHOLDS, Matches

if TYPE_CHECKING:
    from odapi_repro.evaluation.scoring.metrics import Scores


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
