"""Factors of the last NMS and of what follows it."""

from __future__ import annotations

from typing import Any, ClassVar

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Level, parse_amount
from odapi_repro.factors.post_hoc.post_hoc_factor import (
    AS_CONFIGURED,
    DetectionPlan,
    FusionStep,
    NumberFactor,
    PostHocFactor,
    PostHocSetting,
    nms_field,
    nms_setting,
)

# --- The settings of the last NMS: they share one forward pass ---


class _NmsSetting(PostHocFactor):
    """A factor that is one field of `batch_non_max_suppression`."""

    field_name: ClassVar[str]

    def check_applies(self, setting: PostHocSetting) -> None:
        """SSD, Faster and Mask R-CNN."""
        nms_field(setting, self.field_name, self.name)

    def reference_level(self, setting: PostHocSetting) -> Level:
        """The pipeline's own value, the proto's default where it is unset."""
        return self._level(self._nms(setting, self.field_name))

    def plan(self, level: Level, setting: PostHocSetting) -> DetectionPlan:
        """Sets the field, and what has to move with it."""
        if level.label == self.reference_level(setting).label:
            return AS_CONFIGURED
        return DetectionPlan(post_processing=self._fields(level, setting))

    def _fields(self, level: Level, setting: PostHocSetting) -> dict[str, Any]:
        return {nms_field(setting, self.field_name, self.name): level.value}

    def _nms(self, setting: PostHocSetting, name: str) -> Any:
        return nms_setting(setting, name, self.name)

    @staticmethod
    def _level(value: float) -> Level:
        # The proto holds float32: seven digits are what was written.
        return Level(f"{value:.7g}", value)


class ScoreThreshold(_NmsSetting, NumberFactor):
    """The score a box needs to take part in NMS."""

    name = "score_threshold"
    also_called = "conf confidence score threshold conf_threshold min_score"
    summary = "score above which boxes go into NMS"
    holds = (
        "weights, forward pass, NMS and caps are held. Boxes at or below the threshold are dropped "
        "before NMS. COCO's AP counts the precision at every recall, so that a threshold can only "
        "cut recall off; 0 and 1e-8 differ in boxes of next to no score."
    )
    field_name = "score_threshold"
    expected = "a score from 0 to below 1"
    example = "0.01,0.3"

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """What people set for demos, beside the pipeline's own."""
        del setting
        return tuple(self._level(value) for value in (0.001, 0.01, 0.05, 0.3, 0.5))

    def accepts(self, value: float) -> bool:
        """A score from 0 to below 1."""
        return 0 <= value < 1


class NmsIou(_NmsSetting, NumberFactor):
    """The overlap at which the weaker of two boxes is dropped."""

    name = "nms_iou"
    also_called = "nms iou nms_threshold iou_threshold nms_iou_threshold"
    summary = "IoU above which NMS drops the weaker of two boxes of a class"
    holds = "weights, forward pass, score threshold, soft-NMS and caps are held."
    field_name = "iou_threshold"
    expected = "an IoU from 0 to 1"
    example = "0.4,0.6"

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """From strict to lenient."""
        del setting
        return tuple(self._level(value) for value in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8))

    def accepts(self, value: float) -> bool:
        """An IoU from 0 to 1."""
        return 0 <= value <= 1


