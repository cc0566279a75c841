"""Rules about the images that the network gets: their size, their channels, their augmentation."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.image.augmentation import (
    AugmentationBreaksInput,
    AugmentationRemoved,
    AugmentationTooStrong,
    AugmentationUndone,
    KeypointPermutation,
)
from odapi_repro.diagnosis.rules.image.input_size import (
    ImageChannels,
    ImageSizeChanged,
    ImageSizeUnsupported,
)

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
