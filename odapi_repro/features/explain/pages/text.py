"""The report as a terminal shows it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from odapi_repro.features.explain.pages.advice import Advice
from odapi_repro.features.explain.pages.cells import cells_table
from odapi_repro.features.explain.pages.changes import change_lines
from odapi_repro.features.explain.pages.content import ExplanationReport
from odapi_repro.features.explain.pages.interactions import (
    interaction_lines,
    interaction_table,
    path_table,
)
from odapi_repro.features.explain.pages.next_steps import run_lines
from odapi_repro.features.explain.pages.notes import shares_notes
from odapi_repro.features.explain.pages.tables import (
    effect_table,
    estimands_table,
    parts_table,
)
from odapi_repro.features.explain.pages.wording import headline
from odapi_repro.foreign_text import shown

__all__ = ["print_report", "render_terminal"]

_WIDTH: Final = 100
_ASCII: Final = str.maketrans({"→": "->", "±": "+-", "`": ""})


def render_terminal(report: ExplanationReport, *, ascii_only: bool = True) -> str:
    """The tables, what to change and what to run; matplotlib is not imported for it."""
    advice = Advice(report)
    blocks = [
        *_block("The gap in four parts", _parts(report)),
        *_shares(report),
        *_interactions(report),
        *_block("What to change first", _listed(change_lines(report, advice))),
        *_block("What to run next", _listed(run_lines(report, advice))),
        "\n".join(_wrapped([headline(report)])),
    ]
    if report.explanation.scale == "proxy":
        blocks.append("Proxy scale: read the differences only; its AP is not COCO's.")
    text = "\n\n".join(blocks) + "\n"
    if not ascii_only:
        return text
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def print_report(report: ExplanationReport, stream: TextIO | None = None) -> None:
    """Prints the report; in ASCII unless the stream is a terminal that takes more."""
    stream = sys.stdout if stream is None else stream
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    stream.write(render_terminal(report, ascii_only=not (stream.isatty() and encoding == "utf8")))


def _parts(report: ExplanationReport) -> str:
    lines = []
    for name, what, value, ends, remark in parts_table(report).rows:
        number = f"{value} [{ends}]" if ends[:1] in "+-0" and len(ends) > 1 else value
        reason = remark.removeprefix("not known: ")
        told = f"unknown: {reason}" if value == "unknown" else f"{number}, {what}"
        if value != "unknown" and remark:
            told += f"; {remark}"
        lines += textwrap.wrap(
            shown(told), _WIDTH - 2, initial_indent=f"{name:13}", subsequent_indent=" " * 13
        )
    return "\n".join(lines)


def _shares(report: ExplanationReport) -> list[str]:
    if not report.shares:
        # A path or a bisection that is still looking for its way: what it has seen.
        return _block("Cells so far", cells_table(report).text())
    lines = _wrapped(shares_notes(report)[:2])
    shares = effect_table(report, report.shares, summed=True, most_named=3).text()
    found = _block("Shares of the gap", "\n".join([shares, "", *lines]))
    if report.diverged:
        both = estimands_table(report, (*report.shares, report.gap)).text()
        found += _block("Where trainings diverged", both)
    return found


def _interactions(report: ExplanationReport) -> list[str]:
    table = interaction_table(report) or path_table(report)
    lines = interaction_lines(report)
    if table is None and not lines:
        return []
    told = [*([table.text(), ""] if table else []), *_wrapped(lines)]
    return _block("Interactions", "\n".join(told).rstrip())


def _block(title: str, text: str) -> list[str]:
    return [f"{title}\n\n{textwrap.indent(text, '  ')}"]


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(
        part
        for line in lines
        for part in textwrap.wrap(
            shown(line).translate(_ASCII),
            _WIDTH - 2,
            initial_indent="- ",
            subsequent_indent="  ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    )


def _wrapped(lines: Iterable[str]) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            shown(line).translate(_ASCII), _WIDTH, break_on_hyphens=False, break_long_words=False
        )
    ]
