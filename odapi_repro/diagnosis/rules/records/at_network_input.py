"""Rules about what the network gets of the objects in records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.anchor_fit import AnchorFit, InputObjects, fit_anchors, objects_at_input
from odapi_repro.datasets.census import SplitCensus
from odapi_repro.datasets.census.box_kinds import WELL
from odapi_repro.datasets.object_table import ObjectTable
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share
from odapi_repro.diagnosis.rules.model.network import anchor_generator, image_resizer
from odapi_repro.errors import ConfigError
from odapi_repro.pipeline import Pipeline, descend
from odapi_repro.pipeline.anchors import (
    AnchorDesign,
    Border,
    anchor_design,
    read_matcher,
    read_resizer,
)

#: Fewer say nothing about a data set.
LEAST_OBJECTS = 10
#: Fewer say nothing about a class.
LEAST_OF_CLASS = 20
_MOST_NAMED = 3
# Every extractor of CenterNet in models/center_net_*_feature_extractor: out_stride.
_CENTER_NET_STRIDE = 4.0
_MOST_SIDE = 2**31


@dataclass(frozen=True, eq=False)
class AtInput:
    """The valid boxes of a split at the network's input.

    Attributes:
        rows: int64 [n], their rows among the split's boxes.
        objects: n of them, in pixels of the input.
        own_sides: float64 [n], square roots of their areas in pixels of their image.
        stride: of the finest feature map that boxes are found on, in pixels of the input.
        least_anchor: smallest side of an anchor, in pixels of the input; 0 without a design.
        design: how anchors are made; None for a model without any, or whose have no size.
        input_size: height and width of most inputs.
        is_reduced: whether most images are larger than the input.
    """

    rows: NDArray[np.int64]
    objects: InputObjects
    own_sides: NDArray[np.float64]
    stride: float
    least_anchor: float
    design: AnchorDesign | None
    input_size: tuple[int, int]
    is_reduced: bool


def at_input(subject: RecordSubject, split: SplitCensus) -> AtInput | None:
    """Gives the valid boxes at the input of the pipeline; None where nobody can tell.

    That is without a config, with one that the OD API refuses (rules about configs say so), and
    with fewer than 10 valid boxes.
    """
    if subject.config is None:
        return None
    try:
        with np.errstate(all="ignore"):  # a config may hold zeros where nothing can be built
            return _at_input(subject.config.pipeline, subject, split)
    except (ConfigError, ArithmeticError, ValueError):
        return None


def _at_input(pipeline: Pipeline, subject: RecordSubject, split: SplitCensus) -> AtInput | None:
    size = split.images.size.astype(np.int64)
    known = np.asarray((size > 0).all(axis=1))
    rows = np.flatnonzero(subject.kinds[split.split].are(WELL) & known[split.boxes.image])
    if len(rows) < LEAST_OBJECTS:
        return None
    image = split.boxes.image[rows]
    table = ObjectTable(
        image_heights=np.maximum(size[:, 0], 1),
        image_widths=np.maximum(size[:, 1], 1),
        image_index=image,
        boxes=split.boxes.corners[rows],
        class_ids=split.class_ids(subject.census.label_map)[rows],
        is_crowd=split.boxes.crowd[rows],
    )
    objects = objects_at_input(table, read_resizer(pipeline))
    if len(objects.boxes) < len(rows):
        return None  # a resizer that leaves nothing of a box
    # Two numbers as one: numpy sorts rows slowly.
    sizes, frequency = np.unique(objects.sizes @ [_MOST_SIDE, 1], return_counts=True)
    height, width = divmod(int(sizes[frequency.argmax()]), _MOST_SIDE)
    design, stride, least = None, _CENTER_NET_STRIDE, 0.0
    if pipeline.meta_architecture != "center_net":
        design = anchor_design(pipeline)
        levels = design.anchors(height, width).levels
        stride = min(min(level.stride) for level in levels)
        lengths = np.concatenate([np.append(level.heights, level.widths) for level in levels])
        if len(lengths) and (np.isfinite(lengths) & (lengths > 0)).all():
            least = min(float(level.sizes.min()) for level in levels)
        else:
            design = None  # anchors of no size, which other rules tell
    reduced = float(np.mean(size[image].max(axis=1) > objects.sizes.max(axis=1)))
    own_sides = objects_at_input(table, None).sides
    return AtInput(rows, objects, own_sides, stride, least, design, (height, width), reduced > 0.5)


def classes_told(subject: RecordSubject, classes: Sequence[int]) -> str:
    """Gives `class buoy`, or `classes buoy, ship`, and so on."""
    label_map = subject.census.label_map
    items = label_map.items if label_map is not None else {}
    told = ", ".join(items.get(one, f"id {one}") for one in classes[:_MOST_NAMED])
    word = "class" if len(classes) == 1 else "classes"
    return f"{word} {told}" + (" ..." if len(classes) > _MOST_NAMED else "")


# An object of a quarter of the stride covers a sixteenth of one cell of the finest feature map, and
# one of two pixels is four of them.
_INVISIBLE_SHARE, _INVISIBLE_PIXELS = 0.25, 2.0
_LARGEST_INPUT = 2048  # the zoo's largest is 1,536
_FINEST_LEVEL = 2
# Fewer pixels in the image itself show nothing, however much they are enlarged.
_LEAST_ENLARGED = 4.0
# An object of this share of the smallest anchor overlaps it by half at best.
_FITTING_SHARE = 0.71


class ObjectsTooSmall(RecordRule):
    """Objects are smaller than a cell of the finest feature map, once images are resized.

    Anti-pattern

        image_resizer { fixed_shape_resizer { height: 320 width: 320 } }

    and photographs of 4000 x 3000 with objects of 16 x 12 pixels: 1.3 pixels are left of them.

    Best practice

    Cut large photographs into tiles of the input's size, for training and evaluation alike, or take
    a larger input, or a finer pyramid (`min_level: 2`, in the feature extractor and the anchors).

    Source

    builders/image_resizer_builder.build; strides are those of the anchors' grids
    (anchor_generators/), and CenterNet's is 4 (models/center_net_*_feature_extractor.out_stride).
    Judgements: `warning` where the median object (square root of its area) is smaller than a cell,
    `critical` below a quarter of its side or 2 pixels; `warning` where one class is so. Objects as
    COCO has them, median 0.106 of the image's side and 10 % below 0.024 (Singh and Davis 2018,
    arXiv 1711.08189), have a median of at least 2 strides in each of the 36 reference configs.
    Augmentation is left out: the evaluation has none.
    """

    code = "REC026"
    name = "records.object_sizes"
    causes = ("objects_too_small_for_input",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding, about the training records unless only the others are so."""
        for split in subject.census.splits:
            seen = at_input(subject, split)
            if seen is None:
                continue
            found = self._told(subject, split, seen)
            if found is not None:
                yield found
                return

    def _told(self, subject: RecordSubject, split: SplitCensus, seen: AtInput) -> Finding | None:
        assert subject.config is not None
        sides = seen.objects.sides
        of = np.ones(len(sides), np.bool_)
        whose = ""
        if not is_too_small(seen):
            invisible = _invisible_classes(seen)
            if not invisible:
                return None
            of = np.isin(seen.objects.class_ids, invisible)
            whose = f" of {classes_told(subject, invisible)}"
        median, own = float(np.median(sides[of])), float(np.median(seen.own_sides[of]))
        small = of & (sides < seen.stride)
        severity = Severity.WARNING
        if not whose and median < _invisible(seen):
            severity = Severity.CRITICAL
        height, width = seen.input_size
        told = f"{median:.2g}" if float(f"{median:.2g}") < seen.stride else f"{median:.3g}"
        return self.told(
            subject,
            split,
            "objects_too_small_for_input",
            severity,
            found=f"half of the {int(of.sum()):,} boxes{whose} have a side of at most {told} "
            f"pixels at the input of {width} x {height} ({own:.2g} in their images); "
            f"{int(small.sum()):,} are smaller than the finest stride, {seen.stride:.3g} pixels",
            expected=f"a median side of at least {seen.stride:.3g} pixels at the input (the square "
            "root of a box's area)",
            why="An object smaller than a cell of the finest feature map leaves little or nothing "
            "in it, and several share one cell.",
            mend=_mend(subject.config.pipeline, seen, median, own),
            count=int(small.sum()),
            counted="boxes",
            examples=split.images.names(split.boxes.image[seen.rows[small]][:200]),
            loss_ap=(50.0 if severity == Severity.CRITICAL else 15.0) * float(small.mean()),
            fields=(image_resizer(subject.config.pipeline).chosen_path,),
        )


