"""Rules about anchors, which objects they are matched to, and how boxes are coded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.network import (
    Part,
    anchor_generator,
    choice,
    ratio,
    restoring,
    rounded,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend

_MOST_LAYERS = 64


@dataclass(frozen=True)
class AnchorGrid:
    """Anchors of one model.

    Attributes:
        kind: the generator, without `_anchor_generator`.
        num_levels: feature maps that it makes anchors for.
        per_location: anchors at one location (of the largest count among levels).
        base_size: side of the smallest level's base anchor: pixels of the resized image (grid,
            multiscale), or a share of its shorter side (ssd).
        levels: (lowest, highest) of a pyramid; None elsewhere.
        shapes: scales and aspect ratios in words.
        normalized: multiscale anchors in coordinates from 0 to 1, not in pixels.
    """

    kind: str
    num_levels: int
    per_location: int
    base_size: float
    levels: tuple[int, int] | None
    shapes: str
    normalized: bool = False

    @property
    def described(self) -> str:
        """All of it in a clause."""
        size = f"{self.base_size:g} pixels" if self.base_size > 1 else f"{self.base_size:g}"
        return (
            f"{self.per_location} anchors a location on {self.num_levels} "
            f"level{'s' if self.num_levels != 1 else ''} from {size} up, {self.shapes}"
        )


def read_anchors(pipeline: Pipeline) -> AnchorGrid | None:
    """Gives the anchors; None for a model without a generator.

    Source: anchor_generators/{grid,multiple_grid,multiscale_grid,flexible_grid}_anchor_generator.
    """
    part = anchor_generator(pipeline)
    reader = _READERS.get(part.kind)
    return reader(part.message) if reader is not None else None


def _grid(message: Any) -> AnchorGrid:
    scales, ratios = list(message.scales), list(message.aspect_ratios)
    smallest = min(scales, default=0.0) * min(int(message.height), int(message.width))
    return AnchorGrid(
        "grid",
        1,
        len(scales) * len(ratios),
        smallest,
        None,
        f"scales {_listed(scales)}, aspect ratios {_listed(ratios)}",
    )


def _multiscale(message: Any) -> AnchorGrid:
    low, high = int(message.min_level), int(message.max_level)
    octave, ratios = int(message.scales_per_octave), list(message.aspect_ratios)
    return AnchorGrid(
        "multiscale",
        max(high - low + 1, 0),
        max(octave, 0) * len(ratios),
        float(message.anchor_scale) * 2.0 ** min(max(low, 0), _MOST_LAYERS),
        (low, high),
        f"{octave} scales an octave, aspect ratios {_listed(ratios)}",
        bool(message.normalize_coordinates),
    )


def _ssd(message: Any) -> AnchorGrid:
    ratios, layers = list(message.aspect_ratios), int(message.num_layers)
    between = 1 if message.interpolated_scale_aspect_ratio > 0 else 0
    reduced = bool(message.reduce_boxes_in_lowest_layer)
    if layers <= 1 and reduced:
        count = 3 if layers == 1 else 0
    else:
        count = len(ratios) + between if layers > 0 else 0
    scales = list(message.scales)
    smallest = float(scales[0] if scales else message.min_scale)
    shown = (
        f"scales {_listed(scales)}"
        if scales
        else f"scales {message.min_scale:g} to {message.max_scale:g}"
    )
    return AnchorGrid(
        "ssd", layers, count, smallest, None, f"{shown}, aspect ratios {_listed(ratios)}"
    )


def _flexible(message: Any) -> AnchorGrid:
    grids = list(message.anchor_grid)
    sizes = [size for grid in grids for size in grid.base_sizes]
    counts = [len(grid.base_sizes) for grid in grids]
    return AnchorGrid(
        "flexible_grid",
        len(grids),
        max(counts, default=0),
        min(sizes, default=0.0),
        None,
        f"{len(sizes)} sizes",
        bool(message.normalize_coordinates),
    )


def _listed(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.4g}" for value in sorted(values)[:8])
    return shown + (", ..." if len(values) > 8 else "") if values else "none"


_READERS = {
    "grid_anchor_generator": _grid,
    "multiscale_anchor_generator": _multiscale,
    "ssd_anchor_generator": _ssd,
    "flexible_grid_anchor_generator": _flexible,
}


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


_PATH = "model.ssd.matcher.argmax_matcher"
_FIELDS = (
    "matched_threshold",
    "unmatched_threshold",
    "ignore_thresholds",
    "negatives_lower_than_unmatched",
    "force_match_for_each_row",
)


class MatchingChanged(Rule):
    """Anchors are matched to objects by other rules than the reference's.

    Anti-pattern

        matcher { argmax_matcher { matched_threshold: 0.5 } }

    which leaves force_match_for_each_row at its default, false: an object that no anchor overlaps
    by half is background.

    Best practice

        matcher { argmax_matcher { matched_threshold: 0.5 unmatched_threshold: 0.5
          ignore_thresholds: false negatives_lower_than_unmatched: true
          force_match_for_each_row: true } }

    Source

    facebookresearch/maskrcnn-benchmark pull request 102 (forced matches off: -0.7).
    builders/matcher_builder.build: it refuses an unmatched threshold above the matched one, and a
    config without a matcher; bipartite matching is not there in TensorFlow 2.
    """

    code: ClassVar[str] = "MOD016"
    name: ClassVar[str] = "model.matching"
    causes: ClassVar[tuple[str, ...]] = ("matching_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for a matcher that is refused, then compares its fields."""
        if subject.pipeline.meta_architecture != "ssd":
            return
        kind = _kind(subject.pipeline)
        if kind != "argmax_matcher":
            yield self.finding(
                "matching_changed",
                Severity.FATAL,
                fields=["model.ssd.matcher"],
                found=kind or "no matcher",
                expected="argmax_matcher",
                why="The OD API stops: it needs a matcher, and bipartite matching is not there in "
                "TensorFlow 2.",
            )
            return
        ours = _values(subject.pipeline)
        if (
            not ours["ignore_thresholds"]
            and ours["unmatched_threshold"] > ours["matched_threshold"]
        ):
            yield self.finding(
                "matching_changed",
                Severity.FATAL,
                fields=[f"{_PATH}.unmatched_threshold", f"{_PATH}.matched_threshold"],
                found=f"unmatched_threshold {ours['unmatched_threshold']:g} above "
                f"matched_threshold {ours['matched_threshold']:g}",
                expected="at most matched_threshold",
                why="The OD API stops while it builds the matcher.",
                fix=[FieldFix(f"{_PATH}.unmatched_threshold", ours["matched_threshold"])],
            )
            return
        if not subject.same_architecture or _kind(subject.reference_pipeline) != kind:
            return
        theirs = _values(subject.reference_pipeline)
        changed = [name for name in _FIELDS if abs(ours[name] - theirs[name]) > 1e-6]
        if not changed:
            return
        unforced = "force_match_for_each_row" in changed and not ours["force_match_for_each_row"]
        far = any("threshold" in n and abs(ours[n] - theirs[n]) >= 0.15 for n in changed)
        yield self.finding(
            "matching_changed",
            Severity.WARNING if unforced or far else Severity.INFO,
            fields=[f"{_PATH}.{name}" for name in changed],
            found=", ".join(_shown(name, ours[name]) for name in changed),
            expected=", ".join(_shown(name, theirs[name]) for name in changed),
            why="Objects that no anchor overlaps enough are trained as background."
            if unforced
            else "It moves the line between anchors that are objects and those that are not.",
            loss_ap=0.7 if unforced else 1.0 if far else 0.2,  # the latter two judged
            evidence=published("forced_match_off") if unforced else (),
            fix=[
                FieldFix(
                    f"{_PATH}.{name}",
                    theirs[name] if name.endswith("ed_threshold") else bool(theirs[name]),
                )
                for name in changed
            ],
        )


