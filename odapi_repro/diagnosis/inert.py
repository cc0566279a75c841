"""Fields that a pipeline.config may set and that change nothing under model_main_tf2.

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

from google.protobuf.message import Message

from odapi_repro.pipeline import Pipeline, flatten_fields


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
