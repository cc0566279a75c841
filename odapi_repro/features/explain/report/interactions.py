"""Which deviations interact: the table, the sentences, and what would tell it where none is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from odapi_repro.analysis.attribution import StudiedDeviation
from odapi_repro.errors import UserError
from odapi_repro.features.explain.designs import (
    MOST_EXACT,
    Design,
    FractionalFactorial,
    FullFactorial,
    Shapley,
)
from odapi_repro.features.explain.report.effect_tables import estimate_cells, with_interval
from odapi_repro.features.explain.report.explanation_report import (
    ExplainedEffect,
    ExplanationReport,
)
from odapi_repro.page.blocks import Table
from odapi_repro.page.numbers import between, count_of, joined, number, signed

# So many cells of a full factorial are still worth naming.
_MOST_CELLS: Final = 64


def interaction_table(report: ExplanationReport) -> Table | None:
    """A row a pair, or of both ends a row a deviation; None where the design tells none."""
    rows = report.interactions
    if not rows:
        return None
    if rows[0].row.kind == "disagreement":
        return _ends_table(report)
    digits = report.digits
    aliases = any(one.row.aliases for one in rows)
    header = (
        "pair",
        *(("cannot be told from",) if aliases else ()),
        *("beyond the sum of both", "95 % interval", "n", "verdict"),
    )
    body = tuple(
        (
            one.row.factor,
            *((one.row.aliases,) if aliases else ()),
            *estimate_cells(one.row, digits),
        )
        for one in rows
    )
    return Table(header, body, numeric_from=len(header) - 4)


def end_effects(
    report: ExplanationReport,
) -> list[tuple[ExplainedEffect, ExplainedEffect, ExplainedEffect]]:
    """Of both ends: each deviation's effect at the reference, at the user's end, and their
    difference.
    """
    by_kind = {(one.row.kind, one.row.factor): one for one in report.effects}
    return [
        (by_kind["from_reference", name], by_kind["from_user", name], one)
        for one in report.interactions
        if one.row.kind == "disagreement"
        for name in [one.row.factor]
    ]


def path_table(report: ExplanationReport) -> Table | None:
    """The shares on the two paths side by side; None unless both are known."""
    digits = report.digits
    families = ("path from_user", "path from_reference")
    shares = {
        (one.row.family, one.row.factor): one for one in report.effects if one.definition.primary
    }
    if not all(any(family == key[0] for key in shares) for family in families):
        return None
    names = list(dict.fromkeys(name for _, name in shares))
    rows = tuple(
        (
            name,
            *(
                text
                for family in families
                for text in (
                    (
                        with_interval(shares[family, name].row, digits),
                        shares[family, name].row.verdict,
                    )
                    if (family, name) in shares
                    else ("moved with others", "-")
                )
            ),
        )
        for name in names
    )
    header = (
        *("deviation", "on the path from yours", "verdict"),
        *("on the path from the reference", "verdict"),
    )
    return Table(header, rows, numeric_from=1)


def interaction_lines(report: ExplanationReport) -> list[str]:
    """What the table says, in sentences; then what would tell the rest."""
    known = [one for one in report.interactions if not math.isnan(one.row.delta)]
    resolved = sorted(
        (one for one in known if one.row.verdict in ("gain", "loss")),
        key=lambda one: -abs(one.row.delta),
    )
    lines = [_sentence(report, one) for one in resolved]
    if known and not resolved:
        lines.append("No interaction was resolved (which does not mean that there is none).")
    if not known and report.interactions:
        lines.append("Unknown so far: the cells that show it have not finished.")
    missing = what_would_tell(report)
    return [*lines, missing] if missing else lines


def what_would_tell(report: ExplanationReport) -> str:
    """Which design tells interactions of two and what it takes more; empty where this one does."""
    varied = report.explanation.deviations
    if len(varied) < 2 or any(one.row.kind != "disagreement" for one in report.interactions):
        return ""
    design = _telling(report)
    why = {
        "both_ends": "This design does not show which deviations interact",
        "fractional": "This fraction cannot tell interactions of two from single effects",
    }.get(report.design.name, f"{report.design.name} does not show which deviations interact")
    if design is None:
        return (
            f"{why}: all combinations of {len(varied)} deviations are 2^{len(varied)} cells. "
            "Group deviations that belong together, or leave out what is settled, and use shapley."
        )
    new = sum(len(cell.seeds) for cell in design.next_cells(report.outcomes))
    price = design.price().trials_max
    option = " --resolution 5" if isinstance(design, FractionalFactorial) else ""
    cost = (
        "without a new trial"
        if not new
        else f"for {count_of(new, 'more trial')} (of {price:,}; {price - new:,} have run)"
    )
    return f"{why}; --design {design.name}{option} would show it, {cost}."


def _telling(report: ExplanationReport) -> Design | None:
    """The design with the fewest new trials that tells interactions of two."""
    # Of a grid with more levels the two ends of each.
    varied = [StudiedDeviation(one.name, one.levels[:2]) for one in report.explanation.deviations]
    seeds = report.design.seeds
    makers: list[Callable[[], Design]] = []
    if len(varied) <= MOST_EXACT:
        makers.append(lambda: Shapley(varied, seeds=seeds))
    else:
        makers.append(lambda: FractionalFactorial(varied, seeds=seeds, resolution=5))
        if 2 ** len(varied) <= _MOST_CELLS:
            makers.append(lambda: FullFactorial(varied, seeds=seeds))
    found: list[Design] = []
    for make in makers:
        try:
            found.append(make())
        except UserError:  # no fraction of so many deviations has that resolution
            continue
    return min(found, key=lambda one: len(one.next_cells(report.outcomes)), default=None)


def _sentence(report: ExplanationReport, effect: ExplainedEffect) -> str:
    row, digits, metric = effect.row, report.digits, report.explanation.metric
    ends = between(row.low, row.high, digits)
    if row.kind == "disagreement":
        low, high, _ = next(one for one in end_effects(report) if one[2] is effect)
        return (
            f"{row.factor} does not act alone: it changes {metric} by "
            f"{signed(low.row.delta, digits)} at the reference and by "
            f"{signed(high.row.delta, digits)} in your config, a difference of "
            f"{signed(row.delta, digits)} [{ends}]."
        )
    size = number(abs(row.delta), digits)
    pair = joined(effect.definition.deviations)
    told = (
        f"together cost {size} {metric} more than the sum of both"
        if row.delta < 0
        else f"together cost {size} {metric} less than the sum of both"
    )
    others = [
        f"{'minus ' if one.coefficient < 0 else ''}{' x '.join(one.deviations)}"
        for one in effect.definition.aliases
    ]
    also = f" (or {' or '.join(others)}, which this fraction cannot tell from it)" if others else ""
    return f"{pair}{also} {told} [{ends}]."


def _ends_table(report: ExplanationReport) -> Table:
    digits = report.digits
    header = (
        *("deviation", "added to the reference", "in your config"),
        *("difference", "95 % interval", "n", "verdict"),
    )
    rows = tuple(
        (
            difference.row.factor,
            with_interval(low.row, digits),
            with_interval(high.row, digits),
            *estimate_cells(difference.row, digits),
        )
        for low, high, difference in end_effects(report)
    )
    return Table(header, rows, numeric_from=1)
