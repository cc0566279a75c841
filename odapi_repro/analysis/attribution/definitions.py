"""What an effect is: a name and the weight of each cell's mean.

All effects are user's level minus reference's level, so that a deviation that costs AP is negative,
and the effect of all deviations together is the gap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from odapi_repro.analysis.attribution.cells import (
    Combination,
    StudiedDeviation,
    at_reference,
    at_user,
    moved,
)

Kind = Literal[
    "gap",
    "from_reference",
    "from_user",
    "both_ends",
    "disagreement",
    "path_share",
    "restored_share",
    "main_effect",
    "interaction",
    "shapley_value",
    "shapley_interaction",
    "rest",
]


@dataclass(frozen=True)
class Alias:
    """What a fractional design cannot tell from an effect.

    Attributes:
        deviations: the interaction, by the names of its deviations.
        coefficient: how much of it is in the estimate; an interaction of two is a difference of
            differences, one of three the difference of two such, and so on.
    """

    deviations: tuple[str, ...]
    coefficient: float


@dataclass(frozen=True)
class EffectDefinition:
    """One effect as a linear combination of the means of cells.

    Attributes:
        kind: what sort of effect; see `docs/statistics.md`.
        deviations: the names of those it belongs to.
        from_level, to_level: labels of what is compared; the effect is `to` minus `from`.
        weights: of the mean of each cell; no zeros.
        family: effects of one family are judged together.
        primary: whether it answers the design's question: a race is run for these.
        context: where the other deviations stand meanwhile, for the table.
        aliases: what it cannot be told from.
        draws: weights of each independent random draw, of which `weights` is the mean; empty for
            what is not sampled.
        population: how many different draws there are.
    """

    kind: Kind
    deviations: tuple[str, ...]
    from_level: str
    to_level: str
    weights: Mapping[Combination, float]
    family: str
    primary: bool = False
    context: str = ""
    aliases: tuple[Alias, ...] = ()
    draws: tuple[Mapping[Combination, float], ...] = ()
    population: float = math.inf

    @property
    def name(self) -> str:
        """What tables call it: the deviations, joined by ` x ` for an interaction, else ` + `."""
        crossed = self.kind in ("interaction", "shapley_interaction")
        return (" x " if crossed else " + ").join(self.deviations)


def combined(
    parts: Iterable[tuple[float, Mapping[Combination, float]]],
) -> dict[Combination, float]:
    """The weighted sum of weights, without cells that cancel."""
    total: dict[Combination, float] = {}
    for factor, weights in parts:
        for combination, weight in weights.items():
            total[combination] = total.get(combination, 0.0) + factor * weight
    return {combination: weight for combination, weight in total.items() if abs(weight) > 1e-12}


def difference(to: Combination, start: Combination) -> dict[Combination, float]:
    """The weights of one cell minus another."""
    return combined([(1.0, {to: 1.0}), (-1.0, {start: 1.0})])


def gap_effect(deviations: Sequence[StudiedDeviation]) -> EffectDefinition:
    """The user's config minus the reference: what the effects of a design share out."""
    count = len(deviations)
    return EffectDefinition(
        kind="gap",
        deviations=tuple(one.name for one in deviations),
        from_level="reference",
        to_level="user",
        weights=difference(at_user(count), at_reference(count)),
        family="gap",
    )


def both_ends_effects(deviations: Sequence[StudiedDeviation]) -> tuple[EffectDefinition, ...]:
    """One factor at a time from both ends: each deviation's effect at either, and their mean.

    `from_reference` adds the deviation to the reference, `from_user` takes it out of the user's
    config, `both_ends` is the mean of the two, `disagreement` is `from_user` minus
    `from_reference`: it is not 0 where the deviation interacts with the others.
    """
    count = len(deviations)
    reference, user = at_reference(count), at_user(count)
    found = []
    for index, deviation in enumerate(deviations):
        low = difference(moved(reference, [index], 1), reference)
        high = difference(user, moved(user, [index], 0))
        rows: tuple[tuple[Kind, dict[Combination, float], str], ...] = (
            ("both_ends", combined([(0.5, low), (0.5, high)]), "mean of both ends"),
            ("from_reference", low, "others at the reference's level"),
            ("from_user", high, "others at the user's level"),
            ("disagreement", combined([(1.0, high), (-1.0, low)]), "from_user - from_reference"),
        )
        for kind, weights, context in rows:
            if weights:
                found.append(
                    EffectDefinition(
                        kind=kind,
                        deviations=(deviation.name,),
                        from_level=deviation.label(0),
                        to_level=deviation.label(1),
                        weights=weights,
                        family=kind,
                        primary=kind == "both_ends",
                        context=context,
                    )
                )
    return tuple(found)


def path_effects(
    deviations: Sequence[StudiedDeviation],
    steps: Sequence[Sequence[int]],
    *,
    start: Combination,
    kind: Kind = "path_share",
    family: str = "path",
) -> tuple[EffectDefinition, ...]:
    """The share of each step of a path from one end to the other; the shares sum to the gap.

    Args:
        deviations: all of them.
        steps: indices of the deviations that move in each step.
        start: where the path begins, the reference's or the user's end.
        kind, family: of the effects.
    """
    adding = start == at_reference(len(deviations))
    found = []
    before: list[str] = []
    here = start
    for step in steps:
        there = moved(here, step, 1 if adding else 0)
        names = tuple(deviations[index].name for index in step)
        single = deviations[step[0]] if len(step) == 1 else None
        verb = "added" if adding else "mended"
        found.append(
            EffectDefinition(
                kind=kind,
                deviations=names,
                from_level=single.label(0) if single else "reference",
                to_level=single.label(1) if single else "user",
                weights=difference(there, here) if adding else difference(here, there),
                family=family,
                primary=True,
                context=f"after {', '.join(before)} {verb}" if before else f"{verb} first",
            )
        )
        before += names
        here = there
    return tuple(found)


def level_effects(
    deviations: Sequence[StudiedDeviation], cells: Sequence[Combination]
) -> tuple[EffectDefinition, ...]:
    """The effect of every level of a grid against the reference's, averaged over the others.

    Args:
        deviations: all of them.
        cells: the grid: every combination of levels.
    """
    found = []
    for index, deviation in enumerate(deviations):
        share = len(deviation.levels) / len(cells)
        for level in range(1, len(deviation.levels)):
            sign = {level: share, 0: -share}
            found.append(
                EffectDefinition(
                    kind="main_effect",
                    deviations=(deviation.name,),
                    from_level=deviation.label(0),
                    to_level=deviation.label(level),
                    weights={c: sign[c[index]] for c in cells if c[index] in sign},
                    family="main_effect",
                    primary=True,
                    context="mean over the levels of the others",
                )
            )
    return tuple(found)
