"""Rules about the evaluation and about the number that it is compared with."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.evaluation.detections_capped import DetectionsCapped
from odapi_repro.diagnosis.rules.evaluation.eval_images import (
    EvalImagesDropped,
    EvalShuffled,
    EvalSubsampled,
)
from odapi_repro.diagnosis.rules.evaluation.eval_readers import EvalReaderIgnored
from odapi_repro.diagnosis.rules.evaluation.metrics_set import WrongMetricsSet
from odapi_repro.diagnosis.rules.evaluation.nms import NmsChanged
from odapi_repro.diagnosis.rules.evaluation.reference_numbers import (
    ReferenceNotFromThisRecipe,
    ReferenceNumberDisputed,
)
from odapi_repro.diagnosis.rules.evaluation.score_converter import ScoreConverterMismatch
from odapi_repro.diagnosis.rules.evaluation.score_threshold import ScoreThresholdHigh

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
