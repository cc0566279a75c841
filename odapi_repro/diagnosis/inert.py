"""Fields that a pipeline.config may set and that change nothing under model_main_tf2.

The protos are older than TF2: many fields are read by TF1's code alone, some are read and
overruled, some count only beside another. `tests/diagnosis/test_inert.py` scans the OD API's
source for each of the table's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from google.protobuf.message import Message

from odapi_repro.diagnosis.inert_table import INERT_FIELDS, InertField
from odapi_repro.pipeline import Pipeline, flatten_fields

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
