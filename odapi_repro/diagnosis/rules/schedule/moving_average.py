"""Moving averages of the weights: kept, and never evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject

_USE = "train_config.optimizer.use_moving_average"
_EVALUATE = "eval_config.use_moving_averages"


class MovingAverage(Rule):
    """A moving average of the weights is kept without use, or asked for where it cannot be had.

    `use_moving_average` is true unless it is set to false. What it keeps is never evaluated and
    never exported by the OD API in TF2: both take the weights themselves.

    Anti-pattern

        optimizer { momentum_optimizer { ... } }     # use_moving_average is not set: it is on
        eval_config { use_moving_averages: true }    # stops the evaluation

    Best practice

        optimizer { momentum_optimizer { ... } use_moving_average: false }

    Source

    optimizer_builder.build_optimizers_tf_v2; model_lib_v2.eval_continuously, whose swap_weights is
    called in no strategy's scope by model_main_tf2 and refused there
    (official/modeling/optimization/ema_optimizer.py); exporter_lib_v2 restores the model alone.
    """

    code: ClassVar[str] = "OPT003"
    name: ClassVar[str] = "optimizer.moving_average"
    causes: ClassVar[tuple[str, ...]] = (
        "ema_on_by_default",
        "ema_not_evaluated",
        "ema_eval_unsupported",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the switch for training, then at the one for evaluation."""
        optimizer = subject.pipeline.proto.train_config.optimizer
        if subject.quantities.ema_decay is not None:
            chosen = optimizer.HasField("use_moving_average")
            yield self.finding(
                "ema_not_evaluated" if chosen else "ema_on_by_default",
                Severity.INFO if chosen else Severity.WARNING,
                fields=[_USE],
                found=f"weights are averaged with decay {subject.quantities.ema_decay:.6g}"
                + ("" if chosen else ", because use_moving_average is not set"),
                expected="use_moving_average: false"
                if subject.reference_quantities.ema_decay is None
                else "averages that are evaluated",
                why="A further copy of all weights is kept and saved, and neither evaluation nor "
                "export under TF2 reads it. The weights that are evaluated are the same as "
                "without.",
                loss_ap=0.1,  # memory and time, no AP: last among the warnings
                evidence=published("ema_on"),
                fix=[FieldFix(_USE, False)],
            )
        if subject.pipeline.proto.eval_config.use_moving_averages:
            kept = subject.quantities.ema_decay is not None
            yield self.finding(
                "ema_eval_unsupported",
                Severity.FATAL,
                fields=[_EVALUATE],
                found="the evaluation is to use averaged weights"
                + ("" if kept else ", and the training averages none"),
                expected="use_moving_averages: false",
                why="The evaluation stops: weights can be swapped in the scope of a strategy only, "
                "and model_main_tf2 evaluates in none."
                if kept
                else "The evaluation stops with AttributeError: the optimizer has no shadow_copy.",
                fix=[FieldFix(_EVALUATE, False)],
            )
