"""Where a field stands in the text of a config, also in a text that does not parse."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)
      | (?P<word>[A-Za-z0-9_.+\-]+)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_INDEX = re.compile(r"\[\d+\]")
# Deeper and longer than any config of the OD API; they bound what a hostile text can take.
_DEEPEST = 60
_MOST_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class Place:
    """A place in a text; line and column count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass
class _Frame:
    """A message that the scanner is in: its path, how often each field was seen, its field."""

    path: str
    seen: dict[str, int]
    name: str = ""
    name_at: int = 0
    in_list: bool = False


class Places:
    """The places of all fields of one text, by the dotted paths of `pipeline.flatten_fields`.

    The first MiB of the text is scanned, when a place is first asked for. Any text will do: what
    is no text proto has few fields, and a wrong brace shifts the fields after it.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._offsets: dict[str, int] | None = None
        self._lines: list[int] = []

    def of(self, path: str) -> Place | None:
        """Gives the place of a field, or else of the innermost message around it that is there.

        An index may be left out and then means the first. None when not even the outermost
        message of the path is there.
        """
        if self._offsets is None:
            self._offsets = _scan(self._text[:_MOST_CHARACTERS])
            self._lines = [0, *(match.end() for match in re.finditer("\n", self._text))]
        steps = path.split(".")
        while steps:
            offset = self._offsets.get(_with_indices(".".join(steps)))
            if offset is not None:
                line = bisect_right(self._lines, offset)
                return Place(line, offset - self._lines[line - 1] + 1)
            steps.pop()
        return None


def _with_indices(path: str) -> str:
    return ".".join(step if step.endswith("]") else f"{step}[0]" for step in path.split("."))


def _scan(text: str) -> dict[str, int]:
    """Gives the offset of every field, each step of its path with an index."""
    offsets: dict[str, int] = {}
    frames = [_Frame("", {})]
    too_deep = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in ("{", "<"):
            if too_deep or len(frames) > _DEEPEST:
                too_deep += 1
            else:
                frames.append(_opened(frames[-1], offsets))
        elif token in ("}", ">"):
            if too_deep:
                too_deep -= 1
            elif len(frames) > 1:
                frames.pop()
        elif match.lastgroup != "skip" and not too_deep:
            _step(frames[-1], match, offsets)
    return offsets


def _opened(frame: _Frame, offsets: dict[str, int]) -> _Frame:
    """Gives the frame of the message that begins here; one without a name goes by `?`."""
    inner = _record(frame, frame.name_at, offsets) if frame.name else f"{frame.path}?"
    if not frame.in_list:
        frame.name = ""
    return _Frame(f"{inner}.", {})


def _step(frame: _Frame, match: re.Match[str], offsets: dict[str, int]) -> None:
    """Takes one token inside a message: a name first, then what belongs to it."""
    token = match[0]
    if not frame.name:
        if match.lastgroup == "word":
            frame.name, frame.name_at = token, match.start()
    elif token == "[":
        frame.in_list = True
    elif token == "]":
        frame.name, frame.in_list = "", False
    elif match.lastgroup != "mark":
        _record(frame, match.start() if frame.in_list else frame.name_at, offsets)
        if not frame.in_list:
            frame.name = ""


def _record(frame: _Frame, offset: int, offsets: dict[str, int]) -> str:
    """Notes one occurrence of the frame's field and gives its path."""
    index = frame.seen.get(frame.name, 0)
    frame.seen[frame.name] = index + 1
    path = f"{frame.path}{frame.name}[{index}]"
    offsets.setdefault(path, offset)
    return path
