"""Settings of Faster and Mask R-CNN that no weight depends on: each takes a forward pass."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from odapi_repro.factors.factor import Level, parse_amount, whole
from odapi_repro.factors.post_hoc.post_hoc_factor import (
    AS_CONFIGURED,
    DetectionPlan,
    NumberFactor,
    PostHocFactor,
    PostHocSetting,
)

_MODEL = "model.faster_rcnn"
_MASK_HEAD = f"{_MODEL}.second_stage_box_predictor.mask_rcnn_box_predictor"


class _TwoStage(PostHocFactor):
    """A factor of two-stage detectors."""

    def check_applies(self, setting: PostHocSetting) -> None:
        """Faster and Mask R-CNN."""
        pipeline = setting.pipeline
        if pipeline.meta_architecture != "faster_rcnn":
            raise self.not_for(
                pipeline,
                f"a {pipeline.meta_architecture} has no proposals",
                "a Faster or Mask R-CNN, e.g. pipelines/mask_rcnn.config",
            )

    def plan(self, level: Level, setting: PostHocSetting) -> DetectionPlan:
        """Sets the fields before the model is built."""
        if level.label == self.reference_level(setting).label:
            return AS_CONFIGURED
        return DetectionPlan(model=self._fields(level))

    @abstractmethod
    def _fields(self, level: Level) -> dict[str, Any]: ...


class _Amount(_TwoStage):
    """A whole number, given literally or as a multiple of the pipeline's own."""

    unit: ClassVar[str]

    @abstractmethod
    def _own(self, setting: PostHocSetting) -> int: ...

    def reference_level(self, setting: PostHocSetting) -> Level:
        """The pipeline's own."""
        return whole(self._own(setting))

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """A number, or a multiple of the pipeline's own (`1/2`, `2x`)."""
        return whole(
            parse_amount(text, self._own(setting), factor=self.name, unit=self.unit, at_least=1)
        )


