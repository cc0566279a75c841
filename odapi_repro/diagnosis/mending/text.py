"""The text of a config that does not parse, made to parse where it stands."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.config_text import ConfigText, ParseProblem
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.mending.changes import Change, FieldChange
from odapi_repro.diagnosis.text_mends import Draft, mend

__all__ = ["parsable_text", "text_changes"]

_MOST_MENDS = 50
_CAUSES = {"unknown_field": "unknown_proto_field", "windows_path": "windows_path_escape"}


def parsable_text(config: ConfigText) -> str:
    """Gives the text with what does not parse mended or blanked out, line for line.

    A field that stands twice is left in; the OD API takes the last one.
    """
    if not config.problems:
        return config.text
    draft = Draft(config.text.split("\n"))
    for _ in range(_MOST_MENDS):
        try:
            text_format.Parse("\n".join(draft.strict), pipeline_pb2.TrainEvalPipelineConfig())
        except text_format.ParseError as error:
            if mend(draft, error) is None:
                break
        except (ValueError, TypeError, RecursionError):
            break
        else:
            break
    return "\n".join(draft.merged)


def text_changes(
    config: ConfigText, mended: str, findings: Sequence[Finding]
) -> tuple[Change, ...]:
    """Gives a change for each place that did not parse; `findings` are about the text as read."""
    lines = mended.split("\n")
    codes = {finding.cause: finding.code for finding in reversed(findings)}
    changes = []
    for problem in config.problems:
        now = lines[problem.line - 1].strip() if problem.line <= len(lines) else ""
        field = FieldChange(f"line {problem.line}", problem.snippet, now or None)
        code = codes.get(_CAUSES.get(problem.kind, "syntax_error"))
        changes.append(Change((field,), _reason(problem), code))
    return tuple(changes)


def _reason(problem: ParseProblem) -> str:
    if problem.kind == "unknown_field":
        return f"{problem.message_type} has no field named {problem.name}"
    if problem.kind == "windows_path":
        return "a backslash escapes in a text proto; forward slashes do on Windows, too"
    return problem.message.strip()
