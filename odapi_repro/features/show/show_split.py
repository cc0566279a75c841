"""One split from its records to its report and pictures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from object_detection.protos import pipeline_pb2

from odapi_repro.datasets.anchor_fit import AnchorFit, InputObjects, fit_anchors, objects_at_input
from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.object_table import ObjectTable, Survey, survey_records
from odapi_repro.errors import ConfigError, DataError, UserError
from odapi_repro.features.show.show_pictures import (
    InputSheets,
    Look,
    input_sheets,
    png,
    record_sheets,
)
from odapi_repro.features.show.show_plots import classes_png, histograms_png
from odapi_repro.features.show.show_report import (
    AnchorReport,
    ClassRow,
    LevelRow,
    SizeRow,
    SplitReport,
    reached_of,
    values_of,
)
from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import count_of
from odapi_repro.page.results_folder import Drawing
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


@dataclass(frozen=True)
class Showing:
    """What is asked for, the same for every split.

    Attributes:
        pipeline: None for the records alone.
        label_map_path: of the records.
        look: how sheets are drawn.
        is_wanted: which images may be shown.
        asked: the same in words; empty for any.
        none_is_good: whether no such image is an answer, and no mistake.
        source_ids: those that are asked for; empty for any.
        images: how many.
        draws: of each, as the model gets it; 0 for none.
        seed: of every choice.
        boxes_limit: objects to compare with the anchors; None for all.
        progress: tells what is going on.
    """

    pipeline: Pipeline | None
    label_map_path: Path
    look: Look
    is_wanted: Callable[[AnnotatedImage], bool]
    asked: str
    none_is_good: bool
    source_ids: tuple[str, ...]
    images: int
    draws: int
    seed: int
    boxes_limit: int | None
    progress: LiveLine


@dataclass(frozen=True)
class ShownSplit:
    """A split's report and pictures, and why there are none of model inputs, if so."""

    report: SplitReport
    drawings: tuple[Drawing, ...]
    failure: UserError | None


def show_split(split: str, files: Sequence[Path], showing: Showing) -> ShownSplit:
    """Shows one split.

    What the child process refuses is told in `failure`; everything else is there all the same.
    Where no image is wrong and only wrong ones are asked for, a note says so, without pictures.

    Raises:
        DataError: records that cannot be read, no image at all, or none that is wanted.
    """
    survey = _survey(split, files, showing)
    drawings = record_sheets(split, survey, showing.look)
    notes = [_not_found(survey, showing.source_ids)]
    if not drawings:
        notes.append(f"no image of {split} is {showing.asked}: there is nothing to draw")
    pipeline = _pipeline_of(showing.pipeline, split)
    objects, note = input_objects(survey.table, pipeline)
    notes.append(note)
    anchors = None
    if pipeline is not None:
        anchors, note = anchor_report(
            objects, pipeline, limit=showing.boxes_limit, seed=showing.seed
        )
        notes.append(note)
    inputs, failure = None, None
    if pipeline is not None and showing.draws and survey.picked:
        inputs, failure = _draw(split, pipeline, survey, showing)
        if failure is not None:
            notes.append(f"no pictures of what the model gets: {failure.in_a_line}")
    fit = anchors.fit if anchors else None
    reader = pipeline.proto.train_input_reader if pipeline is not None else None
    report = SplitReport(
        split=split,
        files=len(files),
        table=survey.table,
        objects=objects,
        num_broken=survey.num_broken,
        num_matching=survey.num_matching,
        num_shown=len(survey.picked),
        max_number_of_boxes=None if reader is None else int(reader.max_number_of_boxes),
        classes=class_rows(survey.table, showing.look.label_map, objects, fit),
        sizes=size_rows(objects, fit),
        anchors=anchors,
        draws=None if inputs is None else inputs.draws,
        notes=tuple(filter(None, notes)),
    )
    if drawings:
        drawings = (
            *drawings,
            *(() if inputs is None else inputs.drawings),
            png(f"histograms_{split}", lambda: histograms_png(report)),
            png(f"classes_{split}", lambda: classes_png(report)),
        )
    return ShownSplit(report, drawings, failure)


def _not_found(survey: Survey, source_ids: Sequence[str]) -> str:
    """Says which of the source ids no image has."""
    if survey.num_matching > len(survey.picked):
        return ""
    found = {one.image.source_id for one in survey.picked if one.image is not None}
    missing = [one for one in source_ids if one not in found]
    return f"no image has the source id {', '.join(missing[:10])}" if missing else ""


def _survey(split: str, files: Sequence[Path], showing: Showing) -> Survey:
    survey = survey_records(
        files,
        showing.look.label_map,
        pick=showing.images,
        seed=showing.seed,
        wanted=showing.is_wanted,
        on_record=lambda count: showing.progress.update(
            f"{split}: {count_of(count, 'record')} read"
        ),
    )
    if not survey.table.num_images and not survey.num_broken:
        raise DataError(
            "there is no image to show",
            expected="records with at least one example",
            mend="name record files that hold images",
            where=", ".join(map(str, files[:3])),
        )
    if not survey.num_matching and showing.asked and not showing.none_is_good:
        raise DataError(
            f"none of the {survey.table.num_images:,} images of {split} is one of: {showing.asked}",
            expected="at least one image",
            mend="ask for others with --only or --source_ids, or leave these flags out",
        )
    return survey


def _pipeline_of(pipeline: Pipeline | None, split: str) -> Pipeline | None:
    """The pipeline as it reads this split: evaluation has its own reader and no augmentation."""
    if pipeline is None or split == "train":
        return pipeline

    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        del proto.train_config.data_augmentation_options[:]
        if proto.eval_input_reader:
            proto.train_input_reader.CopyFrom(proto.eval_input_reader[0])

    return pipeline.edited(edit)


def _draw(
    split: str, pipeline: Pipeline, survey: Survey, showing: Showing
) -> tuple[InputSheets | None, UserError | None]:
    """Gives the sheets of model inputs, or why not; without augmentation one draw says all."""
    augmented = bool(pipeline.proto.train_config.data_augmentation_options)
    showing.progress.update(f"{split}: TensorFlow starts to draw what the model gets", news=True)
    try:
        return input_sheets(
            split,
            pipeline,
            survey.picked,
            showing.label_map_path,
            showing.look,
            draws=showing.draws if augmented else 1,
            seed=showing.seed,
            on_draw=lambda done, total: showing.progress.update(
                f"{split}: {done} of {total} draws"
            ),
        ), None
    except UserError as error:
        return None, error