class SoftNms(_NmsSetting, NumberFactor):
    """Scores that decay with the overlap, instead of boxes that are dropped."""

    name = "soft_nms"
    summary = "soft-NMS: scores decay with the overlap (soft_nms_sigma; 0: off)"
    holds = (
        "weights, forward pass, score threshold and caps are held. The levels are the OD API's "
        "soft_nms_sigma, half of the sigma of Bodla et al. 2017 (0.5 there is 0.25 here): "
        "TensorFlow's kernel multiplies scores by exp(-IoU^2 / (2 sigma)), whatever the NMS IoU."
    )
    field_name = "soft_nms_sigma"
    expected = "0 (off) or a sigma such as 0.25"
    example = "0,0.25"

    def check_applies(self, setting: PostHocSetting) -> None:
        """Where the OD API's kernel has it: not with combined, hard or static-shape NMS."""
        super().check_applies(setting)
        hindering = [
            name
            for name in ("use_combined_nms", "use_hard_nms", "use_static_shapes")
            if self._nms(setting, name)
        ]
        if hindering:
            raise self.not_for(
                setting.pipeline,
                f"{hindering[0]} is true",
                "a pipeline whose NMS can decay scores (core/post_processing.py raises)",
                f"set {hindering[0]}: false in --pipeline, or leave soft_nms out of --ablate",
            )

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """Off, and around the paper's 0.5 (0.25 here)."""
        del setting
        return tuple(self._level(value) for value in (0.0, 0.1, 0.25, 0.5))

    def accepts(self, value: float) -> bool:
        """0 (off) or a sigma such as 0.25."""
        return 0 <= value < 100


class _Cap(_NmsSetting):
    """A number of detections that are kept."""

    unit: ClassVar[str]

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """A number, or a multiple of the pipeline's own."""
        reference = int(self._nms(setting, self.field_name))
        amount = parse_amount(text, reference, factor=self.name, unit=self.unit, at_least=1)
        return self._level(amount)


class DetectionsPerImage(_Cap):
    """How many detections of an image are kept."""

    name = "detections_per_image"
    also_called = "max_detections max_dets maxdets max_total_detections detections"
    summary = "detections kept of an image (max_total_detections)"
    holds = (
        "weights, forward pass, score threshold and NMS are held. max_detections_per_class is "
        "lowered with it where it would be above it, which the OD API refuses. COCO scores at most "
        "100 detections of a class on an image, whatever is kept."
    )
    field_name = "max_total_detections"
    unit = "detections of an image"

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """A few, the usual 100, and more."""
        del setting
        return tuple(self._level(value) for value in (5, 10, 30, 100, 300))

    def _fields(self, level: Level, setting: PostHocSetting) -> dict[str, Any]:
        assert isinstance(level.value, int)
        fields: dict[str, Any] = {nms_field(setting, self.field_name, self.name): level.value}
        if self._nms(setting, "max_detections_per_class") > level.value:
            path = nms_field(setting, "max_detections_per_class", self.name)
            fields[path] = level.value
        return fields


class DetectionsPerClass(_Cap):
    """How many detections of a class are kept of an image."""

    name = "detections_per_class"
    summary = "detections kept of each class of an image (max_detections_per_class)"
    holds = (
        "weights, forward pass, score threshold, NMS and the cap over all classes are held. COCO "
        "scores at most 100 detections of a class on an image."
    )
    field_name = "max_detections_per_class"
    unit = "detections of a class on an image"

    def check_applies(self, setting: PostHocSetting) -> None:
        """Where NMS goes class by class."""
        super().check_applies(setting)
        if self._nms(setting, "use_class_agnostic_nms"):
            raise self.not_for(
                setting.pipeline,
                "its NMS is class-agnostic and does not read max_detections_per_class",
                "a pipeline without use_class_agnostic_nms",
                "vary detections_per_image instead",
            )

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """A few, and the pipeline's own cap over all classes."""
        total = int(self._nms(setting, "max_total_detections"))
        values = {*(value for value in (1, 3, 10, 30) if value < total), total}
        return tuple(self._level(value) for value in sorted(values))

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """A number that is not above the cap over all classes."""
        level = super().parse_level(text, setting)
        total = int(self._nms(setting, "max_total_detections"))
        assert isinstance(level.value, int)
        if level.value > total:
            raise UserError(
                f"level '{text}' of {self.name} is above max_total_detections, {total}",
                expected=f"at most {total}: the OD API refuses more of one class than of all",
                mend="vary detections_per_image, or raise max_total_detections in --pipeline",
            )
        return level


# --- Box voting: boxes that NMS keeps move to the mean of those it dropped ---


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
