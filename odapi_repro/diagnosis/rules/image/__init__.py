"""Rules about the images that the network gets: their size, their channels, their augmentation."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.image.augmentation_broken import AugmentationBreaksInput
from odapi_repro.diagnosis.rules.image.augmentation_removed import AugmentationRemoved
from odapi_repro.diagnosis.rules.image.augmentation_strong import AugmentationTooStrong
from odapi_repro.diagnosis.rules.image.augmentation_undone import AugmentationUndone
from odapi_repro.diagnosis.rules.image.channels import ImageChannels
from odapi_repro.diagnosis.rules.image.image_size import ImageSizeChanged
from odapi_repro.diagnosis.rules.image.image_size_limits import ImageSizeUnsupported
from odapi_repro.diagnosis.rules.image.keypoint_permutation import KeypointPermutation

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    ImageSizeChanged(),
    ImageSizeUnsupported(),
    ImageChannels(),
    AugmentationRemoved(),
    AugmentationTooStrong(),
    AugmentationBreaksInput(),
    AugmentationUndone(),
    KeypointPermutation(),
)
