"""The table of fields without effect, against the source of the installed OD API."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.filled_fields import INERT_FIELDS, InertField, inert_paths, inert_reason
from odapi_repro.pipeline import Pipeline, flatten_fields, set_field
from odapi_repro.reference import REFERENCES, reference_named

# What model_main_tf2 never runs: TF1's programs and builders, exporters of other formats, tools.
TF1_FOLDERS = ("legacy/", "protos/", "dataset_tools/", "tpu_exporters/", "inference/")
TF1_FILES = {
    "builders/graph_rewriter_builder.py",
    "builders/input_reader_builder.py",
    "export_inference_graph.py",
    "export_tflite_ssd_graph.py",
    "export_tflite_ssd_graph_lib.py",
    "exporter.py",
    "model_hparams.py",
    "model_lib.py",
    "model_main.py",
    "model_tpu_main.py",
}
# Functions of TF1 in files that TF2 runs.
TF1_FUNCTIONS = {
    ("builders/box_predictor_builder.py", "build"),
    ("builders/hyperparams_builder.py", "build"),
    ("builders/hyperparams_builder.py", "_build_batch_norm_params"),
    ("builders/model_builder.py", "_build_faster_rcnn_feature_extractor"),
    ("builders/optimizer_builder.py", "build_optimizers_tf_v1"),
}
# What the OD API calls a message of each type where it reads its fields.
OWNERS = {
    "BatchNorm": r"batch_norm$",
    "ConvolutionalBoxPredictor": r"box_predictor$",
    "CosineDecayLearningRate": r"^config$",
    "EvalConfig": r"eval_config",
    "ExponentialDecayLearningRate": r"^config$",
    "FasterRcnn": r"frcnn_config",
    "FasterRcnnFeatureExtractor": r"faster_rcnn.*feature_extractor",
    "Hyperparams": r"hyperparams_config",
    "InputReader": r"(input_config|input_reader_config|^config)$",
    "Loss": r"loss(_config)?$",
    "MaskRCNNBoxPredictor": r"box_predictor$",
    "Optimizer": r"optimizer_config",
    "Ssd": r"ssd_config",
    "SsdFeatureExtractor": r"feature_extractor_config",
    "TrainConfig": r"train_config(\'\])?$",
    "TrainEvalPipelineConfig": r"pipeline",
    "XYPairs": r"pairs",
}

# Fields that do have an effect, and where they are read: what a scan that sees nothing would miss.
LIVE = (
    ("TrainConfig", "batch_size", "inputs.py"),
    ("TrainConfig", "gradient_clipping_by_norm", "model_lib_v2.py"),
    ("InputReader", "max_number_of_boxes", "inputs.py"),
    ("InputReader", "shuffle", "builders/dataset_builder.py"),
    ("EvalConfig", "metrics_set", "eval_util.py"),
    ("Optimizer", "use_moving_average", "builders/optimizer_builder.py"),
    ("Ssd", "freeze_batchnorm", "builders/model_builder.py"),
    ("FasterRcnn", "number_of_stages", "builders/model_builder.py"),
    ("ConvolutionalBoxPredictor", "max_depth", "builders/box_predictor_builder.py"),
    ("BatchNorm", "decay", "builders/hyperparams_builder.py"),
)
LIVE_FIELDS = [field for _, field, _ in LIVE]


@cache
def source() -> Path:
    spec = importlib.util.find_spec("object_detection")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def reads() -> dict[str, set[tuple[str, str]]]:
    """(file, what the field is read of) of every attribute that TF2's code reads, by its name."""
    found: dict[str, set[tuple[str, str]]] = {}
    asked = re.compile(rf"\.({'|'.join(LIVE_FIELDS + [row.field for row in INERT_FIELDS])})\b")
    for path in sorted(source().rglob("*.py")):
        name = path.relative_to(source()).as_posix()
        if name.startswith(TF1_FOLDERS) or name in TF1_FILES or "_test" in name:
            continue
        text = path.read_text(encoding="utf-8")
        if not asked.search(text):  # parsing all 300 files takes ten seconds
            continue
        for field, owner in attributes(name, ast.parse(text)):
            found.setdefault(field, set()).add((name, owner))
    return found


def attributes(name: str, node: ast.AST) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and (name, child.name) in TF1_FUNCTIONS:
            continue
        if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Load):
            yield child.attr, ast.unparse(child.value)
        yield from attributes(name, child)


def reading_files(message: str, field: str) -> set[str]:
    owner = re.compile(OWNERS.get(message, "$^"))
    return {file for file, of in reads().get(field, set()) if owner.search(of)}


@cache
def message_types() -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(descriptor: Any) -> None:
        if descriptor.name not in found:
            found[descriptor.name] = descriptor
            for field in descriptor.fields:
                if field.message_type is not None:
                    walk(field.message_type)

    walk(pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR)
    return found


