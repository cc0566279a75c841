"""What a split's numbers say, sentence by sentence: the terminal and README.md print the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from odapi_repro.features.show.show_report import AnchorReport, SplitReport
from odapi_repro.features.show.show_words import listed
from odapi_repro.page.numbers import count_of, percent
from odapi_repro.pipeline.anchors import Border

_BORDERS = {
    Border.KEPT: "anchors that leave the input are kept",
    Border.DROPPED: "anchors that leave the input are not trained with",
    Border.CLIPPED: "anchors that leave the input are clipped to it",
}


def count_sentences(report: SplitReport) -> Iterator[str]:
    """Gives what is there, and what is odd about it."""
    table = report.table
    per_image = table.objects_per_image
    empty = int((per_image == 0).sum())
    yield (
        f"{count_of(table.num_images, 'image')} in {count_of(report.files, 'file')}, "
        f"{count_of(table.num_objects, 'object')} "
        f"({count_of(int(table.is_crowd.sum()), 'crowd region')}), "
        f"{count_of(empty, 'image')} without any"
    )
    if len(per_image):
        yield (
            f"{np.median(per_image):g} objects in the median image, {int(per_image.max()):,} at "
            "most"
            + (
                f"; max_number_of_boxes {report.max_number_of_boxes} cuts off "
                f"{report.num_beyond_limit:,}"
                if report.max_number_of_boxes is not None
                else ""
            )
        )
    sides = report.objects.sides
    if len(sides):
        low, middle, high = np.percentile(sides, [5, 50, 95])
        of = "the network's input" if report.max_number_of_boxes is not None else "the image"
        yield (
            f"side (root of the area) in pixels of {of}: median {middle:.0f}, nine of ten "
            f"between {low:.0f} and {high:.0f}"
        )
    odd = {
        "records that could not be read": report.num_broken,
        "boxes that leave the image": report.num_outside,
        "boxes without area": report.objects.num_without_area,
        "objects of a class that the label map lacks": report.num_unknown_class,
    }
    for words, count in odd.items():
        if count:
            yield f"{words}: {count:,}"


def anchor_sentences(report: AnchorReport) -> Iterator[str]:
    """Gives how the anchors are made and what they reach."""
    fit = report.fit
    ratios = sorted({ratio for level in report.levels for ratio in level.ratios})
    yield (
        f"{len(fit.anchors.corners()):,} anchors for an input of "
        f"{fit.anchors.width} x {fit.anchors.height} ({report.design.kind}), aspect ratios "
        f"{listed(tuple(ratios))}; {_BORDERS[fit.anchors.border]}"
    )
    matcher, reached = fit.matcher, report.reached
    compared = f"{reached.compared:,} objects"
    if report.is_sample:
        compared += f" (a sample of {len(report.objects.boxes):,})"
    if matcher.matched is None:
        yield f"{compared}: the matcher ignores thresholds, so that every anchor is matched"
        return
    if not reached.below_matched:
        yield f"{compared}: each has an anchor at the matched threshold {matcher.matched:g}"
    else:
        yield from _unreached(report, compared)
    low, middle, high = np.percentile(fit.iou, [5, 50, 95])
    yield f"IoU with the best anchor: median {middle:.2f}, nine of ten {low:.2f} to {high:.2f}"


def _unreached(report: AnchorReport, compared: str) -> Iterator[str]:
    matcher, reached = report.fit.matcher, report.reached
    assert matcher.matched is not None
    forced = (
        "each of these is learnt by its forced match alone"
        if matcher.forced
        else "nothing is learnt of these"
    )
    yield (
        f"{compared}: no anchor reaches {reached.below_matched:,} "
        f"({percent(reached.share_below_matched)}) at the matched threshold "
        f"{matcher.matched:g}; {forced}"
    )
    if matcher.unmatched < matcher.matched:
        yield (
            f"{reached.below_unmatched:,} ({percent(reached.share_below_unmatched)}) are below the "
            f"unmatched threshold {matcher.unmatched:g}, too"
        )


def draw_sentences(report: SplitReport) -> Iterator[str]:
    """Gives what augmentation left of the objects."""
    draws = report.draws
    if draws is None:
        return
    lost = count_of(draws.draws_without_objects, "draw")
    share = draws.objects_left / draws.objects_in_records if draws.objects_in_records else 1.0
    yield (
        f"as the model gets {draws.images} of the images, {count_of(draws.draws, 'draw')} of each: "
        f"{draws.objects_left:,} of {draws.objects_in_records:,} objects are left "
        f"({percent(share)}); {lost} lost all of theirs"
    )
