"""What a user who evaluates on a share of the images would have seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.page.blocks import Paragraph, Section, Table
from odapi_repro.page.numbers import number, signed

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
