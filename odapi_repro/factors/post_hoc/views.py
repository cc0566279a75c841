"""Several views of an image at test time: mirrored, and at other sizes."""

from __future__ import annotations

from odapi_repro.factors.factor import Level
from odapi_repro.factors.post_hoc.factor import (
    AS_CONFIGURED,
    DetectionPlan,
    FusionStep,
    PostHocFactor,
    PostHocSetting,
    has_nms,
    nms_setting,
)
from odapi_repro.pipeline import Pipeline

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
