"""Factors that only make sense together move together, as one deviation."""

from __future__ import annotations

from collections.abc import Sequence

from odapi_repro.analysis.attribution import StudiedDeviation
from odapi_repro.errors import UserError
from odapi_repro.features.explain.varied import Varied


def grouped(varied: Varied, groups: Sequence[Sequence[str]] | None) -> tuple[StudiedDeviation, ...]:
    """Gives the deviations of a study, a group named by its factors joined with `+`.

    Args:
        varied: what it varies.
        groups: the factors of each group; None for the default, where a factor that only follows
            another moves with it. Factors in no group stand alone.

    Raises:
        UserError: a group with a factor that is not varied, or two groups with the same.
    """
    mappings = {one.factor: one for one in varied.mapped_levels}
    if groups is None:
        groups = [(leader, name) for name, leader in varied.followers.items()]
    _check(groups, list(mappings))
    member = {name: tuple(group) for group in groups for name in group}
    made: dict[tuple[str, ...], StudiedDeviation] = {}
    for name in mappings:
        factors = member.get(name, (name,))
        if factors not in made:
            made[factors] = StudiedDeviation(
                "+".join(factors),
                (
                    {each: mappings[each].reference.label for each in factors},
                    {each: mappings[each].user.label for each in factors},
                ),
            )
    return tuple(made.values())


def _check(groups: Sequence[Sequence[str]], varied: Sequence[str]) -> None:
    seen: set[str] = set()
    for group in groups:
        for name in group:
            if name not in varied:
                raise UserError(
                    f"--group {'+'.join(group)}: {name} is not varied",
                    expected=f"factors of {', '.join(varied)}",
                    mend="--plan lists what is varied and what is not, with the reason",
                )
            if name in seen:
                raise UserError(
                    f"--group: {name} is in two groups",
                    expected="each factor in one group at most",
                    mend="join the groups, or take it out of one",
                )
            seen.add(name)
