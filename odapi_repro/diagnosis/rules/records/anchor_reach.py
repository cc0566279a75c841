"""Objects that the anchors hardly overlap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.anchor_fit import AnchorFit
from odapi_repro.datasets.census import SplitCensus
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject
from odapi_repro.diagnosis.rules.model.model_parts import anchor_generator
from odapi_repro.diagnosis.rules.records.at_input import LEAST_OBJECTS, AtInput, at_input
from odapi_repro.diagnosis.rules.records.object_sizes import is_too_small

__all__ = ["AnchorsDoNotFit"]

Mask = NDArray[np.bool_]

# An overlap that teaches an anchor. Faster R-CNN's first stage asks for 0.7, and its second stage
# corrects what overlaps by half.
_GOOD_OVERLAP = 0.5
# Objects as COCO's are below it to 51 % in the reference configs at most (SSD MobileNetV2 320), and
# beyond the largest anchor to 9 % (Faster R-CNN at 1,024).
_MOST_POOR, _MOST_BEYOND = 0.7, 0.3
_ALMOST_ALL = 0.9
# A box more elongated than the anchors by this much overlaps none by more than half.
_ELONGATED = 2.0


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
    Every box is compared with every anchor (2,000 boxes where anchors are clipped). Told where 70 %
    overlap none by half (or by matched_threshold, if that is less), or 30 % are larger than the
    largest anchor and do so: judgements; objects as COCO has them come to 51 % and 9 % at most in
    the reference configs. Objects below the finest stride are REC026's where most are so.
    """

    code = "REC027"
    name = "records.anchor_reach"
    causes = ("anchors_do_not_fit",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding, about the training records unless only the others are so."""
        for split in subject.census.splits:
            seen = at_input(subject, split)
            if seen is None or seen.fit is None or not seen.fit.matcher.matched:
                continue
            found = self._told(subject, split, seen, seen.fit)
            if found is not None:
                yield found
                return

    def _told(
        self, subject: RecordSubject, split: SplitCensus, seen: AtInput, fit: AnchorFit
    ) -> Finding | None:
        assert subject.config is not None
        matched, forced = fit.matcher.matched or 0.0, fit.matcher.forced
        judged = np.ones(len(fit.index), np.bool_)
        if is_too_small(seen):
            judged = seen.objects.sides[fit.index] >= seen.stride
        if int(judged.sum()) < LEAST_OBJECTS:
            return None
        poor = judged & (fit.iou < min(matched, _GOOD_OVERLAP))
        reasons = _reasons(seen, fit, poor)
        share = float(poor.sum() / judged.sum())
        beyond = reasons.get("larger than the largest anchor")
        many_beyond = beyond is not None and beyond.sum() >= _MOST_BEYOND * judged.sum()
        if share < _MOST_POOR and not many_beyond:
            return None
        below = int((judged & fit.is_below_matched).sum())
        part = anchor_generator(subject.config.pipeline)
        told = ", ".join(f"{int(of.sum()):,} {word}" for word, of in reasons.items())
        sizes, ratios = _anchor_shapes(fit)
        # Unforced, an object without an anchor above the threshold is background to all of them.
        critical = not forced and below >= _ALMOST_ALL * judged.sum()
        return self.told(
            subject,
            split,
            "anchors_do_not_fit",
            Severity.CRITICAL if critical else Severity.WARNING,
            found=f"no anchor overlaps {below:,} of {int(judged.sum()):,} boxes by {matched:g}, "
            f"the least of a match; {int(poor.sum()):,} overlap none by "
            f"{min(matched, _GOOD_OVERLAP):g}: {told}",
            expected="anchors that overlap most boxes by half; these have sides of "
            f"{sizes.min():.0f} to {sizes.max():.0f} pixels and are {ratios.min():.2g} to "
            f"{ratios.max():.2g} times as wide as high",
            why=(
                "Such a box is matched by force only: one anchor learns it, from far away."
                if forced
                else "No anchor learns such a box: matches are not forced "
                "(force_match_for_each_row)."
            ),
            mend=_mend(seen, fit, reasons),
            count=int(poor.sum()),
            counted="boxes",
            examples=split.images.names(split.boxes.image[seen.rows[fit.index[poor]]][:200]),
            loss_ap=(40.0 if critical else 10.0) * share,
            fields=(part.chosen_path,),
        )


def _anchor_shapes(fit: AnchorFit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gives sides and ratios (width over height) of the anchors, [K] each."""
    levels = fit.anchors.levels
    return (
        np.concatenate([level.sizes for level in levels]),
        np.concatenate([level.ratios for level in levels]),
    )


def _reasons(seen: AtInput, fit: AnchorFit, poor: Mask) -> dict[str, Mask]:
    """Gives, of the boxes that overlap no anchor well, which are so for what; each once."""
    sizes, ratios = _anchor_shapes(fit)
    side, ratio = seen.objects.sides[fit.index], seen.objects.ratios[fit.index]
    thin = (ratio > _ELONGATED * ratios.max()) | (ratio < ratios.min() / _ELONGATED)
    reasons = {
        "more elongated than any anchor": thin,
        "larger than the largest anchor": side > sizes.max(),
        "smaller than the smallest anchor": side < sizes.min(),
        "between the anchors": np.ones(len(side), np.bool_),
    }
    left = poor.copy()
    found = {}
    for word, of in reasons.items():
        if (left & of).any():
            found[word] = left & of
        left &= ~of
    return found


def _mend(seen: AtInput, fit: AnchorFit, reasons: dict[str, Mask]) -> str:
    """Gives what would help most of those boxes."""
    word, of = max(reasons.items(), key=lambda item: int(item[1].sum()))
    side = float(np.median(seen.objects.sides[fit.index][of]))
    if word.startswith("more elongated"):
        ratio = seen.objects.ratios[fit.index][of]
        typical = [
            float(np.median(one)) for one in (ratio[ratio > 1], ratio[ratio <= 1]) if len(one)
        ]
        told = " and ".join(f"{one:.2g}" for one in typical)
        return (
            f"add aspect_ratios near {told} (width over height; their median), and in steps of 2 "
            "between; or cut such objects into shorter boxes"
        )
    if word.startswith("larger"):
        return (
            f"add scales (or a max_level, in the feature extractor too) up to a side of {side:.0f} "
            "pixels, their median; or take a smaller input"
        )
    if word.startswith("smaller"):
        return (
            f"add scales (anchor_scale, min_level) down to a side of {side:.2g} pixels, their "
            "median; or take a larger input, or tiles of the images"
        )
    return "add scales (scales_per_octave) or a finer level: min_level, or a smaller stride"
