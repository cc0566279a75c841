"""What all trials of a study share: its records, its setting, and how a trial is made from it."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.conversion.manifest import read_manifest
from odapi_repro.datasets.label_map import LabelMap, read_label_map
from odapi_repro.datasets.made_folder import default_cache_root
from odapi_repro.datasets.record_damage import EditedRecords
from odapi_repro.datasets.record_files import Inventory
from odapi_repro.datasets.records import RecordFile, RecordManifest, manifest
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP, ShapesSpec
from odapi_repro.datasets.source import EMBEDDED, DataSource
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Level, Setting
from odapi_repro.packages import installed_version
from odapi_repro.pipeline import (
    Pipeline,
    Recipe,
    bind_records,
    flatten_fields,
    read_recipe,
    render_recipe,
)
from odapi_repro.pipeline.recipe import learning_rate_message
from odapi_repro.trials.scales import Scaled, scale_pipeline
from odapi_repro.trials.trial import Stack, Trial, TrialSpec

# --- The records of a study: found, counted, and read whole or in part ---


_MASK_PEEK = 20  # images to look at before deciding that records hold no masks


@dataclass(frozen=True)
class StudyData:
    """The records of a study, found and counted."""

    source: DataSource
    label_map: LabelMap
    train: RecordManifest
    eval: RecordManifest

    @classmethod
    def of(cls, source: DataSource) -> Self:
        """Reads the label map of a source, and counts its records."""
        train, evaluation = (manifest(source.files(split)) for split in ("train", "eval"))
        return cls(source, read_label_map(source.label_map_path), train, evaluation)

    @property
    def train_files(self) -> tuple[Path, ...]:
        """Absolute paths, sorted."""
        return tuple(file.absolute() for file in self.source.files("train"))

    @property
    def eval_files(self) -> tuple[Path, ...]:
        """Absolute paths, sorted."""
        return tuple(file.absolute() for file in self.source.files("eval"))

    @cached_property
    def has_masks(self) -> bool:
        """Whether the first training image with boxes holds PNG masks."""
        records = itertools.chain.from_iterable(map(read_records, self.train_files))
        for data in itertools.islice(records, _MASK_PEEK):
            image = AnnotatedImage.from_example(data)
            if len(image.boxes):
                return bool(image.masks_png)
        return False

    def reading(self, train_shards: int | None) -> StudyData:
        """Gives the data of which only the first training files by path are read; all for None.

        Training on the first of a hundred files is then the same trial as training on a data set
        of that one file.
        """
        if train_shards is None:
            return self
        files = self.train_files[:train_shards]
        return replace(self, source=self.source.reading({"train": files}), train=manifest(files))


class _Unmade(StudyData):
    """Records of which only their number is known."""

    has_masks = True

    def reading(self, train_shards: int | None) -> StudyData:
        return self


def unmade_embedded() -> StudyData:
    """Gives the embedded set as it will be, before it is made: to check a plan, not to run one."""
    spec = ShapesSpec()
    folder = default_cache_root().absolute() / "unmade"
    train = _promised("train", spec.train_images, spec.train_shards)
    evaluation = _promised("val", spec.val_images, spec.val_shards)
    inventories = {
        split: Inventory(tuple(folder / file.name for file in one.files))
        for split, one in (("train", train), ("eval", evaluation))
    }
    source = DataSource(EMBEDDED, inventories, folder / "label_map.pbtxt")
    return _Unmade(source, SHAPES_LABEL_MAP, train, evaluation)


def _promised(split: str, images: int, shards: int) -> RecordManifest:
    files = [RecordFile(f"{split}-{i:05d}", 0, images // shards, split) for i in range(shards)]
    return RecordManifest(tuple(files), split, images)


# --- What all trials of a study share, and how a trial is made from it ---


TRAIN, EVAL, LABELS, CHECKPOINT = "<train records>", "<eval records>", "<label map>", "<checkpoint>"


def data_provenance(data: StudyData) -> Mapping[str, Any]:
    """Gives, for `train` and `eval`, what the records are and how `data convert` made them.

    `conversion` is there for records in a folder with that command's manifest: what it says of the
    split whose files they are, how many files that has, and which of those that are read have
    `changed` since.

    Raises:
        DataError: a manifest that is damaged or of a newer format.
    """
    return {
        "train": _split(data.train_files, data.train),
        "eval": _split(data.eval_files, data.eval),
    }


def _split(files: Sequence[Path], records: RecordManifest) -> dict[str, Any]:
    found: dict[str, Any] = {
        "digest": records.digest,
        "files": len(records.files),
        "examples": records.num_examples,
    }
    folders = {file.parent for file in files}
    manifest = read_manifest(folders.pop()) if len(folders) == 1 else None
    if manifest is None:
        return found
    names = {file.name for file in files}
    for split in manifest.splits.values():
        listed = {file.name: file.digest for file in split.files}
        if not names <= set(listed):
            continue
        changed = sorted(f.name for f in records.files if listed[f.name] != f.digest)
        found["conversion"] = {
            "split": split.name,
            "identity": split.identity,
            "annotations": split.annotations_name,
            "annotations_sha256": split.annotations_sha256,
            "flags": dict(split.flags),
            "images": dict(split.images),
            "objects": dict(split.annotations),
            "versions": dict(manifest.versions),
            "files_of": len(split.files),
            "changed": changed,
        }
    return found


@dataclass(frozen=True, kw_only=True)
class TrialConditions:
    """What a command line asks of every trial.

    Attributes:
        scale: `full`, `proxy` or `smoke`.
        num_steps: overrides the steps at the reference's batch.
        num_replicas: of the reference cell.
        device: `cpu`, `gpu` or `tpu`.
        deterministic: same seed, same bits.
        checkpoint: path of a checkpoint to start from, or None.
        sample_1_of_n_eval_examples: as the OD API's flag, or None.
    """

    scale: str
    num_steps: int | None
    num_replicas: int
    device: str
    deterministic: bool
    checkpoint: str | None
    sample_1_of_n_eval_examples: int | None


@dataclass(frozen=True, eq=False)
class Groundwork:
    """The reference at a study's scale on a study's data, ready to make trials.

    Attributes:
        pipeline: as the user gave it.
        data: its records.
        conditions: of every trial.
        scaled: the pipeline at the study's scale.
        setting: where factors are studied.
        stack: versions installed here.
        checkpoint: digest of the checkpoint, empty without one.
    """

    pipeline: Pipeline
    data: StudyData
    conditions: TrialConditions
    scaled: Scaled
    setting: Setting
    stack: Stack
    checkpoint: str

    @cached_property
    def foundation(self) -> dict[str, object]:
        """Field -> value of everything that all trials share."""
        conditions, data = self.conditions, self.data
        fields = flatten_fields(self.setting.pipeline.proto)
        return {
            **{f"pipeline.{path}": value for path, value in fields.items()},
            "scale": conditions.scale,
            "extensions": list(self.scaled.extensions),
            "device": conditions.device,
            "deterministic": conditions.deterministic,
            "num_replicas": conditions.num_replicas,
            "train_records": data.train.digest,
            "eval_records": data.eval.digest,
            "label_map": self._label_map,
            "checkpoint": self.checkpoint,
            **{f"stack.{name}": value for name, value in vars(self.stack).items()},
        }

    def trial(self, cell: Mapping[str, Level], seed: int) -> Trial:
        """Gives the trial of a cell (factor -> level) and a replicate.

        Raises:
            UserError: levels that cannot be combined: replicas that cannot share the batch.
        """
        recipe = self._recipe(cell)
        data = self._reading(recipe.train_shards)
        edited = None
        if not recipe.record_edits.is_none:
            edited = EditedRecords.of(
                data.train_files, data.train, data.label_map, recipe.record_edits, seed
            )
        conditions = self.conditions
        rendered = render_recipe(recipe, self.setting.pipeline)
        spec = TrialSpec(
            pipeline_text=rendered.to_text(),
            extensions=self.scaled.extensions,
            seed=seed,
            num_replicas=recipe.num_replicas,
            device=conditions.device,
            deterministic=conditions.deterministic,
            train_records=data.train.digest if edited is None else edited.digest,
            eval_records=data.eval.digest,
            label_map=self._label_map,
            checkpoint=self.checkpoint,
            stack=self.stack,
        )
        concrete = bind_records(
            rendered,
            # Every file by name: a glob promises no order, and the order decides the shuffle.
            train_patterns=[str(file) for file in (edited or data).train_files],
            eval_patterns=[str(file) for file in data.eval_files],
            label_map_path=str(data.source.label_map_path.absolute()),
            num_classes=data.label_map.num_classes,
            checkpoint=conditions.checkpoint,
        )
        kind, schedule = learning_rate_message(rendered.proto)
        field = {
            "cosine_decay_learning_rate": "learning_rate_base",
            "constant_learning_rate": "learning_rate",
        }.get(kind, "initial_learning_rate")
        return Trial(
            spec=spec,
            cell={name: level.label for name, level in cell.items()},
            pipeline_text=concrete.to_text(),
            num_steps=int(rendered.proto.train_config.num_steps),
            global_batch_size=recipe.global_batch_size,
            # The proto holds a float32: seven digits are what was written.
            base_lr=float(f"{getattr(schedule, field):.7g}"),
            with_masks=rendered.predicts_masks,
            edited_records=edited,
            data=self._provenance(recipe.train_shards),
        )

    def _recipe(self, cell: Mapping[str, Level]) -> Recipe:
        recipe = self.setting.recipe
        for name, level in cell.items():
            recipe = FACTORS[name].edit(recipe, level)
        if recipe.global_batch_size % recipe.num_replicas:
            raise UserError(
                f"a batch of {recipe.global_batch_size} cannot be shared by "
                f"{recipe.num_replicas} replicas",
                expected="a global batch that the number of replicas divides "
                "(tf.distribute gives every replica the same number of images)",
                mend=f"choose a batch that {recipe.num_replicas} divides, or other --levels",
            )
        return recipe

    @cached_property
    def _label_map(self) -> str:
        return _label_map_digest(self.data.label_map)

    @cached_property
    def _provenance(self) -> functools._lru_cache_wrapper[Mapping[str, Any]]:
        return functools.cache(lambda shards: data_provenance(self._reading(shards)))

    @cached_property
    def _reading(self) -> functools._lru_cache_wrapper[StudyData]:
        return functools.cache(self.data.reading)


def lay_groundwork(pipeline: Pipeline, data: StudyData, conditions: TrialConditions) -> Groundwork:
    """Gives what all trials of a study share.

    Raises:
        UserError: records without the masks that the pipeline trains, a scale that the pipeline
            has not, or a checkpoint that is not there.
    """
    if pipeline.predicts_masks and not data.has_masks:
        raise UserError(
            f"{pipeline.path} trains masks, and the records hold none",
            expected="records with image/object/mask (create_coco_tf_record --include_masks)",
            mend="use --data embedded, or set number_of_stages: 2 and leave the mask fields out",
        )
    bound = bind_records(
        pipeline,
        train_patterns=[TRAIN],
        eval_patterns=[EVAL],
        label_map_path=LABELS,
        num_classes=data.label_map.num_classes,
        checkpoint=CHECKPOINT if conditions.checkpoint else None,
    )
    scaled = scale_pipeline(
        bound,
        conditions.scale,
        num_steps=conditions.num_steps,
        num_eval_images=data.eval.num_examples,
    )
    reference = _with_eval_sample(scaled.pipeline, conditions.sample_1_of_n_eval_examples)
    setting = Setting(
        pipeline=reference,
        recipe=read_recipe(reference, num_replicas=conditions.num_replicas),
        full_recipe=read_recipe(pipeline, num_replicas=conditions.num_replicas),
        num_train_files=len(data.train_files),
    )
    return Groundwork(
        pipeline,
        data,
        conditions,
        scaled,
        setting,
        installed_stack(),
        _checkpoint_digest(conditions.checkpoint),
    )


def installed_stack() -> Stack:
    """Gives the versions that decide numbers, without importing anything; `none` where missing."""
    return Stack(
        tensorflow=installed_version("tensorflow", "tensorflow-cpu") or "none",
        keras=installed_version("tf-keras", "keras") or "none",
        object_detection=installed_version("tf-object-detection-api", "object-detection") or "none",
    )


def _with_eval_sample(pipeline: Pipeline, sample: int | None) -> Pipeline:
    if sample is None:
        return pipeline
    if sample < 1:
        raise UserError(f"--sample_1_of_n_eval_examples {sample}", expected="at least 1")

    def edit(proto: object) -> None:
        proto.eval_input_reader[0].sample_1_of_n_examples = sample  # type: ignore[attr-defined]

    return pipeline.edited(edit)


def _label_map_digest(label_map: LabelMap) -> str:
    items = json.dumps(sorted(label_map.items.items()))
    return hashlib.sha256(items.encode()).hexdigest()[:16]


def _checkpoint_digest(prefix: str | None) -> str:
    """Gives a digest of the checkpoint's index and the sizes of its data files.

    The index holds a checksum of every tensor (tensorflow/core/util/tensor_bundle), so it stands
    for the values.
    """
    if not prefix:
        return ""
    index = Path(f"{prefix}.index")
    if not index.is_file():
        near = sorted(index.parent.glob("*.index")) if index.parent.is_dir() else []
        raise UserError(
            f"no checkpoint {prefix}",
            expected="the prefix of a TF2 checkpoint, e.g. .../ckpt-0 where ckpt-0.index exists",
            mend="found there: " + ", ".join(str(p.with_suffix("")) for p in near)
            if near
            else "name it without .index and without .data-...",
        )
    return hashlib.sha256(index.read_bytes()).hexdigest()[:16]
