"""Fields that no proto of the OD API has."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from object_detection.protos import pipeline_pb2

from odapi_repro.command import nearest
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.config.syntax import places, where
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.diagnosis.text_mends import ParseProblem

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
