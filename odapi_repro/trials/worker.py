"""The child process of one trial: `python -m odapi_repro.trials.worker job.json`.

It applies the compatibility patches, seeds, trains through the OD API's own loop, evaluates the
last checkpoint and writes `losses.csv`, `metrics.json` and the detections. Nothing of it runs in
the parent, so a crash in TensorFlow costs one trial.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from odapi_repro.errors import DamagedFile, DataError
from odapi_repro.files import put_in_place, read_json, sync_files, typed, write_json
from odapi_repro.files.trial_files import LOSSES, METRICS, LossLog, read_losses
from odapi_repro.training.training_job import Job, is_chief, read_job
from odapi_repro.training.training_loop import Diverged, StepReport
from odapi_repro.trials.child_process import (
    EventWriter,
    die_with_parent,
    peak_memory_mib,
    work_and_exit,
)
from odapi_repro.trials.trial_store import TRAINED, is_whole_gzip

if TYPE_CHECKING:
    from odapi_repro.evaluation.coco_data import GroundTruth


def main(argv: list[str]) -> NoReturn:
    """Runs the job in `argv[0]`; the outcome is told by events, the exit code is 0 if it was."""
    die_with_parent()
    emit = EventWriter()
    job = read_job(Path(argv[0]))
    emit("started", pid=os.getpid())

    def outcome_of(error: BaseException) -> dict[str, Any] | None:
        if not isinstance(error, Diverged):
            return None
        # Inside a compiled call of several steps, the first of them is what is known.
        last_step = error.step + (job.steps_per_iteration - 1 if error.in_graph else 0)
        loss = str(error.loss)
        return {"event": "diverged", "step": error.step, "last_step": last_step, "loss": loss}

    work_and_exit(lambda: _run(job, emit), emit, Path(job.model_dir), outcome_of=outcome_of)


def _run(job: Job, emit: EventWriter) -> None:
    """Trains and evaluates; where only the metrics of kept detections are missing, scores them."""
    timings: dict[str, float] = {}
    about: dict[str, Any] = {}
    if not job.train and job.evaluate and is_whole_gzip(Path(job.results_path)):
        _, truth = _evaluated(job)
        _score(job, truth)
    else:
        timings, about = _train_and_detect(job, emit)
    emit("done", timings=timings, final_loss=_final_loss(Path(job.model_dir) / LOSSES), **about)


def _train_and_detect(job: Job, emit: EventWriter) -> tuple[dict[str, float], dict[str, Any]]:
    """Gives what it took by name, and what is known of the devices."""
    began = time.monotonic()
    from odapi_repro.training.compat import apply_patches
    from odapi_repro.training.seeds import limit_threads, set_seeds

    if job.fixed_op_order:
        limit_threads()
    patches = apply_patches()
    import tensorflow as tf
    from object_detection import model_lib_v2

    assert model_lib_v2 is not None
    from odapi_repro.training.extensions import enable_extensions
    from odapi_repro.training.training_loop import skip_autograph_in_od_api

    if job.fast_tracing:
        skip_autograph_in_od_api()
    enable_extensions(job.extensions)
    imported = time.monotonic()
    emit("imported", patches=patches, tensorflow=tf.__version__, seconds=imported - began)
    set_seeds(job.seed, deterministic=job.deterministic)
    timings = {"import_seconds": imported - began}
    trained = Path(job.model_dir) / TRAINED
    if job.train:
        took = _train(job, LossLog(Path(job.model_dir) / LOSSES), emit)
        # What says that the training is done comes after all that it stands for.
        folder = Path(job.model_dir)
        sync_files([*folder.glob("ckpt-*"), folder / "checkpoint"])
        write_json(trained, took)
    timings.update(_took(trained))
    if job.evaluate and is_chief(job.num_workers):
        timings.update(_evaluate(job, emit))
    about = {
        "peak_memory_mib": peak_memory_mib(tf, job.device),
        "devices": [device.name for device in tf.config.list_logical_devices(job.device.upper())],
    }
    return timings, about


def _took(trained: Path) -> dict[str, float]:
    """Gives what a training took; a damaged note of it costs nothing but these times."""
    try:
        return typed(read_json(trained, mend=""), dict[str, float])
    except (DamagedFile, ValueError):
        return {}


def _final_loss(path: Path) -> float | None:
    """Gives the total loss of the last step in losses.csv, None without one."""
    losses = read_losses(path).series()
    return losses[-1][1] if losses else None


def _train(job: Job, losses: LossLog, emit: EventWriter) -> dict[str, float]:
    from odapi_repro.training.training_loop import train

    began = time.monotonic()
    reports: list[float] = []

    def on_step(report: StepReport) -> None:
        reports.append(time.monotonic())
        losses.write(report.step, report.learning_rate, report.losses)
        loss = report.losses.get("Loss/total_loss", math.nan)
        emit(
            "step",
            step=report.step,
            loss=loss if math.isfinite(loss) else str(loss),
            learning_rate=report.learning_rate,
            seconds=report.elapsed_seconds,
            steps_in_report=job.steps_per_iteration,
        )

    replicas = train(job, on_step)
    ended = time.monotonic()
    first = reports[0] if reports else ended
    # The first report holds tracing and its own step; what one more step costs is taken off it.
    per_report = (reports[-1] - first) / (len(reports) - 1) if len(reports) > 1 else 0.0
    timings = {
        "trace_seconds": max(0.0, first - began - per_report),
        "train_seconds": (reports[-1] - first if reports else 0.0) + per_report,
        "save_seconds": ended - (reports[-1] if reports else began),
    }
    emit("trained", replicas=replicas, **timings)
    return timings


def _evaluate(job: Job, emit: EventWriter) -> dict[str, float]:
    """Detects on the evaluation images with the last checkpoint, keeps and scores that."""
    from odapi_repro.evaluation.inference.evaluation_job import (
        PLAIN,
        EvaluationJob,
        Pass,
        detections_path,
        images_path,
    )
    from odapi_repro.evaluation.inference.model_edits import default_batch_size
    from odapi_repro.evaluation.inference.passes import run_job
    from odapi_repro.evaluation.score_detections import check_image_sizes
    from odapi_repro.pipeline import load_pipeline
    from odapi_repro.training.seeds import ops_in_fixed_order

    began = time.monotonic()
    checkpoint = _last_checkpoint(job)
    pipeline = load_pipeline(job.pipeline_path)
    files, truth = _evaluated(job)
    with tempfile.TemporaryDirectory() as folder:
        evaluation_job = EvaluationJob(
            pipeline_path=job.pipeline_path,
            passes=(Pass(checkpoints=(checkpoint,)),),
            output_dir=folder,
            num_images=truth.num_images,
            record_files=tuple(map(str, files)),
            sample_1_of_n=pipeline.proto.eval_input_reader[0].sample_1_of_n_examples,
            batch_size=default_batch_size(pipeline.proto.model),
            device=job.device,
            deterministic=job.deterministic,
            with_masks=job.with_masks,
            image_ids=truth.image_ids,
            category_ids=truth.category_ids,
        )
        with ops_in_fixed_order(job.fixed_op_order):
            timings = run_job(evaluation_job, emit)[PLAIN]
        check_image_sizes(images_path(folder), truth)
        put_in_place(detections_path(folder, PLAIN, PLAIN), job.results_path)
    _score(job, truth)
    traced = timings.build_seconds + timings.restore_seconds + timings.first_batch_seconds
    return {
        "eval_trace_seconds": traced,
        "eval_seconds": time.monotonic() - began - traced,
    }


def _last_checkpoint(job: Job) -> str:
    """Gives the prefix of the checkpoint of the last step.

    Raises:
        DataError: there is none, or it is of an earlier step.
    """
    from odapi_repro.evaluation.checkpoint import find_checkpoint

    found = find_checkpoint(job.model_dir)
    if found.step is not None and found.step < job.num_steps:
        raise DataError(
            f"the last checkpoint is of step {found.step:,} of {job.num_steps:,}",
            expected="that of the last step, which the training has saved",
            mend="--retry failed goes on with the training",
            where=found.prefix,
        )
    return found.prefix


def _evaluated(job: Job) -> tuple[list[Path], GroundTruth]:
    """Gives the record files of the evaluation, and the ground truth in them."""
    from odapi_repro.datasets.label_map import read_label_map
    from odapi_repro.datasets.records import resolve_patterns
    from odapi_repro.evaluation.eval_data import data_of_records
    from odapi_repro.pipeline import load_pipeline

    reader = load_pipeline(job.pipeline_path).proto.eval_input_reader[0]
    files = resolve_patterns(list(reader.tf_record_input_reader.input_path))
    data = data_of_records(
        "eval_input_reader",
        files,
        read_label_map(reader.label_map_path),
        with_masks=job.with_masks,
        sample_1_of_n=reader.sample_1_of_n_examples,
    )
    return list(files), data.truth


def _score(job: Job, truth: GroundTruth) -> None:
    """Writes metrics.json from the kept detections."""
    from odapi_repro.evaluation.score_detections import score_results
    from odapi_repro.pipeline import load_pipeline

    reader = load_pipeline(job.pipeline_path).proto.eval_input_reader[0]
    evaluation = score_results(
        job.results_path,
        truth,
        with_masks=job.with_masks,
        max_number_of_boxes=reader.max_number_of_boxes,
    )
    write_json(Path(job.model_dir) / METRICS, dataclasses.asdict(evaluation))


if __name__ == "__main__":
    main(sys.argv[1:])
