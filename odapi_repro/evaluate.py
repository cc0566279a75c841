"""`python -m odapi_repro.evaluate`: COCO's metrics with intervals, and where the points went."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.datasets.limits import IMAGE_PIXELS, JSON_BYTES
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


SUMMARY = "COCO's metrics of a checkpoint or a results file, with intervals and where points went"
FORMATS = ("text", "json", "markdown")
IOU_TYPES = ("auto", "bbox", "segm", "both")

_cli = Command("evaluate", SUMMARY)
FLAGS = _cli.flags
_cli.string(
    "detections", None, "results file in COCO's format (.json or .json.gz), instead of --checkpoint"
)
_cli.string(
    "checkpoint",
    None,
    "what to evaluate: a training folder, a ckpt-N prefix, an unpacked zoo archive, a SavedModel "
    "or a trial's folder runs/<id>",
)
_cli.string(
    "against",
    None,
    "a second results file or checkpoint, on the same images: differences with paired intervals",
)
_cli.string(
    "pipeline", None, "pipeline.config of the checkpoint; by default the one that lies with it"
)
_cli.alias("pipeline_config_path", "pipeline")
_cli.string("ground_truth", None, "COCO instances file (.json or .json.gz)")
_cli.string("images", None, "folder of the images that --ground_truth names")
_cli.data_flags("the records of the config's own eval_input_reader", trains=False)
_cli.enum("iou_type", "auto", IOU_TYPES, "boxes, masks or both; auto: all that there is")
_cli.enum("engine", "hotcoco", ("hotcoco", "pycocotools"), "what scores; the numbers are the same")
_cli.integer("resamples", 1000, "resamples of the images for the intervals; 0: none", lower_bound=0)
_cli.number("confidence", 0.95, "of the intervals", lower_bound=0.5, upper_bound=0.999)
_cli.integer("seed", 0, "of the resamples", lower_bound=0)
_cli.boolean(
    "stages", True, "of a Faster or Mask R-CNN checkpoint: the stages at which objects are lost"
)
_cli.boolean("per_class", False, "print the table of classes, too")
_cli.enum("format", "text", FORMATS, "what is printed")
_cli.string(
    "name", None, "name of the folder in --results_dir; made of what is evaluated by default"
)
_cli.string("results_dir", "results", "where tables, plots and pictures go")
_cli.boolean("no_report", False, "print only, write nothing to --results_dir")
_cli.integer("pictures", 12, "images on each page of pictures; 0: no pictures", lower_bound=0)
_cli.integer(
    "max_image_pixels", IMAGE_PIXELS, "pixels that an image or a mask may have", lower_bound=1
)
_cli.integer("max_unpacked_bytes", JSON_BYTES, "bytes that a .json.gz may unpack to", lower_bound=1)
_cli.string("runs_dir", "runs", "where detections are kept, so that they are not made again")
_cli.enum("device", "auto", ("auto", "cpu", "gpu"), "where the checkpoint runs")
_cli.integer("batch_size", None, "images in a batch of the checkpoint", lower_bound=1)
_cli.integer("sample_1_of_n_eval_examples", None, "evaluate one image of n", lower_bound=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(_run, argv)


def _run(positional: list[str], command: str) -> int:
    if FLAGS.name is not None and not FLAGS.no_report:
        _check_writable(FLAGS.name)
    subjects = [_subject(positional)]
    if FLAGS.against:
        subjects.append(Subject.of(FLAGS.against, FLAGS.max_unpacked_bytes))
    _check_data(needs_images=not all(one.is_results for one in subjects))
    pipelines = _pipelines(subjects)
    data = _data(pipelines[0], with_masks=_wants_masks(subjects, pipelines))
    data = dataclasses.replace(data, warn=_warn)
    names = labels(subjects)
    name = FLAGS.name or _default_name(names, data)
    pairs = zip(("model", "against"), subjects, pipelines, strict=False)
    digests = {role: one.digest(pipeline) for role, one, pipeline in pairs} | {"data": data.digest}
    folder = None if FLAGS.no_report else _folder(name, digests)
    # SciPy and pandas take their time to import; what is wrong so far is said before that.
    from odapi_repro.evaluation.breakdown import Resampling
    from odapi_repro.features.evaluate.evaluation_report import assemble_evaluation

    found = [
        _found(one, pipeline, label, data)
        for one, pipeline, label in zip(subjects, pipelines, names, strict=True)
    ]
    report = assemble_evaluation(
        data,
        *found,
        name=name,
        command=command,
        iou_type=FLAGS.iou_type,
        engine=FLAGS.engine,
        resampling=Resampling(FLAGS.resamples, FLAGS.confidence, FLAGS.seed),
        pipeline=pipelines[0],
        digests=digests,
    )
    for oddity in report.oddities:
        _warn(oddity)
    if folder is not None:
        from odapi_repro.features.evaluate.write_evaluation import write_evaluation

        write_evaluation(report, folder, num_pictures=FLAGS.pictures)
    _print(report, folder)
    return EXIT_DONE


def _check_data(*, needs_images: bool) -> None:
    """Refuses flags that contradict each other, before anything is read."""
    if FLAGS.images and not FLAGS.ground_truth:
        raise UserError(
            "--images without --ground_truth",
            expected="the COCO instances file of these images",
            mend="add --ground_truth instances.json",
        )
    if not FLAGS.ground_truth:
        return
    given = [f"--{name}" for name in ("data", "eval_records", "label_map") if FLAGS[name].value]
    if given:
        raise UserError(
            f"{' and '.join(given)} and --ground_truth name 2 data sets",
            expected="records with their label map, or --ground_truth",
            mend=f"leave {' and '.join(given)} out, or --ground_truth",
        )
    if needs_images and not FLAGS.images:
        raise UserError(
            "--ground_truth without --images, and a checkpoint to run",
            expected="the folder of the images that the ground truth names",
            mend="add --images FOLDER",
        )


def _data(pipeline: Pipeline | None, *, with_masks: bool) -> EvalData:
    if FLAGS.ground_truth:
        return data_of_json(
            FLAGS.ground_truth,
            FLAGS.images or None,
            sample_1_of_n=FLAGS.sample_1_of_n_eval_examples or 1,
            max_bytes=FLAGS.max_unpacked_bytes,
            max_pixels=FLAGS.max_image_pixels,
        )
    return choose_data(
        DataFlags.of(FLAGS),
        pipeline,
        with_masks=with_masks,
        sample_1_of_n=FLAGS.sample_1_of_n_eval_examples,
        max_pixels=FLAGS.max_image_pixels,
        otherwise="--ground_truth instances.json (with --images for a checkpoint)",
    )


def _subject(positional: Sequence[str]) -> Subject:
    named = [*positional, *filter(None, (FLAGS.detections, FLAGS.checkpoint))]
    if len(named) != 1:
        raise UserError(
            f"{len(named)} things to evaluate were named: {', '.join(named)}"
            if named
            else "nothing to evaluate was named",
            expected="one results file or one checkpoint",
            mend="--detections results.json or --checkpoint FOLDER; what it is compared with goes "
            "into --against",
        )
    if FLAGS.detections or FLAGS.checkpoint:
        return Subject(named[0], bool(FLAGS.detections), FLAGS.max_unpacked_bytes)
    return Subject.of(named[0], FLAGS.max_unpacked_bytes)


def _pipelines(subjects: Sequence[Subject]) -> list[Pipeline | None]:
    """The config of each: the flag's for the first, its own, the flag's for want of one."""
    if not FLAGS.pipeline:
        return [one.own_pipeline for one in subjects]
    if not subjects[0].is_results and subjects[0].checkpoint.saved_model:
        raise UserError(
            "--pipeline with a SavedModel, which has its model built in",
            expected="a checkpoint, whose model is built from the config",
            mend="leave --pipeline out; name the data with --eval_records or --ground_truth",
            where=subjects[0].path,
        )
    asked = load_pipeline(FLAGS.pipeline)
    return [asked, *(one.own_pipeline or asked for one in subjects[1:])]


def _wants_masks(subjects: Sequence[Subject], pipelines: Sequence[Pipeline | None]) -> bool:
    if FLAGS.iou_type != "auto":
        return bool(FLAGS.iou_type != "bbox")
    pairs = zip(subjects, pipelines, strict=True)
    return all(one.has_masks(pipeline) for one, pipeline in pairs)


def _found(subject: Subject, pipeline: Pipeline | None, label: str, data: EvalData) -> Found:
    from odapi_repro.features.evaluate.evaluation_report import Found

    if subject.is_results:
        wants_masks = FLAGS.iou_type != "bbox"
        detections = subject.results.detections(data.truth, with_masks=wants_masks)
        return Found(label, (f"detections of {subject.path}",), detections)
    return _detected(subject, pipeline, label, data)


def _detected(subject: Subject, pipeline: Pipeline | None, label: str, data: EvalData) -> Found:
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
    if FLAGS.stages and pipeline is not None and has_stages(pipeline):
        one = dataclasses.replace(one, stages=True)
    with_masks = data.truth.masks is not None and FLAGS.iou_type != "bbox"
    request = EvaluationRequest(
        source=source,
        pipeline=pipeline,
        data=data,
        runs_dir=Path(FLAGS.runs_dir),
        passes=(one,),
        with_masks=with_masks and (pipeline is None or pipeline.predicts_masks),
        batch_size=FLAGS.batch_size,
        device=FLAGS.device,
    )
    result = evaluate_checkpoint(request, EvaluationProgress(label, data.truth.num_images))
    return found_by_checkpoint(label, request, result, warnings)


def _warn(text: str) -> None:
    print(shown(f"odapi-repro evaluate: warning: {text}"), file=sys.stderr, flush=True)


def _default_name(names: Sequence[str], data: EvalData) -> str:
    of = re.sub(r"(\.json)?(\.gz)?$", "", data.name)
    parts = [*names[:-1], f"{names[-1]}-on-{of}"]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-against-".join(parts)).strip("-.") or "evaluation"


def _folder(name: str, digests: Mapping[str, str]) -> Path:
    """The folder of the results, which is free to be written."""
    from odapi_repro.features.evaluate.write_evaluation import check_is_free

    _check_writable(name)
    folder = Path(FLAGS.results_dir) / name
    check_is_free(folder, digests)
    return folder


def _check_writable(name: str) -> None:
    """Refuses a name that cannot be one of a folder, and a results folder that cannot be had."""
    from odapi_repro.trials.environment import check_writable
    from odapi_repro.trials.study_flags import check_name

    check_name(name, "an evaluation")
    check_writable(Path(FLAGS.results_dir))


def _print(report: EvaluationReport, folder: Path | None) -> None:
    if FLAGS.format == "json":
        from odapi_repro.features.evaluate.write_evaluation import render_json

        print_text(render_json(report, written=None if folder is None else str(folder)))
        return
    from odapi_repro.features.evaluate.evaluation_page import evaluation_page

    print_pages([evaluation_page(report, per_class=FLAGS.per_class)], FLAGS.format)
    if FLAGS.format == "text" and folder is not None:
        print(f"\n{shown(folder / README)}")


if __name__ == "__main__":
    sys.exit(main())
