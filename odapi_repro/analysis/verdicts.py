"""What a family of effects that are judged together allows to say of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from odapi_repro.analysis.effect import Effect, Verdict
from odapi_repro.analysis.multiplicity import holm

LOWER_IS_BETTER: Final = frozenset({"final_loss"})
"""Metrics of which less is a gain."""


@dataclass(frozen=True)
class Judgement:
    """What may be said of an effect, with the adjusted p-values that say it.

    Attributes:
        verdict: see `judgements`.
        p_holm, p_equivalence_holm: of no effect and of no equivalence, adjusted for the family.
    """

    verdict: Verdict
    p_holm: float
    p_equivalence_holm: float


_EffectT = TypeVar("_EffectT", bound=Effect)


def judgements(
    tests: Sequence[tuple[float, str, float, float]], *, metric: str, alpha: float
) -> list[Judgement]:
    """Adjusts the p-values of one family and reads the verdicts off them, in the order given.

    `gain` and `loss` need the adjusted test of no effect to reject; else `equivalent` needs the
    adjusted test of equivalence to; else `unresolved`. An effect whose method is `single_run` has
    no test and keeps that as its verdict.

    Args:
        tests: of each effect its estimate, method, and p-values of no effect and of no equivalence.
        metric: that the effects are on.
        alpha: level of both tests.
    """
    adjusted = zip(
        tests, holm([test[2] for test in tests]), holm([test[3] for test in tests]), strict=True
    )
    found = []
    for (delta, method, _, _), p_effect, p_equivalence in adjusted:
        verdict: Verdict = "unresolved"
        if method == "single_run":
            verdict = "single_run"
        elif p_effect <= alpha:
            verdict = "gain" if (delta > 0) != (metric in LOWER_IS_BETTER) else "loss"
        elif p_equivalence <= alpha:
            verdict = "equivalent"
        found.append(Judgement(verdict, p_effect, p_equivalence))
    return found


def judge(family: Sequence[_EffectT], *, alpha: float) -> list[_EffectT]:
    """`judgements` of rows, which get their verdicts and adjusted p-values.

    Args:
        family: dataclasses of one metric with `metric`, `delta`, `method`, `verdict` and the raw
            p-values in `p_holm` and `p_equivalence_holm`, which become the adjusted ones.
        alpha: level of both tests.
    """
    tests = [(row.delta, row.method, row.p_holm, row.p_equivalence_holm) for row in family]
    metric = family[0].metric if family else ""
    return [
        replace(
            row,
            verdict=one.verdict,
            p_holm=one.p_holm,
            p_equivalence_holm=one.p_equivalence_holm,
        )
        for row, one in zip(family, judgements(tests, metric=metric, alpha=alpha), strict=True)
    ]
