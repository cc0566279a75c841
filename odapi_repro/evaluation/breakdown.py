"""All that is said of one set of detections, boxes or masks: scores, intervals, errors, recall."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from odapi_repro.errors import UserError
from odapi_repro.evaluation.coco_data import Detections, GroundTruth, compressed_masks
from odapi_repro.evaluation.error_analysis.curves import (
    BestF1,
    PrecisionRecall,
    RecallTable,
    best_f1,
    precision_recall,
    recall_table,
)
from odapi_repro.evaluation.error_analysis.error_types import ErrorTypes, error_types
from odapi_repro.evaluation.error_analysis.match_outcomes import Outcomes, outcomes_at, overlaps_of
from odapi_repro.evaluation.scoring.detection_matching import IouType, Matches, match
from odapi_repro.evaluation.scoring.metrics import Scores, score
from odapi_repro.evaluation.uncertainty.bootstrap import Interval, Intervals, difference, interval


@dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Attributes:
        resamples: of the images; 0 for no intervals.
        confidence: 0.95 for 95 % intervals.
        seed: of the resamples; the same for what is compared.
    """

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples == 1:
            raise UserError(
                "one resample shows no spread",
                expected="1,000 resamples for steady intervals, or 0 for none",
                mend="--resamples 1000",
            )


@dataclass(frozen=True, eq=False)
class Breakdown:
    """What one set of detections scores, how sure that is, and where the points went.

    Attributes:
        scores: COCO's metrics.
        matches: what COCO matched.
        intervals: of the metrics; None without resampling.
        outcomes: of detections and objects at IoU 0.5.
        errors: error types.
        recall: by size, IoU threshold and class.
        curves: precision against recall, the mean first.
        best_f1: of each class.
    """

    scores: Scores
    matches: Matches
    intervals: Intervals | None
    outcomes: Outcomes
    errors: ErrorTypes
    recall: RecallTable
    curves: tuple[PrecisionRecall, ...]
    best_f1: tuple[BestF1, ...]

    def interval(self, metric: str, category: int | None = None) -> Interval | None:
        """Gives the interval of a metric, of one class if asked; None without resampling."""
        if self.intervals is None:
            return None
        return (self.intervals if category is None else self.intervals.per_class[category])[metric]


def break_down(
    truth: GroundTruth,
    detections: Detections,
    iou_type: IouType,
    *,
    engine: str = "hotcoco",
    resampling: Resampling = Resampling(),
) -> Breakdown:
    """Scores detections and says where the points went.

    Args:
        truth: the data set.
        detections: of its images and classes.
        iou_type: `bbox` or `segm`.
        engine: of the scores, see `scoring.score`.
        resampling: of the intervals.

    Raises:
        DataError: masks (boxes) are asked for and there are none.
    """
    if iou_type == "segm":
        # Once, for everything below.
        truth = dataclasses.replace(truth, masks=compressed_masks(truth))
    names = truth.category_names
    scores = score(truth, detections, iou_type, engine=engine)
    matches = match(truth, detections, iou_type)
    overlaps = overlaps_of(truth, detections, matches, iou_type)
    return Breakdown(
        scores=scores,
        matches=matches,
        intervals=_intervals(matches, resampling),
        outcomes=outcomes_at(matches, overlaps),
        errors=error_types(matches, overlaps, names),
        recall=recall_table(scores, matches, names),
        curves=tuple(precision_recall(scores, names)),
        best_f1=tuple(best_f1(matches, names)),
    )


def differences(model: Breakdown, against: Breakdown, resampling: Resampling) -> Intervals | None:
    """Gives the metrics of `model` less those of `against`, on the same images, with intervals."""
    if not resampling.resamples:
        return None
    return difference(
        model.matches,
        against.matches,
        resamples=resampling.resamples,
        confidence=resampling.confidence,
        seed=resampling.seed,
    )


def _intervals(matches: Matches, resampling: Resampling) -> Intervals | None:
    if not resampling.resamples:
        return None
    return interval(
        matches,
        resamples=resampling.resamples,
        confidence=resampling.confidence,
        seed=resampling.seed,
    )
