"""How two pipelines differ, grouped by the factor that could be varied to close the difference."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import NamedTuple

from odapi_repro.diagnosis.field_factors import FACTOR_ORDER, factor_of_field, factor_of_quantity
from odapi_repro.diagnosis.filled_fields import FieldValue, filled_fields
from odapi_repro.diagnosis.inert import inert_paths
from odapi_repro.pipeline import (
    Circumstances,
    Pipeline,
    Quantities,
    derive_quantities,
    flatten_fields,
    quantity_definitions,
)

# What stands in no config. Where only one side says how many replicas there are, these differ
# by what was not said.
_PER_REPLICA = ("num_replicas", "images_per_replica", "batchnorm_images")

# The field of this name is a list that is told as a whole, with parameters.
_TOLD_BY_FIELDS = ("augmentation",)
_NO_RATE = 1e-6
_INDEX = re.compile(r"\[[^\]]*\]")


class QuantityDifference(NamedTuple):
    """A quantity that differs; None on a side where the notion does not apply or is not known."""

    name: str
    unit: str
    a: object
    b: object


class FieldDifference(NamedTuple):
    """A field that differs; None on a side that does not read it.

    `inert` says why the field has no effect under model_main_tf2, None for one that has.
    """

    path: str
    a: FieldValue | None
    b: FieldValue | None
    inert: str | None


@dataclass(frozen=True)
class Deviation:
    """All that differs in one factor.

    Attributes:
        factor: a name of `field_factors.FACTOR_ORDER`.
        quantities: what differs in what the configs amount to.
        fields: what differs in the configs, defaults filled in.
    """

    factor: str
    quantities: tuple[QuantityDifference, ...]
    fields: tuple[FieldDifference, ...]

    @property
    def is_inert(self) -> bool:
        """Whether nothing of it has any effect."""
        return not self.quantities and all(field.inert is not None for field in self.fields)


def find_deviations(
    a: Pipeline,
    b: Pipeline,
    *,
    a_circumstances: Circumstances | None = None,
    b_circumstances: Circumstances | None = None,
) -> tuple[Deviation, ...]:
    """Gives the deviations of two pipelines, factors in `FACTOR_ORDER`.

    An unset field is equal to its default, a list is compared as a whole, and floats are equal
    within what float32 rounds. No file is looked at. Never raises for pipelines that parse.
    """
    fields = _field_differences(a, b)
    quantities = _quantity_differences(a, b, a_circumstances, b_circumstances)
    by_factor: dict[str, tuple[list[QuantityDifference], list[FieldDifference]]]
    by_factor = defaultdict(lambda: ([], []))
    for quantity in quantities:
        by_factor[factor_of_quantity(quantity.name)][0].append(quantity)
    for field in fields:
        by_factor[factor_of_field(field.path)][1].append(field)
    return tuple(
        Deviation(factor, tuple(by_factor[factor][0]), tuple(by_factor[factor][1]))
        for factor in sorted(by_factor, key=FACTOR_ORDER.index)
    )


def _field_differences(a: Pipeline, b: Pipeline) -> list[FieldDifference]:
    left, right = filled_fields(a), filled_fields(b)
    sides = (a, b)
    inert = [inert_paths(side) for side in sides]
    written = [{_INDEX.sub("", path) for path in flatten_fields(side.proto)} for side in sides]
    plain = written[0] | written[1]
    paths = [*left, *(path for path in right if path not in left)]
    differing = [path for path in paths if not _same(left.get(path), right.get(path))]
    # Of a message that one side does not have, the defaults are told only where nothing else is.
    one_sided = {path for path in differing if path not in left or path not in right}
    told = {_parent(path) for path in differing if _INDEX.sub("", path) in plain}
    return [
        FieldDifference(path, left.get(path), right.get(path), _inert_reason(path, inert, written))
        for path in differing
        if path not in one_sided or _INDEX.sub("", path) in plain or _parent(path) not in told
    ]


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _quantity_differences(
    a: Pipeline,
    b: Pipeline,
    a_known: Circumstances | None,
    b_known: Circumstances | None,
) -> list[QuantityDifference]:
    # What a disk holds is no property of a config, and would differ from machine to machine.
    known = [replace(one or Circumstances(), look_at_disk=False) for one in (a_known, b_known)]
    left, right = derive_quantities(a, known[0]), derive_quantities(b, known[1])
    skipped: tuple[str, ...] = _TOLD_BY_FIELDS
    if (known[0].num_replicas is None) != (known[1].num_replicas is None):
        skipped += _PER_REPLICA if _alike_per_batch(left, right) else ("num_replicas",)
    ours, theirs = left.as_dict(), right.as_dict()
    return [
        QuantityDifference(name, unit, ours[name], theirs[name])
        for name, (unit, _) in quantity_definitions().items()
        if name not in skipped
        and not _same(ours[name], theirs[name])
        and not (name == "lr_last" and _is_nothing(ours[name]) and _is_nothing(theirs[name]))
    ]


def _is_nothing(rate: object) -> bool:
    """Whether a learning rate is what a cosine leaves at its end: digits, and no step."""
    return isinstance(rate, float) and abs(rate) < _NO_RATE


def _alike_per_batch(left: Quantities, right: Quantities) -> bool:
    return left.global_batch == right.global_batch and left.batchnorm == right.batchnorm


def _inert_reason(
    path: str, inert: Sequence[Mapping[str, str]], written: Sequence[AbstractSet[str]]
) -> str | None:
    """Gives why a field has no effect, if it has none on any side that sets it."""
    reasons = [_reason(path, one) for one in inert]
    plain = _INDEX.sub("", path)
    if any(
        reason is None and plain in fields for reason, fields in zip(reasons, written, strict=True)
    ):
        return None
    return next((reason for reason in reasons if reason is not None), None)


def _reason(path: str, inert: Mapping[str, str]) -> str | None:
    """Gives the reason of a field, or of the innermost message around it that has one."""
    while path:
        if path in inert:
            return inert[path]
        path = _parent(path)
    return None


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-30)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
