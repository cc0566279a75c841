"""What a pass and a variant make of a pipeline's model, and what they may not ask of it."""

from __future__ import annotations

from typing import Any

import pytest

from odapi_repro.errors import UserError
from odapi_repro.evaluation.inference.evaluation_job import Pass, Variant
from odapi_repro.evaluation.inference.model_edits import (
    check_passes,
    check_saved_model_passes,
    default_batch_size,
    model_of_pass,
    post_processing_of,
)
from odapi_repro.pipeline import load_pipeline

SSD_NMS = "model.ssd.post_processing.batch_non_max_suppression"
RCNN = "model.faster_rcnn"
RCNN_NMS = f"{RCNN}.second_stage_post_processing.batch_non_max_suppression"


def proto(name: str) -> Any:
    return load_pipeline(f"pipelines/{name}.config").proto


def test_a_pass_edits_a_copy() -> None:
    pipeline = proto("mask_rcnn")
    model = model_of_pass(pipeline, Pass(fields={f"{RCNN}.first_stage_max_proposals": 1000}))
    assert model.faster_rcnn.first_stage_max_proposals == 1000
    assert pipeline.model.faster_rcnn.first_stage_max_proposals == 300


def test_a_variant_edits_the_post_processing_alone() -> None:
    model = proto("mask_rcnn").model
    processing = post_processing_of(model, Variant("low", {f"{RCNN_NMS}.iou_threshold": 0.25}))
    assert processing.batch_non_max_suppression.iou_threshold == 0.25
    unchanged = post_processing_of(model, Variant())
    assert unchanged == model.faster_rcnn.second_stage_post_processing


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({f"{SSD_NMS}.iou_threshold": 0.5}, "a field of this pipeline's model"),
        ({f"{RCNN_NMS}.iou_treshold": 0.5}, "did you mean 'iou_threshold'"),
        ({f"{RCNN_NMS}.iou_threshold": "high"}, "a value of the field's type"),
        ({f"{RCNN_NMS}.iou_threshold": 1.5}, "iou_threshold 1.5"),
        ({f"{RCNN_NMS}.max_total_detections": 50}, "above max_total_detections 50"),
        ({f"{RCNN_NMS}.soft_nms_sigma": -1.0}, "soft_nms_sigma -1"),
    ],
)
def test_values_that_the_od_api_refuses_are_refused_before_it_starts(
    fields: dict[str, Any], message: str
) -> None:
    one = Pass(variants=(Variant("bad", fields),))
    with pytest.raises(UserError, match=message):
        check_passes(proto("mask_rcnn"), (one,))


def test_a_proposal_network_has_no_second_stage_to_vary() -> None:
    pipeline = proto("mask_rcnn")
    pipeline.model.faster_rcnn.number_of_stages = 1
    one = Pass(variants=(Variant("low", {f"{RCNN_NMS}.iou_threshold": 0.25}),))
    with pytest.raises(UserError, match="number_of_stages 1"):
        check_passes(pipeline, (one,))


def test_only_two_stage_detectors_have_stages() -> None:
    check_passes(proto("mask_rcnn"), (Pass(stages=True),))
    with pytest.raises(UserError, match="stages of a ssd"):
        check_passes(proto("effdet_d0"), (Pass(stages=True),))


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [
        # 896 px; the pyramid's coarsest level has stride 128.
        ("effdet_d3", 1.14, 1024),
        ("effdet_d3", 0.5, 512),
        # EfficientNet's extractor refuses images below 129 px.
        ("effdet_d0", 0.1, 256),
        ("mask_rcnn", 0.701, 718),
    ],
)
def test_a_scaled_input_has_a_size_that_the_model_takes(
    name: str, scale: float, expected: int
) -> None:
    model = model_of_pass(proto(name), Pass(scale=scale))
    resizer = getattr(model, model.WhichOneof("model")).image_resizer
    sizes = getattr(resizer, resizer.WhichOneof("image_resizer_oneof"))
    found = {getattr(sizes, field.name) for field, _ in sizes.ListFields()} - {True}
    assert expected in found
    assert all(isinstance(value, int) and value % expected == 0 for value in found)


def test_a_scale_that_rounds_to_nothing_is_refused_with_one_that_does_not() -> None:
    with pytest.raises(UserError, match=r"stays as it is(.|\n)*try 1\.14"):
        model_of_pass(proto("effdet_d3"), Pass(scale=1.02))


def test_a_resizer_without_sizes_cannot_be_scaled() -> None:
    pipeline = proto("effdet_d0")
    pipeline.model.ssd.image_resizer.identity_resizer.SetInParent()
    with pytest.raises(UserError, match="identity_resizer sets no size"):
        model_of_pass(pipeline, Pass(scale=2.0))


@pytest.mark.parametrize(
    "one",
    [
        Pass(checkpoints=("ckpt-1",)),
        Pass(fields={"model.ssd.num_classes": 3}),
        Pass(flip=True),
        Pass(scale=2.0),
        Pass(stages=True),
        Pass(variants=(Variant("a"), Variant("b"))),
    ],
)
def test_a_saved_model_takes_the_plain_pass_only(one: Pass) -> None:
    check_saved_model_passes("folder", (Pass(),))
    with pytest.raises(UserError, match="folder: pass 'plain' asks a SavedModel for"):
        check_saved_model_passes("folder", (one,))


def test_batches_shrink_as_inputs_grow() -> None:
    sizes = [default_batch_size(proto(f"effdet_d{number}").model) for number in range(8)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 4
    assert sizes[7] == 1
