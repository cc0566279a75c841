"""What is asked of an evaluation, and what decides its outcome."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from odapi_repro.datasets.records import manifest
from odapi_repro.errors import DataError, UserError
from odapi_repro.evaluation.checkpoint import CheckpointSource, checkpoint_digest
from odapi_repro.evaluation.eval_data import EvalData
from odapi_repro.evaluation.inference.evaluation_job import Pass
from odapi_repro.evaluation.inference.model_edits import (
    check_passes,
    check_saved_model_passes,
    default_batch_size,
    model_of_pass,
    post_processing_of,
)
from odapi_repro.pipeline import Pipeline
from odapi_repro.trials.environment import count_gpus
from odapi_repro.trials.groundwork import installed_stack

WORKER = (sys.executable, "-m", "odapi_repro.trials.evaluations.evaluation_worker")
# Of what decides detections and is in no spec: the code that makes them.
_VERSION = 1

Key = tuple[str, str | None]
"""A pass and a variant, or a pass and None for its stages."""


@dataclass(frozen=True, eq=False)
class EvaluationRequest:
    """What is asked for.

    Attributes:
        source: the checkpoint; with a SavedModel the passes name no checkpoints.
        pipeline: what the model is built from; None for a SavedModel.
        data: the images, and the ground truth whose ids, classes and sizes are theirs.
        runs_dir: where finished evaluations are kept.
        passes: empty for the plain pass of `source`.
        with_masks: whether instance masks are written.
        batch_size: images in a batch; None for the model's own (`default_batch_size`).
        device: `auto`, `cpu` or `gpu`.
        deterministic: the same bits each time, slower.
        worker: the command that runs a job; the job's path is appended.
    """

    source: CheckpointSource
    pipeline: Pipeline | None
    data: EvalData
    runs_dir: Path
    passes: tuple[Pass, ...] = ()
    with_masks: bool = False
    batch_size: int | None = None
    device: str = "auto"
    deterministic: bool = False
    worker: Sequence[str] = field(default=WORKER)


def filled_request(request: EvaluationRequest) -> EvaluationRequest:
    """Gives a request that can be run, with the defaults that model and machine decide.

    Raises:
        UserError: passes that the model cannot run, or without a checkpoint.
        DataError: the images are not known.
    """
    _check(request)
    passes = request.passes
    if not passes:
        prefix = request.source.prefix
        passes = (Pass(checkpoints=(prefix,) if prefix else ()),)
    batch_size = request.batch_size
    if batch_size is None:
        batch_size = 1 if request.pipeline is None else default_batch_size(_model(request))
    device = request.device
    if device == "auto":
        device = "gpu" if count_gpus() else "cpu"
    return dataclasses.replace(request, passes=passes, batch_size=batch_size, device=device)


def _model(request: EvaluationRequest) -> Any:
    assert request.pipeline is not None
    return request.pipeline.proto.model


def _check(request: EvaluationRequest) -> None:
    if not request.data.has_images:
        raise DataError(
            f"the images of {request.data.name} are not known",
            expected="records, or a COCO file and the folder of its images",
            mend="name the folder with --images",
        )
    if request.pipeline is None:
        check_saved_model_passes(request.source.saved_model, request.passes)
    else:
        check_passes(request.pipeline.proto, request.passes)
        for one in request.passes:
            if not one.checkpoints:
                raise UserError(f"pass '{one.name}' names no checkpoint")


def specs_of(request: EvaluationRequest) -> dict[Key, dict[str, Any]]:
    """Gives what decides the detections of each variant, and the stages of each pass that asks.

    Paths are left out, and so is what only training reads, so that moving a checkpoint or its
    images changes nothing.

    Args:
        request: filled.
    """
    data = request.data
    common = {
        "version": _VERSION,
        "images": _images_digest(data),
        "image_ids": _digest(json.dumps(data.truth.image_ids)),
        "category_ids": list(data.truth.category_ids),
        "sample_1_of_n": data.sample_1_of_n,
        "saved_model": "" if request.pipeline else request.source.digest,
        "batch_size": request.batch_size,
        "device": request.device,
        "deterministic": request.deterministic,
        "extensions": sorted(request.source.extensions),
        "stack": dataclasses.asdict(installed_stack()),
    }
    specs: dict[Key, dict[str, Any]] = {}
    for one in request.passes:
        own = {
            **common,
            "checkpoints": [checkpoint_digest(prefix) for prefix in one.checkpoints],
            "flip": one.flip,
        }
        if request.pipeline is None:
            key = (one.name, one.variants[0].name)
            specs[key] = {**own, "with_masks": request.with_masks}
            continue
        model = model_of_pass(request.pipeline.proto, one)
        for variant in one.variants:
            specs[one.name, variant.name] = {
                **own,
                "model": _text(model),
                "post_processing": _text(post_processing_of(model, variant)),
                "with_masks": request.with_masks,
            }
        if one.stages:
            specs[one.name, None] = {**own, "model": _text(model), "stages": True}
    return specs


def _images_digest(data: EvalData) -> str:
    if data.record_files:
        return manifest(data.record_files).digest
    # By name, size and time: COCO's val2017 has 800 MB.
    stats = [(file.name, file.stat()) for file in data.image_files]
    return _digest(json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(message: Any) -> str:
    return "" if message is None else str(text_format.MessageToString(message))
