"""Deviations as text in 100 columns, as Markdown and as JSON values."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from odapi_repro.diagnosis.deviations import Deviation, FieldDifference
from odapi_repro.diagnosis.render.as_json import as_json_value
from odapi_repro.diagnosis.render.wording import value_text
from odapi_repro.foreign_text import markdown, markdown_code
from odapi_repro.foreign_text import shown as plain
from odapi_repro.page.numbers import count_of

__all__ = ["deviations_json", "deviations_markdown", "deviations_text", "summary"]

_WIDTH = 100
_NAME, _VALUE = 48, 23
_ABSENT = "-"
_JOINT = re.compile(r"[^/,_ (-]*[/,_ (-]?")
_INERT = "no effect under model_main_tf2"


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


def deviations_text(deviations: Sequence[Deviation]) -> str:
    """Gives the table: factors, under each its quantities and then its fields.

    Fields without effect come last, under one heading, with the reason.
    """
    lines = [_row("", "a", "b")]
    for deviation in deviations:
        if deviation.is_inert:
            continue
        lines += ["", deviation.factor]
        for quantity in deviation.quantities:
            unit = "" if quantity.unit in ("1", "name", "names", "mode") else f" [{quantity.unit}]"
            lines += _rows(f"{quantity.name}{unit}", _quantity(quantity.a), _quantity(quantity.b))
        for field in deviation.fields:
            if field.inert is None:
                lines += _rows(field.path, _cell(field.a), _cell(field.b))
    inert = [field for one in deviations for field in one.fields if field.inert is not None]
    if inert:
        lines += ["", _INERT]
        for field in inert:
            lines += _rows(field.path, _cell(field.a), _cell(field.b))
            lines += _wrapped(str(field.inert), "    ")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def deviations_markdown(deviations: Sequence[Deviation]) -> str:
    """Gives a heading and a table for each factor."""
    lines: list[str] = []
    for deviation in deviations:
        lines += [f"### {deviation.factor}", "", "| | a | b |", "| --- | --- | --- |"]
        for quantity in deviation.quantities:
            unit = "" if quantity.unit == "1" else f" ({quantity.unit})"
            cells = (f"{quantity.name}{unit}", _quantity(quantity.a), _quantity(quantity.b))
            lines.append(_markdown_row(cells))
        for field in deviation.fields:
            note = "" if field.inert is None else f" ({_INERT}: {field.inert})"
            name = f"{markdown_code(field.path)}{_escaped(note)}"
            values = [_escaped("; ".join(_cell(value))) for value in (field.a, field.b)]
            lines.append(f"| {name} | {values[0]} | {values[1]} |")
        lines.append("")
    return "\n".join(lines)


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


def _quantity(value: object) -> list[str]:
    if isinstance(value, tuple):
        return [plain(str(item)) for item in value] or ["none"]
    return [value_text(value)]


def _cell(value: object) -> list[str]:
    """Gives a field's value in lines: one for each item of a list."""
    if isinstance(value, tuple):
        lines = [line for item in value for line in _cell(item)] or ["(empty)"]
        # Names and paths stand one below the other, numbers side by side.
        return lines if any(isinstance(item, str) for item in value) else [", ".join(lines)]
    if value is None:
        return [_ABSENT]
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, float):
        return [f"{value:g}" if math.isfinite(value) else str(value)]
    return [plain(str(value)) or '""']


def _rows(name: str, a: list[str], b: list[str]) -> Iterator[str]:
    """Gives the lines of one row: a long name in several, its last beside the values."""
    *above, last = _broken(name)
    yield from (f"  {piece}" for piece in above)
    left, right = ([line for item in side for line in _folded(item)] for side in (a, b))
    for index in range(max(len(left), len(right))):
        yield _row(
            last if index == 0 else "",
            left[index] if index < len(left) else "",
            right[index] if index < len(right) else "",
        )


def _row(name: str, a: str, b: str) -> str:
    return f"  {name:{_NAME}} {a:{_VALUE}}  {b}"


def _broken(name: str) -> list[str]:
    """Gives a name in pieces, broken before dots, the last of which fits the column."""
    if len(name) <= _NAME:
        return [name]
    head, _, last = name.rpartition(".")
    pieces = textwrap.wrap(head.replace(".", " ."), _WIDTH - 4, subsequent_indent="   ")
    return [*(piece.replace(" .", ".") for piece in pieces), f"  .{last}"]


def _folded(text: str) -> list[str]:
    """Gives a value in lines that fit its column, broken where a path or a list has its joints."""
    lines = [""]
    for piece in _JOINT.findall(text):
        parts = [piece[start : start + _VALUE] for start in range(0, len(piece), _VALUE)]
        for part in parts:
            if len(lines[-1]) + len(part.rstrip()) > _VALUE:
                lines.append("")
            lines[-1] += part
    return [line.strip() for line in lines if line.strip()] or [""]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        plain(text), _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _markdown_row(cells: tuple[str, list[str], list[str]]) -> str:
    name, a, b = cells
    return f"| {_escaped(name)} | {_escaped('; '.join(a))} | {_escaped('; '.join(b))} |"


def _escaped(text: str) -> str:
    return markdown(plain(text))
