"""What a family of effects that are judged together allows to say of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, Literal, Protocol, TypeVar

from odapi_repro.analysis.multiplicity import holm

__all__ = ["LOWER_IS_BETTER", "Verdict", "judge"]

Verdict = Literal["gain", "loss", "equivalent", "unresolved", "single_run"]

LOWER_IS_BETTER: Final = frozenset({"final_loss"})
"""Metrics of which less is a gain."""


class _Row(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def metric(self) -> str: ...
    @property
    def delta(self) -> float: ...
    @property
    def method(self) -> str: ...
    @property
    def p_holm(self) -> float: ...
    @property
    def p_equivalence_holm(self) -> float: ...


_RowT = TypeVar("_RowT", bound=_Row)


def judge(family: Sequence[_RowT], *, alpha: float) -> list[_RowT]:
    """Adjusts the p-values of one family and reads the verdicts off them, in the order given.

    `gain` and `loss` need the adjusted test of no effect to reject; else `equivalent` needs the
    adjusted test of equivalence to; else `unresolved`. An effect whose method is `single_run` has
    no test and keeps that as its verdict.

    Args:
        family: dataclasses with `metric`, `delta`, `method`, `verdict` and the raw p-values in
            `p_holm` and `p_equivalence_holm`, which become the adjusted ones.
        alpha: level of both tests.
    """
    effect = holm([row.p_holm for row in family])
    equivalence = holm([row.p_equivalence_holm for row in family])
    judged = []
    for row, p_effect, p_equivalence in zip(family, effect, equivalence, strict=True):
        verdict: Verdict = "unresolved"
        if row.method == "single_run":
            verdict = "single_run"
        elif p_effect <= alpha:
            better = (row.delta > 0) != (row.metric in LOWER_IS_BETTER)
            verdict = "gain" if better else "loss"
        elif p_equivalence <= alpha:
            verdict = "equivalent"
        judged.append(
            replace(row, verdict=verdict, p_holm=p_effect, p_equivalence_holm=p_equivalence)
        )
    return judged