def is_too_small(seen: AtInput) -> bool:
    """Whether the median object is smaller than a cell of the finest feature map."""
    return bool(np.median(seen.objects.sides) < seen.stride)


def _invisible(seen: AtInput) -> float:
    """Gives the side, in pixels of the input, below which nothing is left of an object."""
    return max(_INVISIBLE_SHARE * seen.stride, _INVISIBLE_PIXELS)


def _invisible_classes(seen: AtInput) -> list[int]:
    """Gives the classes of whose median object nothing is left."""
    found = []
    sides, class_ids = seen.objects.sides, seen.objects.class_ids
    for one in np.unique(class_ids).tolist():
        of = sides[class_ids == one]
        if len(of) >= LEAST_OF_CLASS and np.median(of) < _invisible(seen):
            found.append(int(one))
    return found


def _mend(pipeline: Pipeline, seen: AtInput, median: float, own: float) -> str:
    """Gives what would help here, the surest first."""
    ways, anchors = [], ""
    if seen.is_reduced and own > median and own >= _LEAST_ENLARGED:
        shrunk = min(1.0, own / seen.stride)
        height, width = (math.floor(shrunk * side) for side in seen.input_size)
        ways.append(
            f"cut the images into tiles of {width} x {height} pixels at their own resolution, "
            + (
                f"where the median side is {own:.2g}"
                if shrunk == 1
                else f"which the resizer enlarges: the median side is then {seen.stride:.3g}"
            )
        )
    factor = math.ceil(10 * seen.stride / median) / 10  # rounded up, so that it is enough
    if factor * max(seen.input_size) <= _LARGEST_INPUT:
        ways.append(f"an input {factor:g} times as large (image_resizer)")
    level = _min_level(pipeline)
    if level is not None and level > _FINEST_LEVEL and median >= 2.0**_FINEST_LEVEL:
        ways.append(
            f"min_level: {_FINEST_LEVEL} in the feature extractor and in the anchors (a stride of "
            f"{2**_FINEST_LEVEL})"
        )
    if not ways:
        ways.append("images of a higher resolution, and tiles of them")
    if seen.stride < _FITTING_SHARE * seen.least_anchor:
        anchors = f"; with smaller anchors (the smallest is {seen.least_anchor:.3g} pixels)"
    return "; or ".join(ways) + anchors


