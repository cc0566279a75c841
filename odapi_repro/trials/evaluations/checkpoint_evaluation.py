"""Evaluates a checkpoint in a child process, or reads back what an earlier one has found."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.errors import DataError, EnvironmentMissing, UserError
from odapi_repro.evaluation.evaluate import check_image_sizes
from odapi_repro.evaluation.inference.job import (
    EvaluationJob,
    Pass,
    Variant,
    detections_path,
    images_path,
    stages_path,
    write_job,
)
from odapi_repro.files import write_whole
from odapi_repro.files.trial_files import DETECTIONS
from odapi_repro.foreign_text import shown
from odapi_repro.trials.child import run_child
from odapi_repro.trials.evaluations.evaluation_spec import (
    WORKER,
    EvaluationRequest,
    Key,
    filled_request,
    specs_of,
)
from odapi_repro.trials.evaluations.evaluation_store import (
    IMAGES,
    STAGES,
    EvaluationStore,
    evaluation_id,
)
from odapi_repro.trials.executors.local import check_worker_environment
from odapi_repro.trials.hardware import check_disk_space, check_writable

LOG = "evaluate.log"
OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class EvaluationResult:
    """What was found.

    Attributes:
        detections: (pass, variant) -> file in COCO's results format, image and category ids those
            of the ground truth.
        stages: pass -> stages.npz, for the passes that asked.
        provenance: (pass, variant) -> what it took when it was made: the fields of
            `inference.PassTimings`, `import_seconds` and `tensorflow`.
        read_back: those of `detections` that an earlier evaluation had made.
    """

    detections: Mapping[tuple[str, str], Path]
    stages: Mapping[str, Path]
    provenance: Mapping[tuple[str, str], Mapping[str, Any]]
    read_back: frozenset[tuple[str, str]]


def evaluate_checkpoint(request: EvaluationRequest, on_event: OnEvent) -> EvaluationResult:
    """Gives the detections of every variant of every pass; only what is not there yet is run.

    Each finished pass is kept at once, so a kill loses the running one and no other. Its images
    are compared with the ground truth then, and each time it is read back: heights and widths of
    the ground truth decide no detections, so one that is corrected finds them again.

    Args:
        request: what is asked for.
        on_event: gets the child's events; none where all is read back.

    Raises:
        UserError: passes that the model cannot run, a checkpoint that does not fit, images that
            do not read or are not those of the ground truth, too little memory, or a `runs_dir`
            that cannot be written to.
        EnvironmentMissing: no such device, TensorFlow is not installed, or the disk is full.
    """
    request = filled_request(request)
    store = EvaluationStore(request.runs_dir)
    specs = specs_of(request)
    before = {key: folder for key, spec in specs.items() if (folder := store.find(spec))}
    for folder in dict.fromkeys(before.values()):
        check_image_sizes(folder / IMAGES, request.data.truth)
    missing = [key for key in specs if key not in before]
    if missing:
        _run(request, store, specs, missing, on_event)
    folders = {key: before.get(key) or store.find(spec) for key, spec in specs.items()}
    detections: dict[tuple[str, str], Path] = {}
    provenance = {}
    stages = {}
    for (pass_name, variant), kept in folders.items():
        if kept is None:
            raise UserError(f"the evaluation of pass '{pass_name}' left nothing behind")
        if variant is None:
            stages[pass_name] = kept / STAGES
            continue
        detections[pass_name, variant] = kept / DETECTIONS
        provenance[pass_name, variant] = store.provenance(kept)
    read_back = frozenset((one, variant) for one, variant in before if variant is not None)
    return EvaluationResult(detections, stages, provenance, read_back)


def _run(
    request: EvaluationRequest,
    store: EvaluationStore,
    specs: Mapping[Key, Mapping[str, Any]],
    missing: Sequence[Key],
    on_event: OnEvent,
) -> None:
    if request.worker == WORKER:
        check_worker_environment("a checkpoint's evaluation")
    check_writable(store.folder)
    check_disk_space(store.folder)
    failed_log = store.folder / f"{evaluation_id(specs[missing[0]])}.{LOG}"
    passes = tuple(_rest(one, missing) for one in request.passes if _is_wanted(one, missing))
    with store.work_folder() as folder:
        job = _job(request, passes, folder)
        log = folder / LOG
        provenance: dict[str, Any] = {}

        def listen(event: dict[str, Any]) -> None:
            if event["event"] == "imported":
                provenance.update(import_seconds=event["seconds"], tensorflow=event["tensorflow"])
            if event["event"] == "pass_done":
                took = {k: v for k, v in event.items() if k not in ("event", "elapsed", "pass")}
                _keep(store, specs, job, str(event["pass"]), log, {**provenance, **took})
                check_image_sizes(images_path(folder), request.data.truth)
            on_event(event)

        _run_job(job, listen, log, failed_log, request.worker)
    failed_log.unlink(missing_ok=True)


def _run_job(
    job: EvaluationJob, on_event: OnEvent, log: Path, failed_log: Path, worker: Sequence[str]
) -> None:
    """Runs a job in a child process and raises what went wrong; `failed_log` is its log then."""
    path = Path(job.output_dir) / "job.json"
    write_job(job, path)
    end = run_child([*worker, str(path)], log, on_event)
    kind, message = end.failure
    if kind:
        with contextlib.suppress(OSError):
            os.replace(log, failed_log)
    if kind == "input":
        raise DataError.told(message)
    if kind == "disk_full":
        raise EnvironmentMissing(
            "no space left on the disk while images were evaluated",
            expected="room for the detections",
            mend="free some space and give the same command again; finished passes are kept",
            where=str(failed_log.parent),
        )
    if kind == "out_of_memory":
        raise UserError(
            message,
            expected=f"memory for {job.batch_size} images at once",
            mend="--batch_size 1, or another --device",
        )
    if kind:
        raise UserError.told(f"the evaluation failed: {message}\n{_tail(failed_log)}".rstrip())


def _is_wanted(one: Pass, missing: Sequence[Key]) -> bool:
    return any(name == one.name for name, _ in missing)


def _rest(one: Pass, missing: Sequence[Key]) -> Pass:
    """Gives a pass with the variants that are not there yet; with one, where only stages lack."""
    variants: tuple[Variant, ...] = tuple(
        variant for variant in one.variants if (one.name, variant.name) in missing
    )
    return dataclasses.replace(
        one, variants=variants or one.variants[:1], stages=(one.name, None) in missing
    )


def _job(request: EvaluationRequest, passes: tuple[Pass, ...], folder: Path) -> EvaluationJob:
    pipeline_path = ""
    if request.pipeline is not None:
        pipeline_path = str(folder / "pipeline.config")
        write_whole(pipeline_path, request.pipeline.to_text())
    data = request.data
    assert request.batch_size is not None
    return EvaluationJob(
        pipeline_path=pipeline_path,
        saved_model="" if request.pipeline else request.source.saved_model,
        passes=passes,
        output_dir=str(folder),
        num_images=data.truth.num_images,
        record_files=tuple(str(file.absolute()) for file in data.record_files),
        image_files=tuple(str(file.absolute()) for file in data.image_files),
        # The image files are those of the sample already.
        sample_1_of_n=data.sample_1_of_n if data.record_files else 1,
        batch_size=request.batch_size,
        device=request.device,
        deterministic=request.deterministic,
        extensions=request.source.extensions,
        with_masks=request.with_masks,
        image_ids=data.truth.image_ids,
        category_ids=data.truth.category_ids,
    )


def _keep(
    store: EvaluationStore,
    specs: Mapping[Key, Mapping[str, Any]],
    job: EvaluationJob,
    pass_name: str,
    log: Path,
    provenance: Mapping[str, Any],
) -> None:
    """Takes what a finished pass has written into the store."""
    for (name, variant), spec in specs.items():
        if name != pass_name:
            continue
        if variant is None:
            made = stages_path(job.output_dir, name)
        else:
            made = detections_path(job.output_dir, name, variant)
        if made.is_file() and store.find(spec) is None:
            store.add(spec, made, images_path(job.output_dir), provenance, log)


def _tail(log: Path, count: int = 5) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    lines = [shown(line) for line in lines]
    return "\n".join([*lines[-count:], f"the whole log is {log}"])
