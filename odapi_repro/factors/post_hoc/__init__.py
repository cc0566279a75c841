"""The factors that need no training."""

from odapi_repro.factors.post_hoc.post_hoc_factor import (
    AS_CONFIGURED,
    FINAL_NMS,
    DetectionPlan,
    FusionStep,
    PostHocFactor,
    PostHocSetting,
    has_nms,
)

__all__ = [
    "AS_CONFIGURED",
    "FINAL_NMS",
    "DetectionPlan",
    "FusionStep",
    "PostHocFactor",
    "PostHocSetting",
    "has_nms",
]
