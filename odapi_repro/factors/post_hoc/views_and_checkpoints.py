"""Several views of an image, or several checkpoints, in place of one."""

from __future__ import annotations

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Level, whole
from odapi_repro.factors.post_hoc.post_hoc_factor import (
    AS_CONFIGURED,
    DetectionPlan,
    FusionStep,
    PostHocFactor,
    PostHocSetting,
    has_nms,
    nms_setting,
)
from odapi_repro.pipeline import Pipeline

# --- Several views of an image at test time: mirrored, and at other sizes ---


_OFF = Level("off", "off")
_PREFIXES = {"": "union", "soft:": "soft_union", "wbf:": "weighted_boxes"}
# A proxy's input cannot shrink: EfficientNet refuses images under 129 px.
_SIDE_TO_SHRINK = 256
_HOLDS = (
    "weights and the pipeline's post-processing of each view are held. Views become one set by NMS "
    "at the pipeline's own IoU (`union`), by soft-NMS with the paper's sigma of 0.5 (`soft_union`) "
    "or by weighted boxes fusion at an IoU of 0.55, which carries no masks; then the pipeline's "
    "caps are applied."
)


class _Views(PostHocFactor):
    """What the two have in common: off, and fusion after each view's own NMS."""

    def check_applies(self, setting: PostHocSetting) -> None:
        """Not where the last NMS is soft: scores would decay twice."""
        pipeline = setting.pipeline
        if has_nms(pipeline) and nms_setting(setting, "soft_nms_sigma", self.name):
            raise self.not_for(
                pipeline,
                "its NMS is soft, and scores that "
                "have decayed in each view would decay again between views",
                "soft_nms_sigma 0",
                "set soft_nms_sigma: 0 in --pipeline",
            )

    def reference_level(self, setting: PostHocSetting) -> Level:
        """One view, as the pipeline has it."""
        del setting
        return _OFF


class FlipTesting(_Views):
    """Detect in the image and in its mirror image."""

    name = "flip_testing"
    also_called = "tta flip test_time_augmentation"
    summary = "detect in the mirrored image, too: off, union, soft_union, weighted_boxes"
    holds = _HOLDS
    names = ("off", "union", "soft_union", "weighted_boxes")

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """Off, and every way to fuse."""
        del setting
        return tuple(Level(name, name) for name in self.names)

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """One of `off`, `union` (also `on`), `soft_union`, `weighted_boxes`."""
        del setting
        return self.named("union" if text == "on" else text, self.names)

    def plan(self, level: Level, setting: PostHocSetting) -> DetectionPlan:
        """Two views, fused."""
        del setting
        if level.label == _OFF.label:
            return AS_CONFIGURED
        return DetectionPlan(flips=(False, True), step=_step(level.label))


class MultiScaleTesting(_Views):
    """Detect at several input sizes."""

    name = "multi_scale_testing"
    also_called = "multi_scale multiscale test_scales"
    summary = "detect at several input sizes: off, 0.75+1+1.25, wbf:1+1.5"
    holds = (
        "a level names the sizes as multiples of the pipeline's, rounded to what the model takes; "
        "`soft:` or `wbf:` before them fuses by soft-NMS or weighted boxes. "
        f"{_HOLDS[0].upper()}{_HOLDS[1:]}"
    )

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """Off, larger, and several together by every way to fuse."""
        several = "0.67+1+1.5" if _input_side(setting.pipeline) >= _SIDE_TO_SHRINK else "1+1.5+2"
        texts = ("1+1.5", several, f"soft:{several}", f"wbf:{several}")
        return (_OFF, *(self.parse_level(text, setting) for text in texts))

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """`off`, or scales joined by `+`, with `soft:` or `wbf:` before them."""
        del setting
        if text == _OFF.label:
            return _OFF
        expected, example = "off, or scales from 0.1 to 4 such as 0.75+1+1.25", "1+1.5,wbf:1+1.5"
        prefix, colon, rest = text.rpartition(":")
        try:
            scales = tuple(dict.fromkeys(float(part) for part in rest.split("+")))
        except ValueError:
            raise self.no_level(text, expected, example) from None
        if prefix + colon not in _PREFIXES or not all(0.1 <= scale <= 4 for scale in scales):
            raise self.no_level(text, expected, example)
        joined = "+".join(f"{scale:g}" for scale in scales)
        return Level(f"{prefix}{colon}{joined}", (_PREFIXES[prefix + colon], scales))

    def plan(self, level: Level, setting: PostHocSetting) -> DetectionPlan:
        """A view a scale, fused; a single scale is a view of its own."""
        del setting
        if level.label in (_OFF.label, "1"):
            return AS_CONFIGURED
        assert isinstance(level.value, tuple)
        method, scales = level.value
        return DetectionPlan(scales=scales, step=_step(method) if len(scales) > 1 else None)


def _step(method: str) -> FusionStep:
    return FusionStep(method, 0.55 if method == "weighted_boxes" else None)


def _input_side(pipeline: Pipeline) -> int:
    """Gives the smaller side of the network's input in pixels, where the resizer fixes one."""
    resizer = getattr(pipeline.model, "image_resizer", None)
    kind = resizer.WhichOneof("image_resizer_oneof") if resizer is not None else None
    if resizer is not None and kind == "fixed_shape_resizer":
        return int(min(resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width))
    if resizer is not None and kind == "keep_aspect_ratio_resizer":
        return int(resizer.keep_aspect_ratio_resizer.min_dimension)
    return _SIDE_TO_SHRINK


# --- Several checkpoints in place of one: their detections fused, or their weights averaged ---


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
