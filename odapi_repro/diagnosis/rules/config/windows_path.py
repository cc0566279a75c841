"""Windows paths whose backslashes are read as escapes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.config.syntax import places, where
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import named_paths

# What the escapes of a C string stand for, as somebody typed them.
_TYPED = {"\a": "/a", "\b": "/b", "\f": "/f", "\n": "/n", "\r": "/r", "\t": "/t", "\v": "/v"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMES = {"\a": "bell", "\b": "backspace", "\f": "form feed", "\n": "line feed"} | {
    "\r": "carriage return",
    "\t": "tab",
    "\v": "vertical tab",
}


class WindowsPathEscape(Rule):
    r"""A path is written with single backslashes, which the text format reads as escapes.

    Anti-pattern

        label_map_path: "C:\Users\me\label_map.pbtxt"
        input_path: "C:\temp\new\train.record"

    `\U` and `\x` begin character codes and do not parse; `\t` and `\n` do, as a tab and a line
    feed, and the file is not found.

    Best practice

        label_map_path: "C:/Users/me/label_map.pbtxt"

    Slashes work on Windows as well; so do doubled backslashes.

    Source

    google/protobuf/text_encoding.CUnescape.
    """

    code = "CFG003"
    name = "config.windows_path_escape"
    causes = ("windows_path_escape",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields one finding for paths that do not parse, and one for each that parses wrongly."""
        broken = [one for one in subject.text.problems if one.kind == "windows_path"]
        if broken:
            yield self.finding(
                "windows_path_escape",
                Severity.FATAL,
                fields=(),
                found=f"single backslashes in {places(broken)}: `{broken[0].snippet}`",
                expected="slashes, or every backslash twice",
                why=(
                    "A backslash begins an escape in a text proto, and these are none: the OD API "
                    "stops with a ParseError before it builds a model."
                ),
                loss_ap=100.0,
                where=where(subject.text, broken[0]),
                count=len(broken),
            )
        for field, path in named_paths(subject.pipeline).items():
            control = _CONTROL.search(path)
            if control is None:
                continue
            typed = _CONTROL.sub(lambda one: _TYPED.get(one.group(), "/"), path)
            name = _NAMES.get(control.group(), f"character {ord(control.group())}")
            yield self.finding(
                "windows_path_escape",
                Severity.FATAL,
                fields=(field,),
                found=f"{field} holds a {name}: {path!r}",
                expected=f"probably {typed.replace(chr(92), '/')!r}",
                why=(
                    "A single backslash followed by a letter was read as an escape; no file has "
                    "that name, and the OD API stops when it opens it."
                ),
                loss_ap=100.0,
                fix=(FieldFix(field, typed.replace("\\", "/")),),
            )
