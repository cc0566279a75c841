"""Where the points went: error types in the manner of TIDE, and what mending each would bring.

Source: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020,
section 2.2, and tidecv 1.0.1 (`TIDERun.fix_errors`). AP is COCO's here too, so that the AP50 that
is mended is the AP50 that was scored: a class without objects is left out of the mean.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.error_analysis.curves import best_f1
from odapi_repro.evaluation.error_analysis.match_outcomes import (
    Outcome,
    Outcomes,
    Overlaps,
    outcomes_at,
)
from odapi_repro.evaluation.scoring.detection_matching import (
    IOU_THRESHOLDS,
    RECALL_THRESHOLDS,
    Matches,
)

ERROR_KINDS = (
    Outcome.CLASSIFICATION,
    Outcome.LOCALISATION,
    Outcome.BOTH,
    Outcome.DUPLICATE,
    Outcome.BACKGROUND,
    Outcome.MISSED,
)
"""In TIDE's order."""

FALSE_POSITIVE, FALSE_NEGATIVE = "false_positive", "false_negative"


@dataclass(frozen=True)
class ErrorType:
    """One kind of error.

    Attributes:
        kind: `classification` and so on; `false_positive` and `false_negative` for all wrong
            detections and all objects that are not found, whatever the reason.
        count: detections (objects, where they are missed) at the first IoU threshold, whatever
            their score.
        count_at_best_f1: those left when each class is cut at the score of its best F1.
        gain_ap50: points that AP50 gains where this is mended and all else stays as it is.
        gain_ap: the same for AP: the mean over the ten IoU thresholds, each with its own errors.
    """

    kind: str
    count: int
    count_at_best_f1: int
    gain_ap50: float
    gain_ap: float


@dataclass(frozen=True)
class Confusion:
    """How often objects of one class were detected as another, above the scores of best F1."""

    truth: str
    detected: str
    count: int


@dataclass(frozen=True)
class ErrorTypes:
    """Where the points of one model went.

    Gains do not add up: with one error mended, mending the next one brings more, or less.

    Attributes:
        ap50, ap: in points; None where no class has an object.
        objects: that were to be found.
        found: objects found at the first IoU threshold, whatever the score.
        found_at_best_f1: those left when each class is cut at the score of its best F1.
        types: the six of `ERROR_KINDS`.
        special: `false_positive` and `false_negative`.
        confusions: the most frequent first.
    """

    ap50: float | None
    ap: float | None
    objects: int
    found: int
    found_at_best_f1: int
    types: tuple[ErrorType, ...]
    special: tuple[ErrorType, ...]
    confusions: tuple[Confusion, ...]


def error_types(matches: Matches, overlaps: Overlaps, category_names: Sequence[str]) -> ErrorTypes:
    """Gives the error types at IoU 0.5, and what mending one at a time brings.

    - localisation, classification: the most confident of the detections of these two kinds on an
      object that is not found becomes right; the others of the kind go away, as do those on
      objects that are found;
    - both, duplicate, background: the detections go away;
    - missed: the objects are taken out of the count. A class of which nothing is right stays at 0;
    - false positive: every wrong detection goes below every right one;
    - false negative: all objects that are not found are taken out of the count.

    Args:
        matches, overlaps: of one model.
        category_names: of the data set, [K].
    """
    every = [outcomes_at(matches, overlaps, threshold) for threshold in IOU_THRESHOLDS]
    by_score = np.argsort(-matches.scores, kind="stable")
    by_class = by_score[np.argsort(matches.categories[by_score], kind="stable")]
    plain = [_mean_ap(outcomes, _Case(by_class)) for outcomes in every]
    first = every[0]
    cuts = [np.inf if one.score is None else one.score for one in best_f1(matches, category_names)]
    kept = matches.scores >= np.array(cuts)[matches.categories]
    counts, counts_kept = _counts(first, None), _counts(first, kept)
    types = []
    for kind in counts:
        # Where a mended curve meets COCO's 101 recalls differently, a little can be lost.
        gains = [
            max(0.0, _mean_ap(outcomes, _mended(outcomes, kind, by_score, by_class)) - before)
            for outcomes, before in zip(every, plain, strict=True)
        ]
        types.append(
            ErrorType(kind, counts[kind], counts_kept[kind], gains[0], float(np.mean(gains)))
        )
    objects = int((~matches.truth_ignored[0]).sum())
    return ErrorTypes(
        ap50=plain[0] if objects else None,
        ap=float(np.mean(plain)) if objects else None,
        objects=objects,
        found=int(first.found_objects().sum()),
        found_at_best_f1=int(first.found_objects(kept).sum()),
        types=tuple(types[: len(ERROR_KINDS)]),
        special=tuple(types[len(ERROR_KINDS) :]),
        confusions=_confusions(first, kept, category_names),
    )


@dataclass(frozen=True, eq=False)
class _Case:
    """What differs where one kind of error is mended; None for what stays as it is.

    Attributes:
        order: int64 [N], the detections by class, within it by falling score.
        categories: int32 [N].
        gone: bool [N], detections that are left out.
        is_right: bool [N].
        gone_objects: bool [G], objects that are taken out of the count.
    """

    order: NDArray[np.int64]
    categories: NDArray[np.int32] | None = None
    gone: NDArray[np.bool_] | None = None
    is_right: NDArray[np.bool_] | None = None
    gone_objects: NDArray[np.bool_] | None = None


