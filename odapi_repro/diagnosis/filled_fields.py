"""A pipeline's fields with defaults filled in, so that unset and default are one."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from odapi_repro.pipeline import Pipeline

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
