"""A text proto under repair, and what was repaired."""

from __future__ import annotations

from dataclasses import dataclass, field

from odapi_repro.pipeline.text_tree import comment_start


@dataclass
class Draft:
    """A text under repair, as lines.

    Attributes:
        strict: what is parsed; in it a repeated field is left out, so that parsing goes on.
        merged: the same with repeated fields left in, as the OD API reads them.
        bracketed: lines before which a bracket was added or taken, which happens once.
        dropped: lines of which a token was left out; at the second error the rest goes too.
    """

    strict: list[str]
    merged: list[str] = field(default_factory=list)
    bracketed: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.merged = list(self.strict)

    def put(self, number: int, line: str) -> bool:
        """Replaces a line; False where that changes nothing."""
        if self.strict[number] == line:
            return False
        if self.merged[number] == self.strict[number]:
            self.merged[number] = line
        self.strict[number] = line
        return True

    def blank(
        self, start: tuple[int, int], end: tuple[int, int], *, strict_only: bool = False
    ) -> bool:
        """Turns the text from start to end into spaces; False where nothing was there.

        Comments stay, because nobody asked for them to go.
        """
        changed = False
        for number in range(start[0], min(end[0] + 1, len(self.strict))):
            line = self.strict[number]
            first = start[1] if number == start[0] else 0
            last = min(end[1], len(line)) if number == end[0] else len(line)
            comment = comment_start(line)
            last = last if comment is None else min(last, comment)
            blanked = line[:first] + " " * (last - first) + line[last:] if last > first else line
            if not strict_only:
                changed |= self.put(number, blanked)
            elif blanked != line:
                self.strict[number] = blanked
                changed = True
        return changed


@dataclass(frozen=True)
class Mend:
    """What was mended: a ParseProblem with its place counted from 0."""

    kind: str
    said: str
    line: int
    column: int
    name: str = ""
    message_type: str = ""


def split_comment(line: str) -> tuple[str, str]:
    """Gives the code of a line and its comment, which is empty where there is none."""
    start = comment_start(line)
    return (line, "") if start is None else (line[:start], line[start:])
