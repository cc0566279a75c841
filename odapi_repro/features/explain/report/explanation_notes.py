"""What has to be said beside the numbers of an explanation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from odapi_repro.analysis.intervals import smallest_effect
from odapi_repro.features.explain.designs import AblationPath, Bisection
from odapi_repro.features.explain.report.effect_wording import SHARE_KINDS
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.page.blocks import Paragraph, Section, Table, code
from odapi_repro.page.numbers import count_of, joined, number, signed

# --- What has to be said beside the numbers: how they came about, and what they do not say ---


def shares_notes(report: ExplanationReport) -> list[str]:
    """How to read the table of shares."""
    digits, margin = report.digits, report.explanation.design.margin
    rows = [one.row for one in report.shares]
    metric = report.explanation.metric
    notes = [
        f"Shares are {SHARE_KINDS[rows[0].kind]}.",
        f"Effects are yours minus the reference's in {metric}: a negative one costs {metric}, and "
        "fixing it returns as much. n counts the trainings on the side that has fewer.",
    ]
    methods = {row.method for row in rows}
    if methods & {"pooled", "welch", "divergence"}:
        how = {
            "pooled": "one variance pooled over the cells",
            "welch": "each cell's own variance (Welch)",
            "divergence": "the chance of divergence where trainings diverged",
        }
        told = joined([text for method, text in how.items() if method in methods])
        family = sum(one.row.family == rows[0].family for one in report.effects)
        notes.append(
            f"Intervals are for one effect each, with {told}; verdicts are adjusted for the "
            f"{count_of(family, 'effect')} of their family (Holm), so that an interval "
            f"that excludes 0 may still be {code('unresolved')}."
        )
    notes.append(
        f'{code("unresolved")} is not "no effect": that is {code("equivalent")}, within '
        f"±{margin:g} {metric}."
    )
    if "single_run" in methods:
        notes.append(
            f"{code('single_run')}: with one training of a cell there is no interval; a difference "
            "between two seeds alone may be as large."
        )
    if "same_training" in methods:
        notes.append(
            f"{code('equivalent')} and exactly 0: both levels amount to the same training."
        )
    if any(not math.isnan(row.se_sampling) for row in rows):
        largest = max(row.se_sampling for row in rows if not math.isnan(row.se_sampling))
        notes.append(
            "The intervals include the error of having sampled only some orders (standard error up "
            f"to {number(largest, digits + 1)})."
        )
    if report.rest is not None:
        notes.append(
            "The shares of this design need not sum to the gap; what is left is in its own row."
        )
    elif len(rows) > 1:
        notes.append("The shares sum to the gap.")
    if any(row.left_out for row in rows):
        notes.append("Trials that failed, were interrupted or have not run are no outcome.")
    return notes


def design_notes(report: ExplanationReport) -> list[str]:
    """What the design is, how far it has come, and what it could see."""
    choice = report.explanation.design
    what = report.design.describe()
    lines = [f"Design {code(choice.name)}: {what}."]
    seeds = f"Effects are estimated from {_seeds(choice.seeds)}"
    if choice.order_seeds:
        seeds += f"; what is tried next is decided by {_seeds(choice.order_seeds)}"
    lines.append(f"{seeds}{', to begin with' if report.race else ''}.")
    lines += _course(report)
    race = report.result.race
    if race is not None:
        told = {
            "waiting": "it waits for trials",
            "decided": "it ended because every effect was decided",
            "looks": "it ended with its last look",
            "budget": "it ended with its budget",
        }[race.reason]
        undecided = f"; not decided: {joined(race.undecided)}" if race.undecided else ""
        lines.append(
            f"A race added {count_of(race.added, 'trial')} in {count_of(race.looks, 'look')}: "
            f"{told}{undecided}. Its verdicts are taken at the level that keeps false ones at 5 % "
            "over all looks."
        )
    sd, n = _spread(report)
    if sd > 0:
        family = len(report.shares) or 1
        seen = report.design.smallest_effect(sd, comparisons=family)
        metric = report.explanation.metric
        lines.append(
            f"Between the trainings of a cell {metric} varies with a standard deviation of "
            f"{number(sd, 2)}. Two cells of {n} show a difference of "
            f"{number(smallest_effect((-1.0, 1.0), sd=sd, n=n), 1)} with 80 % power"
            + (
                f"; a share of this design, judged as one of {family}, {number(seen, 1)}."
                if math.isfinite(seen) and report.race is None
                else "."
            )
        )
    return lines


def caveats(report: ExplanationReport) -> list[str]:
    """What you cannot conclude."""
    record = report.explanation
    verdicts = {one.row.verdict for one in report.effects}
    found = []
    if record.scale == "smoke":
        found.append("Anything: a smoke run trains for a few steps and proves the plumbing only.")
    if record.scale == "proxy":
        found.append(
            "How much AP a deviation costs on COCO, or on your data. A proxy shows direction and "
            "rank at its size; its AP is not COCO's, and only differences are read."
        )
        clipped = [one.factor for one in record.mapped if one.clipped]
        if clipped:
            found.append(
                f"That the shares of {joined(clipped)} are those of the configs: the proxy does "
                "not hold their ratio, see the levels above."
            )
    if "single_run" in verdicts:
        found.append("That a difference seen in one run each is more than noise between seeds.")
    if "unresolved" in verdicts:
        found.append(f"That an {code('unresolved')} deviation has no effect.")
    replicates = min((one.row.replicates for one in report.shares), default=0)
    if 2 <= replicates <= 3:
        found.append(
            f"That the intervals are sharp: the variance between {replicates} trainings of a cell "
            "is itself poorly known, and the intervals are as wide as that makes them."
        )
    if report.diverged:
        found.append(
            "That intervals with a diverged run are exact: such scores are far from normal. Read "
            "the shares that diverged first."
        )
    found.append(
        "That the numbers carry over to other images: the intervals hold the noise between "
        f"trainings, not the sampling of the {record.num_eval_images:,} evaluation images."
    )
    if record.unvaried:
        found.append(
            "That nothing else matters: the deviations that were not varied stand at the "
            "reference's level in all trials."
        )
    return found


def _course(report: ExplanationReport) -> list[str]:
    """How a path or a bisection has gone."""
    design, outcomes = report.design, report.outcomes
    names = [one.name for one in report.explanation.deviations]
    if isinstance(design, AblationPath):
        lines = []
        for direction in design.directions:
            state = design.state(outcomes, direction)
            steps = [" + ".join(names[index] for index in step) for step in state.steps]
            told = ", then ".join(steps) or "no step yet"
            open_end = "" if state.done else "; it goes on"
            lines.append(f"The path {direction.replace('_', ' the ', 1)}: {told}{open_end}.")
        return lines
    if not isinstance(design, Bisection):
        return []
    found = design.state(outcomes)
    cells = count_of(len(found.asked), "cell")
    if found.culprits is None:
        return [f"The search has asked for {cells} and is not done."]
    if not found.culprits:
        return [
            f"The search took {cells}: your config scores within {design.margin:g} of the "
            "reference."
        ]
    mended = joined([names[index] for index in found.culprits])
    told = (
        f"fixing {mended} brings your config within {design.margin:g} of the reference, and none "
        "of these can be left out as long as fixing more never makes things worse"
        if found.restored
        else f"fixing {mended} did not bring it within {design.margin:g} of the reference: more "
        "fixing made things worse on the way, or noise did"
    )
    return [f"The search took {cells}: {told}."]


def _seeds(seeds: tuple[int, ...]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def _spread(report: ExplanationReport) -> tuple[float, int]:
    """The standard deviation between converged replicates, pooled over cells, and the fewest of
    a cell; 0 where no cell has two.
    """
    counted = report.counted
    samples = [counted.sample(cell, "given_convergence") for cell in counted.by_cell]
    samples = [sample for sample in samples if len(sample) > 1]
    df = sum(len(sample) - 1 for sample in samples)
    if not df:
        return 0.0, 0
    squares = sum(
        math.fsum((value - math.fsum(sample) / len(sample)) ** 2 for value in sample)
        for sample in samples
    )
    return math.sqrt(squares / df), min(len(sample) for sample in samples)


# --- What a user who evaluates on a share of the images would have seen ---


_LARGEST_FRACTION: Final = 1000


@dataclass(frozen=True)
class SubsetScores:
    """One end scored on parts of the evaluation images.

    Attributes:
        cell: `reference` or `user`.
        share: of the images, 0 to 1.
        images: of a part.
        trainings: that were scored.
        bias: mean of AP on a part minus AP on all images, in points.
        sd: of AP between parts, for one training (root of the mean variance), in points.
    """

    cell: str
    share: float
    images: int
    trainings: int
    bias: float
    sd: float


def fewer_images(report: ExplanationReport) -> list[SubsetScores]:
    """Each end and size of a part, in the order of the table; empty without one."""
    table = report.evaluation
    if table is None or not len(table):
        return []
    found = []
    for _, rows in table.groupby(["cell", "share", "images"], sort=False):
        variances = [float(sd) ** 2 for sd in rows["sd"]]
        found.append(
            SubsetScores(
                str(rows["cell"].iloc[0]),
                float(rows["share"].iloc[0]),
                int(rows["images"].iloc[0]),
                len(rows),
                math.fsum(float(delta) for delta in rows["mean_delta"]) / len(rows),
                math.sqrt(math.fsum(variances) / len(rows)),
            )
        )
    return found


def _evaluation_table(report: ExplanationReport) -> Table:
    """A row an end."""
    digits = report.digits
    header = ("config", "images", "trainings", "higher by, on average", "sd from part to part")
    rows = tuple(
        (
            report.explanation.pipeline if one.cell == "user" else report.explanation.reference,
            f"{one.images} of {report.explanation.num_eval_images:,}",
            str(one.trainings),
            signed(one.bias, digits),
            number(one.sd, digits),
        )
        for one in fewer_images(report)
    )
    return Table(header, rows, numeric_from=2)


def fewer_images_section(report: ExplanationReport) -> Section:
    """Gives the section of README.md, without a block where nothing was scored so."""
    found = fewer_images(report)
    if not found:
        return Section("", [])
    metric, digits = report.explanation.metric, report.digits
    yours = next((one for one in found if one.cell == "user"), found[0])
    size = number(abs(yours.bias), digits)
    way = f"{size} {metric} {'higher' if yours.bias > 0 else 'lower'}"
    whole = report.explanation.num_eval_images
    told = f"The config evaluates on {_share_text(yours.share)} of the evaluation shards"
    if yours.images > max(1, round(yours.share * whole)):
        told += (
            f"; that many of these {whole:,} images would be hardly more than noise, so parts of "
            f"{yours.images} were scored"
        )
    text = (
        f"{told}. A part of {yours.images} reads {way} on average than all images do, and single "
        f"parts scatter by {number(yours.sd, digits)} {metric} (one standard deviation) about "
        "that. No training is behind this: the detections of both ends were scored again on "
        "random parts. A small part reads high because interpolated precision takes the best "
        "from a recall on."
    )
    return Section(
        "Evaluated on fewer images", [_evaluation_table(report), Paragraph(text)], "file"
    )


def _share_text(share: float) -> str:
    """A share as the fraction that it nearly is, else in percent."""
    if 0 < share < 1:
        whole = round(1 / share)
        if whole <= _LARGEST_FRACTION and abs(1 / share - whole) < 0.01 * whole:
            return f"1/{whole}"
    return f"{share:.2%}"