def _min_level(pipeline: Pipeline) -> int | None:
    """Gives the finest level of the pyramid; None for a model without one."""
    if pipeline.meta_architecture != "ssd":
        return None
    extractor: Any = descend(pipeline.model, "feature_extractor")
    name = str(extractor.type)
    if "_bifpn_" in name:
        return int(extractor.bifpn.min_level)
    return int(extractor.fpn.min_level) if "_fpn_" in name else None


Mask = NDArray[np.bool_]

# An overlap that teaches an anchor. Faster R-CNN's first stage asks for 0.7, and its second stage
# corrects what overlaps by half.
GOOD_OVERLAP = 0.5
# Objects as COCO's are below it to 51 % in the reference configs at most (SSD MobileNetV2 320), and
# beyond the largest anchor to 9 % (Faster R-CNN at 1,024).
_MOST_POOR, _MOST_BEYOND = 0.7, 0.3
_ALMOST_ALL = 0.9
_MOST_COMPARED, _MOST_CLIPPED = 100_000, 500
# A box more elongated than the anchors by this much overlaps none by more than 0.55.
_MORE_ELONGATED = 2.0

ELONGATED, LARGER, SMALLER, _BETWEEN = (
    "more elongated than any anchor",
    "larger than the largest anchor",
    "smaller than the smallest anchor",
    "between the anchors",
)


@dataclass(frozen=True, eq=False)
class PoorReach:
    """Objects that anchors reach badly.

    Attributes:
        fit: the objects that were compared, and their best anchors.
        judged: bool [m], those that are looked at.
        poor: bool [m], of them those that overlap no anchor well.
        reasons: what is the matter with them -> bool [m]; each once.
        classes: those that are looked at alone; none where all are.
    """

    fit: AnchorFit
    judged: Mask
    poor: Mask
    reasons: Mapping[str, Mask]
    classes: tuple[int, ...] = ()


