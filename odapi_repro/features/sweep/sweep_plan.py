"""A sweep before anything runs, and on its way: what it is run on, what its cells scored.

Detections are kept by `trials.evaluations`, a folder a variant of a pass. What a cell scores is
kept in `runs/evaluations/cells/<id>.json`, because matching and resampling take their time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.evaluation.checkpoint import CheckpointSource
from odapi_repro.evaluation.coco_data import GroundTruth
from odapi_repro.evaluation.eval_data import EvalData
from odapi_repro.evaluation.inference.evaluation_job import Pass, Variant
from odapi_repro.evaluation.inference.model_edits import default_batch_size, model_of_pass
from odapi_repro.factors.axes import DESIGNS, Axis, cells_of, make_axes
from odapi_repro.factors.post_hoc import AS_CONFIGURED, DetectionPlan, PostHocFactor, PostHocSetting
from odapi_repro.features.sweep.sweep_cells import PassPlan, PostHocCell, make_cell
from odapi_repro.files import read_record, write_record
from odapi_repro.pipeline import Pipeline, flatten_fields
from odapi_repro.trials.evaluations.evaluation_spec import EvaluationRequest
from odapi_repro.trials.groundwork import installed_stack

# --- A sweep of factors that need no training, before anything runs: its cells and forward passes
# ---


@dataclass(frozen=True)
class PostHocRequest:
    """What the command line asks for.

    Attributes:
        factors: in the order named.
        levels: factor name -> levels as typed; the defaults where absent.
        design: `one_at_a_time` or `grid`.
    """

    factors: tuple[PostHocFactor, ...]
    levels: Mapping[str, Sequence[str]]
    design: str = DESIGNS[0]


@dataclass(frozen=True)
class PostHocPlan:
    """A sweep ready to run.

    Attributes:
        request: what was asked for.
        setting: where the factors are studied.
        axes: factors with their levels.
        cells: the reference first, every one with detections of its own.
        passes: the forward passes of all cells, each once.
        merged: levels of a cell and of the one whose detections it shares.
    """

    request: PostHocRequest
    setting: PostHocSetting
    axes: tuple[Axis, ...]
    cells: tuple[PostHocCell, ...]
    passes: tuple[PassPlan, ...]
    merged: tuple[tuple[Mapping[str, str], Mapping[str, str]], ...]


def make_post_hoc_plan(
    setting: PostHocSetting, request: PostHocRequest, checkpoint_digests: Sequence[str]
) -> PostHocPlan:
    """Gives the plan of a sweep.

    Args:
        setting: the pipeline and the number of checkpoints.
        request: what was asked for.
        checkpoint_digests: one a checkpoint, in their order; they enter the names of the passes,
            so that a pass made for one sweep is found by the next.

    Raises:
        UserError: a factor does not apply, a level is none, or a grid would fuse in two ways.
    """
    axes, levels = make_axes(request.factors, request.levels, {}, setting, request.design)
    passes: dict[str, PassPlan] = {}
    cells: dict[str, PostHocCell] = {}
    merged = []
    for one in cells_of(axes, levels, setting):
        plans = [factor.plan(one[factor.name], setting) for factor in request.factors]
        labels = {name: level.label for name, level in one.items()}
        cell = make_cell(labels, _combined(plans), setting, checkpoint_digests, passes)
        if cells.setdefault(cell.recipe, cell) is not cell:
            merged.append((cell.levels, cells[cell.recipe].levels))
    return PostHocPlan(
        request, setting, axes, tuple(cells.values()), tuple(passes.values()), tuple(merged)
    )


def _combined(plans: Sequence[DetectionPlan]) -> DetectionPlan:
    """Gives one plan that asks for what all of them ask for."""
    steps = list(dict.fromkeys(plan.step for plan in plans if plan.step is not None))
    members = [p.checkpoints for p in plans if p.checkpoints != AS_CONFIGURED.checkpoints]
    if len(steps) > 1 or len(members) > 1:
        names = " and ".join(step.method for step in steps) or "fusion and swa"
        raise UserError(
            f"a grid would combine {names} in one cell",
            expected="at most one way to fuse detections, and one choice of checkpoints, in a cell",
            mend="leave --design grid out, or vary these factors in sweeps of their own",
        )
    return DetectionPlan(
        post_processing={k: v for plan in plans for k, v in plan.post_processing.items()},
        model={k: v for plan in plans for k, v in plan.model.items()},
        flips=next((p.flips for p in plans if p.flips != AS_CONFIGURED.flips), (False,)),
        scales=next((p.scales for p in plans if p.scales != AS_CONFIGURED.scales), (1.0,)),
        checkpoints=members[0] if members else AS_CONFIGURED.checkpoints,
        step=steps[0] if steps else None,
    )


# --- A sweep without training on its way: what it is run on, and what its cells have scored ---


SWEEP_VERSION = 2
CELL_VERSION = 1
_SIZE_FIELDS = ("height", "width", "min_dimension", "max_dimension", "size_threshold")
# Of a difference: delta, se, low, high and degrees of freedom.
_VALUES = 5


@dataclass(frozen=True, eq=False)
class Sweep:
    """A plan, and what it is run on.

    Attributes:
        plan: cells and passes.
        pipeline: as the user gave it.
        sources: the checkpoints in the plan's order.
        data: the images and their ground truth.
        data_digest: of the record files.
        runs_dir: the folder of all trials.
        device: `cpu` or `gpu`.
        deterministic: the same bits each time.
        with_masks: whether masks are written and scored.
    """

    plan: PostHocPlan
    pipeline: Pipeline
    sources: tuple[CheckpointSource, ...]
    data: EvalData
    data_digest: str
    runs_dir: Path
    device: str
    deterministic: bool
    with_masks: bool

    @property
    def truth(self) -> GroundTruth:
        """The ground truth of the images that are evaluated."""
        return self.data.truth

    @property
    def extensions(self) -> tuple[str, ...]:
        """Training extensions that the models need."""
        return tuple(dict.fromkeys(name for one in self.sources for name in one.extensions))

    @property
    def reference(self) -> PostHocCell:
        """The pipeline as it is, on the checkpoint named last."""
        return self.plan.cells[0]

    @property
    def foundation(self) -> dict[str, Any]:
        """What all cells of the sweep share, but for the weights."""
        classes = zip(self.truth.category_ids, self.truth.category_names, strict=True)
        return {
            "version": SWEEP_VERSION,
            **flatten_fields(self.pipeline.proto.model, "model."),
            "extensions": sorted(self.extensions),
            "eval_records": self.data_digest,
            "categories": [f"{id_} {name}" for id_, name in classes],
            "sample_1_of_n": self.data.sample_1_of_n,
            "batch_size": default_batch_size(self.pipeline.proto.model),
            "device": self.device,
            "deterministic": self.deterministic,
            "with_masks": self.with_masks,
            **{f"stack.{name}": value for name, value in vars(installed_stack()).items()},
        }

    def cell_id(self, cell: PostHocCell) -> str:
        """Twelve hex digits that stand for a cell's detections."""
        text = json.dumps([self.foundation, cell.recipe], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def request(self, worker: Sequence[str]) -> EvaluationRequest:
        """What inference is asked for."""
        return EvaluationRequest(
            source=dataclasses.replace(self.sources[-1], extensions=self.extensions),
            pipeline=self.pipeline,
            data=self.data,
            runs_dir=self.runs_dir,
            passes=self.job_passes(),
            with_masks=self.with_masks,
            device=self.device,
            deterministic=self.deterministic,
            worker=worker,
        )

    def job_passes(self) -> tuple[Pass, ...]:
        """The passes as inference is told them; those of one network in a row."""

        def of_network(one: PassPlan) -> tuple[Any, ...]:
            return (sorted(one.model.items()), one.scale, one.flip, sorted(one.variants), one.name)

        return tuple(
            Pass(
                one.name,
                tuple(self.sources[index].prefix for index in one.checkpoints),
                dict(one.model),
                flip=one.flip,
                scale=one.scale,
                variants=tuple(Variant(name, dict(v)) for name, v in one.variants.items()),
            )
            for one in sorted(self.plan.passes, key=of_network)
        )

    def about(self, one: PassPlan) -> str:
        """Says in words what a forward pass is."""
        labels = [checkpoint_label(self.sources[index]) for index in one.checkpoints]
        parts = labels
        if len(labels) > 1:
            parts = [f"mean of {len(labels)} checkpoints, {labels[0]} to {labels[-1]}"]
        parts += [f"{path.rsplit('.', 1)[-1]} {value:g}" for path, value in one.model.items()]
        parts += ["mirrored"] if one.flip else []
        parts += [f"input {_input_text(self.pipeline, one.scale)}"] if one.scale != 1.0 else []
        return ", ".join(parts)


def checkpoint_label(source: CheckpointSource) -> str:
    """Gives the folder and the name of a checkpoint, without the rest of its path."""
    return "/".join(Path(source.prefix).parts[-2:])


def _input_text(pipeline: Pipeline, scale: float) -> str:
    """Gives the resizer's sizes at a scale, as rounded to what the model takes."""
    model = model_of_pass(pipeline.proto, Pass("scaled", scale=scale))
    message = getattr(model, pipeline.meta_architecture).image_resizer
    resizer = getattr(message, message.WhichOneof("image_resizer_oneof"))
    sizes = [value for field, value in resizer.ListFields() if field.name in _SIZE_FIELDS]
    return f"{'x'.join(map(str, sizes))} px"


@dataclass(frozen=True)
class CellResult:
    """What a cell scores.

    Attributes:
        metrics: the 12 box metrics, and with masks the same under `mask_...`, in points.
        num_detections: all images together.
        reference: id of the cell it is compared with.
        resamples: of the bootstrap.
        differences: metric -> delta, se, low, high in points, and the degrees of freedom of se;
            None where there is nothing.
        note: a remark, such as which checkpoint was the best.
    """

    metrics: Mapping[str, float | None]
    num_detections: int
    reference: str
    resamples: int
    differences: Mapping[str, tuple[float | None, ...]]
    note: str = ""


class CellStore:
    """What cells have scored, by their ids.

    Args:
        runs_dir: the folder of all trials.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._folder = runs_dir / "evaluations" / "cells"

    def read(self, cell_id: str) -> CellResult | None:
        """Gives what a cell scores; None if it was not scored yet, or its file is damaged."""
        path = self._folder / f"{cell_id}.json"
        try:
            result = read_record(path, CellResult, version=CELL_VERSION, mend="")
        except (FileNotFoundError, DamagedFile):
            return None
        whole = all(len(values) == _VALUES for values in result.differences.values())
        return result if whole else None

    def write(self, cell_id: str, result: CellResult) -> None:
        """Keeps what a cell scores."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fields = dataclasses.asdict(result)
        write_record(self._folder / f"{cell_id}.json", fields, version=CELL_VERSION)
