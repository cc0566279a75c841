"""Reads a pipeline.config, with file, line and column when it cannot."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

from odapi_repro.command import nearest
from odapi_repro.errors import ConfigError, shortened

MAX_CONFIG_BYTES = 10 * 1024 * 1024
STDIN, STDIN_NAME = "-", "<stdin>"
"""What standard input is given as, and what it is called in messages."""
_EXPECTED = "a TrainEvalPipelineConfig in protobuf's text format"
NO_FIELD = re.compile(r'Message type "(?P<type>[^"]+)" has no field named "(?P<name>[^"]+)"')
"""How protobuf tells of an unknown field."""
_POSITION = re.compile(r"^(?P<line>\d+):(?P<column>\d+) : ")


@dataclass(frozen=True)
class Pipeline:
    """A parsed `TrainEvalPipelineConfig`.

    The proto is never edited in place: `edited` gives a changed copy.

    Attributes:
        proto: the parsed message.
        path: where it was read from, for messages.
    """

    proto: pipeline_pb2.TrainEvalPipelineConfig
    path: str

    def edited(self, edit: Callable[[pipeline_pb2.TrainEvalPipelineConfig], None]) -> Pipeline:
        """Gives a copy to which `edit` was applied."""
        proto = pipeline_pb2.TrainEvalPipelineConfig()
        proto.CopyFrom(self.proto)
        edit(proto)
        return Pipeline(proto, self.path)

    @property
    def meta_architecture(self) -> str:
        """`ssd`, `faster_rcnn`, `center_net` ..., as `DetectionModel` names it."""
        return str(self.proto.model.WhichOneof("model") or "")

    @property
    def model(self) -> Message:
        """The message of the meta-architecture; the empty `DetectionModel` where there is none."""
        kind = self.meta_architecture
        message: Message = getattr(self.proto.model, kind) if kind else self.proto.model
        return message

    @property
    def keypoint_tasks(self) -> list[Any]:
        """The keypoint tasks that the model is built with; DeepMAC is built without any."""
        if self.meta_architecture != "center_net":
            return []
        model = self.proto.model.center_net
        return (
            [] if model.HasField("deepmac_mask_estimation") else [*model.keypoint_estimation_task]
        )

    @property
    def predicts_masks(self) -> bool:
        """Whether instance masks are trained and evaluated (a third stage in Faster R-CNN)."""
        return (
            self.meta_architecture == "faster_rcnn"
            and self.proto.model.faster_rcnn.number_of_stages == 3
        )

    @property
    def num_classes(self) -> int:
        """Classes without background."""
        return int(getattr(self.model, "num_classes", 0))

    def to_text(self) -> str:
        """The text form, fields in the order of their numbers."""
        return str(text_format.MessageToString(self.proto))


def load_pipeline(path: str | Path) -> Pipeline:
    """Reads a pipeline.config from disk.

    Raises:
        ConfigError: no such file, a folder, a binary, over 10 MB, or not a pipeline.
    """
    return parse_pipeline(read_config_file(path), str(path))


def read_config_file(path: str | Path, *, lenient: bool = False) -> str:
    """Gives the text of a config, whatever the text says.

    Args:
        path: of the file.
        lenient: whether a text that is not UTF-8 is taken too, its bytes as `surrogateescape` has
            them, for `look_at_encoding`; also keeps a byte order mark, at which the OD API stops
            and which is otherwise left out.

    Raises:
        ConfigError: no such file, a folder, a binary, over 10 MB, or unreadable.
    """
    path = Path(path)
    if not os.path.exists(path):  # Path.exists raises for a name that is too long
        known = sorted(str(p) for p in path.parent.glob("*.config")) if path.parent.is_dir() else []
        raise ConfigError(
            "no such pipeline.config",
            expected="the path of a text file that holds a TrainEvalPipelineConfig",
            mend=nearest(str(path), known) + (f"found there: {', '.join(known)}" if known else ""),
            where=str(path),
        )
    if path.is_dir():
        within = sorted(str(one) for one in path.glob("*.config"))
        raise ConfigError(
            "this is a folder",
            expected="the pipeline.config itself",
            mend=(f"found there: {', '.join(within)}" if within else "name the file itself")
            + "; a folder of records is named with --data",
            where=str(path),
        )
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            # A device or a pipe has no size; one byte too many shows that there is more.
            data = file.read(MAX_CONFIG_BYTES + 1) if size <= MAX_CONFIG_BYTES else b""
    except OSError as error:
        raise ConfigError(
            f"it cannot be read: {error.strerror}", expected="a readable file", where=str(path)
        ) from error
    if max(size, len(data)) > MAX_CONFIG_BYTES:
        raise _too_large(f"{max(size, len(data)) / 1e6:.0f} MB are", str(path))
    return _decoded(data, str(path), lenient)


def read_config_argument(name: str, *, lenient: bool = False) -> tuple[str, str]:
    """Gives the name and the text of the config that a command line names; `-` is standard input.

    The files that a config from standard input names are looked for from the working folder, as
    those of any other.

    Raises:
        ConfigError: as `read_config_file`; or nothing comes over standard input.
    """
    if name != STDIN:
        return name, read_config_file(name, lenient=lenient)
    if sys.stdin is None or sys.stdin.isatty():
        raise ConfigError(
            "nothing is piped in: standard input is "
            + ("closed" if sys.stdin is None else "the terminal"),
            expected=_EXPECTED,
            mend="pipe a config in (... | odapi-repro diagnose -), or name a file",
            where=STDIN_NAME,
        )
    try:
        data = sys.stdin.buffer.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"it cannot be read: {error.strerror}", expected="a readable file", where=STDIN_NAME
        ) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise _too_large("more than 10 MB are", STDIN_NAME)
    if not data.strip():
        raise ConfigError(
            "standard input is empty",
            expected=_EXPECTED,
            mend="did the command before the pipe fail?",
            where=STDIN_NAME,
        )
    return STDIN_NAME, _decoded(data, STDIN_NAME, lenient)


def _too_large(what: str, where: str) -> ConfigError:
    return ConfigError(
        f"{what} no pipeline.config",
        expected="a text of at most 10 MB",
        mend="name the config, not a checkpoint or records",
        where=where,
    )


def _decoded(data: bytes, path: str, lenient: bool) -> str:
    mend = "name the config, not a checkpoint, a SavedModel or records"
    if 0 in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError(
            "not a text: it holds zero bytes", expected=_EXPECTED, mend=mend, where=path
        )
    try:
        return data.decode("utf-8" if lenient else "utf-8-sig")
    except UnicodeDecodeError as error:
        from odapi_repro.pipeline.text_encoding import look_at_encoding, reads_as_text

        text = data.decode("utf-8", "surrogateescape")
        found = look_at_encoding(text)
        if found is None or not reads_as_text(found, len(text)):
            raise ConfigError(
                f"not a text: byte {error.start} is not UTF-8",
                expected=_EXPECTED,
                mend=mend,
                where=path,
            ) from error
        if lenient:
            return text
        raise found.refusal(path) from error


def parse_pipeline(text: str, path: str = "<text>") -> Pipeline:
    """Parses the text of a pipeline.config; `path` is for messages.

    Raises:
        ConfigError: with line and column, and the nearest field when one is unknown.
    """
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    try:
        text_format.Parse(text, proto)
    except text_format.ParseError as error:
        raise _syntax_error(error, path) from error
    pipeline = Pipeline(proto, path)
    if not pipeline.meta_architecture:
        raise ConfigError(
            "it describes no model",
            expected="a `model { ssd { ... } }` or another meta-architecture of the OD API",
            mend="start from one of the files in pipelines/",
            where=path,
        )
    return pipeline


def _syntax_error(error: text_format.ParseError, path: str) -> ConfigError:
    message = _POSITION.sub("", str(error))
    position = _POSITION.match(str(error))
    line, column = error.GetLine(), error.GetColumn()
    if position is not None:
        line, column = int(position["line"]), int(position["column"])
    where = f"{path}:{line}:{column}" if line else path
    unknown = NO_FIELD.search(message)
    if unknown is None:
        return ConfigError(
            shortened(message),
            expected=_EXPECTED,
            mend="compare the line with a file in pipelines/",
            where=where,
        )
    return ConfigError(
        f"'{unknown['name']}' is no field of {unknown['type'].rsplit('.', 1)[-1]}",
        expected="a field that the OD API's protos know",
        mend=nearest(unknown["name"], _field_names(unknown["type"]))
        + "remove it or correct its name",
        where=where,
    )


def _field_names(message_type: str) -> list[str]:
    try:
        descriptor = pipeline_pb2.DESCRIPTOR.pool.FindMessageTypeByName(message_type)
    except KeyError:
        return []
    return [field.name for field in descriptor.fields]
