"""Several checkpoints in place of one: their detections fused, or their weights averaged."""

from __future__ import annotations

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Level, whole
from odapi_repro.factors.post_hoc.factor import (
    AS_CONFIGURED,
    DetectionPlan,
    FusionStep,
    PostHocFactor,
    PostHocSetting,
)


class _OfCheckpoints(PostHocFactor):
    """What the two have in common: they need several checkpoints."""

    def check_applies(self, setting: PostHocSetting) -> None:
        """Two checkpoints or more."""
        if setting.num_checkpoints < 2:
            raise UserError(
                f"{self.name} needs several checkpoints, and one is named",
                expected="checkpoints separated by commas, or a training folder that keeps several "
                "(ckpt-3, ckpt-4 ...)",
                mend="--checkpoint run/ckpt-3,run/ckpt-4,run/ckpt-5; to keep more of a training, "
                "run it with --checkpoint_every_n and --checkpoint_max_to_keep",
            )


class Fusion(_OfCheckpoints):
    """One set of detections from those of several checkpoints."""

    name = "fusion"
    also_called = "ensemble wbf weighted_boxes_fusion"
    summary = "several checkpoints' detections: single, best, union, soft_union, consensus, ..."
    holds = (
        "the pipeline's post-processing of each checkpoint and its caps are held. `single` is the "
        "checkpoint named last; `best` the one with the highest AP on these very images, which "
        "flatters it. `union` is NMS at the pipeline's own IoU over all of them, `soft_union` "
        "soft-NMS with the paper's sigma of 0.5; `consensus` keeps of the union what more than "
        "half of the checkpoints have found (another number: consensus:2); `weighted_boxes` "
        "clusters at an IoU of 0.55 and carries no masks."
    )
    names = ("single", "best", "union", "soft_union", "consensus", "weighted_boxes")

    def reference_level(self, setting: PostHocSetting) -> Level:
        """The checkpoint named last."""
        del setting
        return Level("single", "single")

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """All of them."""
        del setting
        return tuple(Level(name, name) for name in self.names)

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """A name, or `consensus:N` with a number of checkpoints."""
        name, colon, number = text.partition(":")
        if not colon or name != "consensus":
            return self.named(text, self.names)
        if not number.isdigit() or not 1 <= int(number) <= setting.num_checkpoints:
            raise self.no_level(
                text,
                f"a number from 1 to {setting.num_checkpoints} after consensus:",
                "consensus:2",
            )
        return Level(f"consensus:{int(number)}", "consensus")

    def plan(self, level: Level, setting: PostHocSetting) -> DetectionPlan:
        """One member a checkpoint."""
        if level.label == "single":
            return AS_CONFIGURED
        number = setting.num_checkpoints
        agreeing = int(level.label.partition(":")[2] or number // 2 + 1)
        method = str(level.value)
        step = FusionStep(
            method,
            0.55 if method == "weighted_boxes" else None,
            agreeing if method == "consensus" else 1,
        )
        return DetectionPlan(checkpoints=tuple((i - number,) for i in range(number)), step=step)


class Swa(_OfCheckpoints):
    """The mean of the last checkpoints' weights."""

    name = "swa"
    also_called = "weight_averaging stochastic_weight_averaging average_checkpoints"
    summary = "average the weights of the last 1, 2, 3 ... checkpoints"
    holds = (
        "everything after the weights is held. Weights are averaged with equal shares, as in "
        "stochastic weight averaging (Izmailov et al. 2018), and so are batch-norm moving "
        "statistics, which that paper computes anew over the training set: read a loss with that "
        "in mind. SWA also keeps the learning rate up while it collects; checkpoints of a rate "
        "that decays to zero hardly differ at its end."
    )

    def reference_level(self, setting: PostHocSetting) -> Level:
        """The last checkpoint alone."""
        del setting
        return whole(1)

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """1, 2, 3 and all of them."""
        numbers = {1, 2, 3, setting.num_checkpoints}
        return tuple(whole(n) for n in sorted(numbers) if n <= setting.num_checkpoints)

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """A number of checkpoints, or `all`."""
        number = setting.num_checkpoints if text == "all" else int(text) if text.isdigit() else 0
        if not 1 <= number <= setting.num_checkpoints:
            raise self.no_level(
                text, f"a number from 1 to {setting.num_checkpoints}, those named, or all", "1,2"
            )
        return whole(number)

    def plan(self, level: Level, setting: PostHocSetting) -> DetectionPlan:
        """One member, averaged."""
        del setting
        assert isinstance(level.value, int)
        if level.value == 1:
            return AS_CONFIGURED
        return DetectionPlan(checkpoints=(tuple(range(-level.value, 0)),))
