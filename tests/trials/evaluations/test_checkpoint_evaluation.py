"""A checkpoint is evaluated once: what is there is read back, and what fails loses one pass."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odapi_repro.errors import DataError, UserError
from odapi_repro.evaluation.checkpoint import CheckpointSource
from odapi_repro.evaluation.coco_data import read_detections
from odapi_repro.evaluation.coco_data.coco_columns import GroundTruth
from odapi_repro.evaluation.eval_data import EvalData
from odapi_repro.evaluation.inference.evaluation_job import Pass, Variant
from odapi_repro.evaluation.score_detections import with_image_sizes
from odapi_repro.pipeline import load_pipeline
from odapi_repro.trials.evaluations.checkpoint_evaluation import (
    EvaluationRequest,
    EvaluationResult,
    evaluate_checkpoint,
    evaluation_id,
)
from odapi_repro.trials.evaluations.evaluation_spec import filled_request, specs_of

SUPPORT = Path(__file__).parents[2] / "support"
WORKER = (sys.executable, str(SUPPORT / "fake_evaluation_worker.py"))
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
    assert np.load(staged.stages["plain"])["starts"].tolist() == [0, 1, 2]
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


def with_width(request: EvaluationRequest, width: int) -> EvaluationRequest:
    truth = dataclasses.replace(request.data.truth, widths=np.full(3, width, np.int64))
    return dataclasses.replace(request, data=dataclasses.replace(request.data, truth=truth))


def test_what_images_of_another_size_gave_is_kept_for_a_corrected_ground_truth(
    request_of: Callable[..., EvaluationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_EVALUATION_WIDTH", "640")
    with pytest.raises(DataError, match=r"image 000000 has 640x24 pixels\n.*32x24"):
        run(request_of())
    assert run(with_width(request_of(), 640)).read_back == {PLAIN}
    assert run_variants(request_of()) == ["plain/plain"]


def test_images_are_compared_with_the_ground_truth_when_they_are_read_back_too(
    request_of: Callable[..., EvaluationRequest],
) -> None:
    run(request_of())
    with pytest.raises(DataError, match=r"image 000000 has 32x24 pixels\n.*640x24"):
        run(with_width(request_of(), 640))


def test_a_width_that_the_ground_truth_does_not_give_is_the_image_s_own(
    request_of: Callable[..., EvaluationRequest],
) -> None:
    unsized = with_width(request_of(), 0)
    result = run(unsized)
    images = result.detections[PLAIN].with_name("images.json")
    assert with_image_sizes(images, unsized.data.truth).widths.tolist() == [32, 32, 32]
    assert run(unsized).read_back == {PLAIN}


def test_two_commands_at_once_keep_a_log_each(
    request_of: Callable[..., EvaluationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one runs while the first one's child works."""
    other = []

    def meanwhile(event: dict[str, Any]) -> None:
        if event["event"] == "evaluating" and not other:
            monkeypatch.delenv("FAKE_EVALUATION", raising=False)
            other.append(run(request_of(Pass("flip", flip=True))))

    own = evaluate_checkpoint(request_of(), meanwhile)
    logs = [
        detections.with_name("evaluate.log").read_text()
        for detections in (own.detections[PLAIN], other[0].detections["flip", "plain"])
    ]
    assert logs == ["the log of plain\n", "the log of flip\n"]

    other.clear()
    scaled, mirrored = Pass("scaled", scale=0.5), Pass("both", scale=0.5, flip=True)
    monkeypatch.setenv("FAKE_EVALUATION", "fail")
    with pytest.raises(UserError, match="the evaluation failed") as error:
        evaluate_checkpoint(request_of(scaled, mirrored), meanwhile)
    kept = Path(str(error.value).rsplit("the whole log is ", 1)[1])
    assert kept.read_text().startswith("the log of scaled\n")


def test_no_hard_links_are_needed(
    request_of: Callable[..., EvaluationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert run(request_of()).detections[PLAIN].is_file()


def test_what_is_kept_is_not_written_again_by_the_next_pass(
    request_of: Callable[..., EvaluationRequest],
) -> None:
    result = run(request_of(Pass(), Pass("flip", flip=True)))
    for detections in result.detections.values():
        assert {file.stat().st_nlink for file in detections.parent.iterdir()} == {1}


def test_what_is_damaged_is_made_again_and_nothing_else(
    request_of: Callable[..., EvaluationRequest],
) -> None:
    request = request_of(Pass(stages=True))
    first = run(request)
    first.detections[PLAIN].with_name("provenance.json").write_bytes(b"")
    again = run(request)
    assert (again.detections, again.stages) == (first.detections, first.stages)
    assert not again.read_back
    os.truncate(first.stages["plain"], 100)
    again = run(request)
    assert np.load(again.stages["plain"])["starts"].tolist() == [0, 1, 2]
    assert again.read_back == {PLAIN}


def test_a_runs_folder_that_cannot_be_one_is_refused(
    request_of: Callable[..., EvaluationRequest], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="this is not a folder"):
        run(request_of(runs_dir=tmp_path / "file"))


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
