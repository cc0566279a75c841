"""The records by which folders of results are known: what a study is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from odapi_repro.errors import StudyMismatch, UserError
from odapi_repro.files import read_record, record_text, write_whole
from odapi_repro.page.results_folder import README

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_KINDS: Final = {
    "study.json": "a study of factors (run)",
    "sweep.json": "a study of factors without training (run --checkpoint)",
    "sanity.json": "a sanity run (run --sanity)",
    "explanation.json": "an explanation (explain)",
    "evaluation.json": "an evaluation (evaluate)",
}
_MOST_SHOWN: Final = 6


_RecordT = TypeVar("_RecordT", bound="DataclassInstance")


@dataclass(frozen=True)
class _MadeOf:
    """What of a record decides whether a study may go on."""

    foundation: Mapping[str, Any]


@dataclass(frozen=True)
class RecordFile(Generic[_RecordT]):
    """The file of one kind of record.

    Attributes:
        name: of the file; one of those by which a folder is known.
        kind: the dataclass that it holds.
        version: of its format.
        mend: what a user can do about a damaged one.
        partly: it holds more than `kind` does.
    """

    name: str
    kind: type[_RecordT]
    version: int
    mend: str
    partly: bool = False

    def read(self, folder: Path) -> _RecordT:
        """Reads the record of a folder.

        Raises:
            FileNotFoundError: there is none.
            DamagedFile: it is not as it was written, or of a newer format.
        """
        path, kind = folder / self.name, self.kind
        return read_record(path, kind, version=self.version, mend=self.mend, partly=self.partly)

    def text(self, fields: Mapping[str, Any]) -> bytes:
        """Gives the content of the file."""
        return record_text(fields, version=self.version).encode()

    def write(self, folder: Path, fields: Mapping[str, Any]) -> None:
        """Writes the record, atomically; the folder is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / self.name, self.text(fields))

    def check_kind(self, folder: Path) -> None:
        """Refuses a folder that holds another kind of result.

        Raises:
            UserError: names what it holds.
        """
        check_result_kind(folder, self.name)

    def check_same(self, folder: Path, foundation: Mapping[str, Any]) -> None:
        """Refuses to go on with a folder whose trials were made of something else.

        Raises:
            StudyMismatch: names the fields that differ.
            DamagedFile: its record cannot be read.
        """
        path = folder / self.name
        try:
            made = read_record(path, _MadeOf, version=self.version, mend=self.mend, partly=True)
        except FileNotFoundError:
            return
        check_same_foundation(folder.name, made.foundation, foundation)


def check_result_kind(folder: Path, record: str) -> None:
    """Refuses to write one kind of result over another.

    Args:
        folder: in results/.
        record: name of the file that the result about to be written is known by.

    Raises:
        UserError: names what the folder holds.
    """
    for name, kind in _KINDS.items():
        if name != record and (folder / name).exists():
            raise _of_another_kind(folder, kind)


def check_no_other_result(folder: Path, record: str) -> None:
    """Refuses as `check_result_kind`, and a README.md without the record, too.

    Raises:
        UserError: names what the folder holds.
    """
    check_result_kind(folder, record)
    if (folder / README).exists() and not (folder / record).exists():
        raise _of_another_kind(folder, f"a {README} without {record}")


def _of_another_kind(folder: Path, held: str) -> UserError:
    return UserError(
        f"this folder holds {held}",
        expected="a new name, or that of an earlier result of the same kind",
        mend="choose another --name",
        where=str(folder),
    )


def check_same_foundation(study: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Refuses to let a study grow by trials that are made of something else.

    Args:
        study: its name.
        mine: field -> value as the study has it.
        theirs: as it would be now.

    Raises:
        StudyMismatch: names the fields that differ.
    """
    differing = [n for n in {**mine, **theirs} if mine.get(n) != theirs.get(n)]
    if not differing:
        return
    told = [f"{n}: {mine.get(n)!r} there, {theirs.get(n)!r} now" for n in differing[:_MOST_SHOWN]]
    if len(differing) > _MOST_SHOWN:
        told.append(f"and {len(differing) - _MOST_SHOWN} more fields")
    raise StudyMismatch(
        f"study '{study}' exists, and its trials were made of something else:\n    "
        + "\n    ".join(told),
        expected="the same pipeline, checkpoints, records and held constants in one study",
        mend="give this one another --name, or undo the change",
    )