def _mended(
    outcomes: Outcomes, kind: str, by_score: NDArray[np.int64], by_class: NDArray[np.int64]
) -> _Case:
    found = outcomes.kinds == Outcome.FOUND
    if kind == FALSE_POSITIVE:
        # Below all right detections or away: the curve is the same.
        return _Case(by_class, gone=~found)
    if kind == FALSE_NEGATIVE:
        return _Case(by_class, gone_objects=~outcomes.found_objects())
    outcome = Outcome[kind.upper()]
    if outcome is Outcome.MISSED:
        return _Case(by_class, gone_objects=outcomes.missed_objects())
    wrong = outcomes.kinds == outcome
    if outcome not in (Outcome.CLASSIFICATION, Outcome.LOCALISATION):
        return _Case(by_class, gone=wrong)
    mended = wrong & _most_confident(outcomes, by_score)
    case = _Case(by_class, gone=wrong & ~mended, is_right=mended | found)
    if outcome is Outcome.LOCALISATION:
        return case
    categories = outcomes.matches.categories.copy()
    categories[mended] = outcomes.matches.truth_categories[outcomes.objects[mended]]
    order = by_score[np.argsort(categories[by_score], kind="stable")]
    return dataclasses.replace(case, order=order, categories=categories)


def _most_confident(outcomes: Outcomes, by_score: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which detections could find an object that none finds, and are the first to; bool [N]."""
    nearly = np.isin(outcomes.kinds, (Outcome.CLASSIFICATION, Outcome.LOCALISATION))
    nearly[nearly] = ~outcomes.found_objects()[outcomes.objects[nearly]]
    rows = by_score[nearly[by_score]]
    first = np.unique(outcomes.objects[rows], return_index=True)[1]
    is_first = np.zeros(len(nearly), np.bool_)
    is_first[rows[first]] = True
    return is_first


def _mean_ap(outcomes: Outcomes, case: _Case) -> float:
    """Gives AP in points at one IoU threshold, as `COCOeval.accumulate` does; 0 without classes.

    Interpolated precision begins to fall at right detections only, so only they are looked at.
    """
    matches = outcomes.matches
    counts = ~matches.truth_ignored[0]
    # A class that loses all its objects to the mending stays in the mean.
    scored = np.unique(matches.truth_categories[counts])
    if case.gone_objects is not None:
        counts = counts & ~case.gone_objects
    num_objects = np.bincount(matches.truth_categories[counts], minlength=matches.num_categories)

    left = outcomes.kinds != Outcome.IGNORED
    if case.gone is not None:
        left &= ~case.gone
    is_right = outcomes.kinds == Outcome.FOUND if case.is_right is None else case.is_right
    categories = matches.categories if case.categories is None else case.categories
    ends = np.searchsorted(categories[case.order], np.arange(matches.num_categories + 1))
    places = np.r_[0, np.cumsum(left[case.order])]
    hits = np.flatnonzero((left & is_right)[case.order])
    hit_ends = np.searchsorted(hits, ends)
    total = 0.0
    for k in scored.tolist():
        ranks = places[1 + hits[hit_ends[k] : hit_ends[k + 1]]] - places[ends[k]]
        if not len(ranks):
            continue
        right = np.arange(1, len(ranks) + 1)
        precision = right / (ranks + np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(right / num_objects[k], RECALL_THRESHOLDS, side="left")
        total += float(precision[at[at < len(right)]].sum()) / len(RECALL_THRESHOLDS)
    return 100.0 * total / max(len(scored), 1)


def _counts(outcomes: Outcomes, kept: NDArray[np.bool_] | None) -> dict[str, int]:
    """How many errors of each kind, in the order in which they are shown."""
    kinds = outcomes.kinds if kept is None else outcomes.kinds[kept]
    counts = {kind.name.lower(): int((kinds == kind).sum()) for kind in ERROR_KINDS}
    counts[Outcome.MISSED.name.lower()] = int(outcomes.missed_objects(kept).sum())
    objects = ~outcomes.matches.truth_ignored[0]
    counts[FALSE_POSITIVE] = int((~np.isin(kinds, (Outcome.FOUND, Outcome.IGNORED))).sum())
    counts[FALSE_NEGATIVE] = int((objects & ~outcomes.found_objects(kept)).sum())
    return counts


def _confusions(
    outcomes: Outcomes, kept: NDArray[np.bool_], category_names: Sequence[str]
) -> tuple[Confusion, ...]:
    rows = np.flatnonzero(kept & (outcomes.kinds == Outcome.CLASSIFICATION))
    truth = outcomes.matches.truth_categories[outcomes.objects[rows]].tolist()
    detected = outcomes.matches.categories[rows].tolist()
    counted = Counter(zip(truth, detected, strict=True))
    return tuple(
        Confusion(category_names[one], category_names[other], count)
        for (one, other), count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    )
