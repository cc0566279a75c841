"""Evaluation of one checkpoint against `model_main_tf2 --checkpoint_dir`, on the same records.

For a proxy checkpoint of each pipeline, in one run and in turn: images a second once both are past
start-up and tracing, seconds from the start of the process to the first image, and whether the
metrics are the same. The peer is the OD API's own `model_main_tf2.main` with its own flags, after
the compatibility patches without which it does not import, on the trial's pipeline.config with the
eval batch of 1 that the reference configs have, and without metrics by category, at which it stops
(docs/evaluation.md). Its rate leaves out the images that it draws, which are its first ten.

Its metrics are compared with ours as it computes them: objects sized by the area of their boxes,
and masks against its own ground truth, which went to the network's size and back.

Checkpoints: --effdet and --mask_rcnn name folders of trials; without them short ones are trained
by `odapi_repro.run` first. JSON lines on stdout.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from odapi_repro.datasets.label_map import read_label_map
from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.evaluation.checkpoint import CheckpointSource, find_checkpoint
from odapi_repro.evaluation.coco_data import GroundTruth, ground_truth_of, read_detections
from odapi_repro.evaluation.eval_data import EvalData, data_of_records
from odapi_repro.evaluation.scoring.metrics import METRIC_NAMES, score
from odapi_repro.pipeline import Pipeline, load_pipeline

REPOSITORY = Path(__file__).resolve().parent.parent
PIPELINES = {"effdet": "effdet_d3", "mask_rcnn": "mask_rcnn"}
TRAINING_STEPS = 100
# Of the images that the peer draws, and of those after them until its rate is steady.
NOT_COUNTED = 20
_LABELS = (
    "Precision/mAP",
    "Precision/mAP@.50IOU",
    "Precision/mAP@.75IOU",
    "Precision/mAP (small)",
    "Precision/mAP (medium)",
    "Precision/mAP (large)",
    "Recall/AR@1",
    "Recall/AR@10",
    "Recall/AR@100",
    "Recall/AR@100 (small)",
    "Recall/AR@100 (medium)",
    "Recall/AR@100 (large)",
)

_PEER = """
import json, sys, time
out, extensions = sys.argv[1], [name for name in sys.argv[2].split(",") if name]
from odapi_repro.training.compat import apply_patches
apply_patches()
from odapi_repro.training.extensions import enable_extensions
enable_extensions(extensions)
from object_detection import eval_util, inputs, model_lib_v2, model_main_tf2
from object_detection.metrics import coco_evaluation
import tensorflow as tf
times, metrics, evaluators = [], {}, []
get_evaluators = eval_util.get_evaluators
def timed_evaluators(*args, **kwargs):
    made = get_evaluators(*args, **kwargs)
    add = made[-1].add_eval_dict
    def timed(eval_dict):
        add(eval_dict)
        times.append(time.time())
    made[-1].add_eval_dict = timed
    evaluators[:] = made
    return made
eval_util.get_evaluators = timed_evaluators
loop = model_lib_v2.eager_eval_loop
def kept(*args, **kwargs):
    metrics.update({k: float(v) for k, v in loop(*args, **kwargs).items()})
    masks = []
    for evaluator in evaluators:
        if isinstance(evaluator, coco_evaluation.CocoMaskEvaluator):
            for a in evaluator._groundtruth_list:
                rle = a["segmentation"]
                text = rle["counts"]
                text = text.decode() if isinstance(text, bytes) else text
                masks.append([int(a["image_id"]), int(a["category_id"]), int(a["iscrowd"]),
                              [float(x) for x in a["bbox"]], [int(x) for x in rle["size"]], text])
    with open(out, "w") as file:
        json.dump({"times": times, "metrics": metrics, "masks": masks, "end": time.time(),
                   "hash_bins": inputs.HASH_BINS}, file)
    return metrics
model_lib_v2.eager_eval_loop = kept
tf.compat.v1.app.run(model_main_tf2.main, argv=["model_main_tf2", *sys.argv[3:]])
"""

_OURS = """
import json, sys, time
from pathlib import Path
from benchmarks.bench_evaluation import subject_of
from odapi_repro.trials.evaluations.checkpoint_evaluation import evaluate_checkpoint
from odapi_repro.trials.evaluations.evaluation_spec import EvaluationRequest
source, pipeline, data = subject_of(sys.argv[1])
first = []
def on_event(event):
    if event["event"] == "evaluating":
        first.append(time.time())
