"""What a diagnosis says of a text that could be read in part only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.diagnosis.text_mends import ParseProblem
from odapi_repro.pipeline.text_tree import TextWalk

# A Windows path and letters that are not UTF-8 are read as they were meant: nothing is lost.
_LOSES_TEXT = frozenset({"syntax", "encoding", "unknown_field"})
_PARSE_ERRORS = frozenset({"syntax_error", "unknown_proto_field"})
_ABOUT_THE_TEXT = _PARSE_ERRORS | {"field_given_twice", "not_utf8", "windows_path_escape"}
# What costs AP is weighed by the steps and the images seen; what stops the OD API is not.
_LENGTH_OF_THE_RUN = frozenset({"train_config.num_steps", "train_config.batch_size"})
_NEVER_CLOSED = re.compile(r"'.*' is never closed")
_INDEX = re.compile(r"\[[^\]]*\]")


def without_consequences(findings: Sequence[Finding], subject: Subject) -> list[Finding]:
    """Leaves out what may only be found because the rest of the text could not be read.

    A finding stays where every field that shows it was read, and lies in no message of which a
    part was not. The parse error, which stands first, tells how many were left out.
    """
    losses = [one for one in subject.text.problems if one.kind in _LOSES_TEXT]
    if not losses or not any(one.cause in _PARSE_ERRORS for one in findings):
        return list(findings)  # nothing is left out but beside what it comes of
    read = _ReadPart(subject, losses)
    length_known = not read.lossy & _LENGTH_OF_THE_RUN
    kept = [
        one
        for one in findings
        if one.cause in _ABOUT_THE_TEXT
        or (all(map(read.holds, one.fields)) and (length_known or one.severity is Severity.FATAL))
    ]
    left_out = len(findings) - len(kept)
    if not left_out:
        return kept
    told = "1 finding that may only come of it is" if left_out == 1 else (
        f"{left_out} findings that may only come of it are"
    )  # fmt: skip
    first = next(number for number, one in enumerate(kept) if one.cause in _PARSE_ERRORS)
    kept[first] = replace(
        kept[first], why=f"{kept[first].why} {told} left out until the text parses."
    )
    return kept


class _ReadPart:
    """What was read; paths are without indices.

    Attributes:
        paths: of all fields that were read, and of the messages around them.
        repeated: those of fields that may stand several times.
        lossy: messages of which something could not be read, and fields whose value may go on in
            what could not: `0,01` is read as 0.
        unclosed: messages that the end of the text cuts short.
    """

    def __init__(self, subject: Subject, losses: Sequence[ParseProblem]) -> None:
        self.paths: set[str] = set()
        self.repeated: set[str] = set()
        self.lossy: set[str] = set()
        self.unclosed: set[str] = set()
        for path, value in subject.fields.items():
            ends = _ends(path)
            if value == "{}" and len(ends) == 1:
                continue  # of a block of the config itself nothing was read
            self.paths.update(map(_bare, ends))
            self.repeated.update(_bare(end) for end in ends if end.endswith("]"))
        lines = subject.text.mended.split("\n")
        walk = TextWalk(subject.text.mended)
        for one in losses:
            begin = sum(map(len, lines[: one.line - 1])) + one.line - 1
            walk.to(begin + min(one.column - 1, len(lines[one.line - 1])))
            field = walk.statement
            if one.kind == "syntax" and field is not None and field.start >= begin:
                self.lossy.add(".".join([*walk.names, field.name]))
            names = walk.names
            if _NEVER_CLOSED.fullmatch(one.message):
                names.append(one.message.split("'")[1])
                self.unclosed.update(_ends(".".join(names)))
            self.lossy.update(_ends(".".join(names)))

    def holds(self, path: str) -> bool:
        """Whether a field was read, and all that may belong to it."""
        path = _bare(path)
        owner = path.rpartition(".")[0]
        return (
            path in self.paths
            and path not in self.lossy
            and not (path in self.repeated and owner in self.lossy)
            and owner not in self.unclosed
        )


def _bare(path: str) -> str:
    return _INDEX.sub("", path)


def _ends(path: str) -> list[str]:
    """Gives a path and the paths of all messages around it."""
    steps = path.split(".") if path else []
    return [".".join(steps[:end]) for end in range(1, len(steps) + 1)]
