"""Rules about the model: losses, anchors, layers, backbone, stages."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.anchors import AnchorsChanged
from odapi_repro.diagnosis.rules.model.backbone import BackboneChanged
from odapi_repro.diagnosis.rules.model.batchnorm_decay import BatchnormDecay
from odapi_repro.diagnosis.rules.model.box_coder import BoxCoderDiffers
from odapi_repro.diagnosis.rules.model.box_loss import LocalizationLossReplaced
from odapi_repro.diagnosis.rules.model.build_refused import ModelSettingsRefused
from odapi_repro.diagnosis.rules.model.class_bias import ClassBiasPriorMissing
from odapi_repro.diagnosis.rules.model.crop_size import CropSizeMismatch
from odapi_repro.diagnosis.rules.model.hard_example_miner import HardExampleMinerInTwoStages
from odapi_repro.diagnosis.rules.model.layer_settings import LayerSettings
from odapi_repro.diagnosis.rules.model.loss_function import ClassificationLossReplaced
from odapi_repro.diagnosis.rules.model.loss_weights import LossWeightsChanged
from odapi_repro.diagnosis.rules.model.mask_size import MaskSize
from odapi_repro.diagnosis.rules.model.matching import MatchingChanged
from odapi_repro.diagnosis.rules.model.second_stage import SecondStage
from odapi_repro.diagnosis.rules.model.stages import NumberOfStages

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
