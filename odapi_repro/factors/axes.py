"""The axes of a study: its factors with their levels, and the cells they span."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from odapi_repro.factors import factor_named
from odapi_repro.factors.factor import Factor, Level

DESIGNS = ("one_at_a_time", "grid")

Levels = Mapping[str, Mapping[str, Level]]
"""Factor -> label -> level, for every label that the axes name."""


@dataclass(frozen=True)
class Axis:
    """One factor of a study: its levels in order, and what the other factors are meanwhile.

    Attributes:
        name: the factor's column in the table of trials.
        reference_level: the label every other level is compared with.
        levels: the labels in the order in which they are printed and plotted.
        at: the label at which each other factor is held while this one varies. A factor that is
            not named is held at its own reference level (one at a time) or varies (`grid`).
        design: one of `DESIGNS`; in a grid every combination was trained, and an effect is the
            average of the simple effects over the combinations of the others.
    """

    name: str
    reference_level: str
    levels: tuple[str, ...]
    at: Mapping[str, str] = field(default_factory=dict)
    design: str = DESIGNS[0]

    def __post_init__(self) -> None:
        if self.reference_level not in self.levels:
            raise ValueError(
                f"{self.name}: the reference level {self.reference_level!r} is not one of"
                f" {list(self.levels)}"
            )
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"{self.name}: a level appears twice in {list(self.levels)}")
        if self.name in self.at:
            raise ValueError(f"{self.name} cannot be held at {self.at[self.name]!r} and vary")

    @property
    def other_levels(self) -> tuple[str, ...]:
        """The levels that are compared with the reference level."""
        return tuple(level for level in self.levels if level != self.reference_level)

    def contexts(self, axes: Sequence[Axis]) -> list[dict[str, str]]:
        """What the other factors are while this one varies: one mapping, many for a grid.

        Args:
            axes: all axes of the study; this one may be among them.
        """
        choices: dict[str, tuple[str, ...]] = {name: (label,) for name, label in self.at.items()}
        for other in axes:
            if other.name == self.name or other.name in self.at:
                continue
            one = self.design != "grid"
            choices[other.name] = (other.reference_level,) if one else other.levels
        names = sorted(choices)
        return [
            dict(zip(names, labels, strict=True))
            for labels in itertools.product(*(choices[name] for name in names))
        ]


def make_axes(
    factors: Sequence[Factor[Any]],
    level_texts: Mapping[str, Sequence[str]],
    at_texts: Mapping[str, str],
    setting: Any,
    design: str,
    *,
    held_before: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[tuple[Axis, ...], Levels]:
    """Gives the axes of a study, and what their labels stand for.

    Args:
        factors: to be varied.
        level_texts: factor name -> texts of the levels; the factor's defaults where it has none.
        at_texts: factor name -> text of the level at which it stands where it is not varied.
        setting: where they are studied; of the factors' kind.
        design: one of `DESIGNS`.
        held_before: factor name -> where others stood when it was studied before.

    Raises:
        UserError: a factor does not apply, or a text names no level.
    """
    levels: dict[str, dict[str, Level]] = {}
    for factor in factors:
        factor.check_applies(setting)
        texts = level_texts.get(factor.name)
        chosen = (
            [factor.parse_level(text, setting) for text in texts]
            if texts
            else factor.default_levels(setting)
        )
        named = (factor.reference_level(setting), *chosen)
        levels[factor.name] = {level.label: level for level in named}
    varied = {name: tuple(labels) for name, labels in levels.items()}
    axes = []
    for factor in factors:
        at: dict[str, str] = {}
        before = (held_before or {}).get(factor.name, {})
        for other, text in {**factor.default_at(setting), **before, **at_texts}.items():
            if other == factor.name or (design == "grid" and other in varied):
                continue
            held = factor_named(other)
            held.check_applies(setting)
            if other in varied and other not in at_texts and other not in before:
                # The study's own smallest batch rather than the smallest default.
                at[other] = min(varied[other], key=float)
            else:
                level = held.parse_level(text, setting)
                at[other] = level.label
                levels.setdefault(other, {}).setdefault(level.label, level)
        labels = varied[factor.name]
        axes.append(Axis(factor.name, labels[0], labels, at, design))
    return tuple(axes), levels


def cells_of(axes: Sequence[Axis], levels: Levels, setting: Any) -> list[dict[str, Level]]:
    """Gives the distinct cells, the reference first; every cell names every factor's level.

    Args:
        axes: the factors.
        levels: what their labels stand for.
        setting: where they are studied.
    """
    reference = {axis.name: levels[axis.name][axis.reference_level] for axis in axes}
    held = {other: levels[other][label] for axis in axes for other, label in axis.at.items()}
    base = {
        name: reference.get(name) or factor_named(name).reference_level(setting)
        for name in dict.fromkeys([*reference, *held])
    }
    of_axes = [[(axis.name, levels[axis.name][label]) for label in axis.levels] for axis in axes]
    cells: list[dict[str, Level]] = []
    if axes and axes[0].design == "grid":
        cells += [{**base, **held, **dict(one)} for one in itertools.product(*of_axes)]
    else:
        cells.append(base)
        for axis, choices in zip(axes, of_axes, strict=True):
            at = {other: levels[other][label] for other, label in axis.at.items()}
            cells += [{**base, **at, name: level} for name, level in choices]
    distinct: dict[tuple[str, ...], dict[str, Level]] = {}
    for cell in cells:
        distinct.setdefault(tuple(level.label for level in cell.values()), cell)
    return list(distinct.values())
