"""Effects seen on one set of images, with the verdicts that their bootstrap intervals allow.

A factor that needs no training gives the same detections each time, so that no replicate tells its
uncertainty. What is uncertain is which images were drawn: differences on the same images come with
the standard error of a paired bootstrap over them. Rules, printed beside the numbers:

- Intervals are the bootstrap's own, for one contrast each.
- Verdicts are those of `analysis.effects`: `gain` and `loss` need a test of no effect that rejects
  after Holm's adjustment over all contrasts of one metric; else `equivalent` needs two one-sided
  tests within the margin, adjusted likewise; else `unresolved`. Tests are Student's, with the
  bootstrap's standard error and degrees of freedom.
- Detections that score alike on every image have a difference of 0 and no spread: `equivalent`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from scipy import special

from odapi_repro.analysis.effect import Effect, columns_of
from odapi_repro.analysis.verdicts import judge


@dataclass(frozen=True)
class ImageEffect(Effect):
    """One level against the pipeline's own, on one metric and the same images; `n` of them."""

    method: str = "image_bootstrap"


IMAGE_EFFECTS_COLUMNS: Final = columns_of(
    *("method", "simultaneous", "df", "p_holm", "p_equivalence_holm", "margin")
)


def judge_image_effects(
    effects: Iterable[ImageEffect], *, margin: float, confidence: float = 0.95
) -> list[ImageEffect]:
    """Gives the effects with their verdicts, in the order given.

    Args:
        effects: of one study, with delta and se.
        margin: half-width of equivalence in points.
        confidence: tests are at 1 - confidence.
    """
    rows = [
        replace(
            row,
            method="no_data" if math.isnan(row.delta) else row.method,
            p_holm=_p_of_no_effect(row),
            p_equivalence_holm=_p_of_no_equivalence(row, margin),
            margin=margin,
        )
        for row in effects
    ]
    judged: dict[int, ImageEffect] = {}
    for metric in dict.fromkeys(row.metric for row in rows):
        family = {place: row for place, row in enumerate(rows) if row.metric == metric}
        found = judge(list(family.values()), alpha=1 - confidence)
        judged |= dict(zip(family, found, strict=True))
    return [judged[place] for place in range(len(rows))]


def _p_of_no_effect(row: ImageEffect) -> float:
    if row.se > 0:
        return 2 * _tail(-abs(row.delta) / row.se, row.df)
    return 1.0 if row.delta == 0 else math.nan


def _p_of_no_equivalence(row: ImageEffect, margin: float) -> float:
    if row.se > 0:
        return _tail((abs(row.delta) - margin) / row.se, row.df)
    return 0.0 if row.delta == 0 else math.nan


def _tail(statistic: float, df: float) -> float:
    """The probability below a statistic under Student's t, or under the normal for NaN."""
    return float(special.ndtr(statistic) if math.isnan(df) else special.stdtr(df, statistic))
