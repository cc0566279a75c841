"""What differs between two configs, as tables of a page and as JSON values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from odapi_repro.diagnosis.deviations import Deviation, FieldDifference
from odapi_repro.diagnosis.render.diagnosis_json import as_json_value
from odapi_repro.diagnosis.render.diagnosis_wording import quantity_label, value_text
from odapi_repro.page.blocks import BREAK, Block, Table, code
from odapi_repro.page.numbers import count_of


def summary(deviations: Sequence[Deviation]) -> str:
    """Gives one line: how many factors and fields differ, and how many without effect."""
    if not deviations:
        return "no difference"
    live = [one for one in deviations if not one.is_inert]
    fields = [field for one in deviations for field in one.fields]
    inert = sum(field.inert is not None for field in fields)
    parts = [f"{count_of(len(live), 'factor')} {'differs' if len(live) == 1 else 'differ'}"]
    if fields:
        parts.append(
            f"{count_of(len(fields), 'field')}" + (f", {inert} without effect" if inert else "")
        )
    return ": ".join(parts)


def deviation_tables(deviations: Sequence[Deviation]) -> list[Block]:
    """Gives a table for each factor that differs: its quantities, then its fields.

    Fields without effect stand in one at the end, each with the reason.
    """
    tables: list[Block] = []
    inert: list[tuple[str, ...]] = []
    for one in deviations:
        told = [
            (quantity_label(pair.name, pair.unit), _quantity(pair.a), _quantity(pair.b))
            for pair in one.quantities
        ]
        told += [_field(field) for field in one.fields if field.inert is None]
        inert += [(*_field(field), field.inert) for field in one.fields if field.inert is not None]
        if not one.is_inert:
            tables.append(Table((one.factor, "a", "b"), tuple(told), numeric_from=3))
    head = ("no effect under model_main_tf2", "a", "b", "why")
    return [*tables, Table(head, tuple(inert), numeric_from=4)]


def deviations_json(deviations: Sequence[Deviation]) -> list[dict[str, Any]]:
    """Gives the deviations as JSON values; what is NaN, infinite or absent is null."""
    return [
        {
            "factor": deviation.factor,
            "quantities": [
                {
                    "name": quantity.name,
                    "unit": quantity.unit,
                    "a": as_json_value(quantity.a),
                    "b": as_json_value(quantity.b),
                }
                for quantity in deviation.quantities
            ],
            "fields": [_field_json(field) for field in deviation.fields],
        }
        for deviation in deviations
    ]


def _field_json(field: FieldDifference) -> dict[str, Any]:
    return {
        "path": field.path,
        "a": as_json_value(field.a),
        "b": as_json_value(field.b),
        "inert": field.inert,
    }


def _field(field: FieldDifference) -> tuple[str, str, str]:
    return code(field.path), BREAK.join(_cell(field.a)), BREAK.join(_cell(field.b))


def _quantity(value: object) -> str:
    if isinstance(value, tuple):
        return BREAK.join(map(str, value)) or "none"
    return value_text(value)


def _cell(value: object) -> list[str]:
    """Gives a field's value in lines: one for each item of a list."""
    if isinstance(value, tuple):
        lines = [line for item in value for line in _cell(item)] or ["(empty)"]
        # Names and paths stand one below the other, numbers side by side.
        return lines if any(isinstance(item, str) for item in value) else [", ".join(lines)]
    if value is None:
        return ["-"]
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, float):
        return [f"{value:g}" if math.isfinite(value) else str(value)]
    return [str(value) or '""']
