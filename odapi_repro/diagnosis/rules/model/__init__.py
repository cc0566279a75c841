"""Rules about the model: losses, anchors, layers, backbone, stages."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.anchors import (
    AnchorsChanged,
    BoxCoderDiffers,
    MatchingChanged,
)
from odapi_repro.diagnosis.rules.model.build_refused import ModelSettingsRefused
from odapi_repro.diagnosis.rules.model.loss_weights import LossWeightsChanged
from odapi_repro.diagnosis.rules.model.losses import (
    ClassBiasPriorMissing,
    ClassificationLossReplaced,
    HardExampleMinerInTwoStages,
    LocalizationLossReplaced,
)
from odapi_repro.diagnosis.rules.model.network import BackboneChanged, BatchnormDecay, LayerSettings
from odapi_repro.diagnosis.rules.model.two_stages import (
    CropSizeMismatch,
    MaskSize,
    NumberOfStages,
    SecondStage,
)

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    ClassificationLossReplaced(),
    LocalizationLossReplaced(),
    ClassBiasPriorMissing(),
    LossWeightsChanged(),
    NumberOfStages(),
    AnchorsChanged(),
    BoxCoderDiffers(),
    CropSizeMismatch(),
    BackboneChanged(),
    SecondStage(),
    MatchingChanged(),
    LayerSettings(),
    BatchnormDecay(),
    HardExampleMinerInTwoStages(),
    ModelSettingsRefused(),
    MaskSize(),
)
