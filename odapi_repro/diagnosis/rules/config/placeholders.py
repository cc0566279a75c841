"""Paths that were never filled in."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import is_placeholder, is_upstreams_slip, named_paths


class PlaceholderPath(Rule):
    """Paths still are placeholders, which no file has for a name.

    Anti-pattern

        train_input_reader {
          label_map_path: "annotations/label_map.pbtxt"
          tf_record_input_reader { input_path: "annotations/train.record" }
        }
        eval_input_reader {
          label_map_path: "PATH_TO_BE_CONFIGURED/label_map.txt"
          tf_record_input_reader { input_path: "PATH_TO_BE_CONFIGURED/val2017.tfrecord" }
        }

    Some paths were filled in and others forgotten, most often those of the evaluation or
    `fine_tune_checkpoint`. Shell variables count as well: TensorFlow expands none.

    Best practice

        eval_input_reader {
          label_map_path: "annotations/label_map.pbtxt"
          tf_record_input_reader { input_path: "annotations/test.record" }
        }

    A config in which every path is a placeholder is a template, such as those of configs/tf2 and
    of pipelines/; `odapi_repro.run --data` fills it, and the finding is no more than a reminder.

    Source

    builders/dataset_builder.py (RuntimeError where nothing matches), utils/label_map_util.py and
    model_lib_v2.load_fine_tune_checkpoint, which open these paths as they stand.
    """

    code = "CFG004"
    name = "config.placeholder_path"
    causes = ("placeholder_path",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields one finding for all placeholders."""
        paths = named_paths(subject.pipeline)
        left = {field: path for field, path in paths.items() if is_placeholder(path)}
        if not left:
            return
        template = len(left) == len(paths)
        # Whoever fills in the placeholder of all configs misses it, and training does not read it.
        slip = all(is_upstreams_slip(path) for path in left.values())
        shown = ", ".join(list(left)[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        first = next(iter(left.values()))
        if template:
            found = f"all {len(left)} paths are placeholders: this is a template"
            why = (
                "Nothing can run before they are filled in, by hand or by --data and --checkpoint."
            )
        else:
            found = f"{len(left)} of {len(paths)} paths are placeholders ({first!r}): {shown}"
            why = _what_happens(left)
            if slip:
                why += " The OD API's own D7 config spells this placeholder with a second E."
        yield self.finding(
            "placeholder_path",
            Severity.INFO if template else Severity.WARNING if slip else Severity.FATAL,
            fields=tuple(left),
            found=found,
            expected="paths of files",
            why=why,
            loss_ap=0.0 if template or slip else 90.0,
            count=len(left),
        )


def _what_happens(left: dict[str, str]) -> str:
    evaluation = all(field.startswith("eval_input_reader") for field in left)
    if evaluation:
        return "Training runs, and the evaluation stops because it finds no such file."
    if list(left) == ["train_config.fine_tune_checkpoint"]:
        return "Training stops at the restore, because there is no such checkpoint."
    return "The OD API stops when it opens the first of them."
