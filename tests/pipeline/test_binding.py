"""Placeholders are found, and filled with the user's records."""

from __future__ import annotations

from pathlib import Path

import pytest

from odapi_repro.pipeline import (
    Pipeline,
    bind_records,
    flatten_fields,
    load_pipeline,
    parse_pipeline,
    placeholder_fields,
)

PIPELINES = Path(__file__).parents[2] / "pipelines"


def bound(pipeline: Pipeline, checkpoint: str | None = None) -> Pipeline:
    return bind_records(
        pipeline,
        train_patterns=["a-*", "b-*"],
        eval_patterns=["c"],
        label_map_path="l.pbtxt",
        num_classes=3,
        checkpoint=checkpoint,
    )


@pytest.mark.parametrize("name", ["effdet_d3", "mask_rcnn"])
def test_binding_leaves_no_placeholder(name: str) -> None:
    pipeline = load_pipeline(PIPELINES / f"{name}.config")
    assert placeholder_fields(pipeline)
    proto = bound(pipeline).proto
    assert placeholder_fields(bound(pipeline)) == []
    assert list(proto.train_input_reader.tf_record_input_reader.input_path) == ["a-*", "b-*"]
    assert list(proto.eval_input_reader[0].tf_record_input_reader.input_path) == ["c"]
    assert bound(pipeline).num_classes == 3
    assert not proto.train_config.HasField("fine_tune_checkpoint")


def test_a_named_checkpoint_goes_where_the_placeholder_was() -> None:
    pipeline = load_pipeline(PIPELINES / "effdet_d3.config")
    config = bound(pipeline, "/data/ckpt-0").proto.train_config
    assert config.fine_tune_checkpoint == "/data/ckpt-0"
    assert config.fine_tune_checkpoint_type == "classification"


def test_a_checkpoint_of_the_users_own_config_stays() -> None:
    text = 'model { ssd { } } train_config { fine_tune_checkpoint: "/mine/ckpt-1" }'
    assert bound(parse_pipeline(text)).proto.train_config.fine_tune_checkpoint == "/mine/ckpt-1"


def test_flattened_fields_are_the_paths_a_user_would_write() -> None:
    pipeline = parse_pipeline(
        "model { ssd { num_classes: 3 } } train_config { data_augmentation_options "
        "{ random_horizontal_flip { } } } eval_input_reader { shuffle: false }"
    )
    assert flatten_fields(pipeline.proto) == {
        "model.ssd.num_classes": 3,
        "train_config.data_augmentation_options[0].random_horizontal_flip": "{}",
        "eval_input_reader[0].shuffle": False,
    }


def test_a_map_is_flattened_by_its_keys_in_order_with_its_values() -> None:
    pipeline = parse_pipeline(
        "model { center_net { keypoint_estimation_task { "
        'keypoint_label_to_std { key: "b" value: 2 } keypoint_label_to_std { key: "a" value: 1 } '
        "} } }"
    )
    prefix = "model.center_net.keypoint_estimation_task[0].keypoint_label_to_std"
    flat = flatten_fields(pipeline.proto)
    assert list(flat.items()) == [(f"{prefix}[a]", 1.0), (f"{prefix}[b]", 2.0)]
