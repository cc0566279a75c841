"""What a config is written in where it is not UTF-8, guessed from the letters that come out.

The OD API reads a config through `tf.io.gfile.GFile`, which decodes UTF-8 and stops on anything
else, in a comment too. Editors of Windows write the code page of its language (cp949 in Korea,
cp936 in China, cp932 in Japan, cp1251 in Russia, cp1252 in the west), PowerShell's `>` UTF-16.

A text in which bytes are not UTF-8 travels as Python decodes it with `surrogateescape` (PEP 383),
so that nothing of it is lost before somebody looks.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.text_letters import MARKS, guess_encoding
from odapi_repro.pipeline.text_tree import all_tokens

_ESCAPED = re.compile("[\udc80-\udcff]")
_LETTERS = ("string", "comment")  # where letters of the user's may stand
# A comment in another encoding has fewer bytes that are not UTF-8, a binary has more.
_MOST_UNDECODABLE = 0.05
_MOST_FOREIGN = 0.5
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@dataclass(frozen=True)
class NotUtf8:
    """A text that is not UTF-8.

    Attributes:
        line: of the first byte that is not, from 1.
        column: of that byte in its line, in bytes from 1.
        offset: of that byte in the file, from 0.
        byte: its value.
        lines: lines that are not UTF-8.
        encoding: what the file was probably written in, as Python and iconv name it; empty where
            nothing fits, or two fit alike.
        text: as that encoding reads it; without a guess, with U+FFFD for what is not UTF-8.
        sample: the line, as it is read.
        stray: whether no encoding fits and none is needed, because the bytes stand outside of texts
            and comments; `text` goes without them.
    """

    line: int
    column: int
    offset: int
    byte: int
    lines: int
    encoding: str
    text: str
    sample: str
    stray: bool = False

    @property
    def place(self) -> str:
        """Where the first byte stands, in words."""
        return f"byte {self.column} of line {self.line} (0x{self.byte:02x}, byte {self.offset})"

    @property
    def guess(self) -> str:
        """What the encoding is taken for, in words."""
        if self.stray:
            return "no letter of a text or a comment"
        if not self.encoding:
            return "what it is written in is not clear"
        return f"it is probably {self.encoding}"

    def refusal(self, path: str) -> ConfigError:
        """Gives the error of a command that needs UTF-8."""
        return ConfigError(
            f"not UTF-8, at which the OD API stops: {self.place}; {self.guess}",
            expected="a text in UTF-8",
            mend=self.mend(path),
            where=f"{path}:{self.line}:{self.column}",
        )

    def mend(self, path: str) -> str:
        """Gives what to type to have the file in UTF-8."""
        path = "-" if path == "<stdin>" else path
        if self.encoding or self.stray:
            return f"python -m odapi_repro.fix {path} writes it anew in UTF-8, or save it as UTF-8"
        return f"save it as UTF-8 in an editor, or: iconv -f ENCODING -t UTF-8 {path}"


def look_at_encoding(text: str) -> NotUtf8 | None:
    """Gives where a text is not UTF-8, and its likeliest encoding; None for one that is.

    `text` was decoded from UTF-8 with `surrogateescape`. Lines are judged one by one: those that
    are UTF-8 are read as such, whatever the others are.
    """
    first = None if text.isascii() else _ESCAPED.search(text)
    if first is None:
        return None
    start = text.rfind("\n", 0, first.start()) + 1
    before = text[: first.start()].encode("utf-8", "surrogateescape")
    lines = text.split("\n")
    foreign = [number for number, line in enumerate(lines) if _ESCAPED.search(line)]
    stray = False
    encoding, decoded = _utf_16(text)
    if decoded is None:
        encoding, stray = _guess_or_stray([lines[number] for number in foreign])
        for number in foreign:
            read = _bytes(lines[number])
            lines[number] = read.decode(encoding or "utf-8", "ignore" if stray else "replace")
    whole = decoded if decoded is not None else "\n".join(lines)
    at = text.count("\n", 0, first.start())
    return NotUtf8(
        line=at + 1,
        column=len(text[start : first.start()].encode("utf-8")) + 1,
        offset=len(before),
        byte=ord(first.group()) - 0xDC00,
        lines=len(foreign),
        encoding=encoding,
        text=whole,
        sample=whole.split("\n", at + 1)[at].strip() if decoded is None else "",
        stray=stray,
    )


def reads_as_text(found: NotUtf8, characters: int) -> bool:
    """Whether what is not UTF-8 is a text all the same, rather than a binary."""
    if "\0" in found.text:
        return False
    if found.encoding:
        return True
    missing = characters - len(found.text) if found.stray else found.text.count("\ufffd")
    return missing <= _MOST_UNDECODABLE * characters


def _guess_or_stray(lines: Sequence[str]) -> tuple[str, bool]:
    """Gives the encoding of lines that are not UTF-8, or that none is needed.

    Outside of texts and comments only typed quotation marks make sense.
    """
    encoding = guess_encoding([_bytes(line) for line in lines])
    said = (one.text for line in lines for one in all_tokens(line) if one.kind in _LETTERS)
    if any(map(_ESCAPED.search, said)):
        return encoding, False
    read = "".join(_bytes(line).decode(encoding or "utf-8", "ignore") for line in lines)
    if encoding and all(letter.isascii() or letter in MARKS for letter in read):
        return encoding, False
    return "", True


def _bytes(line: str) -> bytes:
    return line.encode("utf-8", "surrogateescape")


def _utf_16(text: str) -> tuple[str, str | None]:
    """Gives the form of UTF-16 that a byte order mark names, and the text; None for no such text.

    A binary may begin like a mark by chance; a config is mostly ASCII.
    """
    encoding = _UTF_16.get(_bytes(text[:2]) if _ESCAPED.match(text) else b"", "")
    try:
        decoded = _bytes(text)[2:].decode(encoding) if encoding else ""
    except UnicodeDecodeError:
        return "", None
    usual = sum(letter.isascii() for letter in decoded)
    is_text = bool(encoding) and "\0" not in decoded and usual >= _MOST_FOREIGN * len(decoded)
    return (encoding, decoded) if is_text else ("", None)