def _kind(pipeline: Pipeline) -> str:
    if pipeline.meta_architecture != "ssd":
        return ""
    return str(descend(pipeline.model, "matcher").WhichOneof("matcher_oneof") or "")


def _values(pipeline: Pipeline) -> dict[str, float]:
    matcher: Any = descend(pipeline.model, "matcher.argmax_matcher")
    return {name: rounded(getattr(matcher, name)) for name in _FIELDS}


def _shown(name: str, value: float) -> str:
    if name.endswith("ed_threshold"):
        return f"{name} {value:g}"
    return f"{name} {str(bool(value)).lower()}"


_BOX_CODER_PATH = "model.ssd.box_coder"
_SCALES = ("y_scale", "x_scale", "height_scale", "width_scale")


class BoxCoderDiffers(Rule):
    """Boxes are encoded with other scales than the reference's.

    The coder multiplies the offsets that the network learns, by 10, 10, 5, 5 or by 1. Scales of 1
    make the quadratic part of the box loss 100 times (centre) and 25 times (size) smaller, and a
    checkpoint's boxes are decoded wrongly under other scales than its own.

    Anti-pattern

    A zoo EfficientDet restored with checkpoint type `full` under configs/tf2's 10, 10, 5, 5: the
    published archives' own configs have 1, 1, 1, 1.

    Best practice

    Fine-tuning with type `detection` drops the box head, so either coder can be learnt. With
    `full`, and for every evaluation, keep the coder that the checkpoint was trained with.

    Source

    box_coders/faster_rcnn_box_coder (encode multiplies, decode divides; scales must be positive).
    Copies of the EfficientDet archives' configs in seven public repositories, all with 1, 1, 1, 1;
    docs/references.md names them. No archive itself was opened.
    """

    code: ClassVar[str] = "MOD007"
    name: ClassVar[str] = "model.box_coder"
    causes: ClassVar[tuple[str, ...]] = ("box_coder_differs", "box_coder_refused")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for what is refused, then for a difference, then for a whole checkpoint."""
        if subject.pipeline.meta_architecture != "ssd":
            return
        coder = _coder(subject.pipeline)
        scales = _scales(coder)
        if not coder.kind or (scales is not None and not min(scales) > 0):
            yield self._refused(subject, coder, scales)
            return
        if not subject.same_architecture:
            return
        reference = _coder(subject.reference_pipeline)
        expected = _scales(reference)
        restore = subject.quantities.checkpoint_restore
        if coder.kind != reference.kind or scales is None or expected is None:
            if coder.kind != reference.kind:
                yield self._differs(subject, coder, reference, restore)
        elif not all(map(math.isclose, scales, expected)):
            yield self._differs(subject, coder, reference, restore)
        elif restore == "full" and _is_odapi_efficientdet(subject) and not _is_unit(scales):
            yield self._whole_checkpoint(coder, scales)

    def _refused(self, subject: Subject, coder: Part, scales: tuple[float, ...] | None) -> Finding:
        return self.finding(
            "box_coder_refused",
            Severity.FATAL,
            fields=[coder.chosen_path],
            found=f"box coder scales {_box_coder_listed(scales)}" if scales else "no box coder",
            expected=_described(_coder(subject.reference_pipeline)),
            why="The OD API stops: it needs a box coder, and its scales must be positive.",
        )

    def _differs(self, subject: Subject, coder: Part, reference: Part, restore: str) -> Finding:
        scales, expected = _scales(coder), _scales(reference)
        archive = scales is not None and _is_unit(scales) and _is_odapi_efficientdet(subject)
        severity, loss_ap = Severity.WARNING, 1.0  # judged: nothing published
        if archive and restore in ("detection", "full"):
            severity, loss_ap = Severity.INFO, 0.0
            why = "The published archive's own config has these scales. " + (
                "Restored whole, its boxes are decoded rightly with them."
                if restore == "full"
                else "The box head starts anew, so either coder can be learned; with 1, 1, 1, 1 "
                "the quadratic part of the box loss is 100 times (centre) and 25 times (size) "
                "smaller."
            )
        elif restore == "full":
            severity, loss_ap = Severity.CRITICAL, 20.0  # judged: every box is of a wrong size
            why = "The restored box head was trained for the other scales: it decodes wrong boxes."
        elif scales is None or expected is None:
            why = "The box head learns other numbers, and the box loss has another size."
        else:
            centre, size = (scales[0] / expected[0]) ** 2, (scales[2] / expected[2]) ** 2
            why = (
                f"The quadratic part of the box loss is {centre:.3g} times (centre) and {size:.3g} "
                "times (size) the reference's, with the classes weighing as before."
            )
        return self.finding(
            "box_coder_differs",
            severity,
            fields=[coder.at(name) for name in _SCALES] if scales else [coder.chosen_path],
            found=_described(coder),
            expected=_described(reference),
            why=why,
            loss_ap=loss_ap,
            fix=[]
            if severity is Severity.INFO or expected is None
            else [
                FieldFix(reference.at(name), value)
                for name, value in zip(_SCALES, expected, strict=True)
            ],
        )

    def _whole_checkpoint(self, coder: Part, scales: tuple[float, ...]) -> Finding:
        return self.finding(
            "box_coder_differs",
            Severity.WARNING,
            fields=[
                *(coder.at(name) for name in _SCALES),
                "train_config.fine_tune_checkpoint_type",
            ],
            found=f"a whole checkpoint is restored under {_described(coder)}",
            expected="1, 1, 1, 1, if it is the zoo's: so the published archives' own configs say",
            why=f"The zoo checkpoint's offsets would be divided by {scales[0]:g} and "
            f"{scales[2]:g}: the boxes start out wrong and have to be learned again.",
            loss_ap=2.0,  # judged: the head can learn it back while the rate is high
            fix=[FieldFix(coder.at(name), 1.0) for name in _SCALES],
        )


def _coder(pipeline: Pipeline) -> Part:
    if pipeline.meta_architecture != "ssd":
        return Part("", None, _BOX_CODER_PATH)
    return choice(descend(pipeline.model, "box_coder"), "box_coder_oneof", _BOX_CODER_PATH)


def _scales(coder: Part) -> tuple[float, ...] | None:
    """The four scales; None for a coder that has none of this kind."""
    message: Any = coder.message
    if coder.kind not in ("faster_rcnn_box_coder", "keypoint_box_coder"):
        return None
    return tuple(rounded(getattr(message, name)) for name in _SCALES)


def _is_unit(scales: tuple[float, ...]) -> bool:
    return all(math.isclose(scale, 1.0) for scale in scales)


def _is_odapi_efficientdet(subject: Subject) -> bool:
    reference = subject.reference
    return reference.family == "efficientdet" and reference.recipe == "odapi"


def _box_coder_listed(scales: tuple[float, ...] | None) -> str:
    return ", ".join(f"{scale:g}" for scale in scales or ())


def _described(coder: Part) -> str:
    scales = _scales(coder)
    if scales is None:
        return coder.kind or "a box coder"
    kind = "" if coder.kind == "faster_rcnn_box_coder" else f"{coder.kind}, "
    return f"{kind}box coder scales {_box_coder_listed(scales)}"
