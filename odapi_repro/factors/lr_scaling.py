"""How the learning rate follows the batch: not at all, linearly, or by the square root."""

from __future__ import annotations

from collections.abc import Mapping

from odapi_repro.factors.batch_size import BatchSize
from odapi_repro.factors.factor import Level, Setting, TrainedFactor
from odapi_repro.pipeline import LR_RULES


class LrScaling(TrainedFactor):
    """The rule by which rates move when the batch is not the reference's."""

    name = "lr_scaling"
    summary = "learning-rate rule against the reference's batch: none, linear, sqrt"
    owns = ("lr_rule",)
    holds = (
        "batch size, images seen and the schedule's shape are held; all rates of the schedule "
        "(peak and warm-up start) are multiplied by batch / reference batch (linear) or its "
        "square root. At the reference's batch the rules are one, so it is studied at another."
    )

    def reference_level(self, setting: Setting) -> Level:
        """`none`: the pipeline's own rates."""
        del setting
        return Level("none", "none")

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """All three rules."""
        del setting
        return tuple(Level(rule, rule) for rule in LR_RULES)

    def parse_level(self, text: str, setting: Setting) -> Level:
        """One of `none`, `linear`, `sqrt`."""
        del setting
        return self.named(text, LR_RULES)

    def default_at(self, setting: Setting) -> Mapping[str, str]:
        """The smallest of batch_size's default levels."""
        return {BatchSize.name: BatchSize().default_levels(setting)[-1].label}
