"""From a survey of records to a report."""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from odapi_repro.datasets.anchor_fit import AnchorFit, InputObjects, fit_anchors, objects_at_input
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.object_table import ObjectTable
from odapi_repro.errors import ConfigError
from odapi_repro.features.show.show_report import (
    AnchorReport,
    ClassRow,
    LevelRow,
    SizeRow,
    reached_of,
    values_of,
)
from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.anchors import anchor_design, read_matcher, read_resizer

_SIZE_EDGES: Final = (0.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, float("inf"))


def input_objects(table: ObjectTable, pipeline: Pipeline | None) -> tuple[InputObjects, str]:
    """Gives the objects at the network's input, and why they are not there if so."""
    if pipeline is None:
        return objects_at_input(table, None), ""
    try:
        return objects_at_input(table, read_resizer(pipeline)), ""
    except ConfigError as error:
        return objects_at_input(table, None), f"sizes are those of the records: {error.in_a_line}"


def anchor_report(
    objects: InputObjects, pipeline: Pipeline, *, limit: int | None, seed: int
) -> tuple[AnchorReport | None, str]:
    """Gives the anchors and what they reach; or None and why."""
    if not len(objects.boxes):
        return None, "no object to compare with anchors"
    try:
        design = anchor_design(pipeline)
        fit = fit_anchors(objects, design, read_matcher(pipeline), limit=limit, seed=seed)
    except ConfigError as error:
        return None, f"nothing is compared with anchors: {error.in_a_line}"
    levels = tuple(
        LevelRow(
            grid=level.grid,
            stride=level.stride,
            sides=values_of(level.sizes.tolist()),
            ratios=values_of(level.ratios.tolist()),
            best_for=int((fit.level == index).sum()),
        )
        for index, level in enumerate(fit.anchors.levels)
    )
    report = AnchorReport(design, objects, fit, reached_of(fit), levels)
    sampled = f"{len(fit.index):,} of {len(objects.boxes):,} objects were compared with the anchors"
    return report, sampled if report.is_sample else ""


def class_rows(
    table: ObjectTable, label_map: LabelMap, objects: InputObjects, fit: AnchorFit | None
) -> tuple[ClassRow, ...]:
    """Gives every class of the label map and of the records, the most frequent first."""
    found, counts = np.unique(table.class_ids, return_counts=True)
    by_id = dict.fromkeys(label_map.items, 0) | dict(
        zip(found.tolist(), counts.tolist(), strict=True)
    )
    compared = None if fit is None else objects.class_ids[fit.index]
    rows = [
        ClassRow(
            class_id=class_id,
            name=label_map.items.get(class_id, "unknown?" if class_id < 0 else f"id {class_id}?"),
            is_known=class_id in label_map.items,
            objects=count,
            reached=None
            if fit is None or compared is None
            else reached_of(fit, compared == class_id),
        )
        for class_id, count in by_id.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.objects, row.class_id)))


def size_rows(objects: InputObjects, fit: AnchorFit | None) -> tuple[SizeRow, ...]:
    """Gives the objects by octaves of their size, those that hold none left out."""
    sides = objects.sides
    rows = []
    for low, high in itertools.pairwise(_SIZE_EDGES):
        chosen = (sides >= low) & (sides < high)
        if chosen.any():
            reached = None if fit is None else reached_of(fit, chosen[fit.index])
            rows.append(SizeRow(low, high, int(chosen.sum()), reached))
    return tuple(rows)
