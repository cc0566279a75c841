"""Anchors: how many at a location, how large, on which levels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.anchor_grid import AnchorGrid, read_anchors
from odapi_repro.diagnosis.rules.model.model_parts import (
    Part,
    anchor_generator,
    ratio,
    rounded,
)
from odapi_repro.diagnosis.rules.model.restoring import restoring
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend


@dataclass(frozen=True)
class _Change:
    """One way in which anchors differ."""

    words: str
    severity: Severity
    loss_ap: float
    evidence: tuple[Evidence, ...] = ()


class AnchorsChanged(Rule):
    """The anchors are not the reference's, or do not fit the feature maps.

    An object is learnt by anchors that overlap it by half (SSD) or by 0.7 (Faster R-CNN's first
    stage). Fewer or wrongly sized anchors leave objects to forced matches.

    Anti-pattern

        multiscale_anchor_generator { min_level: 3 max_level: 6 aspect_ratios: 1.0 }

    above a pyramid of levels 3 to 7: as many anchor levels as feature maps are needed.

    Best practice

    Change anchor_scale for smaller or larger objects (base size is anchor_scale x 2^level pixels of
    the resized image), keep aspect ratios 1, 2 and 0.5, and change levels in both places.

    Source

    Lin et al. 2017, arXiv 1708.02002, table 1c. core/anchor_generator.generate and
    predictors/convolutional_keras_box_predictor.build (counts must agree),
    anchor_generators/multiscale_grid_anchor_generator (normalize_coordinates in Faster R-CNN).
    """

    code: ClassVar[str] = "MOD006"
    name: ClassVar[str] = "model.anchors"
    causes: ClassVar[tuple[str, ...]] = ("anchors_changed", "anchors_refused")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for what the OD API refuses, then compares counts, sizes and levels."""
        part = anchor_generator(subject.pipeline)
        if subject.pipeline.meta_architecture not in ("ssd", "faster_rcnn"):
            return
        grid = read_anchors(subject.pipeline)
        refusal = _refusal(subject, grid)
        if refusal:
            yield self.finding(
                "anchors_refused",
                Severity.FATAL,
                fields=[part.chosen_path],
                found=refusal[0],
                expected=refusal[1],
                why=refusal[2],
            )
        if grid is None or not subject.same_architecture or (refusal and not grid.per_location):
            return
        reference = read_anchors(subject.reference_pipeline)
        if reference is None:
            return
        changes = list(_changes(grid, reference))
        if not changes:
            return
        worst = min(changes, key=lambda change: (change.severity, -change.loss_ap))
        yield self.finding(
            "anchors_changed",
            worst.severity,
            fields=[part.chosen_path],
            found="; ".join(change.words for change in changes),
            expected=reference.described,
            why="Objects that no anchor fits are matched to one that does not, or missed."
            + restoring(subject, "the box predictor", "`full`"),
            loss_ap=worst.loss_ap,
            evidence=worst.evidence,
            fix=_fix(part, anchor_generator(subject.reference_pipeline)),
        )


def _refusal(subject: Subject, grid: AnchorGrid | None) -> tuple[str, str, str] | None:
    """Gives (found, expected, why) where the OD API stops at the anchors."""
    if grid is None:
        return "no anchor generator", "one", "The OD API stops with 'Empty anchor generator'."
    if not grid.per_location:
        return (
            "no anchors: no scales or no aspect ratios",
            "at least one of each",
            "These lists are empty unless they are written, and a predictor without outputs "
            "cannot be built.",
        )
    if grid.normalized and subject.pipeline.meta_architecture == "faster_rcnn":
        return (
            "normalize_coordinates is true (its default)",
            "normalize_coordinates: false",
            "Faster R-CNN makes anchors in pixels and gives the generator no image size, which it "
            "then refuses.",
        )
    maps = _feature_maps(subject)
    if maps is not None and maps != grid.num_levels:
        return (
            f"anchors for {grid.num_levels} feature maps",
            f"{maps}, as many as the feature extractor gives",
            "The OD API stops: every feature map needs its own anchors.",
        )
    return None


