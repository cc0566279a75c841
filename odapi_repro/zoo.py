"""`zoo`: the reference pipelines, what was reported for them, and published effect sizes.

TensorFlow is never imported, and the OD API's protos only to show one reference in quantities.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from odapi_repro.command import Command, nearest
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import UserError
from odapi_repro.features.zoo_pages import (
    factor_page,
    factors_page,
    reference_details,
    reference_page,
    reference_row,
    references_page,
)
from odapi_repro.page.terminal_page import print_pages
from odapi_repro.reference import REFERENCES, Reference, reference_named
from odapi_repro.reference.effect_catalogue import (
    EFFECT_FACTORS,
    UNKNOWN_EFFECTS,
    published_effects,
)

SCHEMA = 1
SUMMARY = "the reference pipelines, their reported numbers and published effect sizes"
FORMATS = ("text", "json", "markdown", "csv")
_PAGES = ("text", "markdown")


_cli = Command("zoo", SUMMARY)
FLAGS = _cli.flags
_cli.enum("format", "text", FORMATS, "How it is printed.")
_cli.boolean("config", False, "Print the pipeline.config of the reference.")
_cli.enum(
    "family",
    None,
    list(dict.fromkeys(reference.family for reference in REFERENCES.values())),
    "List the references of this family only.",
)
_cli.boolean(
    "effects",
    False,
    "List published effect sizes; after it the name of a factor, for its figures and sources.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the list, one reference, its config, or effects; gives the exit code."""
    return _cli.run(_run, argv)


def _run(positional: list[str], command: str) -> int:
    del command
    _check(positional)
    name = positional[0] if positional else None
    if FLAGS.effects:
        _print_effects(name, FLAGS.format)
    elif name is None:
        _print_list(FLAGS.family, FLAGS.format)
    elif FLAGS.config:
        print(reference_named(name).config_text(), end="")
    else:
        _print_one(reference_named(name), FLAGS.format)
    return EXIT_DONE


def _check(positional: Sequence[str]) -> None:
    """Refuses what does not go together."""
    if len(positional) > 1:
        raise UserError(
            f"{len(positional)} names: {', '.join(positional)}",
            expected="one reference or, with --effects, one factor",
            mend=f"zoo {positional[0]}",
        )
    if FLAGS.config and not positional:
        raise UserError(
            "--config without the name of a reference",
            expected="the reference whose pipeline.config is wanted",
            mend="zoo efficientdet_d3 --config",
        )
    pairs = (
        ("--effects", FLAGS.effects, "--config", FLAGS.config),
        ("--effects", FLAGS.effects, "--family", FLAGS.family),
        ("--config", FLAGS.config, f"--format {FLAGS.format}", FLAGS.format != "text"),
        ("--family", FLAGS.family, "the name of a reference", bool(positional)),
    )
    for one, one_given, other, other_given in pairs:
        if one_given and other_given:
            raise UserError(f"{one} with {other}", expected="one of them", mend=f"leave {one} out")


def _print_list(family: str | None, form: str) -> None:
    found = [one for one in REFERENCES.values() if family in (None, one.family)]
    if form in _PAGES:
        print_pages([references_page(found)], form)
        return
    rows = [reference_row(reference) for reference in found]
    _print_rows(rows, {"references": rows}, form)


def _print_one(reference: Reference, form: str) -> None:
    if form in _PAGES:
        print_pages([reference_page(reference)], form)
    else:
        _print_rows([reference_row(reference)], reference_details(reference), form)


def _print_effects(factor: str | None, form: str) -> None:
    known = tuple(dict.fromkeys((*EFFECT_FACTORS, *UNKNOWN_EFFECTS)))
    if factor is not None and factor not in known:
        raise UserError(
            f"'{factor}' is no factor with published effects",
            expected=f"one of {', '.join(known)}",
            mend=f"{nearest(factor, known)}zoo --effects lists them",
        )
    if form in _PAGES:
        print_pages([factors_page() if factor is None else factor_page(factor)], form)
        return
    rows = [
        {"key": one.key, **asdict(one)}
        for one in published_effects()
        if factor in (None, one.factor)
    ]
    unknown = {name: why for name, why in UNKNOWN_EFFECTS.items() if factor in (None, name)}
    if form == "csv" and not rows:
        raise UserError(
            f"'{factor}' has no figures: {UNKNOWN_EFFECTS[str(factor)]}",
            expected="a factor with figures, for a table",
            mend=f"zoo --effects {factor}",
        )
    _print_rows(rows, {"effects": rows, "unknown": unknown}, form)


def _print_rows(rows: Sequence[Mapping[str, Any]], content: Mapping[str, Any], form: str) -> None:
    """Prints rows as csv, None as an empty cell, or what JSON has of them."""
    if form == "json":
        print(json.dumps({"schema": SCHEMA, **content}, indent=2))
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
