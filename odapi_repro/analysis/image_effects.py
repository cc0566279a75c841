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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd
from scipy import special

from odapi_repro.analysis.multiplicity import holm
from odapi_repro.analysis.verdicts import Verdict


@dataclass(frozen=True)
class ImageEffect:
    """One level against the pipeline's own, on one metric and the same images.

    Attributes:
        factor, from_level, to_level: `to_level` minus `from_level`.
        metric: a column of trials.csv.
        delta, se, low, high: in points; NaN where there is nothing to score.
        n: images.
        verdict: see the module.
        method: `image_bootstrap`, or `no_data`.
        simultaneous: whether the interval holds jointly with the others.
        df: degrees of freedom of `se`; NaN for a normal test.
        p_holm, p_equivalence_holm: adjusted p-values of no effect and of no equivalence.
        margin: half-width of the range called equivalent, in points.
    """

    factor: str
    from_level: str
    to_level: str
    metric: str
    delta: float
    se: float
    low: float
    high: float
    n: int
    verdict: Verdict = "unresolved"
    method: str = "image_bootstrap"
    simultaneous: bool = False
    df: float = math.nan
    p_holm: float = math.nan
    p_equivalence_holm: float = math.nan
    margin: float = math.nan


IMAGE_EFFECTS_COLUMNS: Final = tuple(
    {"from_level": "from", "to_level": "to"}.get(name, name)
    for name in ImageEffect.__dataclass_fields__
)
"""The columns of effects.csv; the first ten are a contract, the rest may grow."""


def judge_image_effects(
    effects: Iterable[ImageEffect], *, margin: float, confidence: float = 0.95
) -> list[ImageEffect]:
    """Gives the effects with their verdicts, in the order given.

    Args:
        effects: of one study, with delta and se.
        margin: half-width of equivalence in points.
        confidence: tests are at 1 - confidence.
    """
    rows = list(effects)
    judged = list(rows)
    for metric in dict.fromkeys(row.metric for row in rows):
        places = [index for index, row in enumerate(rows) if row.metric == metric]
        family = [rows[index] for index in places]
        for index, row in zip(places, _family(family, margin, 1 - confidence), strict=True):
            judged[index] = row
    return judged


def image_effects_table(effects: Iterable[ImageEffect]) -> pd.DataFrame:
    """The effects as the table that effects.csv holds."""
    names = list(ImageEffect.__dataclass_fields__)
    return pd.DataFrame(
        [[getattr(row, name) for name in names] for row in effects],
        columns=list(IMAGE_EFFECTS_COLUMNS),
    )


def _family(rows: Sequence[ImageEffect], margin: float, alpha: float) -> list[ImageEffect]:
    effect = holm([_p_of_no_effect(row) for row in rows])
    equivalence = holm([_p_of_no_equivalence(row, margin) for row in rows])
    judged = []
    for row, p_effect, p_equivalence in zip(rows, effect, equivalence, strict=True):
        verdict: Verdict = "unresolved"
        if p_effect <= alpha:
            verdict = "gain" if row.delta > 0 else "loss"
        elif p_equivalence <= alpha:
            verdict = "equivalent"
        judged.append(
            replace(
                row,
                verdict=verdict,
                method="no_data" if math.isnan(row.delta) else row.method,
                p_holm=p_effect,
                p_equivalence_holm=p_equivalence,
                margin=margin,
            )
        )
    return judged


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