class Proposals(_Amount):
    """How many boxes the first stage hands on."""

    name = "proposals"
    also_called = "first_stage_max_proposals num_proposals max_proposals"
    summary = "proposals of the first stage, which are the RoIs of the second at test time"
    holds = (
        "weights, the first stage's NMS and all later post-processing are held. At test time every "
        "proposal is a RoI of the second stage; second_stage_batch_size acts in training only."
    )
    unit = "proposals of an image"

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """From a tenth of the pipeline's own to three times."""
        own = self._own(setting)
        shares = (own // 10, round(own / 3), own, 3 * own)
        return tuple(whole(number) for number in sorted({max(1, share) for share in shares}))

    def _own(self, setting: PostHocSetting) -> int:
        return int(setting.pipeline.proto.model.faster_rcnn.first_stage_max_proposals)

    def _fields(self, level: Level) -> dict[str, Any]:
        return {f"{_MODEL}.first_stage_max_proposals": level.value}


class RpnNmsIou(_TwoStage, NumberFactor):
    """The overlap at which the weaker of two proposals is dropped."""

    name = "rpn_nms_iou"
    also_called = "rpn rpn_nms rpn_nms_threshold first_stage_nms_iou_threshold"
    summary = "IoU above which the first stage drops the weaker of two proposals"
    holds = "weights, the number of proposals and all later post-processing are held."
    expected = "an IoU from 0 to 1"
    example = "0.6,0.8"

    def reference_level(self, setting: PostHocSetting) -> Level:
        """The pipeline's own value, 0.7 where it is unset."""
        own = setting.pipeline.proto.model.faster_rcnn.first_stage_nms_iou_threshold
        return Level(f"{own:.7g}", own)

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """From strict to lenient."""
        return tuple(
            self.parse_level(text, setting) for text in ("0.5", "0.6", "0.7", "0.8", "0.9")
        )

    def accepts(self, value: float) -> bool:
        """An IoU from 0 to 1."""
        return 0 <= value <= 1

    def _fields(self, level: Level) -> dict[str, Any]:
        return {f"{_MODEL}.first_stage_nms_iou_threshold": level.value}


class MaskSize(_Amount):
    """How many pixels wide and high a mask is predicted."""

    name = "mask_size"
    also_called = "mask masks mask_resolution"
    summary = "pixels of the predicted mask, a side (mask_height, mask_width)"
    holds = (
        "weights, boxes and scores are held. The mask head resizes its features to this size "
        "before its convolutions (predictors/heads/keras_mask_head.py), so that no weight depends "
        "on it; but they learned from features of the trained size."
    )
    unit = "pixels of a mask's side"

    def check_applies(self, setting: PostHocSetting) -> None:
        """Mask R-CNN whose mask head resizes features, not masks."""
        super().check_applies(setting)
        if not setting.pipeline.predicts_masks:
            raise self.not_for(
                setting.pipeline,
                "it predicts no masks",
                "a Mask R-CNN (number_of_stages: 3), e.g. pipelines/mask_rcnn.config",
            )
        head = setting.pipeline.proto.model.faster_rcnn.second_stage_box_predictor
        if head.mask_rcnn_box_predictor.convolve_then_upsample_masks:
            raise self.not_for(
                setting.pipeline,
                "convolve_then_upsample_masks fixes it to a multiple of the crop",
                "a mask head that resizes its features first",
            )
        if head.mask_rcnn_box_predictor.mask_height != head.mask_rcnn_box_predictor.mask_width:
            raise self.not_for(
                setting.pipeline,
                "mask_height and mask_width differ",
                "square masks",
            )

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """Half, the pipeline's own, and twice."""
        own = self._own(setting)
        return tuple(whole(number) for number in sorted({max(1, own // 2), own, 2 * own}))

    def _own(self, setting: PostHocSetting) -> int:
        head = setting.pipeline.proto.model.faster_rcnn.second_stage_box_predictor
        return int(head.mask_rcnn_box_predictor.mask_height)

    def _fields(self, level: Level) -> dict[str, Any]:
        return {f"{_MASK_HEAD}.mask_height": level.value, f"{_MASK_HEAD}.mask_width": level.value}


class CropSize(_Amount):
    """How many cells a side a proposal is cropped to."""

    name = "crop_size"
    also_called = "crop roi_crop initial_crop_size"
    summary = "cells of the features cropped for each proposal, a side (initial_crop_size)"
    holds = (
        "weights, proposals and post-processing are held. The second stage is convolutional and "
        "averages over the crop, so that no weight depends on its size; but they learned from "
        "crops of the trained size."
    )
    unit = "cells of a crop's side"

    def check_applies(self, setting: PostHocSetting) -> None:
        """Where the second stage does not flatten its crops."""
        super().check_applies(setting)
        kind = setting.pipeline.proto.model.faster_rcnn.feature_extractor.type
        if "fpn" in kind:
            raise self.not_for(
                setting.pipeline,
                f"the second stage of {kind} "
                "flattens its crops into dense layers, whose weights fix their size",
                "a Faster or Mask R-CNN without FPN, e.g. pipelines/mask_rcnn.config",
            )

    def default_levels(self, setting: PostHocSetting) -> tuple[Level, ...]:
        """Half, the pipeline's own, and one and a half times."""
        own = self._own(setting)
        sizes = {max(self._smallest(setting), own // 2), own, round(1.5 * own)}
        return tuple(whole(number) for number in sorted(sizes))

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """At least what the pooling after the crop needs."""
        level = super().parse_level(text, setting)
        smallest = self._smallest(setting)
        assert isinstance(level.value, int)
        if level.value < smallest:
            raise self.no_level(text, f"at least maxpool_kernel_size, {smallest}", "7,14")
        return level

    def _smallest(self, setting: PostHocSetting) -> int:
        return max(1, int(setting.pipeline.proto.model.faster_rcnn.maxpool_kernel_size))

    def _own(self, setting: PostHocSetting) -> int:
        return int(setting.pipeline.proto.model.faster_rcnn.initial_crop_size)

    def _fields(self, level: Level) -> dict[str, Any]:
        return {f"{_MODEL}.initial_crop_size": level.value}
