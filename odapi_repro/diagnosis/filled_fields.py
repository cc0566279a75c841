"""A pipeline's fields with defaults filled in, and those that change nothing.

The protos are older than TF2: many fields are read by TF1's code alone, some are read and
overruled, some count only beside another. `tests/diagnosis/test_inert.py` scans the OD API's
source for each of the table's.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from odapi_repro.pipeline import Pipeline, flatten_fields

# --- A pipeline's fields with defaults filled in, so that unset and default are one ---


#: A scalar, the name of an enum's value, `{}` for an empty message, or a tuple for a list.
FieldValue = bool | int | float | str | tuple[bool | int | float | str, ...]

# Messages that the OD API reads when they are not set, too (without HasField or WhichOneof).
_READ_ANYWAY = {
    ("TrainEvalPipelineConfig", "train_config"),
    ("TrainEvalPipelineConfig", "train_input_reader"),
    ("TrainEvalPipelineConfig", "eval_config"),
    ("TrainConfig", "optimizer"),
    ("Ssd", "feature_extractor"),
    ("Ssd", "loss"),
    ("Ssd", "post_processing"),
    ("FasterRcnn", "feature_extractor"),
    ("FasterRcnn", "second_stage_post_processing"),
    ("PostProcessing", "batch_non_max_suppression"),
    ("CenterNet", "feature_extractor"),
    ("CenterNet", "object_center_params"),
}
# Scalars that mean something else when they are not set than their default does.
_PRESENCE_COUNTS = {
    ("SigmoidFocalClassificationLoss", "alpha"),  # unset: no balancing (losses_builder)
    ("SsdFeatureExtractor", "replace_preprocessor_with_placeholder"),
    ("SsdFeatureExtractor", "spaghettinet_arch_name"),
    ("RandomPadImage", "min_image_height"),
    ("RandomPadImage", "min_image_width"),
    ("RandomPadImage", "max_image_height"),
    ("RandomPadImage", "max_image_width"),
}
# Repeated messages whose place in the list says which one they are; other lists are one value.
_BY_INDEX = {"eval_input_reader", "keypoint_estimation_task"}


def filled_fields(pipeline: Pipeline) -> dict[str, FieldValue]:
    """Gives every field that the OD API reads under its dotted path, defaults filled in.

    Fields of a message that is not set are there only where the OD API reads them all the same.
    Lists are one value; of repeated messages each is told in a text that leaves defaults out.
    """
    flat: dict[str, FieldValue] = {}
    _fill(pipeline.proto, "", flat)
    metrics = "eval_config.metrics_set"
    if flat.get(metrics) == ():
        flat[metrics] = ("coco_detection_metrics",)  # eval_util.EVAL_DEFAULT_METRIC
    train = pipeline.proto.train_config
    if train.fine_tune_checkpoint and not train.fine_tune_checkpoint_type:
        # config_util.update_fine_tune_checkpoint_type
        kind = "detection" if train.from_detection_checkpoint else "classification"
        flat["train_config.fine_tune_checkpoint_type"] = kind
    loss = "model.faster_rcnn.second_stage_classification_loss"
    if pipeline.meta_architecture == "faster_rcnn" and not any(
        p.startswith(f"{loss}.") for p in flat
    ):
        # losses_builder.build_faster_rcnn_classification_loss
        flat[f"{loss}.weighted_softmax.anchorwise_output"] = False
        flat[f"{loss}.weighted_softmax.logit_scale"] = 1.0
    return flat


def _fill(message: Message, prefix: str, flat: dict[str, FieldValue]) -> None:
    for descriptor in message.DESCRIPTOR.fields:
        name, path = descriptor.name, f"{prefix}{descriptor.name}"
        value = getattr(message, name)
        key = (message.DESCRIPTOR.name, name)
        if _is_list(value):
            _fill_list(descriptor, path, value, flat)
        elif descriptor.message_type is not None:
            if message.HasField(name) or key in _READ_ANYWAY:
                before = len(flat)
                _fill(value, f"{path}.", flat)
                if len(flat) == before and message.HasField(name):
                    flat[path] = "{}"
        elif message.HasField(name) or (
            descriptor.containing_oneof is None and key not in _PRESENCE_COUNTS
        ):
            flat[path] = _scalar(descriptor, value)


def _fill_list(descriptor: Any, path: str, value: Any, flat: dict[str, FieldValue]) -> None:
    if descriptor.message_type is None:
        # An empty list of a set message is a value: it differs from one with items.
        flat[path] = tuple(_scalar(descriptor, item) for item in value)
    elif descriptor.message_type.GetOptions().map_entry:
        for key in sorted(value):
            item = value[key]
            if isinstance(item, Message):
                _fill(item, f"{path}[{key}].", flat)
            else:
                flat[f"{path}[{key}]"] = item
    elif descriptor.name in _BY_INDEX:
        for index, item in enumerate(value):
            _fill(item, f"{path}[{index}].", flat)
    else:
        flat[path] = tuple(_told(item) for item in value)


def _told(message: Message) -> str:
    """Gives a message in one line, fields at their defaults left out."""
    parts = []
    for descriptor, value in message.ListFields():
        if _is_list(value):
            shown = f"[{len(value)}]" if descriptor.message_type else _listed(descriptor, value)
            parts.append(f"{descriptor.name}={shown}")
        elif isinstance(value, Message):
            inner = _told(value)
            parts.append(f"{descriptor.name}({inner})" if inner else descriptor.name)
        elif value != descriptor.default_value or _counts(message, descriptor.name):
            parts.append(f"{descriptor.name}={_brief(_scalar(descriptor, value))}")
    return ", ".join(parts)


def _listed(descriptor: Any, values: Any) -> str:
    return "[" + ", ".join(_brief(_scalar(descriptor, value)) for value in values) + "]"


def _counts(message: Message, name: str) -> bool:
    return (message.DESCRIPTOR.name, name) in _PRESENCE_COUNTS


def _brief(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scalar(descriptor: Any, value: Any) -> bool | int | float | str:
    """Gives a scalar as it is, and an enum's value by its name."""
    if descriptor.enum_type is not None:
        known = descriptor.enum_type.values_by_number.get(value)
        return str(known.name) if known is not None else int(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _is_list(value: object) -> bool:
    """Whether a field's value is repeated or a map; `label` and is_repeated differ by version."""
    return not isinstance(value, (Message, str, bytes, int, float))


# --- Fields that a pipeline.config may set and that change nothing under model_main_tf2 ---


@dataclass(frozen=True)
class InertField:
    """A field without effect.

    Attributes:
        message: name of the message type, without its package.
        field: name of the field in it.
        why: why it has no effect, one sentence.
        read_in: files of object_detection that TF2 runs and that read it all the same; empty where
            TF1's code alone does, or nothing.
        applies: whether it is without effect in this pipeline.
    """

    message: str
    field: str
    why: str
    read_in: tuple[str, ...] = ()
    applies: Callable[[Pipeline], bool] = lambda pipeline: True


def _no_checkpoint(pipeline: Pipeline) -> bool:
    return not pipeline.proto.train_config.fine_tune_checkpoint


def _type_is_said(pipeline: Pipeline) -> bool:
    return _no_checkpoint(pipeline) or bool(pipeline.proto.train_config.fine_tune_checkpoint_type)


def _no_average(pipeline: Pipeline) -> bool:
    return not pipeline.proto.train_config.optimizer.use_moving_average


def _no_sequences(pipeline: Pipeline) -> bool:
    proto = pipeline.proto
    kinds = proto.train_input_reader.DESCRIPTOR.fields_by_name["input_type"].enum_type
    sequence = kinds.values_by_name["TF_SEQUENCE_EXAMPLE"].number
    readers = (proto.train_input_reader, *proto.eval_input_reader)
    return all(reader.input_type != sequence for reader in readers)


def _no_lvis(pipeline: Pipeline) -> bool:
    return "lvis_mask_metrics" not in pipeline.proto.eval_config.metrics_set


def _no_confidences(pipeline: Pipeline) -> bool:
    return not pipeline.proto.model.ssd.use_confidences_as_targets


def _no_mask_stage(pipeline: Pipeline) -> bool:
    return not pipeline.predicts_masks


def _no_mask_head(pipeline: Pipeline) -> bool:
    predictor = pipeline.proto.model.faster_rcnn.second_stage_box_predictor
    return not predictor.mask_rcnn_box_predictor.predict_instance_masks


def _schedules(pipeline: Pipeline, name: str) -> list[Message]:
    optimizer = pipeline.proto.train_config.optimizer
    kind = optimizer.WhichOneof("optimizer")
    rate = getattr(optimizer, kind).learning_rate if kind else None
    return [getattr(rate, name)] if rate is not None and rate.HasField(name) else []


def _no_warmup(pipeline: Pipeline) -> bool:
    cosines = _schedules(pipeline, "cosine_decay_learning_rate")
    return all(not cosine.warmup_steps for cosine in cosines)  # type: ignore[attr-defined]


def _no_burnin(pipeline: Pipeline) -> bool:
    decays = _schedules(pipeline, "exponential_decay_learning_rate")
    return all(not decay.burnin_steps for decay in decays)  # type: ignore[attr-defined]


_APPLIES: Mapping[str, Callable[[Pipeline], bool]] = {
    "": lambda pipeline: True,
    "no_average": _no_average,
    "no_burnin": _no_burnin,
    "no_checkpoint": _no_checkpoint,
    "no_confidences": _no_confidences,
    "no_lvis": _no_lvis,
    "no_mask_head": _no_mask_head,
    "no_mask_stage": _no_mask_stage,
    "no_sequences": _no_sequences,
    "no_warmup": _no_warmup,
    "type_is_said": _type_is_said,
}


def _read() -> Iterator[InertField]:
    with open(Path(__file__).parent / "inert_fields.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            read_in, applies = tuple(row["read_in"].split()), _APPLIES[row["applies"]]
            yield InertField(row["message"], row["field"], row["why"], read_in, applies)


INERT_FIELDS: tuple[InertField, ...] = tuple(_read())
_BY_FIELD: Mapping[tuple[str, str], InertField] = MappingProxyType(
    {(row.message, row.field): row for row in INERT_FIELDS}
)


def inert_reason(message_name: str, field_name: str, pipeline: Pipeline) -> str | None:
    """Gives why a field has no effect in this pipeline; None where it has one.

    Args:
        message_name: of the message type that has the field, e.g. `TrainConfig`.
        field_name: its name there.
        pipeline: decides over fields that count only beside another.
    """
    row = _BY_FIELD.get((message_name, field_name))
    return row.why if row is not None and row.applies(pipeline) else None


def inert_paths(pipeline: Pipeline) -> dict[str, str]:
    """Gives the dotted path of every set field without effect, with the reason.

    A message without effect stands for all that is set in it: `graph_rewriter.quantization.delay`.
    """
    return dict(_inert_in(pipeline.proto, "", pipeline))


def _inert_in(message: Message, prefix: str, pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    for descriptor, value in message.ListFields():
        reason = inert_reason(message.DESCRIPTOR.name, descriptor.name, pipeline)
        path = f"{prefix}{descriptor.name}"
        if reason is not None:
            for inner in _paths(message, path, descriptor.name):
                yield inner, reason
        elif isinstance(value, Message):
            yield from _inert_in(value, f"{path}.", pipeline)
        elif descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        else:
            for index, item in enumerate(value):
                yield from _inert_in(item, f"{path}[{index}].", pipeline)


def _paths(message: Message, path: str, name: str) -> list[str]:
    """The paths, as flatten_fields has them, of all that is set in one field."""
    alone = type(message)()
    value = getattr(message, name)
    if isinstance(value, Message):
        getattr(alone, name).CopyFrom(value)
    elif hasattr(value, "MergeFrom"):
        getattr(alone, name).MergeFrom(value)
    else:
        setattr(alone, name, value)
    prefix = path.removesuffix(name)
    return [f"{prefix}{inner}" for inner in flatten_fields(alone)]