request = EvaluationRequest(source, pipeline, data, Path(sys.argv[2]), device="cpu",
                            with_masks=pipeline.predicts_masks)
result = evaluate_checkpoint(request, on_event)
key = ("plain", "plain")
with open(sys.argv[3], "w") as file:
    json.dump({"first": first[0], "took": result.provenance[key], "end": time.time(),
               "detections": str(result.detections[key])}, file)
"""

_HASHES = """
import json, sys
import tensorflow as tf
ids, bins = json.loads(sys.stdin.read())
print(json.dumps([int(tf.strings.to_hash_bucket_fast(i, bins)) for i in ids]))
"""


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run took, and what it found."""

    images_per_second: float
    seconds_to_first_image: float
    seconds: float
    cpu_seconds: float
    found: dict[str, Any]


def main(argv: list[str]) -> int:
    """Prints every run, and a line of ratios a pipeline."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in PIPELINES:
        parser.add_argument(f"--{name}", help="folder of a trial")
    parser.add_argument("--only", choices=tuple(PIPELINES), help="one of the two pipelines")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each of the two")
    given = parser.parse_args(argv)
    for name in PIPELINES if given.only is None else (given.only,):
        with tempfile.TemporaryDirectory() as scratch:
            folder = getattr(given, name) or str(_trained(name, Path(scratch)))
            print(json.dumps(_compare(name, folder, Path(scratch), given.rounds)), flush=True)
    return 0


def subject_of(folder: str) -> tuple[CheckpointSource, Pipeline, EvalData]:
    """Gives a trial's checkpoint, its pipeline and its eval records."""
    source = find_checkpoint(folder)
    assert source.own_pipeline is not None
    pipeline = load_pipeline(source.own_pipeline)
    reader = pipeline.proto.eval_input_reader[0]
    data = data_of_records(
        "eval records",
        resolve_patterns(list(reader.tf_record_input_reader.input_path)),
        read_label_map(reader.label_map_path),
        with_masks=pipeline.predicts_masks,
    )
    return source, pipeline, data


def _trained(name: str, scratch: Path) -> Path:
    command = [
        *("-m", "odapi_repro.run", f"--pipeline=pipelines/{PIPELINES[name]}.config"),
        *("--ablate=batch_size", "--levels=1x", "--scale=proxy", "--device=cpu"),
        *(f"--num_train_steps={TRAINING_STEPS}", "--nodeterministic"),
        *(f"--runs_dir={scratch / 'runs'}", f"--results_dir={scratch / 'results'}"),
    ]
    with open(scratch / "train.log", "wb") as log:
        subprocess.run(
            [sys.executable, *command], stdout=log, stderr=log, check=True, cwd=REPOSITORY
        )
    (checkpoint,) = (scratch / "runs").glob("*/checkpoint")
    return checkpoint.parent


def _compare(name: str, folder: str, scratch: Path, rounds: int) -> dict[str, Any]:
    source, pipeline, data = subject_of(folder)
    ours, theirs = [], []
    for number in range(rounds):
        for side, runs in (("model_main_tf2", theirs), ("ours", ours)):
            out = scratch / f"{side}-{number}"
            out.mkdir()
            run = _theirs(source, pipeline, out) if side != "ours" else _ours(folder, out)
            runs.append(run)
            shown = {k: round(v, 3) for k, v in vars(run).items() if k != "found"}
            print(json.dumps({"pipeline": name, "run": side, **shown}), flush=True)
    peer = {
        field: statistics.median(getattr(run, field) for run in theirs)
        for field in ("images_per_second", "seconds_to_first_image")
    }
    mine = {field: statistics.median(getattr(run, field) for run in ours) for field in peer}
    return {
        "benchmark": "evaluation",
        "pipeline": name,
        "images": data.truth.num_images,
        "images_per_second_ratio": round(mine["images_per_second"] / peer["images_per_second"], 2),
        "seconds_to_first_image_ratio": round(
            mine["seconds_to_first_image"] / peer["seconds_to_first_image"], 3
        ),
        "ours": {field: round(value, 2) for field, value in mine.items()},
        "model_main_tf2": {field: round(value, 2) for field, value in peer.items()},
        **_differences(ours[-1], theirs[-1], data.truth, masks=pipeline.predicts_masks),
    }


