"""`diff`: from the flags to what differs between two configs, as tables and as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odapi_repro.diagnosis.deviations import Deviation, FieldDifference
from odapi_repro.diagnosis.render.diagnosis_json import as_json_value
from odapi_repro.diagnosis.render.diagnosis_wording import quantity_label, value_text
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import UserError
from odapi_repro.page.blocks import BREAK, Block, Facts, Headline, Page, Table, code
from odapi_repro.page.numbers import count_of
from odapi_repro.page.terminal_page import print_pages, print_text
from odapi_repro.pipeline import Circumstances, Pipeline, load_pipeline, parse_pipeline
from odapi_repro.pipeline.parse import STDIN, read_config_argument
from odapi_repro.reference import Reference, nearest_reference, reference_named

# --- What differs between two configs, as tables of a page and as JSON values ---


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


# --- `diff`: from the flags to what differs between two configs ---


SCHEMA = 1


@dataclass(frozen=True)
class _Side:
    """One of the two: a file, or an entry of the catalogue.

    Attributes:
        name: as it was given.
        about: what else is to be said of it; empty for a file.
        pipeline: the config.
        circumstances: what it does not say: the flags for a file, the catalogue's for an entry.
    """

    name: str
    about: str
    pipeline: Pipeline
    circumstances: Circumstances


def diff_configs(flags: Any, positional: list[str], command: str) -> int:
    """Does what the flags ask for, and gives the exit code."""
    del command
    a, b = _sides(flags, positional)
    # Only a comparison needs the rest; a wrong name is answered before it is imported.
    from odapi_repro.diagnosis.deviations import find_deviations

    deviations = find_deviations(
        a.pipeline,
        b.pipeline,
        a_circumstances=a.circumstances,
        b_circumstances=b.circumstances,
    )
    _print(flags, a, b, deviations)
    return EXIT_DONE


def _sides(flags: Any, positional: list[str]) -> tuple[_Side, _Side]:
    names = [*([flags.pipeline] if flags.pipeline else []), *positional]
    if flags.reference and len(names) == 1:
        first = _side(flags, names[0])
        return first, _of_catalogue(reference_named(flags.reference), flags.reference)
    if flags.reference or len(names) not in (1, 2):
        given = [*names, *([f"--reference {flags.reference}"] if flags.reference else [])]
        raise UserError(
            f"{len(given)} configs were named: {', '.join(given)}"
            if given
            else "no config was named",
            expected="two configs, or one and what to compare it with",
            mend="python -m odapi_repro.diff my.config --reference efficientdet_d3",
        )
    if names == [STDIN, STDIN]:
        raise UserError(
            "standard input is named twice",
            expected="- once: it can be read once",
            mend="name a file, or a reference, beside it",
        )
    first = _side(flags, names[0])
    if len(names) == 2:
        return first, _side(flags, names[1])
    nearest, why = nearest_reference(first.pipeline)
    return first, _of_catalogue(nearest, nearest.name, f"inferred: {why}")


def _side(flags: Any, name: str) -> _Side:
    """Gives a file that is here, or else the catalogue's entry of that name."""
    known = Circumstances(
        num_train_steps=flags.num_train_steps,
        train_images=flags.train_images,
        num_replicas=flags.replicas,
        look_at_disk=False,
    )
    if name == STDIN:
        path, text = read_config_argument(name)
        return _Side(path, "", parse_pipeline(text, path), known)
    if os.path.exists(name) or os.path.dirname(name) or name.endswith((".config", ".pbtxt")):
        return _Side(name, "", load_pipeline(name), known)
    try:
        return _of_catalogue(reference_named(name), name)
    except UserError as error:
        raise UserError(
            f"'{name}' is neither a file here nor a reference",
            expected="the path of a pipeline.config, or a name of the catalogue",
            mend=error.mend,
        ) from error


def _of_catalogue(reference: Reference, name: str, why: str = "") -> _Side:
    numbers: dict[str, list[str]] = {}
    for reported in reference.reported:
        numbers.setdefault(reported.metric, []).append(f"{reported.value:g}")
    shown = ", ".join(
        f"{' or '.join(dict.fromkeys(values))} {metric}" for metric, values in numbers.items()
    )
    told = [f"reported: {shown or 'no number'}", why]
    if name != reference.name:
        told.insert(0, reference.name)
    own = Circumstances(num_replicas=reference.num_replicas, look_at_disk=False)
    return _Side(name, "; ".join(filter(None, told)), reference.pipeline(), own)


def _print(flags: Any, a: _Side, b: _Side, deviations: Sequence[Deviation]) -> None:

    if flags.format == "json":
        content = {
            "schema": SCHEMA,
            "a": {"name": a.name, "about": a.about or None},
            "b": {"name": b.name, "about": b.about or None},
            "deviations": deviations_json(deviations),
        }
        print_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        return
    sides = tuple((mark, _told(side)) for mark, side in (("a", a), ("b", b)))
    page = Page(
        f"{a.name} and {b.name}",
        (
            Headline(summary(deviations)),
            Facts(sides),
            *deviation_tables(deviations),
        ),
    )
    print_pages([page], flags.format)


def _told(side: _Side) -> str:
    return code(side.name) + (f" ({side.about})" if side.about else "")
