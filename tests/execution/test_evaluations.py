"""A checkpoint is evaluated once: what is there is read back, and what fails loses one pass."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odapi_repro.errors import DataError, UserError
from odapi_repro.evaluation.checkpoint import CheckpointSource
from odapi_repro.evaluation.coco_data import read_detections
from odapi_repro.evaluation.coco_data.columns import GroundTruth
from odapi_repro.evaluation.eval_data import EvalData
from odapi_repro.evaluation.inference.job import Pass, Variant
from odapi_repro.execution.evaluation_spec import filled_request, specs_of
from odapi_repro.execution.evaluation_store import evaluation_id
from odapi_repro.execution.evaluations import (
    EvaluationRequest,
    EvaluationResult,
    evaluate_checkpoint,
)
from odapi_repro.pipeline import load_pipeline

HERE = Path(__file__).parent
WORKER = (sys.executable, str(HERE / "fake_evaluation_worker.py"))
NMS = "model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression"
LOW = Variant("low", {f"{NMS}.iou_threshold": 0.25})
PLAIN = ("plain", "plain")


def truth_of(num_images: int) -> GroundTruth:
    """One object in each image of 32x24, ids that are texts."""
    count = np.arange(num_images)
    return GroundTruth(
        image_ids=tuple(f"{index:06d}" for index in count.tolist()),
        file_names=tuple(f"{index}.jpg" for index in count.tolist()),
        heights=np.full(num_images, 24, np.int64),
        widths=np.full(num_images, 32, np.int64),
        category_ids=(3,),
        category_names=("cat",),
        ids=count,
        images=count.astype(np.int32),
        categories=np.zeros(num_images, np.int32),
        boxes=np.tile([1.0, 1.0, 4.0, 4.0], (num_images, 1)),
        areas=np.full(num_images, 16.0),
        is_crowd=np.zeros(num_images, np.bool_),
        masks=None,
    )


@pytest.fixture
def request_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EvaluationRequest]:
    monkeypatch.setenv("FAKE_EVALUATION_LOG", str(tmp_path / "variants.txt"))
    (tmp_path / "ckpt-1.index").write_bytes(b"weights")
    images = [tmp_path / f"{index}.jpg" for index in range(3)]
    for image in images:
        image.write_bytes(image.name.encode())
    source = CheckpointSource(
        kind="checkpoint",
        given="ckpt-1",
        prefix=str(tmp_path / "ckpt-1"),
        saved_model="",
        own_pipeline=None,
        digest="",
        step=None,
    )
    request = EvaluationRequest(
        source=source,
        pipeline=load_pipeline("pipelines/mask_rcnn.config"),
        data=EvalData("images", truth_of(3), image_files=tuple(images)),
        runs_dir=tmp_path / "runs",
        device="cpu",
        worker=WORKER,
    )

    def make(*passes: Pass, **changes: Any) -> EvaluationRequest:
        with_weights = tuple(
            dataclasses.replace(one, checkpoints=one.checkpoints or (source.prefix,))
            for one in passes
        )
        return dataclasses.replace(request, passes=with_weights, **changes)

    return make


def run(request: EvaluationRequest) -> EvaluationResult:
    return evaluate_checkpoint(request, lambda event: None)


def run_variants(request: EvaluationRequest) -> list[str]:
    """Names of the passes and variants that a child has run so far."""
    path = request.runs_dir.parent / "variants.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_detections_come_with_the_ids_of_the_ground_truth(
    request_of: Callable[..., EvaluationRequest],
) -> None:
    request = request_of()
    events: list[dict[str, Any]] = []
    result = evaluate_checkpoint(request, events.append)
    assert [event["event"] for event in events] == [
        "started",
        "imported",
        "evaluating",
        "pass_done",
        "done",
    ]
    assert not result.read_back
    found = read_detections(result.detections[PLAIN], request.data.truth)
    assert found.images.tolist() == [0, 1, 2]
    assert result.provenance[PLAIN]["tensorflow"] == "0.0-fake"


def test_a_repeated_evaluation_is_read_back_whatever_it_is_called(
    request_of: Callable[..., EvaluationRequest],
) -> None:
    first = run(request_of(Pass()))
    request = request_of(Pass("other", variants=(Variant("name"),)))
    second = run(request)
    assert second.detections["other", "name"] == first.detections[PLAIN]
    assert second.read_back == {("other", "name")}
    assert run_variants(request) == ["plain/plain"]


def test_only_what_is_missing_is_run(request_of: Callable[..., EvaluationRequest]) -> None:
    run(request_of(Pass(variants=(Variant(), LOW))))
    flip = Pass("flip", flip=True)
    more = Variant("more", {f"{NMS}.iou_threshold": 0.75})
    request = request_of(Pass(variants=(Variant(), LOW, more)), flip)
    result = run(request)
    assert run_variants(request) == ["plain/plain", "plain/low", "plain/more", "flip/plain"]
    assert result.read_back == {PLAIN, ("plain", "low")}
    assert len(set(result.detections.values())) == 4


def test_stages_are_kept_beside_detections(request_of: Callable[..., EvaluationRequest]) -> None:
    plain = run(request_of(Pass()))
    assert not plain.stages
    staged = run(request_of(Pass(stages=True)))
    assert staged.stages["plain"].read_bytes() == b"stages"
    assert staged.detections == plain.detections
    request = request_of(Pass(stages=True))
    assert run(request).stages == staged.stages
    assert run_variants(request) == ["plain/plain"] * 2


CHANGES: dict[str, Callable[[EvaluationRequest], EvaluationRequest]] = {
    "the model": lambda request: dataclasses.replace(
        request,
        pipeline=load_pipeline("pipelines/mask_rcnn.config").edited(
            lambda proto: setattr(proto.model.faster_rcnn, "first_stage_max_proposals", 50)
        ),
    ),
    "the batch": lambda request: dataclasses.replace(request, batch_size=7),
    "determinism": lambda request: dataclasses.replace(request, deterministic=True),
    "masks": lambda request: dataclasses.replace(request, with_masks=True),
    "the images": lambda request: dataclasses.replace(
        request,
        data=dataclasses.replace(
            request.data, truth=truth_of(2), image_files=request.data.image_files[:2]
        ),
    ),
    "an extension": lambda request: dataclasses.replace(
        request, source=dataclasses.replace(request.source, extensions=("proxy_backbone",))
    ),
}


def identity(request: EvaluationRequest) -> list[str]:
    return [evaluation_id(spec) for spec in specs_of(filled_request(request)).values()]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_decides_the_detections_makes_another_evaluation(
    request_of: Callable[..., EvaluationRequest],
    change: Callable[[EvaluationRequest], EvaluationRequest],
) -> None:
    assert identity(change(request_of())) != identity(request_of())


def test_other_weights_make_another_evaluation(
    request_of: Callable[..., EvaluationRequest], tmp_path: Path
) -> None:
    before = identity(request_of())
    (tmp_path / "ckpt-1.index").write_bytes(b"trained on")
    assert identity(request_of()) != before


def test_what_only_training_reads_changes_nothing(
    request_of: Callable[..., EvaluationRequest],
) -> None:
    trained_otherwise = load_pipeline("pipelines/mask_rcnn.config").edited(
        lambda proto: setattr(proto.train_config, "batch_size", 3)
    )
    assert identity(request_of(pipeline=trained_otherwise)) == identity(request_of())


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ("fail", r"the evaluation failed: ValueError: shapes(.|\n)*evaluate\.log"),
        ("refuse", r"the checkpoint lacks head/bias\n  expected: one of this model"),
        ("memory", r"ran out of memory\n(.|\n)*--batch_size 1"),
        ("kill", r"ended by SIGKILL"),
    ],
)
def test_a_failure_is_told_and_loses_no_finished_pass(
    request_of: Callable[..., EvaluationRequest],
    monkeypatch: pytest.MonkeyPatch,
    outcome: str,
    message: str,
) -> None:
    request = request_of(Pass(), Pass("flip", flip=True))
    monkeypatch.setenv("FAKE_EVALUATION", outcome)
    with pytest.raises(UserError, match=message):
        run(request)
    monkeypatch.delenv("FAKE_EVALUATION")
    result = run(request)
    assert result.read_back == {PLAIN}
    assert run_variants(request) == ["plain/plain", "flip/plain"]


def test_nothing_half_done_is_left(
    request_of: Callable[..., EvaluationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(Pass(), Pass("flip", flip=True))
    monkeypatch.setenv("FAKE_EVALUATION", "fail")
    with pytest.raises(UserError):
        run(request)
    folders = [path for path in (request.runs_dir / "evaluations").iterdir() if path.is_dir()]
    assert len(folders) == 1
    assert {path.name for path in folders[0].iterdir()} == {
        "detections.json.gz",
        "evaluate.log",
        "evaluation.json",
        "images.json",
        "provenance.json",
    }
    spec = json.loads((folders[0] / "evaluation.json").read_text())
    assert not any(str(request.runs_dir.parent) in str(value) for value in spec.values())


def test_what_a_killed_command_left_is_removed_by_the_next(
    request_of: Callable[..., EvaluationRequest],
) -> None:
    request = request_of()
    left = request.runs_dir / "evaluations" / ".work-old"
    left.mkdir(parents=True)
    run(request)
    assert not left.exists()


def test_images_of_another_size_than_the_ground_truth_s_are_no_result(
    request_of: Callable[..., EvaluationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_EVALUATION_WIDTH", "640")
    with pytest.raises(DataError, match="image 000000 has 640x24 pixels"):
        run(request_of())
    monkeypatch.delenv("FAKE_EVALUATION_WIDTH")
    assert not run(request_of()).read_back


def test_wrong_passes_are_refused_before_a_child_starts(
    request_of: Callable[..., EvaluationRequest],
) -> None:
    never = (sys.executable, "-c", "raise SystemExit(9)")
    wrong = Pass(fields={"model.ssd.num_classes": 3})
    with pytest.raises(UserError, match="a field of this pipeline's model"):
        run(request_of(wrong, worker=never))
    without_images = EvalData("results only", truth_of(3))
    with pytest.raises(DataError, match="images of results only are not known"):
        run(request_of(data=without_images, worker=never))
