"""What a factor is: one thing that can be changed in a controlled way."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Generic, TypeVar

from odapi_repro.command import nearest
from odapi_repro.errors import UserError
from odapi_repro.pipeline import Pipeline, Recipe, descend


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


SettingT = TypeVar("SettingT")


class Factor(ABC, Generic[SettingT]):
    """One factor: its levels, and what it holds constant.

    Attributes:
        name: as on the command line.
        also_called: other names of it, of configs, papers and other training programs.
        summary: what it changes, in one line.
        holds: what stays constant while it varies, and what moves along, for the table.
        needs_training: whether a level takes a training, or is measured on a finished checkpoint.
    """

    name: ClassVar[str]
    also_called: ClassVar[str] = ""
    summary: ClassVar[str]
    holds: ClassVar[str]
    needs_training: ClassVar[bool]

    def check_applies(self, setting: SettingT) -> None:
        """Raises `UserError` naming the pipelines it applies to, when it does not apply here."""
        del setting

    @abstractmethod
    def reference_level(self, setting: SettingT) -> Level:
        """Gives the level at which the pipeline stands."""

    @abstractmethod
    def default_levels(self, setting: SettingT) -> tuple[Level, ...]:
        """Gives the levels studied when none are named."""

    @abstractmethod
    def parse_level(self, text: str, setting: SettingT) -> Level:
        """Gives the level that `text` names: literal, or relative to the reference (`1/4`, `2x`).

        Raises:
            UserError: with the nearest level or the form expected.
        """

    def default_at(self, setting: SettingT) -> Mapping[str, str]:
        """Gives factor name -> level text at which the others stand, where not the reference."""
        del setting
        return {}

    def not_for(
        self, pipeline: Pipeline, why: str, expected: str, mend: str = "leave it out of --ablate"
    ) -> UserError:
        """Gives the error of a pipeline that the factor does not apply to."""
        found = f"{self.name} does not apply to {pipeline.path}: {why}"
        return UserError(found, expected=expected, mend=mend)

    def no_level(self, text: str, expected: str, example: str) -> UserError:
        """Gives the error of a text that names no level."""
        return UserError(
            f"'{text}' is no level of {self.name}",
            expected=expected,
            mend=f"e.g. --levels {self.name}={example}",
        )

    def named(self, text: str, names: Sequence[str]) -> Level:
        """Gives the level of one of a few names."""
        if text in names:
            return Level(text, text)
        example = ",".join(names[:2])
        raise UserError(
            f"'{text}' is no level of {self.name}",
            expected=f"one of {', '.join(names)}",
            mend=f"{nearest(text, names)}e.g. --levels {self.name}={example}",
        )


class TrainedFactor(Factor[Setting]):
    """A factor whose levels are trained.

    Attributes:
        owns: the fields of `Recipe` that it alone writes.
    """

    owns: ClassVar[tuple[str, ...]]
    needs_training = True

    def edit(self, recipe: Recipe, level: Level) -> Recipe:
        """Gives the recipe with the quantities this factor owns set to the level."""
        owned: dict[str, Any] = dict.fromkeys(self.owns, level.value)
        return dataclasses.replace(recipe, **owned)

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """Gives what the level corresponds to at the pipeline's own scale, for the mapping."""
        del setting
        return level.label


class FieldFactor(TrainedFactor):
    """A factor that owns a field of the proto, which no quantity of the recipe stands for.

    Attributes:
        path: dotted, e.g. `train_config.gradient_clipping_by_norm`.
    """

    owns = ()
    path: ClassVar[str]

    def reference_level(self, setting: Setting) -> Level:
        """The pipeline's own value, the proto's default where it is unset."""
        return self.level(descend(setting.pipeline.proto, self.path))

    @staticmethod
    def level(value: Any) -> Level:
        """Gives the level of a value; a float's label has the seven digits that the proto holds."""
        return Level(f"{value:.7g}" if isinstance(value, float) else str(value), value)

    def edit(self, recipe: Recipe, level: Level) -> Recipe:
        """Gives the recipe with the field set to the level."""
        return dataclasses.replace(recipe, fields=(*recipe.fields, (self.path, level.value)))


class AmountFactor(TrainedFactor):
    """A factor that owns one whole number, given literally or as a share of the reference's.

    Attributes:
        unit: of the number.
        default_shares: of the reference, the levels where none are named.
    """

    unit: ClassVar[str]
    default_shares: ClassVar[tuple[Fraction, ...]]

    def own(self, recipe: Recipe) -> int:
        """Gives the number of a recipe; `check_applies` has looked that there is one."""
        found = getattr(recipe, self.owns[0])
        assert isinstance(found, int)
        return found

    def least(self, setting: Setting) -> int:
        """Gives the smallest number that a level may come to."""
        del setting
        return 1

    def reference_level(self, setting: Setting) -> Level:
        """The pipeline's own."""
        return whole(self.own(setting.recipe))

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The shares of the reference."""
        own, least = self.own(setting.recipe), self.least(setting)
        numbers = {max(least, round(own * share)) for share in self.default_shares}
        return tuple(map(whole, sorted(numbers, reverse=True)))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A number, or a share of the reference's."""
        own, least = self.own(setting.recipe), self.least(setting)
        return whole(parse_amount(text, own, factor=self.name, unit=self.unit, at_least=least))

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The number that is the same share of the pipeline's own."""
        assert isinstance(level.value, int)
        share = Fraction(level.value, self.own(setting.recipe))
        reference = self.own(setting.full_recipe)
        full = f"{float(share * reference):g}"
        return full if share == 1 else f"{full} ({share} of {reference})"


def whole(number: int) -> Level:
    """Gives the level of a whole number."""
    return Level(str(number), number)


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
