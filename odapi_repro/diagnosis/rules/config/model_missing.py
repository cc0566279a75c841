"""A config without a model that the OD API could build."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

_BUILT = ("ssd", "faster_rcnn", "center_net")


class ModelMissing(Rule):
    """The config describes no model, or one that is registered nowhere.

    Anti-pattern

        train_config { batch_size: 8 }
        train_input_reader { ... }

    The `model` block was lost, is empty, or the file is another kind of text altogether.

    Best practice

        model {
          ssd { ... }
        }

    One of `ssd`, `faster_rcnn` (which holds Mask R-CNN and Context R-CNN too) and `center_net`.

    Source

    builders/model_builder.build and META_ARCH_BUILDER_MAP there; `experimental_model` is looked
    up in a map that is empty as published.
    """

    code = "CFG007"
    name = "config.model_missing"
    causes = ("model_missing",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when no meta-architecture that can be built is set."""
        kind = subject.pipeline.meta_architecture
        if kind in _BUILT:
            return
        if kind:
            found = f"the model is a {kind}, which is registered nowhere"
        elif subject.pipeline.proto.HasField("model"):
            found = "`model` holds no meta-architecture"
        elif subject.text.text.strip():
            found = "no model is described"
        else:
            found = "the config is empty"
        yield self.finding(
            "model_missing",
            Severity.FATAL,
            fields=("model",),
            found=found,
            expected="a model { ssd { ... } }, or faster_rcnn or center_net",
            why="The OD API stops with a ValueError when it builds the model.",
            loss_ap=100.0,
        )
