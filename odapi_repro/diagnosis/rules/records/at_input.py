"""Objects of a split as the network gets them, and the finest stride that is to see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.anchor_fit import InputObjects, objects_at_input
from odapi_repro.datasets.census import SplitCensus
from odapi_repro.datasets.census.box_kinds import WELL
from odapi_repro.datasets.object_table import ObjectTable
from odapi_repro.diagnosis.record_rule import RecordSubject
from odapi_repro.errors import ConfigError
from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.anchors import AnchorDesign, anchor_design, read_resizer

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
