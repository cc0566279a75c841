"""A user's deviations sorted: those that a study varies, with their levels, and the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odapi_repro.diagnosis.deviations import FieldDifference
from odapi_repro.diagnosis.filled_fields import FieldValue
from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Level, Setting, factor_named
from odapi_repro.features.explain.explanation import ComparedField, UnvariedDeviation
from odapi_repro.features.explain.level_rules import LevelRules
from odapi_repro.features.explain.user_deviations import (
    EVALUATION,
    INERT,
    LEFT_OPEN,
    TRAINING,
    UNEXPRESSED,
    FactorDeviation,
)
from odapi_repro.pipeline import Pipeline

AT_THIS_SCALE = "at_this_scale"
"""A factor expresses it, and the study's scale or data cannot vary it."""
HELD = "held"
"""Left out on request: it stands at the reference's level in all trials."""

_WHY = {
    UNEXPRESSED: "no training factor expresses it: all trials have the reference's",
    EVALUATION: "it changes what is measured and not what is learned",
    LEFT_OPEN: "the reference leaves it to the user",
    INERT: "it has no effect under model_main_tf2",
    HELD: "held at the reference's level on request",
}


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


@dataclass(frozen=True)
class Varied:
    """What a study varies and what not.

    Attributes:
        mapped_levels: of the deviations that it varies.
        followers: factor -> the one that it only follows: the user left alone a field that the
            reference's recipe moves along with the other.
        levels: factor -> (reference's, user's) level at the pipeline's own scale, of every
            deviation that a factor expresses.
        unvaried: the others.
    """

    mapped_levels: tuple[LevelMapping, ...]
    followers: Mapping[str, str]
    levels: Mapping[str, tuple[Level, Level]]
    unvaried: tuple[UnvariedDeviation, ...]


def sort_deviations(
    deviations: Sequence[FactorDeviation],
    reference: Pipeline,
    setting: Setting,
    *,
    scale: str,
    held: Sequence[str],
    user_replicas: int,
) -> Varied:
    """Sorts the deviations of a user's config.

    Args:
        deviations: as `deviations_as_factors` gives them.
        reference: at its own scale.
        setting: the reference at the study's scale.
        scale: `full`, `proxy` or `smoke`.
        held: factors that are not to be varied.
        user_replicas: that share the user's batch.

    Raises:
        UserError: `held` names a factor that does not deviate.
    """
    training = {one.factor: one for one in deviations if one.kind == TRAINING}
    for name in held:
        if factor_named(name).name not in training:
            raise UserError(
                f"--hold {name}: it does not deviate",
                expected=f"one of {', '.join(training) or 'none'}",
                mend="leave it out",
            )
    unvaried = [
        UnvariedDeviation(one.factor, one.kind, _fields(one.fields), _why(one))
        for one in deviations
        if one.kind != TRAINING
    ]
    possible = []
    for name, one in training.items():
        why = _WHY[HELD] if name in held else _impossible(name, setting)
        if why:
            kind = HELD if name in held else AT_THIS_SCALE
            unvaried.append(UnvariedDeviation(name, kind, _fields(one.fields), why))
        else:
            possible.append(one)
    found = map_levels(possible, reference, setting, scale=scale, user_replicas=user_replicas)
    for mapping in found:
        if not mapping.is_varied:
            fields = _fields(training[mapping.factor].fields)
            unvaried.append(UnvariedDeviation(mapping.factor, AT_THIS_SCALE, fields, mapping.text))
    varied = tuple(mapping for mapping in found if mapping.is_varied)
    levels = {
        name: (one.reference, one.user)
        for name, one in training.items()
        if one.reference is not None and one.user is not None
    }
    return Varied(
        varied,
        _followers(training, [mapping.factor for mapping in varied]),
        levels,
        tuple(unvaried),
    )


def _impossible(factor: str, setting: Setting) -> str:
    try:
        FACTORS[factor].check_applies(setting)
    except UserError as error:
        return error.found
    return ""


def _followers(training: Mapping[str, FactorDeviation], varied: Sequence[str]) -> dict[str, str]:
    """A warm-up that no field of its own differs in follows the length of the run."""
    leader = "schedule_length"
    if "warmup" not in varied or leader not in varied or training["warmup"].fields:
        return {}
    return {"warmup": leader}


def _fields(differences: Sequence[FieldDifference]) -> tuple[ComparedField, ...]:
    return tuple(ComparedField(one.path, _text(one.a), _text(one.b)) for one in differences)


def _text(value: FieldValue | None) -> str:
    if isinstance(value, tuple):
        return ", ".join(_text(one) for one in value)
    return "" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)


def _why(one: FactorDeviation) -> str:
    told = [field.inert for field in one.fields if field.inert]
    if told:
        return "; ".join(dict.fromkeys(told))
    amounts = [
        f"{each.name.replace('_', ' ')} {each.a} {each.unit}, the reference's {each.b}"
        for each in one.quantities
    ]
    return "; ".join([_WHY[one.kind], *amounts])
