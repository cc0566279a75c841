"""The text of a config that does not parse or says a thing twice, mended where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.config_text import ConfigText, ParseProblem
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.mending.changes import Change, FieldChange
from odapi_repro.diagnosis.text_draft import Draft
from odapi_repro.diagnosis.text_mends import mend
from odapi_repro.page.numbers import count_of
from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.text_encoding import NotUtf8
from odapi_repro.pipeline.text_repeats import Repeat, find_repeats, leave_once
from odapi_repro.pipeline.text_tree import TextTreeError

_MOST_MENDS = 50
_CAUSES = {"unknown_field": "unknown_proto_field", "windows_path": "windows_path_escape"}


@dataclass(frozen=True)
class MendedText:
    """A text that parses as far as it could be brought to, in UTF-8.

    Attributes:
        lines: the text with what does not parse mended or blanked out, line for line.
        text: the same with every field once, and every augmentation step in a block of its own.
        repeats: what stood more than once.
        pipeline: what `text` says; None where it does not parse all the same.
    """

    lines: tuple[str, ...]
    text: str
    repeats: tuple[Repeat, ...]
    pipeline: Pipeline | None


def mend_text(config: ConfigText) -> MendedText:
    """Gives the text mended, comments kept.

    Raises:
        ConfigError: it is not UTF-8, and nobody can tell what it is.
    """
    foreign = config.not_utf8
    if foreign is not None and not foreign.encoding and not foreign.stray:
        raise foreign.refusal(config.path)
    lines = _parsable(config) if config.problems else config.text
    repeats: tuple[Repeat, ...] = ()
    text = lines
    if any(one.kind == "duplicate_field" for one in config.problems):
        try:
            repeats, text = find_repeats(lines), leave_once(lines)
        except TextTreeError:
            repeats, text = (), lines
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    try:
        text_format.Parse(text, proto)
    except (text_format.ParseError, ValueError, TypeError, RecursionError):
        return MendedText(tuple(lines.split("\n")), text, repeats, None)
    return MendedText(tuple(lines.split("\n")), text, repeats, Pipeline(proto, config.path))


def _parsable(config: ConfigText) -> str:
    """Gives the text with what does not parse mended or blanked out, line for line.

    A field that stands twice is left in.
    """
    lines = config.text.split("\n")
    # What the first takes for a repeat and leaves out may itself not parse.
    for read in (text_format.Parse, text_format.Merge):
        draft = Draft(lines)
        for _ in range(_MOST_MENDS):
            try:
                read("\n".join(draft.strict), pipeline_pb2.TrainEvalPipelineConfig())
            except text_format.ParseError as error:
                if mend(draft, error) is None:
                    break
            except (ValueError, TypeError, RecursionError):
                break
            else:
                break
        lines = draft.merged
    return "\n".join(lines)


def text_changes(
    config: ConfigText, mended: MendedText, findings: Sequence[Finding]
) -> tuple[Change, ...]:
    """Gives a change for each place that did not parse; `findings` are about the text as read."""
    codes = {finding.cause: finding.code for finding in reversed(findings)}
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
            at = problem.line - 1
            now = mended.lines[at].strip() if at < len(mended.lines) else ""
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
    gone = repeat.places[: len(repeat.places) - repeat.counted]
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
