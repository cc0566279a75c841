"""Text that others wrote, on its way to a terminal, a Markdown page or a picture.

Names of classes, files, studies and paths come from data. A control character in one of them can
move the cursor, change a title or hide what follows; a newline ends a table row; `|` and `*` are
markup. Everything that prints a name from outside puts it through here.
"""

from __future__ import annotations

import re

__all__ = ["markdown", "markdown_code", "shown", "shown_lines"]

# C0, DEL, C1; line and paragraph separators; marks that turn the direction of writing; halves of
# surrogate pairs, which stand for bytes of a file name that are not UTF-8; invisible signs.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)
_HIDDEN_BUT_NEWLINE = re.compile(_HIDDEN.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|~$#&!])")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(text: object) -> str:
    """Gives a text on one line, with what cannot be seen written as escapes, e.g. `\\x1b`."""
    return _HIDDEN.sub(_escape, str(text))


def shown_lines(text: object) -> str:
    """Gives a text of several lines; all but their ends is as in `shown`."""
    return _HIDDEN_BUT_NEWLINE.sub(_escape, str(text))


def markdown(text: object) -> str:
    """Gives a text as Markdown that shows just that text, in a line, a heading or a table cell."""
    return _MARKUP.sub(r"\\\1", shown(text))


def markdown_code(text: object) -> str:
    """Gives a text as inline code, whatever backticks it holds; for table cells, too."""
    plain = shown(text).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence = "`" * (longest + 1)
    room = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{room}{plain}{room}{fence}"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
