"""`evaluate`: from the flags to the report of an evaluation."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odapi_repro.datasets.source import DataFlags
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import UserError
from odapi_repro.evaluation.eval_data import EvalData, choose_data, data_of_json
from odapi_repro.evaluation.evaluation_subject import Subject, labels
from odapi_repro.foreign_text import shown
from odapi_repro.page.results_folder import README
from odapi_repro.page.terminal_page import print_pages, print_text
from odapi_repro.pipeline import load_pipeline

if TYPE_CHECKING:
    from odapi_repro.features.evaluate.evaluation_report import EvaluationReport, Found
    from odapi_repro.pipeline import Pipeline


def run_evaluation(flags: Any, positional: list[str], command: str) -> int:
    """Does what the flags ask for, and gives the exit code."""
    if flags.name is not None and not flags.no_report:
        _check_writable(flags, flags.name)
    subjects = [_subject(flags, positional)]
    if flags.against:
        subjects.append(Subject.of(flags.against, flags.max_unpacked_bytes))
    _check_data(flags, needs_images=not all(one.is_results for one in subjects))
    pipelines = _pipelines(flags, subjects)
    data = _data(flags, pipelines[0], with_masks=_wants_masks(flags, subjects, pipelines))
    data = dataclasses.replace(data, warn=_warn)
    names = labels(subjects)
    name = flags.name or _default_name(names, data)
    pairs = zip(("model", "against"), subjects, pipelines, strict=False)
    digests = {role: one.digest(pipeline) for role, one, pipeline in pairs} | {"data": data.digest}
    folder = None if flags.no_report else _folder(flags, name, digests)
    # SciPy and pandas take their time to import; what is wrong so far is said before that.
    from odapi_repro.evaluation.breakdown import Resampling
    from odapi_repro.features.evaluate.evaluation_report import assemble_evaluation

    found = [
        _found(flags, one, pipeline, label, data)
        for one, pipeline, label in zip(subjects, pipelines, names, strict=True)
    ]
    report = assemble_evaluation(
        data,
        *found,
        name=name,
        command=command,
        iou_type=flags.iou_type,
        engine=flags.engine,
        resampling=Resampling(flags.resamples, flags.confidence, flags.seed),
        pipeline=pipelines[0],
        digests=digests,
    )
    for oddity in report.oddities:
        _warn(oddity)
    if folder is not None:
        from odapi_repro.features.evaluate.write_evaluation import write_evaluation

        write_evaluation(report, folder, num_pictures=flags.pictures)
    _print(flags, report, folder)
    return EXIT_DONE


def _check_data(flags: Any, *, needs_images: bool) -> None:
    """Refuses flags that contradict each other, before anything is read."""
    if flags.images and not flags.ground_truth:
        raise UserError(
            "--images without --ground_truth",
            expected="the COCO instances file of these images",
            mend="add --ground_truth instances.json",
        )
    if not flags.ground_truth:
        return
    given = [f"--{name}" for name in ("data", "eval_records", "label_map") if flags[name].value]
    if given:
        raise UserError(
            f"{' and '.join(given)} and --ground_truth name 2 data sets",
            expected="records with their label map, or --ground_truth",
            mend=f"leave {' and '.join(given)} out, or --ground_truth",
        )
    if needs_images and not flags.images:
        raise UserError(
            "--ground_truth without --images, and a checkpoint to run",
            expected="the folder of the images that the ground truth names",
            mend="add --images FOLDER",
        )


def _data(flags: Any, pipeline: Pipeline | None, *, with_masks: bool) -> EvalData:
    if flags.ground_truth:
        return data_of_json(
            flags.ground_truth,
            flags.images or None,
            sample_1_of_n=flags.sample_1_of_n_eval_examples or 1,
            max_bytes=flags.max_unpacked_bytes,
            max_pixels=flags.max_image_pixels,
        )
    return choose_data(
        DataFlags.of(flags),
        pipeline,
        with_masks=with_masks,
        sample_1_of_n=flags.sample_1_of_n_eval_examples,
        max_pixels=flags.max_image_pixels,
        otherwise="--ground_truth instances.json (with --images for a checkpoint)",
    )


def _subject(flags: Any, positional: Sequence[str]) -> Subject:
    named = [*positional, *filter(None, (flags.detections, flags.checkpoint))]
    if len(named) != 1:
        raise UserError(
            f"{len(named)} things to evaluate were named: {', '.join(named)}"
            if named
            else "nothing to evaluate was named",
            expected="one results file or one checkpoint",
            mend="--detections results.json or --checkpoint FOLDER; what it is compared with goes "
            "into --against",
        )
    if flags.detections or flags.checkpoint:
        return Subject(named[0], bool(flags.detections), flags.max_unpacked_bytes)
    return Subject.of(named[0], flags.max_unpacked_bytes)


def _pipelines(flags: Any, subjects: Sequence[Subject]) -> list[Pipeline | None]:
    """The config of each: the flag's for the first, its own, the flag's for want of one."""
    if not flags.pipeline:
        return [one.own_pipeline for one in subjects]
    if not subjects[0].is_results and subjects[0].checkpoint.saved_model:
        raise UserError(
            "--pipeline with a SavedModel, which has its model built in",
            expected="a checkpoint, whose model is built from the config",
            mend="leave --pipeline out; name the data with --eval_records or --ground_truth",
            where=subjects[0].path,
        )
    asked = load_pipeline(flags.pipeline)
    return [asked, *(one.own_pipeline or asked for one in subjects[1:])]


def _wants_masks(
    flags: Any, subjects: Sequence[Subject], pipelines: Sequence[Pipeline | None]
) -> bool:
    if flags.iou_type != "auto":
        return bool(flags.iou_type != "bbox")
    pairs = zip(subjects, pipelines, strict=True)
    return all(one.has_masks(pipeline) for one, pipeline in pairs)


def _found(
    flags: Any, subject: Subject, pipeline: Pipeline | None, label: str, data: EvalData
) -> Found:
    from odapi_repro.features.evaluate.evaluation_report import Found

    if subject.is_results:
        wants_masks = flags.iou_type != "bbox"
        detections = subject.results.detections(data.truth, with_masks=wants_masks)
        return Found(label, (f"detections of {subject.path}",), detections)
    return _detected(flags, subject, pipeline, label, data)


def _detected(
    flags: Any, subject: Subject, pipeline: Pipeline | None, label: str, data: EvalData
) -> Found:
    """What a checkpoint finds; read back where it was evaluated before."""
    from odapi_repro.evaluation.checkpoint import built_with, check_classes, check_source
    from odapi_repro.evaluation.inference.evaluation_job import Pass
    from odapi_repro.evaluation.inference.stage_tensors import has_stages
    from odapi_repro.features.evaluate.evaluation_report import found_by_checkpoint
    from odapi_repro.trials.evaluations.checkpoint_evaluation import (
        EvaluationProgress,
        evaluate_checkpoint,
    )
    from odapi_repro.trials.evaluations.evaluation_spec import EvaluationRequest

    source = subject.checkpoint
    if source.saved_model:
        pipeline = None
    elif pipeline is None:
        raise UserError(
            "no pipeline.config lies with this checkpoint",
            expected="the pipeline.config that trained it",
            mend="--pipeline my.config",
            where=subject.path,
        )
    warnings: tuple[str, ...] = ()
    if pipeline is not None:
        source = built_with(source, pipeline)
        warnings = check_source(source, pipeline)
        check_classes(pipeline, data.truth)
    for warning in warnings:
        _warn(warning)
    one = Pass(checkpoints=(source.prefix,) if source.prefix else ())
    if flags.stages and pipeline is not None and has_stages(pipeline):
        one = dataclasses.replace(one, stages=True)
    with_masks = data.truth.masks is not None and flags.iou_type != "bbox"
    request = EvaluationRequest(
        source=source,
        pipeline=pipeline,
        data=data,
        runs_dir=Path(flags.runs_dir),
        passes=(one,),
        with_masks=with_masks and (pipeline is None or pipeline.predicts_masks),
        batch_size=flags.batch_size,
        device=flags.device,
    )
    result = evaluate_checkpoint(request, EvaluationProgress(label, data.truth.num_images))
    return found_by_checkpoint(label, request, result, warnings)


def _warn(text: str) -> None:
    print(shown(f"odapi-repro evaluate: warning: {text}"), file=sys.stderr, flush=True)


def _default_name(names: Sequence[str], data: EvalData) -> str:
    of = re.sub(r"(\.json)?(\.gz)?$", "", data.name)
    parts = [*names[:-1], f"{names[-1]}-on-{of}"]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-against-".join(parts)).strip("-.") or "evaluation"


def _folder(flags: Any, name: str, digests: Mapping[str, str]) -> Path:
    """The folder of the results, which is free to be written."""
    from odapi_repro.features.evaluate.write_evaluation import check_is_free

    _check_writable(flags, name)
    folder = Path(flags.results_dir) / name
    check_is_free(folder, digests)
    return folder


def _check_writable(flags: Any, name: str) -> None:
    """Refuses a name that cannot be one of a folder, and a results folder that cannot be had."""
    from odapi_repro.trials.environment import check_writable
    from odapi_repro.trials.study_flags import check_name

    check_name(name, "an evaluation")
    check_writable(Path(flags.results_dir))


def _print(flags: Any, report: EvaluationReport, folder: Path | None) -> None:
    if flags.format == "json":
        from odapi_repro.features.evaluate.write_evaluation import render_json

        print_text(render_json(report, written=None if folder is None else str(folder)))
        return
    from odapi_repro.features.evaluate.evaluation_page import evaluation_page

    print_pages([evaluation_page(report, per_class=flags.per_class)], flags.format)
    if flags.format == "text" and folder is not None:
        print(f"\n{shown(folder / README)}")
