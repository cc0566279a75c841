"""The factors that need no training, and their registry, in the order in which tables show them."""

from odapi_repro.errors import UserError
from odapi_repro.factors.other_words import factor_hint
from odapi_repro.factors.post_hoc.box_voting import BoxVoting
from odapi_repro.factors.post_hoc.checkpoints import Fusion, Swa
from odapi_repro.factors.post_hoc.factor import (
    AS_CONFIGURED,
    FINAL_NMS,
    DetectionPlan,
    FusionStep,
    PostHocFactor,
    PostHocSetting,
    has_nms,
)
from odapi_repro.factors.post_hoc.final_nms import (
    DetectionsPerClass,
    DetectionsPerImage,
    NmsIou,
    ScoreThreshold,
    SoftNms,
)
from odapi_repro.factors.post_hoc.two_stage import CropSize, MaskSize, Proposals, RpnNmsIou
from odapi_repro.factors.post_hoc.views import FlipTesting, MultiScaleTesting

__all__ = [
    "AS_CONFIGURED",
    "FINAL_NMS",
    "POST_HOC_FACTORS",
    "DetectionPlan",
    "FusionStep",
    "PostHocFactor",
    "PostHocSetting",
    "has_nms",
    "post_hoc_factor_named",
]

POST_HOC_FACTORS: dict[str, PostHocFactor] = {
    factor.name: factor
    for factor in (
        ScoreThreshold(),
        NmsIou(),
        SoftNms(),
        DetectionsPerImage(),
        DetectionsPerClass(),
        BoxVoting(),
        FlipTesting(),
        MultiScaleTesting(),
        Fusion(),
        Swa(),
        Proposals(),
        RpnNmsIou(),
        MaskSize(),
        CropSize(),
    )
}


def post_hoc_factor_named(name: str) -> PostHocFactor:
    """Gives the factor of that name.

    Raises:
        UserError: with the nearest name.
    """
    if name not in POST_HOC_FACTORS:
        raise UserError(
            f"'{name}' is no factor that works without training",
            expected=f"one of {', '.join(POST_HOC_FACTORS)}",
            mend=factor_hint(name, list(POST_HOC_FACTORS)) or "e.g. --ablate nms_iou",
        )
    return POST_HOC_FACTORS[name]
