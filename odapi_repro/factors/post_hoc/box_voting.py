"""Box voting: boxes that NMS keeps move to the mean of those it dropped."""

from __future__ import annotations

from odapi_repro.factors.factor import Level
from odapi_repro.factors.post_hoc.factor import (
    AS_CONFIGURED,
    DetectionPlan,
    FusionStep,
    NumberFactor,
    PostHocSetting,
    nms_field,
)

_OFF = Level("off", None)


class BoxVoting(NumberFactor):
    """The IoU from which a dropped box has a vote."""

    name = "box_voting"
    summary = "move each box to the score-weighted mean of those around it: off, or their IoU"
    holds = (
        "weights, forward pass, NMS and scores are held; only corners move (Gidaris and Komodakis "
        "2015). The voters are the detections before NMS (how many: below). Masks are left "
        "out of it: they would belong to other boxes."
    )
    expected = "off, or an IoU above 0 and at most 1"
    example = "off,0.8"

    def check_applies(self, setting: PostHocSetting) -> None:
        """Where there are boxes before NMS."""
        nms_field(setting, "iou_threshold", self.name)

    def reference_level(self, setting: PostHocSetting) -> Level:
        """Off: the OD API has none."""
        del setting
        return _OFF

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """Off, the paper's 0.5, and narrower."""
        return (_OFF, *(self.parse_level(text, setting) for text in ("0.5", "0.65", "0.8", "0.9")))

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """`off`, or an IoU above 0."""
        return _OFF if text == _OFF.label else super().parse_level(text, setting)

    def accepts(self, value: float) -> bool:
        """An IoU above 0 and at most 1."""
        return 0 < value <= 1

    def plan(self, level: Level, setting: PostHocSetting) -> DetectionPlan:
        """The pipeline's own detections, and the candidates they come from."""
        del setting
        if level == _OFF:
            return AS_CONFIGURED
        assert isinstance(level.value, float)
        return DetectionPlan(step=FusionStep("box_voting", level.value))
