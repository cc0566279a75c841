"""A config as text: what was read, where it does not parse, and what could be parsed all the same.

A diagnosis does not stop at the first error, so the text is mended step by step (an unknown field
left out, a backslash turned, a bracket closed, a line dropped) until protobuf accepts it; each
mend is a problem that a rule reports. Mends never move a line, so positions stay those of the file.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odapi_repro.diagnosis.text_mends import Draft, ParseProblem, mend_until_it_parses
from odapi_repro.pipeline import Pipeline

if TYPE_CHECKING:
    from odapi_repro.pipeline.text_encoding import NotUtf8


_MOST_MENDS = 50
_SECONDS = 0.6
# Nothing that is longer is a config, and protobuf repeats the line in every message.
_LONGEST_LINE = 100_000
_MOST_LINES = 100_000


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


def read_config_text(
    text: str, path: str, *, thorough: bool = False
) -> tuple[ConfigText, Pipeline]:
    """Gives the text with its problems, and the pipeline that could be made of it.

    Never raises for a text, and ends within about a second: after 50 mends or 0.6 s it gives what
    was parsed by then, possibly nothing.

    Args:
        text: has bytes that are not UTF-8 as `surrogateescape` gives them.
        path: where it was read from.
        thorough: look at all of it, however long that takes, and mend twice as much.
    """
    foreign = None
    if not text.isascii():
        from odapi_repro.pipeline.text_encoding import look_at_encoding  # of few configs

        foreign = look_at_encoding(text)
        text = text if foreign is None else foreign.text
    lines = text.split("\n", -1 if thorough else _MOST_LINES)
    draft = Draft(lines if thorough else [line[:_LONGEST_LINE] for line in lines])
    if foreign is not None:
        said = f"not UTF-8: {foreign.place}"
        spot = (foreign.line - 1, foreign.column - 1)
        draft.problems.append(draft.problem("not_utf8", said, spot))
    longest = max(range(len(lines)), key=lambda number: len(lines[number]))
    if len(draft.original[longest]) < len(lines[longest]):
        said = f"over {_LONGEST_LINE} characters in a line; the rest of it is not looked at"
        draft.problems.append(draft.problem("syntax", said, (longest, _LONGEST_LINE)))
    elif len(lines) > _MOST_LINES and not thorough:
        said = f"over {_MOST_LINES} lines; the rest is not looked at"
        draft.problems.append(draft.problem("syntax", said, (_MOST_LINES, 0)))
    seconds = math.inf if thorough else _SECONDS
    most = _MOST_MENDS * 2 if thorough else _MOST_MENDS
    proto = mend_until_it_parses(draft, time.monotonic() + seconds, most, merge=False)
    if any(one.kind == "duplicate_field" for one in draft.problems):
        # The OD API reads with text_format.Merge: the last of several counts.
        draft.begin_again()
        proto = mend_until_it_parses(draft, time.monotonic() + seconds, most, merge=True)
    problems = sorted(dict.fromkeys(draft.problems), key=lambda one: (one.line, one.column))
    mended = "\n".join(draft.merged) if problems else text
    return ConfigText(path, text, tuple(problems), mended, foreign), Pipeline(proto, path)
