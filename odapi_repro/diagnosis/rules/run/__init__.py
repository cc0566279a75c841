"""Rules about finished runs: what the files of a training folder say against its config."""

from __future__ import annotations

from odapi_repro.diagnosis.rules.run.best_checkpoint import BestCheckpointNotLast
from odapi_repro.diagnosis.rules.run.checkpoints import CheckpointIncomplete
from odapi_repro.diagnosis.rules.run.divergence import RunDiverged
from odapi_repro.diagnosis.rules.run.evaluation import EvaluationIncomplete
from odapi_repro.diagnosis.rules.run.learning_rate import AppliedLearningRateDiffers
from odapi_repro.diagnosis.rules.run.length import RunStoppedEarly
from odapi_repro.diagnosis.rules.run.plateau import LossPlateau
from odapi_repro.diagnosis.rules.run.restarts import RunRestarted
from odapi_repro.diagnosis.run_rule import RunRule

__all__ = ["RULES"]

RULES: tuple[RunRule, ...] = (
    RunDiverged(),
    LossPlateau(),
    BestCheckpointNotLast(),
    RunStoppedEarly(),
    EvaluationIncomplete(),
    AppliedLearningRateDiffers(),
    CheckpointIncomplete(),
    RunRestarted(),
)