def edited(reference: str, fields: dict[str, object]) -> Pipeline:
    def edit(proto: Any) -> None:
        for path, value in fields.items():
            set_field(proto, path, value)

    return reference_named(reference).pipeline().edited(edit)


@pytest.mark.parametrize(("message", "field", "file"), LIVE)
def test_the_scan_sees_where_live_fields_are_read(message: str, field: str, file: str) -> None:
    assert file in reading_files(message, field)
    assert (message, field) not in {(row.message, row.field) for row in INERT_FIELDS}


@pytest.mark.parametrize("row", INERT_FIELDS, ids=lambda row: f"{row.message}.{row.field}")
def test_a_field_is_read_where_the_table_says_and_nowhere_else(row: InertField) -> None:
    assert reading_files(row.message, row.field) == set(row.read_in)


@pytest.mark.parametrize("row", INERT_FIELDS, ids=lambda row: f"{row.message}.{row.field}")
def test_a_field_of_the_table_exists(row: InertField) -> None:
    assert row.field in message_types()[row.message].fields_by_name


def test_a_field_that_nothing_reads_has_its_name_nowhere_in_tf2s_code() -> None:
    """Owners are guessed by their names; a name that only one message has needs no guess."""
    holders: dict[str, set[str]] = {}
    for descriptor in message_types().values():
        for field in descriptor.fields:
            holders.setdefault(field.name, set()).add(descriptor.name)
    unread = [row for row in INERT_FIELDS if not row.read_in and len(holders[row.field]) == 1]
    assert len(unread) > 20
    # `op` is also a tensor's, `train` also a module.
    common = {"op", "train"}
    assert {row.field for row in unread if reads().get(row.field)} <= common


def test_a_field_stands_once_in_the_table() -> None:
    names = [(row.message, row.field) for row in INERT_FIELDS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("message", "field", "before", "after"),
    [
        (
            "TrainConfig",
            "fine_tune_checkpoint_type",
            {},
            {"train_config.fine_tune_checkpoint": ""},
        ),
        (
            "TrainConfig",
            "from_detection_checkpoint",
            {"train_config.fine_tune_checkpoint_type": None},
            {"train_config.fine_tune_checkpoint_type": "detection"},
        ),
        (
            "Optimizer",
            "moving_average_decay",
            {"train_config.optimizer.use_moving_average": True},
            {"train_config.optimizer.use_moving_average": False},
        ),
        (
            "InputReader",
            "frame_index",
            {"train_input_reader.input_type": "TF_SEQUENCE_EXAMPLE"},
            {"train_input_reader.input_type": "TF_EXAMPLE"},
        ),
        ("EvalConfig", "export_path", {"eval_config.metrics_set": ["lvis_mask_metrics"]}, {}),
        (
            "Ssd",
            "implicit_example_weight",
            {"model.ssd.use_confidences_as_targets": True},
            {},
        ),
    ],
)
def test_some_fields_count_only_beside_another(
    message: str, field: str, before: dict[str, object], after: dict[str, object]
) -> None:
    assert inert_reason(message, field, edited("efficientdet_d0", before)) is None
    assert inert_reason(message, field, edited("efficientdet_d0", after))


def test_masks_count_in_mask_rcnn_alone() -> None:
    fields = ("mask_height", "masks_are_class_agnostic")
    masked = reference_named("mask_rcnn_inception_resnet_v2").pipeline()
    plain = reference_named("faster_rcnn_resnet50_v1_640").pipeline()
    for field in fields:
        assert inert_reason("MaskRCNNBoxPredictor", field, masked) is None
        assert inert_reason("MaskRCNNBoxPredictor", field, plain)


def test_a_warmup_rate_counts_with_a_warmup_only() -> None:
    rate = "train_config.optimizer.momentum_optimizer.learning_rate"
    cosine = f"{rate}.cosine_decay_learning_rate"
    path = f"{cosine}.warmup_learning_rate"
    assert path not in inert_paths(reference_named("efficientdet_d0").pipeline())
    assert path in inert_paths(edited("efficientdet_d0", {f"{cosine}.warmup_steps": 0}))


def test_paths_are_found_through_messages_and_lists() -> None:
    fields = {
        "train_config.freeze_variables": ["a", "b"],
        "graph_rewriter.quantization.delay": 48000,
        "graph_rewriter.quantization.weight_bits": 8,
    }
    paths = inert_paths(edited("ssd_mobilenet_v2_320", fields))
    assert {
        "train_config.freeze_variables[0]",
        "train_config.freeze_variables[1]",
        "graph_rewriter.quantization.delay",
        "graph_rewriter.quantization.weight_bits",
        "train_config.sync_replicas",
        "model.ssd.inplace_batchnorm_update",
    } <= set(paths)
    assert "freeze" in paths["train_config.freeze_variables[0]"]
    assert "train_config.batch_size" not in paths


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_every_path_is_one_of_the_fields_that_are_set(name: str) -> None:
    pipeline = reference_named(name).pipeline()
    assert set(inert_paths(pipeline)) <= set(flatten_fields(pipeline.proto))
