"""Text measured in columns of a screen, where a letter of Chinese takes two and an accent none."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_BREAKS: Final = re.compile(r"(?<=[/_\-.,;:=+|])(?=[^/_\-.,;:=+|])")
"""Where a word that has to be broken is broken best."""


def columns(text: str) -> int:
    """Gives how many columns a text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def cut(text: str, width: int, more: str = "...") -> str:
    """Gives the beginning of a text that `width` columns can hold, with `more` where it is cut."""
    if columns(text) <= width:
        return text
    kept, room = "", width - len(more)
    for letter in text:
        room -= _columns_of(letter)
        if room < 0:
            break
        kept += letter
    return (kept + more)[:width]


def filled(text: str, width: int, *, right: bool = False) -> str:
    """Gives a text with spaces after it, or before it, up to so many columns."""
    spaces = " " * (width - columns(text))
    return spaces + text if right else text + spaces


def wrap(text: str, width: int, *, whole_words: bool = False) -> list[str]:
    """Gives a text as lines of at most `width` columns, "" as one line.

    Args:
        whole_words: a word that is longer than a line, such as a path, stays in one piece.
    """
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if columns(joined) <= width or (whole_words and not lines[-1]):
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        lines[-1:] = [word] if whole_words else _pieces(word, width)
    return lines


def _pieces(word: str, width: int) -> list[str]:
    """Gives a word in pieces that fit, broken after a mark between its parts where there is one."""
    pieces = [""]
    for part in _BREAKS.split(word):
        if pieces[-1] and columns(pieces[-1] + part) > width:
            pieces.append("")
        for letter in part:
            if pieces[-1] and columns(pieces[-1] + letter) > width:
                pieces.append("")
            pieces[-1] += letter
    return pieces


def _columns_of(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
