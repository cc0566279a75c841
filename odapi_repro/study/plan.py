"""A study before anything runs: its trials, what they are made of, what is held constant."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Factor, Level, Setting
from odapi_repro.pipeline import (
    Pipeline,
    Recipe,
    bind_records,
    flatten_fields,
    read_recipe,
    render_recipe,
)
from odapi_repro.pipeline.recipe import learning_rate_message
from odapi_repro.study.design import Axis, cells_of, make_axes
from odapi_repro.study.scales import Scaled, scale_pipeline
from odapi_repro.study.study_data import StudyData
from odapi_repro.study.trial import Stack, Trial, TrialSpec

__all__ = ["Plan", "StudyData", "StudyRequest", "installed_stack", "make_plan"]

TRAIN, EVAL, LABELS, CHECKPOINT = "<train records>", "<eval records>", "<label map>", "<checkpoint>"


@dataclass(frozen=True)
class StudyRequest:
    """What the command line asks for.

    Attributes:
        factors: in the order named.
        levels: factor name -> levels as typed.
        at: factor name -> level as typed where factors that are not varied stand.
        design: one of `study.design.DESIGNS`.
        seeds: replicates.
        scale: `full`, `proxy` or `smoke`.
        num_steps: overrides the steps at the reference's batch.
        num_replicas: of the reference cell.
        device: `cpu`, `gpu` or `tpu`.
        deterministic: same seed, same bits.
        checkpoint: path of a checkpoint to start from, or None.
        sample_1_of_n_eval_examples: as the OD API's flag, or None.
        held_before: factor name -> other factor -> level, as an earlier command of the same study
            held them.
    """

    factors: tuple[Factor, ...]
    levels: Mapping[str, Sequence[str]]
    at: Mapping[str, str]
    design: str
    seeds: tuple[int, ...]
    scale: str
    num_steps: int | None
    num_replicas: int
    device: str
    deterministic: bool
    checkpoint: str | None
    sample_1_of_n_eval_examples: int | None
    held_before: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A study ready to run.

    Attributes:
        request: what was asked for.
        pipeline: as the user gave it.
        data: its records.
        scaled: the pipeline at the study's scale.
        setting: where factors are studied.
        axes: factors with their levels.
        trials: every cell with every seed, reference cell first, seed by seed.
        foundation: field -> value of everything that all trials share; a study of the same name
            must have the same.
        merged: a cell and the one whose training it shares, because both render to the same; it
            has no row of its own and takes no part in effects.
    """

    request: StudyRequest
    pipeline: Pipeline
    data: StudyData
    scaled: Scaled
    setting: Setting
    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]
    foundation: Mapping[str, object]
    merged: tuple[tuple[Mapping[str, str], Mapping[str, str]], ...] = ()


def installed_stack() -> Stack:
    """Gives the versions that decide numbers, without importing anything; `none` where missing."""
    return Stack(
        tensorflow=_version("tensorflow", "tensorflow-cpu"),
        keras=_version("tf-keras", "keras"),
        object_detection=_version("tf-object-detection-api", "object-detection"),
    )


def make_plan(pipeline: Pipeline, data: StudyData, request: StudyRequest) -> Plan:
    """Gives the plan of a study.

    Raises:
        UserError: a factor or level that does not apply, or replicas that cannot share a batch.
    """
    if pipeline.predicts_masks and not data.source.has_masks:
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
        checkpoint=CHECKPOINT if request.checkpoint else None,
    )
    scaled = scale_pipeline(
        bound,
        request.scale,
        num_steps=request.num_steps,
        num_eval_images=data.eval.num_examples,
    )
    reference = _with_eval_sample(scaled.pipeline, request.sample_1_of_n_eval_examples)
    setting = Setting(
        pipeline=reference,
        recipe=read_recipe(reference, num_replicas=request.num_replicas),
        full_recipe=read_recipe(pipeline, num_replicas=request.num_replicas),
        num_train_files=len(data.train_files),
    )
    axes = make_axes(
        request.factors,
        request.levels,
        request.at,
        setting,
        request.design,
        held_before=request.held_before,
    )
    stack = installed_stack()
    checkpoint = _checkpoint_digest(request.checkpoint)
    reading = functools.cache(data.reading)
    trials: dict[str, Trial] = {}
    merged: list[tuple[Mapping[str, str], Mapping[str, str]]] = []
    for seed in request.seeds:
        for cell in cells_of(axes, setting, request.design):
            # Two cells may come to the same training (a learning-rate rule at the reference's
            # batch): it runs once, in the cell named first.
            trial = _trial(cell, seed, setting, scaled, reading, request, stack, checkpoint)
            if trials.setdefault(trial.trial_id, trial) is not trial:
                merged.append((trial.cell, trials[trial.trial_id].cell))
    foundation: dict[str, object] = {
        **{f"pipeline.{path}": value for path, value in flatten_fields(reference.proto).items()},
        "scale": request.scale,
        "extensions": list(scaled.extensions),
        "device": request.device,
        "deterministic": request.deterministic,
        "num_replicas": request.num_replicas,
        "train_records": data.train.digest,
        "eval_records": data.eval.digest,
        "label_map": _label_map_digest(data.label_map),
        "checkpoint": checkpoint,
        **{f"stack.{name}": value for name, value in vars(stack).items()},
        **{
            f"held.{axis.factor.name}.{other}": level.label
            for axis in axes
            for other, level in axis.at.items()
        },
    }
    return Plan(
        request,
        pipeline,
        data,
        scaled,
        setting,
        axes,
        tuple(trials.values()),
        foundation,
        tuple(merged),
    )


def _recipe(cell: Mapping[str, Level], setting: Setting) -> Recipe:
    recipe = setting.recipe
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


def _trial(
    cell: Mapping[str, Level],
    seed: int,
    setting: Setting,
    scaled: Scaled,
    reading: Callable[[int | None], StudyData],
    request: StudyRequest,
    stack: Stack,
    checkpoint: str,
) -> Trial:
    recipe = _recipe(cell, setting)
    data = reading(recipe.train_shards)
    rendered = render_recipe(recipe, setting.pipeline)
    spec = TrialSpec(
        pipeline_text=rendered.to_text(),
        extensions=scaled.extensions,
        seed=seed,
        num_replicas=recipe.num_replicas,
        device=request.device,
        deterministic=request.deterministic,
        train_records=data.train.digest,
        eval_records=data.eval.digest,
        label_map=_label_map_digest(data.label_map),
        checkpoint=checkpoint,
        stack=stack,
    )
    concrete = bind_records(
        rendered,
        # Every file by name: a glob promises no order, and the order decides the shuffle.
        train_patterns=[str(file) for file in data.train_files],
        eval_patterns=[str(file) for file in data.eval_files],
        label_map_path=str(data.source.label_map_path.absolute()),
        num_classes=data.label_map.num_classes,
        checkpoint=request.checkpoint,
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


def _version(*names: str) -> str:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "none"
