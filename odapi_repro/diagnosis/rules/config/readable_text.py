"""Rules about a text that cannot be read as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from object_detection.protos import pipeline_pb2

from odapi_repro.command import nearest
from odapi_repro.diagnosis.config_text import ConfigText, ParseProblem
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import named_paths

if TYPE_CHECKING:
    from odapi_repro.pipeline.text_splices import Repeat


class NotInUtf8(Rule):
    """The config is not UTF-8, so that nothing starts, whatever the letters stand in.

    Anti-pattern

        # a comment or a path in Korean, Chinese, Japanese, Cyrillic or with accents,
        # saved by an editor of Windows in its own code page (cp949, cp936, cp932, cp1251, cp1252);
        # or a config that PowerShell's > wrote, which is UTF-16

    One such letter in a comment is enough.

    Best practice

        Save the file as UTF-8 without a byte order mark.

    `python -m odapi_repro.fix` writes it in UTF-8 and names the encoding that it took it for, which
    is a guess from the letters that come out: look at your paths afterwards. The rest of the
    diagnosis reads the text in that encoding.

    Source

    utils/config_util.get_configs_from_pipeline_file reads through tf.io.gfile.GFile, which decodes
    UTF-8: model_main_tf2 ends with a UnicodeDecodeError.
    """

    code = "CFG008"
    name = "config.not_utf8"
    causes = ("not_utf8",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields one finding for the first byte, with the number of lines concerned."""
        found = subject.text.not_utf8
        if found is None:
            return
        read = f": `{found.sample[:100]}`" if found.sample and found.encoding else ""
        yield self.finding(
            "not_utf8",
            Severity.FATAL,
            fields=(),
            found=f"the config is not UTF-8: {found.place}; {found.guess}{read}",
            expected="a text in UTF-8, without a byte order mark",
            why="The OD API stops with a UnicodeDecodeError, for a letter in a comment, too.",
            loss_ap=100.0,
            where=f"{subject.text.path}:{found.line}:{found.column}",
            count=found.lines,
            counted="lines",
            mend=found.mend(subject.text.path),
        )


def where(text: ConfigText, problem: ParseProblem) -> str:
    """Gives `file:line:column` of a problem."""
    return f"{text.path}:{problem.line}:{problem.column}"


def places(problems: Sequence[ParseProblem], most: int = 3) -> str:
    """Gives the lines of problems, e.g. `line 3`, `lines 3, 8 and 2 more`."""
    lines = list(dict.fromkeys(problem.line for problem in problems))
    named = ", ".join(map(str, lines[:most]))
    more = f" and {len(lines) - most} more" if len(lines) > most else ""
    return f"line {named}" if len(lines) == 1 else f"lines {named}{more}"


