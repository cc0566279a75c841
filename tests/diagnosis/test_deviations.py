"""How two pipelines differ: nothing where they train alike, and each field under one factor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.deviations import (
    FACTOR_ORDER,
    OTHER,
    Deviation,
    factor_of_field,
    factor_of_quantity,
    find_deviations,
)
from odapi_repro.diagnosis.filled_fields import filled_fields
from odapi_repro.pipeline import (
    Circumstances,
    Pipeline,
    flatten_fields,
    load_pipeline,
    quantity_definitions,
    set_field,
)
from odapi_repro.reference import REFERENCES, reference_named

MOMENTUM = "train_config.optimizer.momentum_optimizer"
COSINE = f"{MOMENTUM}.learning_rate.cosine_decay_learning_rate"
FOCAL = "model.ssd.loss.classification_loss.weighted_sigmoid_focal"


def reference(name: str) -> Pipeline:
    return reference_named(name).pipeline()


def edited(name: str, changes: dict[str, Any]) -> Pipeline:
    def edit(proto: Any) -> None:
        for path, value in changes.items():
            set_field(proto, path, value)

    return reference(name).edited(edit)


def deviations(name: str, changes: dict[str, Any], **known: Any) -> dict[str, Deviation]:
    found = find_deviations(edited(name, changes), reference(name), **known)
    return {one.factor: one for one in found}


def paths(deviation: Deviation) -> list[str]:
    return [field.path for field in deviation.fields]


def quantities(deviation: Deviation) -> dict[str, tuple[object, object]]:
    return {one.name: (one.a, one.b) for one in deviation.quantities}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_does_not_deviate_from_itself(name: str) -> None:
    assert find_deviations(reference(name), reference(name)) == ()


@pytest.mark.parametrize("name", REFERENCES)
def test_a_default_that_is_written_out_is_no_deviation(name: str) -> None:
    def write(proto: Any) -> None:
        for path, value in filled_fields(reference(name)).items():
            if isinstance(value, tuple) or ("[" in path and path.endswith("]")):
                continue  # lists are told in words, and maps have no path to set
            set_field(proto, path, value)

    written = reference(name).edited(write)
    assert len(flatten_fields(written.proto)) > len(flatten_fields(reference(name).proto))
    assert find_deviations(written, reference(name)) == ()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("efficientdet_d3", {"eval_config.metrics_set": None}, id="COCO's metrics"),
        pytest.param(
            "faster_rcnn_resnet50_v1_640",
            {"model.faster_rcnn.second_stage_classification_loss.weighted_softmax": {}},
            id="softmax in the second stage",
        ),
        pytest.param(
            "efficientdet_d3",
            {"train_config.fine_tune_checkpoint_type": None},
            id="checkpoint type",
        ),
        pytest.param(
            "efficientdet_d3",
            {"train_config.data_augmentation_options[1].random_scale_crop_and_pad_to_square": {}},
            id="an augmentation that is set already",
        ),
    ],
)
def test_what_the_od_api_assumes_is_no_deviation(name: str, changes: dict[str, Any]) -> None:
    assert deviations(name, changes) == {}


def test_alpha_left_out_of_focal_loss_is_not_its_default() -> None:
    found = deviations("efficientdet_d3", {f"{FOCAL}.alpha": None})
    (field,) = found["loss_function"].fields
    assert (field.path, field.a, field.b) == (f"{FOCAL}.alpha", None, 0.25)


def test_floats_are_equal_within_what_float32_rounds() -> None:
    assert deviations("efficientdet_d3", {f"{COSINE}.learning_rate_base": 0.08 * (1 + 1e-8)}) == {}
    found = deviations("efficientdet_d3", {f"{COSINE}.learning_rate_base": 0.081})
    assert quantities(found["base_lr"])["lr_base"] == pytest.approx((0.081, 0.08))


def test_a_nan_is_equal_to_itself() -> None:
    broken = edited("efficientdet_d3", {f"{COSINE}.learning_rate_base": math.nan})
    assert find_deviations(broken, broken) == ()
    assert find_deviations(broken, reference("efficientdet_d3"))


def test_what_an_issue_changed_is_told_by_factors_with_the_data_first() -> None:
    """tensorflow/models issue 10530: one shard of a hundred, batch 2, a rate of 0.01."""
    found = find_deviations(
        edited(
            "efficientdet_d3",
            {
                "train_config.batch_size": 2,
                "train_config.num_steps": 600_000,
                f"{COSINE}.total_steps": 600_000,
                f"{COSINE}.learning_rate_base": 0.01,
                "train_input_reader.tf_record_input_reader.input_path": [
                    "COCO/coco_train.record-00000-of-00100"
                ],
            },
        ),
        reference("efficientdet_d3"),
        a_circumstances=Circumstances(num_replicas=1),
        b_circumstances=Circumstances(num_replicas=32),
    )
    by_factor = {one.factor: one for one in found}
    assert next(iter(by_factor)) == "train_shards"
    assert quantities(by_factor["train_shards"])["train_images"] == (1183, 118_287)
    assert quantities(by_factor["batch_size"])["global_batch"] == (2, 128)
    assert quantities(by_factor["batch_norm"])["batchnorm_images"] == (2, 4)
    assert quantities(by_factor["schedule_length"])["images_seen"] == (1_200_000, 38_400_000)
    assert quantities(by_factor["warmup"])["warmup_images"] == (5000, 320_000)
    assert paths(by_factor["lr_schedule"]) == [f"{COSINE}.total_steps"]
    order = [FACTOR_ORDER.index(factor) for factor in by_factor]
    assert order == sorted(order)


def test_a_list_is_compared_as_a_whole() -> None:
    changes = {"train_config.data_augmentation_options[0]": None}
    (field,) = deviations("efficientdet_d3", changes)["augmentation"].fields
    assert field.path == "train_config.data_augmentation_options"
    # What is at its default is left out of the text.
    crop = "random_scale_crop_and_pad_to_square(output_size=896)"
    assert field.a == (crop,)
    assert field.b == ("random_horizontal_flip", crop)


def test_aspect_ratios_are_one_field() -> None:
    path = "model.ssd.anchor_generator.multiscale_anchor_generator.aspect_ratios"
    (field,) = deviations("efficientdet_d3", {path: [1.0, 2.0]})["anchors"].fields
    assert (field.path, field.a, field.b) == (path, (1.0, 2.0), (1.0, 2.0, 0.5))


def test_of_another_choice_only_what_is_written_is_told() -> None:
    resizer = "model.ssd.image_resizer"
    changes = {
        f"{resizer}.fixed_shape_resizer.height": 896,
        f"{resizer}.fixed_shape_resizer.width": 896,
    }
    told = paths(deviations("efficientdet_d3", changes)["image_size"])
    assert f"{resizer}.fixed_shape_resizer.height" in told
    assert f"{resizer}.fixed_shape_resizer.resize_method" not in told


def test_a_choice_with_nothing_but_defaults_is_told_all_the_same() -> None:
    changes = {"model.ssd.loss.localization_loss.weighted_iou": {}}
    told = paths(deviations("efficientdet_d3", changes)["loss_function"])
    assert "model.ssd.loss.localization_loss.weighted_iou" in told


def test_a_field_without_effect_is_marked_with_the_reason() -> None:
    found = deviations("efficientdet_d3", {"train_config.sync_replicas": False})
    deviation = found["sync_replicas"]
    (field,) = deviation.fields
    assert field.inert
    assert deviation.is_inert


def test_a_field_with_effect_is_not_marked() -> None:
    deviation = deviations("efficientdet_d3", {"train_config.batch_size": 64})["batch_size"]
    assert [field.inert for field in deviation.fields] == [None]
    assert not deviation.is_inert


def test_replicas_that_one_side_does_not_tell_are_no_deviation() -> None:
    known = {"b_circumstances": Circumstances(num_replicas=32)}
    assert deviations("efficientdet_d3", {}, **known) == {}
    found = deviations("efficientdet_d3", {"train_config.batch_size": 2}, **known)
    assert quantities(found["batch_size"])["images_per_replica"] == (2, 4)
    assert "sync_replicas" not in found


def test_replicas_that_both_sides_tell_are_compared() -> None:
    found = deviations(
        "efficientdet_d3",
        {},
        a_circumstances=Circumstances(num_replicas=8),
        b_circumstances=Circumstances(num_replicas=32),
    )
    assert quantities(found["sync_replicas"]) == {"num_replicas": (8, 32)}


def test_steps_of_the_command_line_count() -> None:
    known = {"a_circumstances": Circumstances(num_train_steps=2000)}
    found = deviations("efficientdet_d3", {}, **known)
    assert quantities(found["schedule_length"])["num_steps"] == (2000, 300_000)
    assert found["schedule_length"].fields == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("efficientdet_d3", "efficientdet_d3_automl"),
        ("faster_rcnn_resnet50_v1_640", "mask_rcnn_inception_resnet_v2"),
        ("ssd_mobilenet_v2_320", "centernet_hourglass104_512_kpts"),
    ],
)
def test_the_other_way_round_is_the_same_with_sides_changed(one: str, other: str) -> None:
    there = find_deviations(reference(one), reference(other))
    back = find_deviations(reference(other), reference(one))
    assert there
    assert [deviation.factor for deviation in there] == [deviation.factor for deviation in back]
    for deviation, mirrored in zip(there, back, strict=True):
        assert {(f.path, f.a, f.b) for f in deviation.fields} == {
            (f.path, f.b, f.a) for f in mirrored.fields
        }
        assert quantities(deviation) == {n: (b, a) for n, (a, b) in quantities(mirrored).items()}


@pytest.mark.parametrize("name", REFERENCES)
def test_every_field_of_a_reference_belongs_to_a_factor(name: str) -> None:
    fields = {*filled_fields(reference(name)), *flatten_fields(reference(name).proto)}
    assert [path for path in fields if factor_of_field(path) == OTHER] == []


def test_every_field_of_the_od_apis_own_configs_belongs_to_a_factor(reference_configs: Any) -> None:
    configs = sorted(reference_configs.glob("*.config"))
    assert len(configs) == 36
    fields = {path for config in configs for path in filled_fields(load_pipeline(config))}
    assert [path for path in fields if factor_of_field(path) == OTHER] == []


def scalars(descriptor: Any, prefix: str, within: tuple[str, ...]) -> Iterator[str]:
    for field in descriptor.fields:
        if field.message_type is None:
            yield f"{prefix}{field.name}"
        elif field.message_type.full_name not in within:
            inner = (*within, field.message_type.full_name)
            yield from scalars(field.message_type, f"{prefix}{field.name}.", inner)


def test_every_scalar_that_the_protos_have_belongs_to_a_factor() -> None:
    known = list(scalars(pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR, "", ()))
    assert len(known) > 1000
    assert [path for path in known if factor_of_field(path) == OTHER] == []


def test_every_quantity_belongs_to_a_factor() -> None:
    assert [name for name in quantity_definitions() if factor_of_quantity(name) == OTHER] == []


@pytest.mark.parametrize(
    ("path", "factor"),
    [
        ("train_config.batch_size", "batch_size"),
        (f"{COSINE}.learning_rate_base", "base_lr"),
        (f"{COSINE}.total_steps", "lr_schedule"),
        (f"{COSINE}.warmup_steps", "warmup"),
        (f"{COSINE}.warmup_learning_rate", "warmup"),
        ("train_config.optimizer.adam_optimizer.epsilon", "optimizer"),
        ("train_config.optimizer.use_moving_average", "ema"),
        ("train_config.gradient_clipping_by_norm", "gradient_clipping"),
        ("train_config.fine_tune_checkpoint_type", "checkpoint"),
        ("train_config.use_bfloat16", "bfloat16"),
        ("train_config.sync_replicas", "sync_replicas"),
        ("train_input_reader.tf_record_input_reader.input_path", "train_shards"),
        ("train_input_reader.max_number_of_boxes", "gt_boxes_per_image"),
        ("train_input_reader.shuffle_buffer_size", "input_pipeline"),
        ("eval_input_reader[0].tf_record_input_reader.input_path", "evaluation"),
        ("eval_input_reader[0].label_map_path", "classes"),
        ("eval_config.metrics_set", "evaluation"),
        ("model.ssd.feature_extractor.type", "backbone"),
        ("model.ssd.feature_extractor.bifpn.num_filters", "backbone"),
        (
            "model.ssd.feature_extractor.conv_hyperparams.regularizer.l2_regularizer.weight",
            "weight_decay",
        ),
        ("model.ssd.feature_extractor.conv_hyperparams.batch_norm.decay", "batch_norm"),
        ("model.ssd.freeze_batchnorm", "batch_norm"),
        ("model.ssd.image_resizer.fixed_shape_resizer.height", "image_size"),
        ("model.ssd.anchor_generator.ssd_anchor_generator.scales", "anchors"),
        ("model.ssd.box_coder.faster_rcnn_box_coder.y_scale", "box_coder"),
        (f"{FOCAL}.alpha", "loss_function"),
        ("model.ssd.loss.localization_weight", "loss_weights"),
        ("model.ssd.loss.hard_example_miner.num_hard_examples", "hard_example_mining"),
        ("model.faster_rcnn.first_stage_max_proposals", "proposals"),
        ("model.faster_rcnn.second_stage_batch_size", "rois_per_image"),
        (
            "model.ssd.post_processing.batch_non_max_suppression.score_threshold",
            "score_threshold",
        ),
        (
            "model.ssd.post_processing.batch_non_max_suppression.max_total_detections",
            "detections_per_image",
        ),
        ("model.ssd.post_processing.batch_non_max_suppression.iou_threshold", "nms"),
        ("model.ssd.num_classes", "classes"),
        ("train_input_reader.name", "names"),
    ],
)
def test_a_field_is_under_the_factor_that_would_vary_it(path: str, factor: str) -> None:
    assert factor_of_field(path) == factor


def test_factors_are_shown_once_each() -> None:
    assert len(set(FACTOR_ORDER)) == len(FACTOR_ORDER)
    assert FACTOR_ORDER[-1] == OTHER
