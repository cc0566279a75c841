"""Fills the placeholders of a pipeline: records, label map, checkpoint, classes."""

from __future__ import annotations

from collections.abc import Sequence

from object_detection.protos import pipeline_pb2

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.fields import flatten_fields
from odapi_repro.pipeline.parse import Pipeline

PLACEHOLDER = "PATH_TO_BE_CONFIGURED"


def placeholder_fields(pipeline: Pipeline) -> list[str]:
    """Gives the paths of fields that still hold the OD API's placeholder."""
    return [
        path
        for path, value in flatten_fields(pipeline.proto).items()
        if isinstance(value, str) and PLACEHOLDER in value
    ]


def bind_records(
    pipeline: Pipeline,
    *,
    train_patterns: Sequence[str],
    eval_patterns: Sequence[str],
    label_map_path: str,
    num_classes: int,
    checkpoint: str | None,
) -> Pipeline:
    """Gives the pipeline with its records, label map, classes and checkpoint set.

    Only the first eval reader is kept: the OD API evaluates no other.

    Args:
        checkpoint: what `fine_tune_checkpoint` becomes; None leaves a real path alone and removes
            a placeholder, so that training starts from random weights.

    Raises:
        ConfigError: a model without classes.
    """

    if not hasattr(pipeline.model, "num_classes"):
        raise ConfigError(
            f"a {pipeline.meta_architecture} has no num_classes to set",
            expected="an ssd, faster_rcnn or center_net model",
            mend="register the model with the OD API under one of these",
            where=pipeline.path,
        )

    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        del proto.eval_input_reader[1:]
        if not proto.eval_input_reader:
            reader = proto.eval_input_reader.add()
            reader.shuffle = False
            reader.num_epochs = 1
        for reader, patterns in (
            (proto.train_input_reader, train_patterns),
            (proto.eval_input_reader[0], eval_patterns),
        ):
            reader.label_map_path = label_map_path
            reader.tf_record_input_reader.input_path[:] = list(patterns)
        getattr(proto.model, proto.model.WhichOneof("model")).num_classes = num_classes
        train_config = proto.train_config
        if checkpoint:
            train_config.fine_tune_checkpoint = checkpoint
        elif PLACEHOLDER in train_config.fine_tune_checkpoint:
            train_config.ClearField("fine_tune_checkpoint")
            train_config.ClearField("fine_tune_checkpoint_type")

    return pipeline.edited(edit)
