"""Objects that the anchors of a pipeline overlap badly, and what is the matter with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.anchor_fit import AnchorFit, fit_anchors
from odapi_repro.diagnosis.record_rule import RecordSubject
from odapi_repro.diagnosis.rules.records.at_input import LEAST_OBJECTS, LEAST_OF_CLASS, AtInput
from odapi_repro.diagnosis.rules.records.object_sizes import is_too_small
from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.anchors import Border, read_matcher

Mask = NDArray[np.bool_]

# An overlap that teaches an anchor. Faster R-CNN's first stage asks for 0.7, and its second stage
# corrects what overlaps by half.
GOOD_OVERLAP = 0.5
# Objects as COCO's are below it to 51 % in the reference configs at most (SSD MobileNetV2 320), and
# beyond the largest anchor to 9 % (Faster R-CNN at 1,024).
_MOST_POOR, _MOST_BEYOND = 0.7, 0.3
_ALMOST_ALL = 0.9
_MOST_COMPARED, _MOST_CLIPPED = 100_000, 500
# A box more elongated than the anchors by this much overlaps none by more than 0.55.
_MORE_ELONGATED = 2.0

ELONGATED, LARGER, SMALLER, _BETWEEN = (
    "more elongated than any anchor",
    "larger than the largest anchor",
    "smaller than the smallest anchor",
    "between the anchors",
)


@dataclass(frozen=True, eq=False)
class PoorReach:
    """Objects that anchors reach badly.

    Attributes:
        fit: the objects that were compared, and their best anchors.
        judged: bool [m], those that are looked at.
        poor: bool [m], of them those that overlap no anchor well.
        reasons: what is the matter with them -> bool [m]; each once.
        classes: those that are looked at alone; none where all are.
    """

    fit: AnchorFit
    judged: Mask
    poor: Mask
    reasons: Mapping[str, Mask]
    classes: tuple[int, ...] = ()


def poor_reach(subject: RecordSubject, seen: AtInput) -> PoorReach | None:
    """Gives how the anchors reach the objects, where that is badly.

    Clipping an anchor to the input only makes it overlap the objects in it more: what is well
    without is well, and clipped anchors, which take long, are looked at where it is not.
    """
    if subject.config is None or seen.design is None:
        return None
    try:
        matcher = read_matcher(subject.config.pipeline)
        if not matcher.matched:
            return None
        with np.errstate(all="ignore"):  # a stride of 0
            clipped = seen.design.border is Border.CLIPPED
            design = replace(seen.design, border=Border.KEPT) if clipped else seen.design
            fit = fit_anchors(seen.objects, design, matcher, limit=_MOST_COMPARED)
            reach = _judged(seen, fit)
            if reach is not None and clipped:
                fit = fit_anchors(seen.objects, seen.design, matcher, limit=_MOST_CLIPPED)
                reach = _judged(seen, fit)
            return reach
    except (ConfigError, ArithmeticError, ValueError):
        return None


def _judged(seen: AtInput, fit: AnchorFit) -> PoorReach | None:
    judged = np.ones(len(fit.index), np.bool_)
    if is_too_small(seen):
        judged = seen.objects.sides[fit.index] >= seen.stride
    poor = judged & (fit.iou < min(fit.matcher.matched or 0.0, GOOD_OVERLAP))
    reasons = _reasons(seen, fit, poor)
    beyond = reasons.get(LARGER)
    count = int(judged.sum())
    many_beyond = beyond is not None and int(beyond.sum()) >= _MOST_BEYOND * count
    if count < LEAST_OBJECTS:
        return None
    if many_beyond or int(poor.sum()) >= _MOST_POOR * count:
        return PoorReach(fit, judged, poor, reasons)
    thin = reasons.get(ELONGATED)
    return _of_classes(seen, fit, judged, thin) if thin is not None else None


def _of_classes(seen: AtInput, fit: AnchorFit, judged: Mask, thin: Mask) -> PoorReach | None:
    """Gives the classes of which nearly all objects are more elongated than any anchor."""
    class_ids = seen.objects.class_ids[fit.index]
    found = []
    for one in np.unique(class_ids[thin]).tolist():
        of = judged & (class_ids == one)
        if of.sum() >= LEAST_OF_CLASS and (thin & of).sum() >= _ALMOST_ALL * of.sum():
            found.append(int(one))
    if not found:
        return None
    chosen = judged & np.isin(class_ids, found)
    return PoorReach(fit, chosen, chosen & thin, {ELONGATED: chosen & thin}, tuple(found))


def anchor_shapes(fit: AnchorFit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gives sides and ratios (width over height) of the anchors, [K] each."""
    levels = fit.anchors.levels
    return (
        np.concatenate([level.sizes for level in levels]),
        np.concatenate([level.ratios for level in levels]),
    )


def _reasons(seen: AtInput, fit: AnchorFit, poor: Mask) -> dict[str, Mask]:
    """Gives, of the boxes that overlap no anchor well, which are so for what; each once."""
    sizes, ratios = anchor_shapes(fit)
    side, ratio = seen.objects.sides[fit.index], seen.objects.ratios[fit.index]
    thin = (ratio > _MORE_ELONGATED * ratios.max()) | (ratio < ratios.min() / _MORE_ELONGATED)
    reasons = {
        ELONGATED: thin,
        LARGER: side > sizes.max(),
        SMALLER: side < sizes.min(),
        _BETWEEN: np.ones(len(side), np.bool_),
    }
    left = poor.copy()
    found = {}
    for word, of in reasons.items():
        if (left & of).any():
            found[word] = left & of
        left &= ~of
    return found
