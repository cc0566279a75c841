"""What a factor is: one thing that can be changed in a controlled way."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from odapi_repro.errors import UserError
from odapi_repro.pipeline import Pipeline, Recipe

__all__ = ["Factor", "Level", "Setting", "parse_amount", "parse_rate"]


@dataclass(frozen=True)
class Level:
    """One setting of a factor.

    Attributes:
        label: how tables and the command line write it, e.g. `16`, `linear`.
        value: what the factor makes of it.
    """

    label: str
    value: object


@dataclass(frozen=True)
class Setting:
    """Where a factor is studied: the reference at the study's scale, and at its own.

    Attributes:
        pipeline: the reference pipeline at the study's scale.
        recipe: the recipe of `pipeline`.
        full_recipe: the recipe of the pipeline as the user gave it, before scaling.
        num_train_files: files of the training records; None where no records are known.
    """

    pipeline: Pipeline
    recipe: Recipe
    full_recipe: Recipe
    num_train_files: int | None = None


class Factor(ABC):
    """One factor: its levels, the quantities it owns, what it holds constant.

    Attributes:
        name: as on the command line.
        summary: what it changes, in one line.
        owns: the fields of `Recipe` that it alone writes.
        holds: what stays constant while it varies, and what moves along, for the table.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    owns: ClassVar[tuple[str, ...]]
    holds: ClassVar[str]

    def check_applies(self, setting: Setting) -> None:
        """Raises `UserError` naming the pipelines it applies to, when it does not apply here."""
        del setting

    @abstractmethod
    def reference_level(self, setting: Setting) -> Level:
        """Gives the level at which the reference recipe stands."""

    @abstractmethod
    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """Gives the levels studied when none are named; the reference level is among them."""

    @abstractmethod
    def parse_level(self, text: str, setting: Setting) -> Level:
        """Gives the level that `text` names: literal, or relative to the reference (`1/4`, `2x`).

        Raises:
            UserError: with the nearest level or the form expected.
        """

    @abstractmethod
    def edit(self, recipe: Recipe, level: Level) -> Recipe:
        """Gives the recipe with the quantities this factor owns set to the level."""

    def default_at(self, setting: Setting) -> Mapping[str, str]:
        """Gives factor name -> level text at which the others stand, where not the reference."""
        del setting
        return {}

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """Gives what the level corresponds to at the pipeline's own scale, for the mapping."""
        del setting
        return level.label


def parse_amount(text: str, reference: int, *, factor: str, unit: str, at_least: int) -> int:
    """Gives a whole number from a literal (`16`) or a multiple of the reference (`1/4`, `2x`).

    Raises:
        UserError: not a number, or below `at_least`.
    """
    cleaned = text.strip().lower()
    try:
        if cleaned.endswith("x") or "/" in cleaned:
            amount = Fraction(cleaned.removesuffix("x")) * reference
            value = round(amount)
        else:
            value = int(cleaned)
    except (ValueError, ZeroDivisionError):
        raise UserError(
            f"'{text}' is no level of {factor}",
            expected=f"{unit}, as a whole number or relative to the reference's {reference} "
            "(1/4, 2x)",
            mend=f"e.g. --levels {reference},1/4",
        ) from None
    if value < at_least:
        raise UserError(
            f"level '{text}' of {factor} comes to {value}",
            expected=f"{unit}, at least {at_least}",
            mend=f"the reference stands at {reference}; choose a larger level",
        )
    return value


def parse_rate(text: str, reference: float, *, factor: str) -> float:
    """Gives a rate from a literal (`0.01`) or a multiple of the reference (`1/8`, `2x`).

    Raises:
        UserError: not a number, or not above 0.
    """
    cleaned = text.strip().lower()
    try:
        if cleaned.endswith("x") or "/" in cleaned:
            rate = float(Fraction(cleaned.removesuffix("x"))) * reference
        else:
            rate = float(cleaned)
    except (ValueError, ZeroDivisionError, OverflowError):
        rate = math.nan
    if not 0 < rate < math.inf:
        raise UserError(
            f"'{text}' is no level of {factor}",
            expected=f"a rate above 0, or relative to the reference's {reference:g} (1/8, 2x)",
            mend=f"e.g. --levels {reference:g},1/8",
        )
    return rate
