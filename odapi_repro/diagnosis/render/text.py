"""A diagnosis for a terminal: the verdict first, then numbers, then the findings by rank."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.outcome import COSTLY, Diagnosis, QuantityPair
from odapi_repro.diagnosis.render.data_summary import data_lines
from odapi_repro.diagnosis.render.run_summary import run_lines
from odapi_repro.diagnosis.render.wording import (
    effect_text,
    fix_text,
    plain,
    quantities_shown,
    reported_text,
    rest_text,
    shortened,
    value_text,
    verdict,
)

__all__ = ["COLUMNS", "render_text"]

COLUMNS = 100
_LABEL = 9
_WIDEST_VALUE = 26
_MOST_FIXES = 6
_COLOURS = {
    Severity.FATAL: "1;31",
    Severity.CRITICAL: "31",
    Severity.WARNING: "33",
    Severity.INFO: "36",
    Severity.INERT: "2",
}


def render_text(diagnosis: Diagnosis, *, colour: bool = False) -> str:
    """Gives the diagnosis in at most 100 columns, but for words that are longer by themselves.

    Args:
        diagnosis: of a config, a run or both.
        colour: whether ANSI colours mark the severities.
    """
    paint = _Paint(colour)
    findings = [
        *(
            list(_finding(rank, one, paint))
            for rank, one in enumerate(diagnosis.of_severity(*COSTLY), start=1)
        ),
        list(_folded(diagnosis, paint)),
    ]
    data = list(data_lines(diagnosis.data, COLUMNS)) if diagnosis.data else []
    if diagnosis.data is not None and diagnosis.subject is None:
        # Of records the facts come first: they are why anybody should believe the verdict.
        blocks = [[paint.bold(plain(diagnosis.data.name)), *data], *findings]
        blocks.append([paint.bold(verdict(diagnosis))])
    else:
        blocks = [
            [paint.bold(verdict(diagnosis)), *_about(diagnosis)],
            list(_reported(diagnosis)),
            list(run_lines(diagnosis, COLUMNS)),
            data,
            list(_quantities(diagnosis)),
            *findings,
        ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


class _Paint:
    """Wraps words in ANSI colours, or leaves them alone."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def severity(self, severity: Severity, text: str) -> str:
        return self._wrapped(_COLOURS[severity], text)

    def bold(self, text: str) -> str:
        return self._wrapped("1", text)

    def _wrapped(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


def _about(diagnosis: Diagnosis) -> Iterator[str]:
    rest = rest_text(diagnosis)
    if rest and diagnosis.of_severity(*COSTLY):
        yield f"({rest})"
    reference = diagnosis.reference
    if reference is None:
        yield plain(diagnosis.path)
        return
    yield from _labelled("config", diagnosis.path)
    why = f" (inferred: {diagnosis.reference_why})" if diagnosis.reference_why else ""
    yield from _labelled("against", f"{reference.name}{why}")


def _reported(diagnosis: Diagnosis) -> Iterator[str]:
    reference = diagnosis.reference
    if reference is None or not reference.reported:
        return
    for numbers, source in reported_text(reference):
        yield from _labelled("reported", f"{numbers}: {source}")
    for dispute in reference.disputes:
        yield from _labelled("disputed", f"{dispute.what} ({dispute.source})")


def _quantities(diagnosis: Diagnosis) -> Iterator[str]:
    shown = quantities_shown(diagnosis.quantities)
    if not shown or diagnosis.reference is None:
        return
    fitting = [pair for pair in shown if _widest(pair) <= _WIDEST_VALUE]
    rows = [("", "this config", "reference", "")]
    rows += [
        (pair.name, value_text(pair.pipeline), value_text(pair.reference), _unit(pair))
        for pair in fitting
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, own, other, unit in rows:
        line = f"{name:<{widths[0]}}  {own:>{widths[1]}}  {other:>{widths[2]}}  {unit}"
        yield line.rstrip()
    for pair in shown:
        if pair not in fitting:
            text = f"{value_text(pair.pipeline)}; reference: {value_text(pair.reference)}"
            yield from _wrapped(f"{pair.name:<{widths[0]}}  ", text)


def _widest(pair: QuantityPair) -> int:
    return max(len(value_text(pair.pipeline)), len(value_text(pair.reference)))


def _unit(pair: QuantityPair) -> str:
    return "" if pair.unit in ("1", "name", "names", "mode") else pair.unit


def _finding(rank: int, finding: Finding, paint: _Paint) -> Iterator[str]:
    times = f" ({finding.count:,} {finding.counted})" if finding.count > 1 else ""
    word = paint.severity(finding.severity, finding.severity.word)
    yield f"{rank:>2}  {word}  {finding.code}  {finding.cause}{times}"
    yield from _labelled("found", finding.found)
    yield from _labelled("expected", finding.expected)
    yield from _labelled("why", finding.why)
    for evidence in finding.evidence:
        yield from _labelled("evidence", f"{effect_text(evidence)} ({evidence.source})")
    fixes = [fix_text(fix) for fix in finding.fix]
    for index, line in enumerate(fixes[:_MOST_FIXES]):
        yield from _labelled("mend" if index == 0 else "", line)
    if len(fixes) > _MOST_FIXES:
        yield from _labelled("", f"and {len(fixes) - _MOST_FIXES} more")
    if finding.mend:
        yield from _labelled("" if fixes else "mend", finding.mend)
    if finding.examples:
        yield from _labelled("examples", ", ".join(finding.examples))
    place = finding.where or ", ".join(finding.fields)
    if place:
        yield from _labelled("where", place)


def _folded(diagnosis: Diagnosis, paint: _Paint) -> Iterator[str]:
    """Gives what costs nothing, a line each; inert fields that are alike share their lines."""
    information = diagnosis.of_severity(Severity.INFO)
    if information:
        yield paint.severity(Severity.INFO, "for information")
    for one in information:
        yield shortened(f"    {one.code}  {plain(one.found)}", COLUMNS)
    inert = diagnosis.of_severity(Severity.INERT)
    if inert:
        yield paint.severity(Severity.INERT, "changed, and without effect under model_main_tf2")
    for code in dict.fromkeys(one.code for one in inert):
        fields = [plain(field) for one in inert if one.code == code for field in one.fields]
        yield from _wrapped(f"    {code}  ", ", ".join(dict.fromkeys(fields)))
    if information or inert:
        example = (information or inert)[0].code
        command = "diagnose " if diagnosis.data and diagnosis.subject is None else ""
        yield f"    ({command}--explain {example} tells more; --format json has every detail)"


def _labelled(label: str, text: str) -> Iterable[str]:
    return _wrapped(f"    {label:<{_LABEL}} ", text)


def _wrapped(lead: str, text: str) -> Sequence[str]:
    lines = textwrap.wrap(
        plain(text),
        width=COLUMNS,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [lead.rstrip()]
