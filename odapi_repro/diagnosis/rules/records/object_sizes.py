"""Objects that are too small at the network's input."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject
from odapi_repro.diagnosis.rules.model.model_parts import image_resizer
from odapi_repro.diagnosis.rules.records.at_input import (
    LEAST_OF_CLASS,
    AtInput,
    at_input,
    classes_told,
)
from odapi_repro.pipeline import Pipeline, descend

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
