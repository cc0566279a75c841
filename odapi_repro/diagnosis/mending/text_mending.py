"""The text of a config that does not parse or says a thing twice, mended where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.config_text import ConfigText, ParseProblem
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.mending.mend_request import Change, FieldChange
from odapi_repro.page.numbers import count_of
from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.text_encoding import NotUtf8
from odapi_repro.pipeline.text_splices import Repeat, find_repeats, leave_once
from odapi_repro.pipeline.text_tree import TextTreeError

_CAUSES = {"unknown_field": "unknown_proto_field", "windows_path": "windows_path_escape"}


@dataclass(frozen=True)
class MendedText:
    """A text that parses as far as it could be brought to, in UTF-8.

    Attributes:
        text: the mended text with every field once, and every augmentation step in a block of its
            own.
        repeats: what stood more than once.
        pipeline: what `text` says; None where it does not parse all the same.
    """

    text: str
    repeats: tuple[Repeat, ...]
    pipeline: Pipeline | None


def mend_text(config: ConfigText) -> MendedText:
    """Gives the mended text with every field once, comments kept.

    Raises:
        ConfigError: it is not UTF-8, and nobody can tell what it is.
    """
    foreign = config.not_utf8
    if foreign is not None and not foreign.encoding and not foreign.stray:
        raise foreign.refusal(config.path)
    text = config.mended
    repeats: tuple[Repeat, ...] = ()
    if any(one.kind == "duplicate_field" for one in config.problems):
        with suppress(TextTreeError):
            repeats, text = find_repeats(text), leave_once(text)
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    try:
        text_format.Parse(text, proto)
    except (text_format.ParseError, ValueError, TypeError, RecursionError):
        return MendedText(text, repeats, None)
    return MendedText(text, repeats, Pipeline(proto, config.path))


def text_changes(
    config: ConfigText, mended: MendedText, findings: Sequence[Finding]
) -> tuple[Change, ...]:
    """Gives a change for each place that did not parse; `findings` are about the text as read."""
    codes = {finding.cause: finding.code for finding in reversed(findings)}
    lines = config.mended.split("\n")
    changes = []
    for problem in config.problems:
        if problem.kind == "duplicate_field":
            continue
        cause = _CAUSES.get(problem.kind, "syntax_error")
        if problem.kind == "not_utf8" and config.not_utf8 is not None:
            cause = problem.kind
            field = FieldChange("encoding", config.not_utf8.encoding, "utf-8")
            if config.not_utf8.stray:
                field = FieldChange(f"line {problem.line}", config.not_utf8.place, None)
        else:
            now = lines[problem.line - 1].strip()
            field = FieldChange(f"line {problem.line}", problem.snippet, now or None)
        changes.append(Change((field,), _reason(problem, config.not_utf8), codes.get(cause)))
    code = codes.get("field_given_twice")
    return (*changes, *(_once(repeat, code) for repeat in mended.repeats))


def _once(repeat: Repeat, code: str | None) -> Change:
    """Gives the change that a repeat was: a line for each field that went or was moved."""
    last, name = repeat.lines[-1], repeat.names[-1]
    if repeat.sort == "steps":
        step = FieldChange(
            f"line {repeat.lines[0]}",
            f"{len(repeat.names)} steps in a block",
            f"{len(repeat.names)} blocks of a step",
        )
        reason = f"of several steps in a {repeat.thing} block only the last counts, {name}"
        return Change((step,), f"{reason}; now all do", code)
    if repeat.sort == "block":
        blocks = tuple(
            FieldChange(f"line {line}", name, f"in the block of line {repeat.lines[0]}")
            for line in repeat.lines[1:]
        )
        return Change(blocks, "a block given twice is merged, and is one block now", code)
    gone = repeat.places[: -repeat.counted]
    fields = tuple(FieldChange(f"line {line}", one, None) for line, one in gone)
    if repeat.sort == "value":
        return Change(fields, f"given more than once: the last counts, of line {last}", code)
    reason = f"of several kinds in {repeat.thing} only the last counts, {name} of line {last}"
    return Change(fields, reason, code)


def _reason(problem: ParseProblem, foreign: NotUtf8 | None) -> str:
    if problem.kind == "unknown_field":
        return f"{problem.message_type} has no field named {problem.name}"
    if problem.kind == "windows_path":
        return "a backslash escapes in a text proto; forward slashes do on Windows, too"
    if problem.kind == "not_utf8" and foreign is not None and foreign.stray:
        return f"not UTF-8, and {foreign.guess}; left out in {count_of(foreign.lines, 'line')}"
    if problem.kind == "not_utf8":
        return f"{problem.message}; the OD API reads UTF-8 only, and the encoding is a guess"
    return problem.message.strip()
