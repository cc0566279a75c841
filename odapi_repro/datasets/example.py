"""tf.train.Example without TensorFlow: the same bytes, from a message described here.

The messages are those of tensorflow/core/example/example.proto and feature.proto. They live in a
descriptor pool of their own, so they never clash with TensorFlow's in the same process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from numpy.typing import NDArray

from odapi_repro.errors import DataError

FeatureValue = bytes | str | int | float | Sequence[Any] | NDArray[Any]


def make_example(features: Mapping[str, FeatureValue]) -> bytes:
    """Gives a serialised tf.train.Example of `features`.

    The kind of each list follows the values: bytes or str (as UTF-8) give a BytesList, integers
    and booleans an Int64List, floats a FloatList. An empty list keeps its key and holds nothing;
    an empty array keeps its dtype's kind. Keys are written in sorted order, so the same features
    give the same bytes.

    Raises:
        TypeError: values of no kind that an Example can hold.
    """
    example = _EXAMPLE()
    for key, given in features.items():
        feature = example.features.feature[key]
        value = [given] if isinstance(given, (bytes, str)) else given
        if isinstance(value, Sequence) and any(isinstance(v, (bytes, str)) for v in value):
            feature.bytes_list.value.extend(v.encode() if isinstance(v, str) else v for v in value)
            continue
        if isinstance(value, Sequence) and not value:
            feature.bytes_list.SetInParent()
            continue
        array = np.asarray(value).reshape(-1)
        if array.dtype.kind in "iub":
            feature.int64_list.value.extend(array.tolist())
            feature.int64_list.SetInParent()
        elif array.dtype.kind == "f":
            feature.float_list.value.extend(array.tolist())
            feature.float_list.SetInParent()
        else:
            raise TypeError(f"feature {key!r}: {array.dtype} fits no list of an Example")
    return bytes(example.SerializeToString(deterministic=True))


def parse_example(data: bytes) -> ParsedExample:
    """Gives typed access to the features of a serialised tf.train.Example.

    Raises:
        DataError: the bytes are no Example.
    """
    example = _EXAMPLE()
    try:
        example.ParseFromString(data)
    except (message.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"a record of {len(data)} bytes is no tf.train.Example ({error})",
            expected="records that hold serialised tf.train.Example messages",
            mend="write the records as the OD API's dataset_tools do "
            "(SequenceExamples are not read)",
        ) from error
    return ParsedExample(dict(example.features.feature.items()))


class ParsedExample:
    """The features of one Example by key; an absent key reads as an empty list."""

    def __init__(self, features: Mapping[str, Any]) -> None:
        self._features = features

    def __contains__(self, key: object) -> bool:
        return key in self._features

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._features))

    def kind(self, key: str) -> str:
        """Gives `bytes_list`, `float_list`, `int64_list`, or an empty string for no values."""
        if key not in self._features:
            return ""
        name = self._features[key].WhichOneof("kind") or ""
        return name if name and len(getattr(self._features[key], name).value) else ""

    def bytes_list(self, key: str) -> tuple[bytes, ...]:
        """Gives the values of a BytesList; DataError when the key holds another kind."""
        return tuple(self._values(key, "bytes_list"))

    def texts(self, key: str) -> tuple[str, ...]:
        """Gives the values of a BytesList as text, bytes that are no UTF-8 replaced."""
        return tuple(v.decode("utf-8", errors="replace") for v in self._values(key, "bytes_list"))

    def text(self, key: str, default: str = "") -> str:
        """Gives the first text of `key`, `default` when there is none."""
        return next(iter(self.texts(key)), default)

    def floats(self, key: str) -> NDArray[np.float32]:
        """Gives the values of a FloatList as float32 [N]; DataError when of another kind."""
        return np.array(self._values(key, "float_list"), dtype=np.float32)

    def ints(self, key: str) -> NDArray[np.int64]:
        """Gives the values of an Int64List as int64 [N]; DataError when of another kind."""
        return np.array(self._values(key, "int64_list"), dtype=np.int64)

    def _values(self, key: str, kind: str) -> Iterable[Any]:
        found = self.kind(key)
        if not found:
            return []
        if found != kind:
            raise DataError(
                f"'{key}' is a {found}",
                expected=f"a {kind}, as the OD API's decoder reads it",
                mend="write the record again with the feature's right type",
            )
        values: Iterable[Any] = list(getattr(self._features[key], kind).value)
        return values


def _example_class() -> Any:
    """Gives the class of the Example message, from a pool that nothing else shares."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="odapi_repro/example.proto", package="odapi_repro.example", syntax="proto3"
    )

    def add(parent: Any, name: str, number: int, kind: int, **more: Any) -> None:
        parent.field.add(
            name=name, number=number, type=kind, **{"label": field.LABEL_OPTIONAL, **more}
        )

    repeated: dict[str, Any] = {"label": field.LABEL_REPEATED}
    lists = (
        ("BytesList", "bytes_list", field.TYPE_BYTES, False),
        ("FloatList", "float_list", field.TYPE_FLOAT, True),
        ("Int64List", "int64_list", field.TYPE_INT64, True),
    )
    for message_name, _, kind, packed in lists:
        add(file.message_type.add(name=message_name), "value", 1, kind, **repeated)
        if packed:
            file.message_type[-1].field[0].options.packed = True
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    prefix = ".odapi_repro.example."
    for number, (message_name, field_name, _, _) in enumerate(lists, start=1):
        add(
            feature, field_name, number, field.TYPE_MESSAGE,
            type_name=prefix + message_name, oneof_index=0,
        )  # fmt: skip
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    add(entry, "key", 1, field.TYPE_STRING)
    add(entry, "value", 2, field.TYPE_MESSAGE, type_name=f"{prefix}Feature")
    add(
        features, "feature", 1, field.TYPE_MESSAGE,
        type_name=f"{prefix}Features.FeatureEntry", **repeated,
    )  # fmt: skip
    example = file.message_type.add(name="Example")
    add(example, "features", 1, field.TYPE_MESSAGE, type_name=f"{prefix}Features")

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("odapi_repro.example.Example")
    factory: Any = message_factory
    if hasattr(factory, "GetMessageClass"):
        return factory.GetMessageClass(descriptor)
    return factory.MessageFactory(pool).GetPrototype(descriptor)  # protobuf before 4.22


_EXAMPLE = _example_class()