class SyntaxErrors(Rule):
    """The text is no TrainEvalPipelineConfig, so that nothing starts; or a field stands twice.

    Anti-pattern

        fine_tune_checkpoint: "fine_tune_checkpoint: "models/ckpt-0""

    Quotes inside quotes, a missing or surplus brace, `=` for `:`, a path without quotes, curly
    quotes from a web page, a byte order mark from Windows' Notepad.

        batch_size: 128
        batch_size: 4

    A field twice is no error, because the OD API merges (text_format.Merge): the last one counts,
    whichever was edited.

        data_augmentation_options {
          random_horizontal_flip {}
          random_crop_image {}
        }

    Nor are two kinds of one thing: two resizers, two optimizers, two learning rates. The last one
    counts, and the steps of a block are kinds of one thing, too: here nothing is flipped.

    Best practice

        fine_tune_checkpoint: "models/ckpt-0"
        data_augmentation_options { random_horizontal_flip {} }
        data_augmentation_options { random_crop_image {} }

    Every text in one pair of quotes, as many `}` as `{`, every field once, one block for each step
    of augmentation. The rest of the diagnosis reads the text as if each error had been mended in
    the likeliest way, and of what stands twice the last, as the OD API does.

    Source

    google/protobuf/text_format.py; utils/config_util.get_configs_from_pipeline_file, which lets
    the ParseError through, so that model_main_tf2 ends before a model is built.
    """

    code = "CFG001"
    name = "config.syntax_error"
    causes = ("syntax_error", "field_given_twice")
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields one finding for all errors, and one for all repeated fields."""
        text = subject.text
        errors = [one for one in text.problems if one.kind in ("syntax", "encoding")]
        if errors:
            first = errors[0]
            yield self.finding(
                "syntax_error",
                Severity.FATAL,
                fields=(),
                found=(
                    f"{places(errors)} of the config cannot be parsed; the first: "
                    f"{_visible(first.message)} in `{_visible(first.snippet)}`"
                ),
                expected="a TrainEvalPipelineConfig in protobuf's text format",
                why="The OD API stops with a ParseError before it builds a model.",
                loss_ap=100.0,
                where=where(text, first),
                count=len(errors),
            )
        twice = [one for one in text.problems if one.kind == "duplicate_field"]
        if twice:
            yield from self._given_twice(text, twice)

    def _given_twice(self, text: ConfigText, twice: Sequence[ParseProblem]) -> Iterator[Finding]:
        """Yields one finding for fields, and one for every message with several kinds."""
        from odapi_repro.pipeline.text_splices import find_repeats  # a clean config does without

        kinds = [one for one in find_repeats(text.mended) if one.sort in ("kinds", "steps")]
        of_kinds = {(line, name) for one in kinds for line, name in one.places}
        fields = [one for one in twice if (one.line, one.name) not in of_kinds]
        if fields:
            names = ", ".join(dict.fromkeys(one.name for one in fields))
            yield self.finding(
                "field_given_twice",
                Severity.WARNING,
                fields=tuple(dict.fromkeys(f"{one.message_type}.{one.name}" for one in fields)),
                found=f"{names} given more than once, again in {places(fields)}",
                expected="every field once",
                why="The OD API merges what it reads: of a value given twice the last one counts.",
                where=where(text, fields[0]),
                count=len(fields),
            )
        for one in kinds:
            first = next((p for p in twice if (p.line, p.name) in one.places), twice[0])
            yield self._several_kinds(one, where(text, first))

    def _several_kinds(self, repeat: Repeat, place: str) -> Finding:
        dropped = ", ".join(repeat.dropped)
        lines = list(map(str, dict.fromkeys(repeat.lines)))
        listed = (
            f"lines {', '.join(lines[:-1])} and {lines[-1]}" if lines[1:] else f"line {lines[0]}"
        )
        is_step = repeat.sort == "steps"
        number, block = len(repeat.names), "one block of " if is_step else ""
        found = f"of {number} {repeat.sort} in {block}{repeat.thing} only the last counts"
        found += f", {repeat.counts}, not {dropped} ({listed})"
        return self.finding(
            "field_given_twice",
            Severity.WARNING,
            fields=tuple(f"{repeat.holder}.{name}" for name in dict.fromkeys(repeat.names)),
            found=found,
            expected=f"a {repeat.thing} block for each step" if is_step else "one of them",
            why=(
                "They are members of one oneof, of which a message keeps the last that it reads; "
                "the OD API does not say so."
            ),
            where=place,
            count=len(repeat.names) - repeat.counted,
            mend=f"one {repeat.thing} block for each step" if is_step else f"remove {dropped}",
        )


def _visible(text: str) -> str:
    """Gives a text with its invisible letters named: a byte order mark is U+FEFF."""
    return "".join(c if c.isprintable() or c == "\t" else f"<U+{ord(c):04X}>" for c in text)


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


_MOST_FINDINGS = 5


class UnknownProtoField(Rule):
    """A field has a name that its message does not know, so that nothing starts.

    Anti-pattern

        grid_anchor_generator {
          base_anchor_size: 256
          scales: [0.5, 1.0, 2.0]
        }

    A name from another message, from another framework, or misspelt. GridAnchorGenerator has
    `height` and `width`.

    Best practice

        grid_anchor_generator {
          height: 256
          width: 256
          scales: [0.5, 1.0, 2.0]
        }

    The finding names the nearest field of the message, and the messages that have a field of that
    name.

    Source

    object_detection/protos; text_format.Merge in utils/config_util.get_configs_from_pipeline_file
    is called without allow_unknown_field.
    """

    code = "CFG002"
    name = "config.unknown_field"
    causes = ("unknown_proto_field",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for each unknown name, five at most; the last tells how many more."""
        by_name: dict[tuple[str, str], list[ParseProblem]] = {}
        for problem in subject.text.problems:
            if problem.kind == "unknown_field":
                by_name.setdefault((problem.message_type, problem.name), []).append(problem)
        for number, ((owner, name), alike) in enumerate(by_name.items()):
            more = len(by_name) - _MOST_FINDINGS
            if number == _MOST_FINDINGS:
                break
            others = (
                f"; {more} more are unknown" if number == _MOST_FINDINGS - 1 and more > 0 else ""
            )
            yield self.finding(
                "unknown_proto_field",
                Severity.FATAL,
                fields=(f"{owner}.{name}",),
                found=f"{owner} has no field named {name} ({places(alike)}){others}",
                expected=_suggestion(owner, name),
                why="The OD API stops with a ParseError before it builds a model.",
                loss_ap=100.0,
                where=where(subject.text, alike[0]),
                count=len(alike),
            )


def _suggestion(owner: str, name: str) -> str:
    known = _messages().get(owner, ())
    close = nearest(name, known)
    elsewhere = sorted(other for other, fields in _messages().items() if name in fields)
    parts = [close.strip()] if close else []
    if elsewhere:
        more = f" and {len(elsewhere) - 3} more" if len(elsewhere) > 3 else ""
        have = "has" if len(elsewhere) == 1 else "have"
        parts.append(f"{', '.join(elsewhere[:3])}{more} {have} a field of this name")
    if not parts:
        listed = ", ".join(known[:8]) + (" ..." if len(known) > 8 else "")
        parts.append(f"one of {listed}" if listed else "a field that the OD API's protos know")
    return " ".join(parts)


@cache
def _messages() -> dict[str, tuple[str, ...]]:
    """Gives the field names of every message that a pipeline can hold, by the message's name."""
    found: dict[str, tuple[str, ...]] = {}
    waiting: list[Any] = [pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name not in found:
            found[message.name] = tuple(field.name for field in message.fields)
            waiting += [field.message_type for field in message.fields if field.message_type]
    return found