def poor_reach(subject: RecordSubject, seen: AtInput) -> PoorReach | None:
    """Gives how the anchors reach the objects, where that is badly.

    Clipping an anchor to the input only makes it overlap the objects in it more: what is well
    without is well, and clipped anchors, which take long, are looked at where it is not.
    """
    if subject.config is None or seen.design is None:
        return None
    try:
        matcher = read_matcher(subject.config.pipeline)
        if not matcher.matched:
            return None
        with np.errstate(all="ignore"):  # a stride of 0
            clipped = seen.design.border is Border.CLIPPED
            design = replace(seen.design, border=Border.KEPT) if clipped else seen.design
            fit = fit_anchors(seen.objects, design, matcher, limit=_MOST_COMPARED)
            reach = _judged(seen, fit)
            if reach is not None and clipped:
                fit = fit_anchors(seen.objects, seen.design, matcher, limit=_MOST_CLIPPED)
                reach = _judged(seen, fit)
            return reach
    except (ConfigError, ArithmeticError, ValueError):
        return None


def _judged(seen: AtInput, fit: AnchorFit) -> PoorReach | None:
    judged = np.ones(len(fit.index), np.bool_)
    if is_too_small(seen):
        judged = seen.objects.sides[fit.index] >= seen.stride
    poor = judged & (fit.iou < min(fit.matcher.matched or 0.0, GOOD_OVERLAP))
    reasons = _reasons(seen, fit, poor)
    beyond = reasons.get(LARGER)
    count = int(judged.sum())
    many_beyond = beyond is not None and int(beyond.sum()) >= _MOST_BEYOND * count
    if count < LEAST_OBJECTS:
        return None
    if many_beyond or int(poor.sum()) >= _MOST_POOR * count:
        return PoorReach(fit, judged, poor, reasons)
    thin = reasons.get(ELONGATED)
    return _of_classes(seen, fit, judged, thin) if thin is not None else None


def _of_classes(seen: AtInput, fit: AnchorFit, judged: Mask, thin: Mask) -> PoorReach | None:
    """Gives the classes of which nearly all objects are more elongated than any anchor."""
    class_ids = seen.objects.class_ids[fit.index]
    found = []
    for one in np.unique(class_ids[thin]).tolist():
        of = judged & (class_ids == one)
        if of.sum() >= LEAST_OF_CLASS and (thin & of).sum() >= _ALMOST_ALL * of.sum():
            found.append(int(one))
    if not found:
        return None
    chosen = judged & np.isin(class_ids, found)
    return PoorReach(fit, chosen, chosen & thin, {ELONGATED: chosen & thin}, tuple(found))


