"""What `run --sanity` checks and starts from, as the flags say: records, checkpoint, schedule."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.made_folder import default_cache_root
from odapi_repro.datasets.records import RecordManifest, manifest
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP
from odapi_repro.datasets.source import EMBEDDED, DataFlags, resolve_data
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.errors import ConfigError, DataError, UserError
from odapi_repro.evaluation.checkpoint import (
    CheckpointSource,
    built_with,
    check_source,
    find_checkpoint,
)
from odapi_repro.factors import Level, factor_hint, factor_named
from odapi_repro.features.sanity.sanity_record import SanityJob
from odapi_repro.features.sanity.sanity_trainings import SanityTrainings
from odapi_repro.pipeline import Pipeline, parse_pipeline
from odapi_repro.trials.groundwork import Groundwork, StudyData, lay_groundwork
from odapi_repro.trials.study_flags import check_name, conditions_of, study_data_of

SCHEDULE_FACTORS = ("batch_size", "learning_rate", "lr_scaling", "warmup", "sync_replicas")
"""What `--at` may set: the schedule under test."""


FEW = 10
"""How many; so few that a model that learns at all learns them by heart."""

# The manifest's digest holds the name, so it is the same for all.
_NAME = "few_images.tfrecord"


def few_images(data: StudyData, *, cache: Path | None = None) -> StudyData:
    """Gives a data set of ten training images with objects, to train and to evaluate on.

    They stand as evenly in the records as ten can: at each tenth the next image that has an object
    of the label map's classes that is no crowd. The same records give the same ten.

    Args:
        data: whose training records they come from.
        cache: folder to write to; the user's cache by default.

    Raises:
        DataError: fewer than ten such images, or the cache cannot be written.
    """
    chosen = _chosen(data.train_files, data.train, data.label_map)
    folder = (cache or default_cache_root()) / f"few_images-{_digest(chosen)}"
    path = folder / _NAME
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot make a folder: {error.strerror or error}",
                expected="a cache folder that can be written",
                mend="set ODAPI_REPRO_CACHE to a folder on a disk with space",
                where=str(folder),
            ) from error
        write_records(path, chosen)
    source = replace(
        data.source.reading({"train": (path,), "eval": (path,)}),
        name=f"{FEW} images of {data.source.name}",
    )
    found = manifest((path,))
    return replace(data, source=source, train=found, eval=found)


def _chosen(files: Sequence[Path], found: RecordManifest, label_map: LabelMap) -> list[bytes]:
    total = found.num_examples
    starts = [total * i // FEW for i in range(FEW)]
    chosen = _from(files, found, label_map, starts)
    if len(chosen) < FEW:
        # Images without objects stand together: the first ten that have some.
        chosen = _from(files, found, label_map, [0] * FEW)
    if len(chosen) < FEW:
        raise DataError(
            f"{len(chosen)} of {total} training images hold an object of the label map's classes",
            expected=f"at least {FEW}: they are trained until the model knows them by heart",
            mend="name records of an annotated set, and the label map they were made with",
            where=str(files[0]),
        )
    return chosen


def _from(
    files: Sequence[Path], found: RecordManifest, label_map: LabelMap, starts: Sequence[int]
) -> list[bytes]:
    """Gives, for each start in order, the next image with objects that is not taken yet."""
    waiting = list(starts)
    chosen: list[bytes] = []
    for position, data in _records(files, found, waiting):
        if waiting and waiting[0] <= position and _has_object(data, label_map):
            chosen.append(data)
            del waiting[0]
    return chosen


def _records(
    files: Sequence[Path], found: RecordManifest, waiting: Sequence[int]
) -> Iterator[tuple[int, bytes]]:
    """Gives records with their positions; files that nothing waits for are not read."""
    counts = {(file.name, file.bytes): file.num_examples for file in found.files}
    position = 0
    for file in files:
        after = position + counts[file.name, file.stat().st_size]
        if not waiting:
            return
        if waiting[0] < after:
            for data in read_records(file):
                yield position, data
                position += 1
        position = after


def _has_object(data: bytes, label_map: LabelMap) -> bool:
    image = AnnotatedImage.from_example(data, label_map)
    pairs = zip(image.class_ids.tolist(), image.is_crowd.tolist(), strict=True)
    return any(class_id in label_map.items and not crowd for class_id, crowd in pairs)


def _digest(records: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for data in records:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:12]


def sanity_data(
    flags: Any, pipeline: Pipeline, at: Mapping[str, str]
) -> tuple[StudyData, tuple[str, ...]]:
    """Gives the records to look at, checked, and what a reader of the verdict should know of them.

    Which records they are and why is printed before they are read.

    Raises:
        UserError: records or a label map that are missing or do not fit; and before the embedded
            set is made, flags that a check of it cannot take.
    """

    def check(data: StudyData) -> None:
        conditions = conditions_of(flags, pipeline, data, with_checkpoint=False)
        _levels(at, lay_groundwork(pipeline, data, conditions))
        if flags.name:
            check_name(flags.name)
        if flags.checkpoint:
            find_checkpoint(flags.checkpoint)

    data = study_data_of(flags, pipeline, check=check, follows_config=True)
    notes = [f"Looked at: {data.source.reason}."] if data.source.reason else []
    shared = {file.digest for file in data.train.files} & {file.digest for file in data.eval.files}
    if shared:
        notes.append(
            f"{len(shared)} of {len(data.eval.files)} evaluation files are training files, too: "
            "the evaluation set is not separate from the training set, so it says nothing that "
            "their labels agree."
        )
    return data, tuple(notes)


def sanity_job(
    flags: Any, pipeline: Pipeline, data: StudyData, at: Mapping[str, str]
) -> tuple[SanityJob, tuple[str, ...]]:
    """Gives what is to be run, and what the user should be warned of.

    Args:
        flags: of `odapi_repro.run`.
        pipeline: to be checked.
        data: the records under test.
        at: factor -> level as typed, of the schedule under test.

    Raises:
        UserError: records, a checkpoint or levels that these checks cannot take.
    """
    conditions = conditions_of(flags, pipeline, data, with_checkpoint=False)
    if flags.checkpoint:
        conditions = dataclasses.replace(conditions, checkpoint=None)
    ground = lay_groundwork(pipeline, data, dataclasses.replace(conditions, num_steps=None))
    trainings = SanityTrainings(pipeline, conditions, _levels(at, ground))
    few = few_images(data)
    source: CheckpointSource | None = None
    warnings: tuple[str, ...] = ()
    reference_data: StudyData | None = None
    no_hold = ""
    if flags.checkpoint:
        source, warnings = _source(flags.checkpoint, trainings, few)
    elif conditions.scale == "full":
        no_hold = "no --checkpoint was named: a trained detector of this architecture and classes"
    else:
        reference_data, no_hold = _reference_data(data)
    job = SanityJob(
        trainings=trainings,
        data=data,
        few=few,
        source=source,
        reference_data=reference_data,
        no_hold=no_hold,
    )
    return job, warnings


def _source(
    given: str, trainings: SanityTrainings, few: StudyData
) -> tuple[CheckpointSource, tuple[str, ...]]:
    """Gives the user's checkpoint, which can be this pipeline's at this scale, with warnings."""
    source = find_checkpoint(given)
    if not source.prefix:
        raise UserError(
            "this is a SavedModel, which cannot be trained on",
            expected="a trial's folder, a training folder, a ckpt-N prefix or an unpacked zoo "
            "archive",
            mend="name the archive's folder checkpoint/",
            where=given,
        )
    scaled = parse_pipeline(
        trainings.overfit(few, None, safe=False).trial.pipeline_text, trainings.pipeline.path
    )
    try:
        warnings = check_source(source, scaled)
    except ConfigError as error:
        scale = trainings.conditions.scale
        raise ConfigError(
            error.found,
            expected=f"a checkpoint of this pipeline's model at {scale} scale, with as many classes"
            " as the label map",
            mend="another --checkpoint, another --scale, or none: a proxy has a reference of its "
            "own for the embedded set's classes",
            where=error.where,
        ) from error
    return built_with(source, scaled), warnings


def _reference_data(data: StudyData) -> tuple[StudyData | None, str]:
    """Gives the embedded set, where a model trained on it knows the classes of these records.

    A reference trained on the records under test would hold on them whatever their labels are.
    """
    if data.source.name == EMBEDDED:
        return data, ""
    if set(data.label_map.items.values()) != set(SHAPES_LABEL_MAP.items.values()):
        return None, (
            "the reference of this scale knows the embedded shapes and none of these classes; "
            "name a --checkpoint that a trial of this scale has trained on records you trust"
        )
    return StudyData.of(resolve_data(DataFlags(data=EMBEDDED))), ""


def _levels(at: Mapping[str, str], ground: Groundwork) -> Mapping[str, Level]:
    levels = {}
    for name, text in at.items():
        if name not in SCHEDULE_FACTORS:
            raise UserError(
                f"--at {name}: it is no part of the schedule that is tested",
                expected=f"one of {', '.join(SCHEDULE_FACTORS)}",
                mend=factor_hint(name, SCHEDULE_FACTORS) or "e.g. --at learning_rate=2x",
            )
        factor = factor_named(name)
        factor.check_applies(ground.setting)
        levels[name] = factor.parse_level(text, ground.setting)
    return levels
