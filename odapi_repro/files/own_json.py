"""One strict reader of our own JSON files, and the one way to write them."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from odapi_repro.errors import DamagedFile
from odapi_repro.files.writing import write_whole
from odapi_repro.foreign_text import shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


_MOST_JSON_BYTES = 256 << 20
_SUM = "sum"
_T = TypeVar("_T")
_Record = TypeVar("_Record", bound="DataclassInstance")


def json_text(value: object) -> str:
    """Gives our files' JSON: indented by one, with a newline at the end."""
    return json.dumps(value, indent=1) + "\n"


def write_json(path: str | os.PathLike[str], value: object) -> Path:
    """Writes a JSON file; see `replacing`."""
    return write_whole(path, json_text(value))


def record_text(fields: Mapping[str, Any], *, version: int) -> str:
    """Gives what `read_record` reads: the fields, their version, and a sum over both.

    The sum tells a file that was changed since from one that was not, where both read well.
    """
    # As it will be read: keys are texts then.
    content = json.loads(json.dumps({"version": version, **fields}))
    return json_text({**content, _SUM: _sum_of(content)})


def write_record(path: str | os.PathLike[str], fields: Mapping[str, Any], *, version: int) -> Path:
    """Writes a file that `read_record` reads."""
    return write_whole(path, record_text(fields, version=version))


def digest_of(path: str | os.PathLike[str]) -> str:
    """Gives 16 hex digits that stand for a file's content; empty where there is none to read."""
    import hashlib  # OpenSSL takes a while to load, and most commands need none of it

    if not Path(path).is_file():
        return ""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return ""


def read_json(path: str | os.PathLike[str], *, mend: str) -> dict[str, Any]:
    """Reads one of our JSON files, which hold an object each.

    Args:
        path: of the file.
        mend: what the user can do about a damaged one.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it cannot be read, or is not an object.
    """
    path = Path(path)
    try:
        # A pipe in its place would hold a reader that waits.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise damaged(path, "it is no file", mend)
            if found.st_size > _MOST_JSON_BYTES:
                raise damaged(path, f"it is larger than {_MOST_JSON_BYTES:,} bytes", mend)
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read()
        finally:
            os.close(descriptor)
        value = json.loads(content.decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except UnicodeDecodeError as error:
        raise damaged(path, f"byte {error.start} is not UTF-8", mend) from error
    except RecursionError as error:
        raise damaged(path, "it is nested too deep", mend) from error
    except OSError as error:
        raise damaged(path, error.strerror or str(error), mend) from error
    except ValueError as error:
        raise damaged(path, str(error), mend) from error
    if not isinstance(value, dict):
        raise damaged(path, f"it holds {_kind(value)}, not an object", mend)
    return value


def read_record(
    path: str | os.PathLike[str],
    kind: type[_Record],
    *,
    version: int,
    mend: str,
    partly: bool = False,
) -> _Record:
    """Reads a versioned JSON file as a dataclass.

    Args:
        path: of the file.
        kind: the dataclass; fields of JSON's kinds, of other dataclasses, mappings, lists and
            tuples of them.
        version: the newest that can be read.
        mend: what the user can do about a damaged one.
        partly: whether the file holds more than `kind` has fields for.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it cannot be read, lacks a field or has another, a value is of another kind
            or not what was written, or a newer version wrote it.
    """
    path = Path(path)
    fields = read_json(path, mend=mend)
    told = fields.pop(_SUM, None)
    found = _sum_of(fields)
    written = fields.pop("version", None)
    if type(written) is not int:
        raise damaged(path, f"its version is {_kind(written)}, not a whole number", mend)
    if written > version:
        raise DamagedFile(
            f"{path.name} has format {written}",
            expected=f"format {version} or older",
            mend="use the version of odapi_repro that wrote it",
            where=str(path),
        )
    if told is not None and told != found:
        raise damaged(path, "it was changed after it was written", mend)
    unknown = sorted(fields.keys() - kind.__dataclass_fields__.keys())
    if unknown and not partly:
        raise damaged(path, f"it holds {', '.join(unknown)}, which is never written there", mend)
    try:
        return typed(fields, kind)
    except ValueError as error:
        raise damaged(path, str(error), mend) from error


def typed(value: object, kind: type[_T]) -> _T:
    """Gives a JSON value as the type it was written from.

    Raises:
        ValueError: says what is wrong and where, e.g. "Expected `int`, got `str` - at `$.step`".
    """
    import msgspec

    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def damaged(path: Path, problem: str, mend: str) -> DamagedFile:
    """Gives the error to raise for one of our files that somebody or something changed."""
    return DamagedFile(
        f"{path.name} cannot be read: {shown(problem)}",
        expected="the file as odapi_repro wrote it",
        mend=mend,
        where=str(path),
    )


def _sum_of(fields: Mapping[str, Any]) -> str:
    import hashlib

    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return {list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")
