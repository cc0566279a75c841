"""Errors that a user can mend: what was found, what was expected, how to mend it."""

from __future__ import annotations

from typing import Self

from odapi_repro.foreign_text import shown, shown_lines

_LONGEST = 300


class UserError(Exception):
    """The user's input is wrong; a command prints the message and exits with code 2.

    Args:
        found: what is there, with the offending value.
        expected: what should be there instead.
        mend: what to type or edit.
        where: `file:line:column`, a path or a flag; printed first when given.
    """

    def __init__(self, found: str, *, expected: str = "", mend: str = "", where: str = "") -> None:
        self.found = found
        self.expected = expected
        self.mend = mend
        self.where = where
        super().__init__(self._message())

    @classmethod
    def told(cls, message: str) -> Self:
        """Gives the error that another process has worded, in lines of its own."""
        error = cls(message)
        error.args = (shown_lines(message),)
        return error

    @property
    def in_a_line(self) -> str:
        """What was found, for a note: of a message in several lines each part in its order."""
        parts = (line.strip().removeprefix("| ").strip(" .;") for line in self.found.splitlines())
        return "; ".join(part for part in parts if part)

    def _message(self) -> str:
        where = f"{shown(self.where)}: " if self.where else ""
        lines = [f"{where}{_continued(self.found)}"]
        if self.expected:
            lines.append(f"  expected: {_continued(self.expected)}")
        if self.mend:
            lines.append(f"  help: {_continued(self.mend)}")
        return "\n".join(lines)


class ConfigError(UserError):
    """A pipeline.config that cannot be read or does not hold what is asked of it."""


class DataError(UserError):
    """Records, label maps or COCO json that do not hold what is asked of them."""


class StudyMismatch(UserError):
    """A study of this name exists, and its trials were made of something else."""


class DamagedFile(StudyMismatch):
    """A file that odapi_repro wrote does not read as it was written."""


class EnvironmentMissing(UserError):
    """A package, a device or disk space that the command needs is not there."""


def _continued(text: str) -> str:
    """Marks further lines: no name with a newline in it can pose as a line of the message."""
    return shown_lines(text).replace("\n", "\n  | ")


def shortened(text: str) -> str:
    """Gives the beginning of a text that others wrote: protobuf quotes a line however long."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
