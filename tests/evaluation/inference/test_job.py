"""A job reads back as it was written, and what contradicts itself is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from odapi_repro.errors import DataError, UserError
from odapi_repro.evaluation.inference.evaluation_job import (
    EvaluationJob,
    Pass,
    Variant,
    detections_path,
    read_job,
    write_job,
)

NMS = "model.ssd.post_processing.batch_non_max_suppression"


def job(**changes: Any) -> EvaluationJob:
    fields: dict[str, Any] = {
        "pipeline_path": "pipeline.config",
        "passes": (Pass(checkpoints=("ckpt-1",)),),
        "output_dir": "out",
        "num_images": 2,
        "record_files": ("a.record",),
    }
    return EvaluationJob(**{**fields, **changes})


def test_a_job_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = job(
        passes=(
            Pass(
                "swa",
                ("ckpt-1", "ckpt-2"),
                {"model.ssd.num_classes": 6},
                scale=1.5,
                variants=(Variant(), Variant("low", {f"{NMS}.iou_threshold": 0.3})),
            ),
            Pass("flip", ("ckpt-2",), flip=True),
        ),
        image_ids=("000123", "0"),
        category_ids=(1, 90),
        extensions=("proxy_backbone",),
    )
    write_job(written, tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == written


@pytest.mark.parametrize("text", ["", "[]", '{"passes": []}', '{"passes": [{}]}'])
def test_what_is_no_job_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"job\.json: no evaluation job"):
        read_job(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_files": ("a.jpg",)}, "record files or image files"),
        ({"record_files": ()}, "record files or image files"),
        ({"saved_model": "folder"}, "a pipeline or a SavedModel"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"sample_1_of_n": 0}, "sample_1_of_n is 0"),
        ({"passes": ()}, "no passes"),
        ({"passes": (Pass("a"), Pass("a"))}, "'a' is given twice"),
        ({"image_ids": (1, 2, 3)}, "3 image ids for 2 images"),
    ],
)
def test_a_job_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        job(**changes)


@pytest.mark.parametrize(
    "field",
    [
        "model.ssd.num_classes",
        "train_config.batch_size",
        "model.faster_rcnn.first_stage_nms_iou_threshold",
    ],
)
def test_a_variant_may_only_change_what_comes_after_the_network(field: str) -> None:
    with pytest.raises(UserError, match="variants share the forward pass"):
        Variant("other", {field: 1})


def test_names_are_names_of_files() -> None:
    assert detections_path("out", "a", "iou=0.5") == Path("out/a/iou=0.5.json.gz")
    for name in ("", "..", "a/b", ".hidden", "a b"):
        with pytest.raises(UserError, match="no name for a file"):
            Variant(name)


def test_a_scale_is_above_zero() -> None:
    for scale in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match="scale"):
            Pass(scale=scale)


def test_stages_of_mirrored_images_are_not_told() -> None:
    with pytest.raises(UserError, match="stages of mirrored images"):
        Pass(flip=True, stages=True)
