"""A config as text: what was read, where it does not parse, and what could be parsed all the same.

A diagnosis does not stop at the first error, so the text is mended step by step (an unknown field
left out, a backslash turned, a bracket closed, a line dropped) until protobuf accepts it; each
mend is a problem that a rule reports. Mends never move a line, so positions stay those of the file.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.text_draft import Draft, Mend
from odapi_repro.pipeline import Pipeline

if TYPE_CHECKING:
    from odapi_repro.pipeline.text_encoding import NotUtf8


_MOST_MENDS = 50
_SECONDS = 0.6
# Nothing that is longer is a config, and protobuf repeats the line in every message.
_LONGEST_LINE = 100_000
_MOST_LINES = 100_000
_SNIPPET = 120


@dataclass(frozen=True)
class ParseProblem:
    """One place that does not parse.

    Attributes:
        kind: `unknown_field`, `windows_path`, `syntax`, `encoding` (a letter that nobody sees),
            `not_utf8`, or `duplicate_field`, which the OD API takes: it merges, and the last one
            counts.
        message: what protobuf said, without the position.
        line: from 1.
        column: from 1.
        snippet: the line itself, cut to 120 characters.
        name: the unknown or repeated field's name, where that is the problem.
        message_type: the message that has no such field, or has it once only.
    """

    kind: str
    message: str
    line: int
    column: int
    snippet: str
    name: str = ""
    message_type: str = ""


@dataclass(frozen=True)
class ConfigText:
    """The text of a config.

    Attributes:
        path: where it was read from.
        text: as it stands in the file; of one that is not UTF-8, as its likeliest encoding reads
            it.
        problems: what does not parse, in the order of the text; empty for a clean config.
        mended: the text as far as it was mended, line for line; `text` itself for a clean config.
            A field that stands twice is left in, because the OD API takes the last one.
        not_utf8: where it is not UTF-8, and what it probably is; None for one that is.
    """

    path: str
    text: str
    problems: tuple[ParseProblem, ...] = ()
    mended: str = ""
    not_utf8: NotUtf8 | None = None


def read_config_text(text: str, path: str) -> tuple[ConfigText, Pipeline]:
    """Gives the text with its problems, and the pipeline that could be made of it.

    Never raises for a text, and ends within about a second: after 50 mends or 0.6 s it gives what
    was parsed by then, possibly nothing. `text` has bytes that are not UTF-8 as `surrogateescape`
    gives them.
    """
    foreign = None
    if not text.isascii():
        from odapi_repro.pipeline.text_encoding import look_at_encoding  # of few configs

        foreign = look_at_encoding(text)
        text = text if foreign is None else foreign.text
    original = text.split("\n", _MOST_LINES)
    draft = Draft([line[:_LONGEST_LINE] for line in original])
    deadline = time.monotonic() + _SECONDS
    mends: list[Mend] = []
    if foreign is not None:
        said = f"not UTF-8: {foreign.place}"
        mends.append(Mend("not_utf8", said, foreign.line - 1, foreign.column - 1))
    longest = max(range(len(original)), key=lambda number: len(original[number]))
    if len(original[longest]) > _LONGEST_LINE:
        said = f"over {_LONGEST_LINE} characters in a line; the rest of it is not looked at"
        mends.append(Mend("syntax", said, longest, _LONGEST_LINE))
    elif len(original) > _MOST_LINES:
        said = f"over {_MOST_LINES} lines; the rest is not looked at"
        mends.append(Mend("syntax", said, _MOST_LINES, 0))
    proto = _mend_and_parse(draft, mends, deadline, merge=False)
    if any(one.kind == "duplicate_field" for one in mends):
        # The OD API reads with text_format.Merge: the last of several counts. What was left out
        # as a repeat may itself not parse.
        draft = Draft(draft.merged)
        proto = _mend_and_parse(draft, mends, time.monotonic() + _SECONDS, merge=True)
    problems = sorted({_problem(one, original) for one in mends}, key=lambda p: (p.line, p.column))
    mended = "\n".join(draft.merged) if problems else text
    return ConfigText(path, text, tuple(problems), mended, foreign), Pipeline(proto, path)


def _mend_and_parse(
    draft: Draft, mends: list[Mend], deadline: float, *, merge: bool
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Mends the draft until it parses or is given up, adds to `mends`, and gives what parsed."""
    while True:
        proto, error, in_time = _parse(draft.strict, deadline, merge=merge)
        if not in_time:
            mends.append(_gave_up(draft, "reading it took too long; the rest is not looked at"))
        if error is None or not in_time:
            return proto
        from odapi_repro.diagnosis.text_mends import mend  # a clean config does without

        spent = len(mends) >= _MOST_MENDS or time.monotonic() > deadline
        done = None if spent else mend(draft, error)
        if done is None:
            mends.append(
                _gave_up(draft, "too much does not parse; the rest is not looked at", error)
            )
            return proto
        mends.append(done)


def _parse(
    lines: Sequence[str], deadline: float, *, merge: bool
) -> tuple[pipeline_pb2.TrainEvalPipelineConfig, text_format.ParseError | None, bool]:
    """Gives what was parsed, the first error, and whether the time sufficed to look at all."""
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    in_time = True

    def until_the_deadline() -> Iterator[str]:
        nonlocal in_time
        for number, line in enumerate(lines):
            if number % 256 == 0 and time.monotonic() > deadline:
                in_time = False
                return
            yield line

    # types-protobuf knows MergeLines only.
    read = text_format.MergeLines if merge else text_format.ParseLines  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            # CUnescape warns of escapes that Python does not know, such as \d in a Windows path.
            warnings.simplefilter("ignore")
            read(until_the_deadline(), proto)
    except text_format.ParseError as error:
        return proto, error, in_time
    except (ValueError, TypeError, RecursionError) as error:
        return proto, text_format.ParseError(f"{type(error).__name__}: {error}"), in_time
    return proto, None, in_time


def _gave_up(draft: Draft, said: str, error: text_format.ParseError | None = None) -> Mend:
    line = (error.GetLine() if error is not None else None) or len(draft.strict)
    return Mend("syntax", said, line - 1, 0)


def _problem(one: Mend, original: Sequence[str]) -> ParseProblem:
    line = min(max(one.line, 0), len(original) - 1)
    return ParseProblem(
        one.kind,
        one.said,
        line + 1,
        one.column + 1,
        original[line].strip()[:_SNIPPET],
        one.name,
        one.message_type,
    )