def _theirs(source: CheckpointSource, pipeline: Pipeline, out: Path) -> Run:
    def as_the_reference_configs(proto: Any) -> None:
        proto.eval_config.batch_size = 1
        proto.eval_config.include_metrics_per_category = False

    config, found = out / "pipeline.config", out / "found.json"
    config.write_text(pipeline.edited(as_the_reference_configs).to_text(), encoding="utf-8")
    flags = (
        f"--pipeline_config_path={config}",
        f"--model_dir={out}",
        f"--checkpoint_dir={Path(source.prefix).parent}",
        "--eval_timeout=1",
    )
    began, ended, cpu = _timed(out, "-c", _PEER, str(found), ",".join(source.extensions), *flags)
    result = json.loads(found.read_text(encoding="utf-8"))
    times = result["times"]
    rate = (len(times) - NOT_COUNTED) / (times[-1] - times[NOT_COUNTED - 1])
    return Run(rate, times[0] - began, ended - began, cpu, result)


def _ours(folder: str, out: Path) -> Run:
    found = out / "found.json"
    began, ended, cpu = _timed(out, "-c", _OURS, folder, str(out / "runs"), str(found))
    result = json.loads(found.read_text(encoding="utf-8"))
    took = result["took"]
    rate = (took["images"] - took["images_in_first_batch"]) / took["rest_seconds"]
    return Run(rate, result["first"] - began, ended - began, cpu, result)


def _timed(out: Path, *arguments: str) -> tuple[float, float, float]:
    """Runs Python; gives its begin, its end, and processor seconds, its children's included."""
    with open(out / "log.txt", "wb") as log:
        began = time.time()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError((out / "log.txt").read_text(encoding="utf-8")[-3000:])
    return began, time.time(), usage.ru_utime + usage.ru_stime


def _differences(ours: Run, theirs: Run, truth: GroundTruth, *, masks: bool) -> dict[str, Any]:
    """Gives the largest difference of the 12 metrics, as fractions, computed as the OD API does."""
    detections = read_detections(ours.found["detections"], truth)
    by_box = dataclasses.replace(truth, areas=truth.boxes[:, 2] * truth.boxes[:, 3])
    found = {
        "largest_box_difference": _largest(score(by_box, detections).metrics, theirs, "Boxes"),
        "largest_box_difference_by_own_areas_without_sizes": _largest(
            score(truth, detections).metrics, theirs, "Boxes", without_sizes=True
        ),
    }
    if masks:
        own = _their_masks(truth, theirs)
        metrics = score(own, read_detections(ours.found["detections"], own), "segm").metrics
        found["largest_mask_difference"] = _largest(metrics, theirs, "Masks")
    return found


def _largest(metrics: Any, theirs: Run, kind: str, *, without_sizes: bool = False) -> float:
    differences = []
    for name, label in zip(METRIC_NAMES, _LABELS, strict=True):
        if not (without_sizes and name[-1] in "sml"):
            value = metrics[name]
            their_value = theirs.found["metrics"][f"Detection{kind}_{label}"]
            differences.append(abs((-1.0 if value is None else value / 100) - their_value))
    return float(f"{max(differences):.3g}")


def _their_masks(truth: GroundTruth, theirs: Run) -> GroundTruth:
    """Gives the ground truth that the OD API scored masks against."""
    ids = [str(image_id) for image_id in truth.image_ids]
    hashes = json.loads(
        subprocess.run(
            [sys.executable, "-c", _HASHES],
            input=json.dumps([ids, theirs.found["hash_bins"]]),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
    )
    image_of = dict(zip(hashes, truth.image_ids, strict=True))
    content = truth.to_coco()
    content["annotations"] = [
        {
            "id": number,
            "image_id": image_of[image],
            "category_id": category,
            "iscrowd": crowd,
            "bbox": box,
            "area": box[2] * box[3],
            "segmentation": {"size": size, "counts": counts},
        }
        for number, (image, category, crowd, box, size, counts) in enumerate(
            theirs.found["masks"], 1
        )
    ]
    return ground_truth_of(content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
