"""A user's levels at a study's scale: which relation is kept where not all can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from odapi_repro.factors import FACTORS, Level, Setting
from odapi_repro.features.explain.level_rules import LevelRules
from odapi_repro.features.explain.user_deviations import TRAINING, FactorDeviation
from odapi_repro.pipeline import Pipeline


@dataclass(frozen=True)
class LevelMapping:
    """One factor's two levels at the pipeline's own scale, and at the study's.

    Attributes:
        factor: its name.
        full_reference, full_user: labels at the pipeline's own scale.
        reference, user: levels at the study's scale; equal where it cannot vary the factor.
        kept: the relation that was kept.
        why: why that one, and what became of the others.
        clipped: whether the ratio of the two levels is not the pipeline's own.
    """

    factor: str
    full_reference: str
    full_user: str
    reference: Level
    user: Level
    kept: str
    why: str
    clipped: bool

    @property
    def is_varied(self) -> bool:
        """Whether the scale can tell the two levels apart."""
        return self.reference.value != self.user.value

    @property
    def text(self) -> str:
        """One line for a plan or a report."""
        return (
            f"{self.factor}: {self.full_reference} -> {self.full_user} at full scale is "
            f"{self.reference.label} -> {self.user.label} here "
            f"({'clipped' if self.clipped else 'kept'}: {self.kept}; {self.why})"
        )


def map_levels(
    deviations: Sequence[FactorDeviation],
    full: Pipeline,
    setting: Setting,
    *,
    scale: str,
    user_replicas: int = 1,
) -> tuple[LevelMapping, ...]:
    """Gives the levels of the `training` deviations where a study is made, others left out.

    Args:
        deviations: of the user's config from the reference.
        full: the reference at its own scale.
        setting: the reference at the study's scale.
        scale: `full`, `proxy` or `smoke`; at full scale levels stay as they are, and those that
            count images follow `--steps`.
        user_replicas: that share the user's batch.

    Raises:
        UserError: a factor does not apply at the study's scale (training files: the study's
            records are one).
    """
    by_factor = {one.factor: one for one in deviations if one.kind == TRAINING}
    levels = {
        name: (one.reference, one.user)
        for name, one in by_factor.items()
        if one.reference is not None and one.user is not None
    }
    rules = LevelRules(levels, full, setting, scale, user_replicas)
    mappings = []
    for name, (reference, user) in levels.items():
        FACTORS[name].check_applies(setting)
        here = rules.at_scale(name)
        mappings.append(
            LevelMapping(
                name,
                reference.label,
                user.label,
                FACTORS[name].reference_level(setting),
                here.level,
                here.kept,
                here.why,
                here.clipped,
            )
        )
    return tuple(mappings)
