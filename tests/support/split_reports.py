"""Reports of splits as `data show` makes them, of objects at random."""

from __future__ import annotations

import numpy as np

from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.object_table import ObjectTable
from odapi_repro.features.show.show_report import SplitReport
from odapi_repro.features.show.show_split import (
    anchor_report,
    class_rows,
    input_objects,
    size_rows,
)
from odapi_repro.pipeline import Pipeline


def split_report(pipeline: Pipeline | None, count: int, num_classes: int = 3) -> SplitReport:
    """Gives a split of seven images with `count` objects at random."""
    rng = np.random.default_rng(0)
    low = rng.random((count, 2)) * 0.5
    table = ObjectTable(
        image_heights=np.full(7, 200),
        image_widths=np.full(7, 300),
        image_index=np.sort(rng.integers(0, 7, count)),
        boxes=np.concatenate([low, low + 0.02 + 0.4 * rng.random((count, 2))], 1).astype(
            np.float32
        ),
        class_ids=rng.integers(1, num_classes + 1, count),
        is_crowd=np.zeros(count, np.bool_),
    )
    label_map = LabelMap(
        {i: f"class {i} with a rather long name" for i in range(1, 1 + num_classes)}
    )
    objects, _ = input_objects(table, pipeline)
    anchors, note = None, ""
    if pipeline is not None:
        anchors, note = anchor_report(objects, pipeline, limit=None, seed=0)
    fit = anchors.fit if anchors else None
    return SplitReport(
        split="train",
        files=1,
        table=table,
        objects=objects,
        num_broken=0,
        num_matching=7,
        num_shown=7,
        max_number_of_boxes=None if pipeline is None else 20,
        classes=class_rows(table, label_map, objects, fit),
        sizes=size_rows(objects, fit),
        anchors=anchors,
        draws=None,
        notes=tuple(filter(None, [note])),
    )
