"""A training that nothing can be evaluated after."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import input_patterns, is_placeholder, is_upstreams_slip


class EvalInputNotConfigured(Rule):
    """The training records are set and the evaluation's are not, so that nothing is measured.

    Anti-pattern

        train_input_reader {
          tf_record_input_reader { input_path: "annotations/train.record" }
        }
        eval_input_reader {
          tf_record_input_reader { input_path: "PATH_TO_BE_CONFIGURED" }
        }

    The training runs to its end. Only then, or in the second process that evaluates while it
    runs, does model_main_tf2 --checkpoint_dir stop: IndexError without an eval_input_reader,
    ValueError without an input_path, RuntimeError where no file matches, NotFoundError without a
    label map, which the metrics need.

    Best practice

        eval_input_reader {
          label_map_path: "annotations/label_map.pbtxt"
          shuffle: false
          num_epochs: 1
          tf_record_input_reader { input_path: "annotations/test.record" }
        }

    Source

    model_lib_v2.eval_continuously (eval_input_configs[0]), model_lib_v2.eager_eval_loop
    (create_category_index_from_labelmap), builders/dataset_builder.py.
    """

    code = "CFG005"
    name = "config.eval_input_not_configured"
    causes = ("eval_input_not_configured",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the training could read and the evaluation could not."""
        train = [one for one in input_patterns(subject.pipeline) if not is_placeholder(one)]
        lacking = _lacking(subject)
        if not train or lacking is None:
            return
        field, found, outcome = lacking
        label_map = str(subject.pipeline.proto.train_input_reader.label_map_path)
        borrowed = field.endswith("label_map_path") and label_map and not is_placeholder(label_map)
        yield self.finding(
            "eval_input_not_configured",
            Severity.FATAL,
            fields=(field,),
            found=found,
            expected="an eval_input_reader with records and a label map of its own",
            why=f"Training runs, but the evaluation stops ({outcome}): no metric is ever computed.",
            loss_ap=80.0,
            fix=(FieldFix(field, label_map),) if borrowed else (),
        )


def _lacking(subject: Subject) -> tuple[str, str, str] | None:
    """Gives field, finding and outcome of what the evaluation lacks; None when it lacks nothing."""
    proto = subject.pipeline.proto
    if not proto.eval_input_reader:
        if any(one.kind == "syntax" for one in subject.text.problems):
            return None  # it may stand where the text could not be parsed
        return "eval_input_reader", "there is no eval_input_reader", "IndexError"
    reader = proto.eval_input_reader[0]
    path = "eval_input_reader[0].tf_record_input_reader.input_path"
    patterns = input_patterns(subject.pipeline, evaluation=True)
    if not [one for one in patterns if one]:
        return path, "the first eval_input_reader names no records", "ValueError"
    if all(is_upstreams_slip(one) for one in patterns):
        return None  # not forgotten: the placeholder's rule says whose it is
    if all(is_placeholder(one) for one in patterns):
        return path, f"the evaluation's records are {patterns[0]!r}", "RuntimeError"
    if not reader.label_map_path:
        field = "eval_input_reader[0].label_map_path"
        return field, "the first eval_input_reader has no label_map_path", "NotFoundError"
    return None
