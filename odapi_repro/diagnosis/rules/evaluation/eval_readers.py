"""Evaluation readers beyond the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject


class EvalReaderIgnored(Rule):
    """Only the first eval_input_reader is evaluated.

    Anti-pattern

        eval_input_reader { tf_record_input_reader { input_path: "val.record" } }
        eval_input_reader { tf_record_input_reader { input_path: "test.record" } }

    The metrics are those of val.record; test.record is never opened.

    Best practice

    A config for each set to be evaluated, with the one reader in it. Records that belong together
    are several `input_path` of one reader.

    Source

    model_lib_v2.eval_continuously: eval_input_configs[eval_index], whose 0 model_main_tf2 never
    changes.
    """

    code: ClassVar[str] = "EVA011"
    name: ClassVar[str] = "evaluation.reader_ignored"
    causes: ClassVar[tuple[str, ...]] = ("eval_reader_ignored",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Tells whether the others would read something else."""
        readers = subject.pipeline.proto.eval_input_reader
        if len(readers) < 2:
            return
        first, others = _paths(readers[0]), [_paths(one) for one in readers[1:]]
        other = next((paths for paths in others if paths and paths != first), None)
        shown = f": {', '.join(other[:2])}" if other else ""
        yield self.finding(
            "eval_reader_ignored",
            Severity.WARNING if other else Severity.INFO,
            fields=[f"eval_input_reader[{index}]" for index in range(1, len(readers))],
            found=f"{len(readers)} evaluation readers, of which only the first is read{shown}"
            + (" is not" if other else ""),
            expected="one eval_input_reader",
            why="model_main_tf2 evaluates the first; no metric is of the others' images.",
            loss_ap=0.5,  # judged: the number is of other images than may be thought
            fix=[
                FieldFix(f"eval_input_reader[{index}]", None)
                for index in reversed(range(1, len(readers)))
            ]
            if not other
            else [],
            count=len(readers) - 1,
        )


def _paths(reader: Any) -> list[str]:
    return [str(path) for path in reader.tf_record_input_reader.input_path]
