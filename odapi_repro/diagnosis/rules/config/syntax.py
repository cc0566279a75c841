"""The text does not parse, or says a thing twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from odapi_repro.diagnosis.config_text import ConfigText
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.diagnosis.text_mends import ParseProblem

if TYPE_CHECKING:
    from odapi_repro.pipeline.text_repeats import Repeat


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
        from odapi_repro.pipeline.text_repeats import find_repeats  # a clean config does without

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
