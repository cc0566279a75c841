"""Rules about the evaluation and about the number that it is compared with."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.evaluation.detections_kept import (
    DetectionsCapped,
    NmsChanged,
    ScoreConverterMismatch,
    ScoreThresholdHigh,
)
from odapi_repro.diagnosis.rules.evaluation.eval_protocol import (
    EvalImagesDropped,
    EvalReaderIgnored,
    EvalShuffled,
    EvalSubsampled,
    ReferenceNotFromThisRecipe,
    ReferenceNumberDisputed,
    WrongMetricsSet,
)

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    DetectionsCapped(),
    ScoreConverterMismatch(),
    ScoreThresholdHigh(),
    NmsChanged(),
    WrongMetricsSet(),
    EvalImagesDropped(),
    EvalSubsampled(),
    EvalShuffled(),
    EvalReaderIgnored(),
    ReferenceNumberDisputed(),
    ReferenceNotFromThisRecipe(),
)