def anchor_shapes(fit: AnchorFit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gives sides and ratios (width over height) of the anchors, [K] each."""
    levels = fit.anchors.levels
    return (
        np.concatenate([level.sizes for level in levels]),
        np.concatenate([level.ratios for level in levels]),
    )


def _reasons(seen: AtInput, fit: AnchorFit, poor: Mask) -> dict[str, Mask]:
    """Gives, of the boxes that overlap no anchor well, which are so for what; each once."""
    sizes, ratios = anchor_shapes(fit)
    side, ratio = seen.objects.sides[fit.index], seen.objects.ratios[fit.index]
    thin = (ratio > _MORE_ELONGATED * ratios.max()) | (ratio < ratios.min() / _MORE_ELONGATED)
    reasons = {
        ELONGATED: thin,
        LARGER: side > sizes.max(),
        SMALLER: side < sizes.min(),
        _BETWEEN: np.ones(len(side), np.bool_),
    }
    left = poor.copy()
    found = {}
    for word, of in reasons.items():
        if (left & of).any():
            found[word] = left & of
        left &= ~of
    return found


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
            mend=_mend_reach(seen, reach, part.kind),
            count=int(poor.sum()),
            counted="boxes",
            examples=split.images.names(split.boxes.image[seen.rows[fit.index[poor]]][:200]),
            loss_ap=(40.0 if critical else 10.0) * float(poor.mean()),
            fields=(part.chosen_path,),
        )


def _mend_reach(seen: AtInput, reach: PoorReach, anchors: str) -> str:
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


# EfficientDet-D3's own augmentation leaves 935 of 1,002 boxes of 100 embedded images, drawn three
# times each; one that throws away more than half trains mostly on what is left over.
_MANY_LOST, _MOST_LOST = 0.5, 0.8
_RECORDS = ("train_input_reader.tf_record_input_reader.input_path",)


class BoxesLostInAugmentation(RecordRule):
    """The pipeline's augmentation throws most boxes away, or stops at some records.

    Anti-pattern

        data_augmentation_options {
          random_crop_image {
            min_object_covered: 0.0
            min_area: 0.05
            overlap_thresh: 0.9
          }
        }

    Best practice

        data_augmentation_options {
          random_crop_image {
            min_object_covered: 1.0
            overlap_thresh: 0.3
          }
        }

    Source

    Counted, by running the OD API's own input functions on some records: inputs.transform_data_fn
    with core/preprocessor.py. What is lost by intent is no loss: a crop shows other objects each
    time; a box that never survives is never learnt.
    """

    code = "REC024"
    name = "records.boxes_lost_in_augmentation"
    causes = ("boxes_lost_in_augmentation", "input_functions_stop")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for records that stop the input, and for boxes that are lost."""
        augmented = subject.augmented
        if augmented is None:
            return
        fields = ("train_config.data_augmentation_options",)
        draws = augmented.records * augmented.draws
        if augmented.refused.count:
            yield self.finding(
                "input_functions_stop",
                Severity.FATAL,
                # What is known to be wrong is in the records, whatever the augmentation.
                fields=_RECORDS if augmented.refused_mend else fields,
                found=f"the OD API's input functions stop at {augmented.refused.count:,} of "
                f"{draws:,} draws: {augmented.refused.detail}",
                expected="an input that goes through all records",
                why="Training stops when such a record comes round.",
                loss_ap=90.0,
                count=augmented.refused.count,
                counted="draws",
                examples=augmented.refused.examples,
                mend=augmented.refused_mend or "mend these records, or leave them out",
            )
        lost = 1 - augmented.share_left
        if lost < _MANY_LOST:
            return
        yield self.finding(
            "boxes_lost_in_augmentation",
            Severity.CRITICAL if lost >= _MOST_LOST else Severity.WARNING,
            fields=fields,
            found=f"{augmented.boxes_before - augmented.boxes_after:,} of "
            f"{augmented.boxes_before:,} boxes ({100 * lost:.0f} %) are lost in augmentation, in "
            f"{draws:,} draws of {augmented.records:,} images; {augmented.emptied.count:,} draws "
            "are left without any",
            expected="more than half of the boxes left",
            why="The model is trained on what is left over: large objects near the middle of their "
            "images.",
            loss_ap=10.0 * lost,
            count=augmented.boxes_before - augmented.boxes_after,
            counted="boxes",
            examples=augmented.emptied.examples,
            mend="crop less; look at what is left with `data show`",
        )


class BoxesBeyondMost(RecordRule):
    """Images have more boxes than their reader keeps.

    Anti-pattern

        max_number_of_boxes: 20        # and images with 63

    Best practice

        max_number_of_boxes: 100

    As many as the most crowded image has.

    Source

    inputs.pad_input_data_to_static_shapes cuts after InputReader.max_number_of_boxes (default 100)
    in the order of the record; DAT007 tells the field without the records.
    """

    code = "REC014"
    name = "records.max_boxes"
    causes = ("max_boxes_truncates_gt",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with boxes that its reader drops."""
        for split in subject.census.splits:
            reader = subject.reader(split)
            if reader is None:
                continue
            kept = int(reader.max_number_of_boxes)
            beyond = np.maximum(split.images.num_boxes - kept, 0)
            count = int(beyond.sum())
            if not count:
                continue
            most = int(split.images.num_boxes.max())
            share = count / len(split.boxes)
            training = split.split == "train"
            fields = subject.field_of(split, "max_number_of_boxes")
            yield self.told(
                subject,
                split,
                "max_boxes_truncates_gt",
                Severity.FATAL if kept <= 0 else by_share(share, warning=0.01, critical=0.2),
                found=f"{count:,} of {len(split.boxes):,} boxes are beyond the {kept} that are "
                f"kept, in {int((beyond > 0).sum()):,} images; the most crowded has {most:,}",
                expected=f"max_number_of_boxes: {most}",
                why="They are dropped silently, and their objects are trained as background."
                if training
                else "They are not ground truth: finding them counts as a false alarm.",
                mend="",
                count=count,
                counted="boxes",
                examples=split.images.names(np.flatnonzero(beyond)[:5]),
                loss_ap=40.0 * share,
                name="max_number_of_boxes",
                fix=(FieldFix(fields[0], most),) if fields else (),
            )
