"""The text does not parse, or says a thing twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from odapi_repro.diagnosis.config_text import ConfigText, ParseProblem
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

__all__ = ["SyntaxErrors", "places", "where"]


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

    Best practice

        fine_tune_checkpoint: "models/ckpt-0"

    Every text in one pair of quotes, as many `}` as `{`, every field once. The rest of the
    diagnosis reads the text as if each error had been mended in the likeliest way.

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
            names = ", ".join(dict.fromkeys(one.name for one in twice))
            yield self.finding(
                "field_given_twice",
                Severity.WARNING,
                fields=tuple(dict.fromkeys(f"{one.message_type}.{one.name}" for one in twice)),
                found=f"{names} given more than once, again in {places(twice)}",
                expected="every field, and one of a kind, once",
                why=(
                    "The OD API merges what it reads: of a value given twice the last one counts, "
                    "and of two kinds of one thing only the last is kept."
                ),
                where=where(text, twice[0]),
                count=len(twice),
            )


def _visible(text: str) -> str:
    """Gives a text with its invisible letters named: a byte order mark is U+FEFF."""
    return "".join(c if c.isprintable() or c == "\t" else f"<U+{ord(c):04X}>" for c in text)
