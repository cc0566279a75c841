"""Dotted field paths: flattened, set, cleared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from object_detection.protos import pipeline_pb2

from odapi_repro.pipeline import (
    descend,
    field_differences,
    flatten_fields,
    load_pipeline,
    set_field,
)

RATE = "train_config.optimizer.momentum_optimizer.learning_rate"


@pytest.fixture
def proto() -> Any:
    return pipeline_pb2.TrainEvalPipelineConfig()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train_config.batch_size", 8),
        ("train_config.use_bfloat16", True),
        ("train_config.fine_tune_checkpoint", "a/ckpt-0"),
        ("eval_input_reader[1].shuffle", False),
        (f"{RATE}.cosine_decay_learning_rate.total_steps", 10),
        ("eval_config.metrics_set[0]", "coco_detection_metrics"),
        ("train_config.data_augmentation_options[0].random_horizontal_flip", "{}"),
    ],
)
def test_what_is_set_is_there_when_flattened(proto: Any, path: str, value: object) -> None:
    set_field(proto, path, value)
    assert flatten_fields(proto)[path] == value


def test_an_enum_takes_its_name_and_a_list_its_items(proto: Any) -> None:
    set_field(proto, "train_config.fine_tune_checkpoint_version", "V2")
    set_field(proto, "eval_config.metrics_set", ["a", "b"])
    assert proto.train_config.fine_tune_checkpoint_version == 2
    assert list(proto.eval_config.metrics_set) == ["a", "b"]


def test_none_clears_a_field_a_message_or_one_of_a_list(proto: Any) -> None:
    set_field(proto, "eval_config.metrics_set", ["a", "b", "c"])
    set_field(proto, "eval_config.metrics_set[1]", None)
    assert list(proto.eval_config.metrics_set) == ["a", "c"]
    set_field(proto, "eval_config.metrics_set", None)
    assert flatten_fields(proto) == {"eval_config": "{}"}
    set_field(proto, "eval_config", None)
    set_field(proto, "eval_input_reader[2].name", "third")
    set_field(proto, "eval_input_reader[0]", None)
    assert len(proto.eval_input_reader) == 2
    set_field(proto, "eval_input_reader[9]", None)
    assert len(proto.eval_input_reader) == 2


def test_clearing_in_a_message_that_is_not_set_leaves_it_unset(proto: Any) -> None:
    """It would choose another member of the oneof: momentum in place of Adam."""
    adam = "train_config.optimizer.adam_optimizer.epsilon"
    set_field(proto, adam, 0.5)
    set_field(proto, f"{RATE}.cosine_decay_learning_rate.total_steps", None)
    set_field(proto, "eval_input_reader[0].shuffle", None)
    assert flatten_fields(proto) == {adam: 0.5}


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("train_config.batchsize", 8, KeyError),
        ("train_config.batchsize", None, KeyError),
        ("train_config.batch_size[0]", 8, ValueError),
        ("train_config.batch_size.more", 8, ValueError),
        ("train_config.", 8, ValueError),
        ("", 8, ValueError),
        ("train_config.optimizer", 8, ValueError),
        ("train_config.batch_size", "eight", TypeError),
        ("train_config.batch_size", -1, ValueError),
        ("train_config.fine_tune_checkpoint_version", "V3", KeyError),
        ("eval_config.metrics_set[1]", "a", IndexError),
        ("eval_config.super_categories[0]", "a", ValueError),
        ("eval_config.super_categories", "{}", ValueError),
    ],
)
def test_what_fits_no_field_is_refused(
    proto: Any, path: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        set_field(proto, path, value)


def test_maps_are_flattened_by_their_keys(proto: Any) -> None:
    proto.eval_config.super_categories["animals"] = "cat,dog"
    assert flatten_fields(proto) == {"eval_config.super_categories[animals]": "cat,dog"}


def test_differences_name_what_is_unset_on_either_side(proto: Any) -> None:
    other = pipeline_pb2.TrainEvalPipelineConfig()
    proto.train_config.batch_size, other.train_config.batch_size = 2, 128
    proto.train_config.num_steps = 10
    other.train_config.sync_replicas = True
    assert field_differences(proto, other) == [
        ("train_config.batch_size", 2, 128),
        ("train_config.num_steps", 10, None),
        ("train_config.sync_replicas", None, True),
    ]


def test_a_path_that_is_not_set_gives_its_default(proto: Any) -> None:
    assert descend(proto, "train_config.batch_size") == 32
    assert descend(proto) is proto
    assert flatten_fields(proto) == {}


def test_every_reference_is_made_again_from_its_fields(reference_configs: Path) -> None:
    for config in sorted(reference_configs.glob("*.config")):
        original = load_pipeline(config).proto
        again = pipeline_pb2.TrainEvalPipelineConfig()
        maps = {path for path in flatten_fields(original) if "keypoint_label_to_s" in path}
        for path, value in flatten_fields(original).items():
            if path not in maps:
                set_field(again, path, value)
        assert {path for path, *_ in field_differences(original, again)} == maps
