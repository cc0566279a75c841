"""Trials that really train: few, small, and each for one statement about the product."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from odapi_repro.datasets.embedded import embedded_dataset
from odapi_repro.datasets.record_ground_truth import coco_ground_truth
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.source import DataFlags, resolve_data
from odapi_repro.evaluation.coco_data import ground_truth_of, read_detections
from odapi_repro.evaluation.scoring.metrics import score
from odapi_repro.factors import factor_named
from odapi_repro.features.ablate.study_plan import StudyData, StudyRequest, make_plan
from odapi_repro.pipeline import load_pipeline
from odapi_repro.trials.executors.local_executor import LocalExecutor, Runtime
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_store import TrialState, TrialStore

pytestmark = pytest.mark.training
# Tests that share one training stay in one process when there are two.
SHARED = pytest.mark.xdist_group("first_run")

# Long enough to find something on 24 images, so that metrics can be compared.
STEPS = 60
RUNTIME = Runtime(steps_per_iteration=20, checkpoint_every_n=1000, checkpoint_max_to_keep=1)
SPEC = ShapesSpec(train_images=24, val_images=24, train_shards=2, val_shards=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> StudyData:
    made = embedded_dataset(tmp_path_factory.mktemp("shapes"), spec=SPEC)
    # Trained and evaluated on the same images, so that a short training scores above zero.
    flags = DataFlags(str(made.folder), made.val_pattern, made.val_pattern)
    return StudyData.of(resolve_data(flags))


def make_trial(
    data: StudyData, pipeline: str, *, seed: int = 1, steps: int = STEPS, **changes: Any
) -> Trial:
    request = StudyRequest(
        factors=(factor_named("batch_size"),),
        levels={"batch_size": ["1x"]},
        at={},
        design="one_at_a_time",
        seeds=(seed,),
        scale="smoke",
        num_steps=steps,
        num_replicas=1,
        device="cpu",
        deterministic=True,
        checkpoint=None,
        sample_1_of_n_eval_examples=1,
    )
    plan = make_plan(
        load_pipeline(f"pipelines/{pipeline}.config"), data, dataclasses.replace(request, **changes)
    )
    return plan.trials[0]


def run(
    trial: Trial, runs_dir: Path, *, runtime: Runtime = RUNTIME
) -> tuple[TrialState, Path, list[dict[str, Any]]]:
    store = TrialStore(runs_dir)
    events: list[dict[str, Any]] = []
    state = LocalExecutor(store, runtime).run(trial, lambda _, event: events.append(event))
    return state, store.folder(trial.trial_id), events


def outcome(folder: Path) -> tuple[bytes, bytes, bytes]:
    names = ("losses.csv", "metrics.json", "detections.json.gz")
    first, second, third = ((folder / name).read_bytes() for name in names)
    return first, second, third


@pytest.fixture(scope="module")
def first_run(
    data: StudyData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrialState, Path, list[dict[str, Any]]]:
    return run(make_trial(data, "effdet_d3"), tmp_path_factory.mktemp("first"))


@SHARED
def test_a_trial_trains_evaluates_and_says_what_it_did(
    first_run: tuple[TrialState, Path, list[dict[str, Any]]],
) -> None:
    state, folder, events = first_run
    assert state == TrialState("succeeded", step=STEPS)
    assert [e["step"] for e in events if e["event"] == "step"] == [20, 40, 60]
    assert events[-1]["timings"]["train_seconds"] > 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["num_images"] == 24
    assert set(metrics["metrics"]) >= {"AP", "AP50", "APs", "AR100"}


@SHARED
def test_the_same_seed_gives_the_same_bits(
    first_run: tuple[TrialState, Path, list[dict[str, Any]]], data: StudyData, tmp_path: Path
) -> None:
    _, folder, _ = run(make_trial(data, "effdet_d3"), tmp_path)
    assert outcome(folder) == outcome(first_run[1])


@SHARED
def test_another_seed_gives_other_losses_and_detections(
    first_run: tuple[TrialState, Path, list[dict[str, Any]]], data: StudyData, tmp_path: Path
) -> None:
    _, folder, _ = run(make_trial(data, "effdet_d3", seed=2), tmp_path)
    losses, _, detections = outcome(folder)
    assert losses != outcome(first_run[1])[0]
    assert detections != outcome(first_run[1])[2]


def test_a_loss_that_explodes_ends_the_trial_as_diverged(data: StudyData, tmp_path: Path) -> None:
    trial = make_trial(data, "effdet_d3", steps=40)
    wild = re.sub(r"learning_rate_base: [0-9.]+", "learning_rate_base: 1e12", trial.pipeline_text)
    assert wild != trial.pipeline_text
    runtime = dataclasses.replace(RUNTIME, steps_per_iteration=40)
    state, folder, _ = run(
        dataclasses.replace(trial, pipeline_text=wild), tmp_path, runtime=runtime
    )
    assert state.state == "diverged"
    # Found inside one compiled call of 40 steps, not at its end.
    assert 0 < state.step < 40
    assert not (folder / "metrics.json").exists()


_OD_API_EVALUATION = """
import json, sys
from odapi_repro.training.compat import apply_patches
apply_patches()
import numpy as np
import tensorflow as tf
from odapi_repro.training.extensions import enable_extensions
enable_extensions(["proxy_backbone"])
from object_detection import eval_util, inputs, model_lib_v2
from object_detection.metrics import coco_evaluation
metrics, mask_evaluators = {}, []
get_evaluators = eval_util.get_evaluators
def kept_evaluators(*args, **kwargs):
    made = get_evaluators(*args, **kwargs)
    mask_evaluators[:] = [e for e in made if isinstance(e, coco_evaluation.CocoMaskEvaluator)]
    return made
