"""Objects that the anchors hardly overlap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject
from odapi_repro.diagnosis.rules.model.model_parts import anchor_generator
from odapi_repro.diagnosis.rules.records.at_input import AtInput, at_input, classes_told
from odapi_repro.diagnosis.rules.records.poor_reach import (
    ELONGATED,
    GOOD_OVERLAP,
    LARGER,
    SMALLER,
    PoorReach,
    anchor_shapes,
    poor_reach,
)

_ALMOST_ALL = 0.9
# By the kind of anchors: what gives larger, smaller, and more of them.
_FIELDS = {
    "grid_anchor_generator": ("add scales", "add scales", "add scales and aspect_ratios"),
    "ssd_anchor_generator": (
        "raise max_scale",
        "lower min_scale",
        "add aspect_ratios, or take a larger input",
    ),
    "multiscale_anchor_generator": (
        "raise anchor_scale (or max_level, in the feature extractor too)",
        "lower anchor_scale (or min_level, in the feature extractor too)",
        "add scales_per_octave, or a finer min_level, in the feature extractor too",
    ),
    "flexible_grid_anchor_generator": ("add base_sizes",) * 3,
}


class AnchorsDoNotFit(RecordRule):
    """The anchors hardly overlap the objects.

    Anti-pattern

        aspect_ratios: [1.0, 2.0, 0.5]        # and boxes of cables, 90 times as wide as high

    Each object is then taught to the one anchor that overlaps it most, however little, where
    `force_match_for_each_row` is on; where it is off, to none.

    Best practice

        aspect_ratios: [1.0, 2.0, 0.5, 6.0, 12.0]

    Anchors as elongated, as large and as small as the objects are at the network's input:
    `data show my.config` draws both.

    Source

    matchers/argmax_matcher.ArgMaxMatcher._match, builders/matcher_builder.build,
    core/target_assigner.create_target_assigner (first stage of Faster R-CNN: 0.7, 0.3, forced).
    Every box is compared with every anchor; of large sets 100,000 drawn at random, and 500 where
    anchors are clipped. Told where 70 % overlap none by half (or by matched_threshold, if that is
    less), or 30 % are larger than the largest anchor and do so, or 90 % of a class are twice as
    elongated as any anchor: judgements; objects as COCO has them come to 51 % and 9 % at most in
    the reference configs. Where most objects are below the
    finest stride those are REC026's, and the others are judged here.
    """

    code = "REC027"
    name = "records.anchor_reach"
    causes = ("anchors_do_not_fit",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding, about the training records unless only the others are so."""
        for split in subject.census.splits:
            seen = at_input(subject, split)
            reach = poor_reach(subject, seen) if seen is not None else None
            if seen is not None and reach is not None:
                yield self._told(subject, split, seen, reach)
                return

    def _told(
        self, subject: RecordSubject, split: SplitCensus, seen: AtInput, reach: PoorReach
    ) -> Finding:
        assert subject.config is not None
        fit, judged, poor, reasons = reach.fit, reach.judged, reach.poor, reach.reasons
        matched, forced = fit.matcher.matched or 0.0, fit.matcher.forced
        below = int((judged & fit.is_below_matched).sum())
        sampled = "" if len(fit.index) == len(seen.rows) else "sampled "
        whose = f" of {classes_told(subject, reach.classes)}" if reach.classes else ""
        part = anchor_generator(subject.config.pipeline)
        told = ", ".join(f"{int(of.sum()):,} {word}" for word, of in reasons.items())
        sizes, ratios = anchor_shapes(fit)
        # Unforced, an object without an anchor above the threshold is background to all of them.
        critical = not forced and not whose and below >= _ALMOST_ALL * judged.sum()
        return self.told(
            subject,
            split,
            "anchors_do_not_fit",
            Severity.CRITICAL if critical else Severity.WARNING,
            found=f"no anchor overlaps {below:,} of {int(judged.sum()):,} {sampled}boxes{whose} by "
            f"{matched:g}, the least of a match; {int(poor.sum()):,} overlap none by "
            f"{min(matched, GOOD_OVERLAP):g}: {told}",
            expected="anchors that overlap most boxes by half; these have sides of "
            f"{sizes.min():.0f} to {sizes.max():.0f} pixels and are {ratios.min():.2g} to "
            f"{ratios.max():.2g} times as wide as high",
            why=(
                "Such a box is matched by force only: one anchor learns it, and hardly overlaps it."
                if forced
                else "No anchor learns such a box: matches are not forced "
                "(force_match_for_each_row)."
            ),
            mend=_mend(seen, reach, part.kind),
            count=int(poor.sum()),
            counted="boxes",
            examples=split.images.names(split.boxes.image[seen.rows[fit.index[poor]]][:200]),
            loss_ap=(40.0 if critical else 10.0) * float(poor.mean()),
            fields=(part.chosen_path,),
        )


def _mend(seen: AtInput, reach: PoorReach, anchors: str) -> str:
    """Gives what would help most of those boxes."""
    fit = reach.fit
    word, of = max(reach.reasons.items(), key=lambda item: int(item[1].sum()))
    side = float(np.median(seen.objects.sides[fit.index][of]))
    larger, smaller, between = _FIELDS.get(anchors, _FIELDS["grid_anchor_generator"])
    if word == ELONGATED:
        ratio = seen.objects.ratios[fit.index][of]
        typical = [
            float(np.median(one)) for one in (ratio[ratio > 1], ratio[ratio <= 1]) if len(one)
        ]
        told = " and ".join(f"{one:.2g}" for one in typical)
        is_below = side < anchor_shapes(fit)[0].min()
        scales = f", and {smaller} down to a side of {side:.2g} pixels" if is_below else ""
        return (
            f"add aspect_ratios near {told} (width over height; their median), and in steps of 2 "
            f"between{scales}; or cut such objects into shorter boxes"
        )
    if word == LARGER:
        return f"{larger} up to a side of {side:.0f} pixels, their median; or take a smaller input"
    if word == SMALLER:
        return (
            f"{smaller} down to a side of {side:.2g} pixels, their median; or take a larger "
            "input, or tiles of the images"
        )
    return between
