"""Which reference an edited pipeline is compared with, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from odapi_repro.pipeline import Pipeline, parse_pipeline
from odapi_repro.reference import REFERENCES, nearest_reference, reference_of

ODAPI = [name for name, reference in REFERENCES.items() if reference.recipe == "odapi"]


def edited(name: str, edit: Callable[[Any], None]) -> Pipeline:
    return REFERENCES[name].pipeline().edited(edit)


def resized(name: str, size: int) -> Pipeline:
    def edit(proto: Any) -> None:
        model = getattr(proto.model, proto.model.WhichOneof("model"))
        model.image_resizer.fixed_shape_resizer.height = size
        model.image_resizer.fixed_shape_resizer.width = size

    return edited(name, edit)


def with_extractor(name: str, extractor: str) -> Pipeline:
    def edit(proto: Any) -> None:
        model = getattr(proto.model, proto.model.WhichOneof("model"))
        model.feature_extractor.type = extractor

    return edited(name, edit)


@pytest.mark.parametrize("name", ODAPI)
def test_a_reference_is_its_own(name: str) -> None:
    pipeline = REFERENCES[name].pipeline()
    assert reference_of(pipeline) is REFERENCES[name]
    found, why = nearest_reference(pipeline)
    assert found is REFERENCES[name]
    size = "x".join(map(str, found.image_size))
    assert why == f"same feature extractor {found.feature_extractor} and {size} input"


@pytest.mark.parametrize("name", ODAPI)
def test_batch_steps_and_classes_do_not_change_the_reference(name: str) -> None:
    def edit(proto: Any) -> None:
        proto.train_config.batch_size = 2
        proto.train_config.num_steps = 1000
        getattr(proto.model, proto.model.WhichOneof("model")).num_classes = 3

    assert reference_of(edited(name, edit)) is REFERENCES[name]


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("efficientdet_d7", 1280, "efficientdet_d6"),
        ("efficientdet_d6", 1536, "efficientdet_d7"),
        ("efficientdet_d3", 300, "efficientdet_d3"),
        ("faster_rcnn_resnet50_v1_1024", 600, "faster_rcnn_resnet50_v1_640"),
        ("faster_rcnn_resnet101_v1_640", 1400, "faster_rcnn_resnet101_v1_800x1333"),
        ("ssd_mobilenet_v2_fpnlite_640", 300, "ssd_mobilenet_v2_fpnlite_320"),
        ("centernet_hourglass104_1024", 500, "centernet_hourglass104_512"),
        ("centernet_hourglass104_1024_kpts", 500, "centernet_hourglass104_512_kpts"),
    ],
)
def test_the_nearest_input_size_decides_among_equal_feature_extractors(
    name: str, size: int, expected: str
) -> None:
    pipeline = resized(name, size)
    found, why = nearest_reference(pipeline)
    assert reference_of(pipeline) is found is REFERENCES[expected]
    assert found.image_size == (size, size) or f"against {size}x{size} here" in why


def test_where_the_size_decides_nothing_the_models_fields_do() -> None:
    # Three references have this extractor; without a resizer, all are as near.
    def edit(proto: Any) -> None:
        proto.model.faster_rcnn.ClearField("image_resizer")

    assert (
        reference_of(edited("faster_rcnn_resnet50_v1_800x1333", edit))
        is (REFERENCES["faster_rcnn_resnet50_v1_800x1333"])
    )


def test_a_config_without_a_model_is_said_to_have_none() -> None:
    _, why = nearest_reference(edited("ssd_mobilenet_v2_320", lambda proto: proto.Clear()))
    assert why.startswith("it describes no model; ")


def test_a_task_of_its_own_has_no_reference_but_a_nearest_one() -> None:
    def without_masks(proto: Any) -> None:
        proto.model.faster_rcnn.number_of_stages = 2

    pipeline = edited("mask_rcnn_inception_resnet_v2", without_masks)
    found, why = nearest_reference(pipeline)
    assert reference_of(pipeline) is None
    assert found.name == "mask_rcnn_inception_resnet_v2"
    assert why.endswith("though it predicts masks")


def test_masks_are_compared_with_masks() -> None:
    pipeline = with_extractor("mask_rcnn_inception_resnet_v2", "faster_rcnn_resnet50_keras")
    found, why = nearest_reference(pipeline)
    assert reference_of(pipeline) is None
    assert found.name == "mask_rcnn_inception_resnet_v2"
    assert "no reference of this task has the feature extractor faster_rcnn_resnet50_keras" in why


@pytest.mark.parametrize(
    ("name", "extractor", "expected"),
    [
        ("ssd_mobilenet_v2_320", "ssd_mobilenet_v2", "ssd_mobilenet_v2_320"),
        ("ssd_resnet50_v1_fpn_640", "ssd_resnet50_v1_fpn", "ssd_resnet50_v1_fpn_640"),
        (
            "faster_rcnn_resnet101_v1_1024",
            "faster_rcnn_resnet101",
            "faster_rcnn_resnet101_v1_1024",
        ),
        ("efficientdet_d7", "ssd_efficientnet-b7_bifpn_keras", "efficientdet_d7"),
    ],
)
def test_the_extractor_named_most_alike_stands_in(name: str, extractor: str, expected: str) -> None:
    pipeline = with_extractor(name, extractor)
    found, why = nearest_reference(pipeline)
    assert reference_of(pipeline) is None
    assert found is REFERENCES[expected]
    assert f"feature extractor {extractor}" in why


@pytest.mark.parametrize(
    "text",
    [
        'model { experimental_model { name: "mine" } }',
        "model { ssd {} }",
        "model { faster_rcnn { number_of_stages: 3 } }",
        "model { center_net { mask_estimation_task {} } }",
    ],
)
def test_anything_that_parses_has_a_nearest_reference(text: str) -> None:
    pipeline = parse_pipeline(text)
    found, why = nearest_reference(pipeline)
    assert reference_of(pipeline) is None
    assert found in REFERENCES.values()
    assert why.startswith("no reference")


@pytest.mark.parametrize("number", range(8))
def test_automls_recipe_is_never_inferred(number: int) -> None:
    pipeline = REFERENCES[f"efficientdet_d{number}_automl"].pipeline()
    found = reference_of(pipeline)
    assert found is REFERENCES[f"efficientdet_d{number}"]