eval_util.get_evaluators = kept_evaluators
original = model_lib_v2.eager_eval_loop
def loop(*args, **kwargs):
    metrics.update({k: float(v) for k, v in original(*args, **kwargs).items()})
    return metrics
model_lib_v2.eager_eval_loop = loop
folder, out, ids = sys.argv[1:]
# Its drawing of masks fails on a batch of images of several sizes, and its metrics by category need
# a pycocotools of their own; nothing else is changed.
override = "eval_config { num_visualizations: 0 include_metrics_per_category: false }"
model_lib_v2.eval_continuously(folder + "/pipeline.config", model_dir=out, checkpoint_dir=folder,
                               wait_interval=1, timeout=2, config_override=override)
masks = []
if mask_evaluators:
    image_of = {int(tf.strings.to_hash_bucket_fast(i, inputs.HASH_BINS)): int(i)
                for i in ids.split(",")}
    for annotation in mask_evaluators[0]._groundtruth_list:
        rle = annotation["segmentation"]
        counts = rle["counts"]
        counts = counts.decode() if isinstance(counts, bytes) else counts
        masks.append({"image_id": image_of[int(annotation["image_id"])],
                      "category_id": int(annotation["category_id"]), "id": len(masks) + 1,
                      "iscrowd": int(annotation["iscrowd"]), "area": float(annotation["area"]),
                      "bbox": [float(x) for x in annotation["bbox"]],
                      "segmentation": {"size": [int(x) for x in rle["size"]], "counts": counts}})
print(json.dumps({"metrics": metrics, "masks": masks}))
"""
_NAMES = {
    "AP": "Precision/mAP",
    "AP50": "Precision/mAP@.50IOU",
    "AP75": "Precision/mAP@.75IOU",
    "APs": "Precision/mAP (small)",
    "APm": "Precision/mAP (medium)",
    "APl": "Precision/mAP (large)",
    "AR1": "Recall/AR@1",
    "AR10": "Recall/AR@10",
    "AR100": "Recall/AR@100",
    "ARs": "Recall/AR@100 (small)",
    "ARm": "Recall/AR@100 (medium)",
    "ARl": "Recall/AR@100 (large)",
}


def od_api_evaluation(
    folder: Path, out: Path, data: StudyData
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Gives what `eval_continuously` says of a trial's checkpoint, in points, and its masks."""
    files = data.eval_files
    truth = coco_ground_truth(files, data.label_map, with_masks=False)
    ids = ",".join(image["id"] for image in truth["images"])
    found = subprocess.run(
        [sys.executable, "-c", _OD_API_EVALUATION, str(folder), str(out), ids],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    result = json.loads(found.stdout.strip().splitlines()[-1])
    return {name: 100 * value for name, value in result["metrics"].items()}, result["masks"]


def score_again(
    folder: Path, data: StudyData, iou_type: str, annotations: list[dict[str, Any]] | None = None
) -> dict[str, float]:
    """Scores the kept detections with objects sized by the area of their boxes, as the OD API does.

    `annotations` take the place of the records' own.
    """
    files = data.eval_files
    truth = coco_ground_truth(
        files, data.label_map, with_masks=iou_type == "segm", integer_ids=True
    )
    if annotations is not None:
        truth["annotations"] = annotations
    for annotation in truth["annotations"]:
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    columns = ground_truth_of(truth)
    detections = read_detections(folder / "detections.json.gz", columns)
    metrics = score(columns, detections, iou_type).metrics
    return {name: -100.0 if value is None else value for name, value in metrics.items()}


# Points, so 1e-4 is 1e-6 of COCO's fractions.
TOLERANCE = 1e-4


def assert_equal(ours: dict[str, float], theirs: dict[str, float], prefix: str) -> None:
    expected = {name: theirs[prefix + their_name] for name, their_name in _NAMES.items()}
    assert ours == pytest.approx(expected, abs=TOLERANCE)


@SHARED
def test_box_metrics_equal_those_of_the_od_api_on_the_same_checkpoint(
    first_run: tuple[TrialState, Path, list[dict[str, Any]]], data: StudyData, tmp_path: Path
) -> None:
    folder = first_run[1]
    ours = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert ours["AR100"] > 1, "a checkpoint that finds nothing compares nothing"
    theirs, _ = od_api_evaluation(folder, tmp_path, data)
    assert_equal(score_again(folder, data, "bbox"), theirs, "DetectionBoxes_")
    # With the records' areas only what is split by size may differ (docs/evaluation.md).
    for name in set(_NAMES) - {"APs", "APm", "APl", "ARs", "ARm", "ARl"}:
        assert ours[name] == pytest.approx(theirs[f"DetectionBoxes_{_NAMES[name]}"], abs=TOLERANCE)


def test_mask_metrics_equal_those_of_the_od_api_once_its_masks_are_taken(
    data: StudyData, tmp_path: Path
) -> None:
    state, folder, _ = run(make_trial(data, "mask_rcnn"), tmp_path)
    assert state.state == "succeeded", state.message
    ours = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert ours["AR100"] > 1, "a checkpoint that finds nothing compares nothing"
    theirs, masks = od_api_evaluation(folder, tmp_path / "eval", data)
    assert_equal(score_again(folder, data, "bbox"), theirs, "DetectionBoxes_")
    # The OD API scores against masks that went to the network's size and back; the records' own
    # are what COCO scores against (docs/evaluation.md). With its masks the numbers are its own.
    assert_equal(score_again(folder, data, "segm", masks), theirs, "DetectionMasks_")
