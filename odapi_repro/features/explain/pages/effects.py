"""One effect of an explanation, under both estimands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from odapi_repro.analysis.attribution import Attribution, EffectDefinition

__all__ = ["ExplainedEffect", "explained"]


@dataclass(frozen=True)
class ExplainedEffect:
    """One effect of the design, under both estimands.

    Attributes:
        definition: what it is a difference of.
        row: its attribution, a diverged trial counting for 0 (for a loss: left out).
        converged: the same given convergence; None where no trial of the design diverged.
    """

    definition: EffectDefinition
    row: Attribution
    converged: Attribution | None

    @property
    def returned(self) -> float:
        """What mending it returns: the reference's level minus the user's; NaN where unknown."""
        return -self.row.delta + 0.0

    @property
    def ends(self) -> tuple[float, float]:
        """The interval of `returned`, NaN where there is none."""
        return -self.row.high + 0.0, -self.row.low + 0.0


def explained(
    definitions: Sequence[EffectDefinition], rows: Sequence[Attribution]
) -> tuple[ExplainedEffect, ...]:
    """The effects, from the rows of `attributions` of these definitions."""
    count = len(definitions)
    second: Sequence[Attribution | None] = rows[count:] or (None,) * count
    return tuple(
        ExplainedEffect(*found) for found in zip(definitions, rows[:count], second, strict=True)
    )
