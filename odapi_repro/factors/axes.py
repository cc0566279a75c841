"""Which combinations of levels a study runs: one factor at a time, or all of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odapi_repro.factors import Factor, Level, Setting, factor_named

__all__ = ["DESIGNS", "Axis", "cells_of", "make_axes"]

DESIGNS = ("one_at_a_time", "grid")
Cell = Mapping[str, Level]


@dataclass(frozen=True)
class Axis:
    """One factor of a study.

    Attributes:
        factor: the factor.
        levels: the reference level first, then the others in the order given.
        at: factor name -> level, where others do not stand at their reference meanwhile.
    """

    factor: Factor
    levels: tuple[Level, ...]
    at: Mapping[str, Level]

    @property
    def reference(self) -> Level:
        """The level others are compared with."""
        return self.levels[0]


def make_axes(
    factors: Sequence[Factor],
    level_texts: Mapping[str, Sequence[str]],
    at_texts: Mapping[str, str],
    setting: Setting,
    design: str,
    *,
    held_before: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[Axis, ...]:
    """Gives the axes of a study.

    Args:
        factors: in the order named.
        level_texts: factor name -> levels as typed; the defaults where absent.
        at_texts: factor name -> level as typed at which factors not being varied stand.
        setting: where the factors are studied.
        design: one of `DESIGNS`; a grid varies everything together, so `at` is only for factors
            outside it.
        held_before: factor name -> other factor -> level: where an earlier command of the same
            study had the others stand, which goes before the defaults.

    Raises:
        UserError: a factor does not apply, or a level is none of its.
    """
    axes = []
    named = {factor.name for factor in factors}
    for factor in factors:
        factor.check_applies(setting)
        reference = factor.reference_level(setting)
        texts = level_texts.get(factor.name)
        levels = (
            tuple(factor.parse_level(text, setting) for text in texts)
            if texts
            else factor.default_levels(setting)
        )
        axes.append((factor, _unique((reference, *levels))))
    smallest = {factor.name: levels for factor, levels in axes}
    result = []
    for factor, levels in axes:
        at: dict[str, Level] = {}
        before = (held_before or {}).get(factor.name, {})
        for other, text in {**factor.default_at(setting), **before, **at_texts}.items():
            if other == factor.name or (design == "grid" and other in named):
                continue
            other_factor = factor_named(other)
            other_factor.check_applies(setting)
            if other in smallest and other not in at_texts and other not in before:
                # The study's own smallest batch rather than the smallest default.
                at[other] = min(smallest[other], key=lambda level: float(level.label))
            else:
                at[other] = other_factor.parse_level(text, setting)
        result.append(Axis(factor, levels, at))
    return tuple(result)


def cells_of(axes: Sequence[Axis], setting: Setting, design: str) -> list[dict[str, Level]]:
    """Gives the distinct cells, the reference first; every cell names every factor's level.

    In a one-at-a-time design the reference cell is always among them.
    """
    names = [axis.factor.name for axis in axes]
    names += [other for axis in axes for other in axis.at if other not in names]
    base = {name: factor_named(name).reference_level(setting) for name in dict.fromkeys(names)}
    cells: list[dict[str, Level]] = []
    if design == "grid":
        outside = {
            other: level
            for axis in axes
            for other, level in axis.at.items()
            if other not in {a.factor.name for a in axes}
        }
        for combination in itertools.product(*(axis.levels for axis in axes)):
            levels = {axis.factor.name: lv for axis, lv in zip(axes, combination, strict=True)}
            cells.append({**base, **outside, **levels})
    else:
        cells.append(dict(base))
        for axis in axes:
            cells.extend({**base, **axis.at, axis.factor.name: level} for level in axis.levels)
    distinct: dict[tuple[str, ...], dict[str, Level]] = {}
    for cell in cells:
        distinct.setdefault(tuple(level.label for level in cell.values()), cell)
    return list(distinct.values())


def _unique(levels: Sequence[Level]) -> tuple[Level, ...]:
    return tuple({level.label: level for level in levels}.values())
