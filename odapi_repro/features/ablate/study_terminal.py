"""The report as a terminal shows it: the table of levels, then a line for each effect."""

from __future__ import annotations

import sys
from typing import TextIO

from odapi_repro.analysis.cells import AP_OR_0
from odapi_repro.features.ablate.effect_sentences import effect_line, headline
from odapi_repro.features.ablate.level_table import level_table
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.foreign_text import shown

__all__ = ["print_report", "render_terminal"]


def render_terminal(report: StudyReport, *, ascii_only: bool = True) -> str:
    """The table, the effects on AP, and the headline; matplotlib is not imported for it."""
    lines = [level_table(report, plus_minus="+-" if ascii_only else "±").text(), ""]
    for row in report.effects:
        repeats = row.estimand != AP_OR_0 and not row.p_diverged_from + row.p_diverged_to > 0
        if row.metric in ("AP", "mask_AP") and not repeats:
            lines.append(shown(effect_line(row, report.confidence)))
    lines += ["", shown(headline(report))]
    if report.scale == "proxy":
        lines.append("Proxy scale: read the differences only; its AP is not COCO's.")
    text = "\n".join(lines) + "\n"
    return text.encode("ascii", "replace").decode() if ascii_only else text


def print_report(report: StudyReport, stream: TextIO | None = None) -> None:
    """Prints the report; in ASCII unless the stream is a terminal that takes more."""
    stream = sys.stdout if stream is None else stream
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    stream.write(render_terminal(report, ascii_only=not (stream.isatty() and encoding == "utf8")))