def _feature_maps(subject: Subject) -> int | None:
    """How many feature maps the extractor gives; None where that is not known."""
    extractor: Any = descend(subject.pipeline.model, "feature_extractor")
    name = str(extractor.type)
    # A type of another meta-architecture is refused elsewhere, and its proto has other fields.
    if not name.startswith(f"{subject.pipeline.meta_architecture}_"):
        return None
    if name.startswith("ssd_efficientnet") and extractor.HasField("bifpn"):
        return int(extractor.bifpn.max_level) - int(extractor.bifpn.min_level) + 1
    if "_fpn_" in name:
        # Without `fpn` the extractors' own defaults hold: 2 to 6 in Faster R-CNN, 3 to 7 in SSD.
        pyramid = extractor.fpn
        return (
            int(pyramid.max_level) - int(pyramid.min_level) + 1 if extractor.HasField("fpn") else 5
        )
    if name in ("ssd_mobilenet_v1_keras", "ssd_mobilenet_v2_keras"):
        return int(extractor.num_layers)
    if name.startswith("faster_rcnn_") and name.endswith("_keras"):
        return 1
    return None


def _fix(part: Part, reference: Part) -> list[FieldFix]:
    """Gives the edits to the reference's generator, where it is of the same kind."""
    if part.kind != reference.kind or part.kind == "flexible_grid_anchor_generator":
        return []
    edits = []
    for descriptor in reference.message.DESCRIPTOR.fields:
        ours, theirs = (getattr(one.message, descriptor.name) for one in (part, reference))
        if ours != theirs:
            plain = isinstance(theirs, (bool, int, float))
            value = theirs if plain else [rounded(item) for item in theirs]
            edits.append(
                FieldFix(
                    part.at(descriptor.name),
                    rounded(theirs) if isinstance(theirs, float) else value,
                )
            )
    return edits


def _changes(grid: AnchorGrid, reference: AnchorGrid) -> Iterator[_Change]:
    if grid.kind != reference.kind:
        yield _Change(f"a {grid.kind} instead of a {reference.kind}", Severity.INFO, 0.5)
    yield from _count_change(grid.per_location, reference.per_location)
    if grid.levels != reference.levels and None not in (grid.levels, reference.levels):
        yield _Change(f"levels {grid.levels}, not {reference.levels}", Severity.WARNING, 1.5)
    factor = ratio(grid.base_size, reference.base_size)
    if factor < 0.66 or factor > 1.5:
        # Judged from badly spaced sizes, -3.6: a shift by an octave is what levels already span.
        loss_ap = min(3.6, abs(math.log2(factor))) if factor > 0 else 3.6
        yield _Change(f"anchors of {factor:.2g} times the size", Severity.WARNING, loss_ap, ())
    elif not math.isnan(factor) and not 0.99 < factor < 1.01:
        yield _Change(f"anchors of {factor:.2g} times the size", Severity.INFO, 0.3)
    same_count = grid.per_location == reference.per_location
    if same_count and grid.shapes != reference.shapes and grid.kind == reference.kind:
        yield _Change(f"{grid.shapes}, not {reference.shapes}", Severity.INFO, 0.2)


def _count_change(count: int, expected: int) -> Iterator[_Change]:
    if count == expected or expected <= 0:
        return
    words = f"{count} anchors a location, not {expected}"
    share = count / expected
    if share >= 0.66:
        # Two scales instead of three cost nothing (+0.2), more anchors neither.
        yield _Change(words, Severity.INFO, 0.2, published("anchors_9_to_6"))
    elif share > 0.2:
        yield _Change(words, Severity.WARNING, 1.6, published("anchors_9_to_3"))
    else:
        yield _Change(words, Severity.WARNING, 3.7, published("anchors_9_to_1"))
