"""Rules about the checkpoint that a training starts from."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.checkpoint.checkpoint_kind import (
    CheckpointKind,
    CheckpointOfOtherArchitecture,
    CheckpointTypeUnsupported,
    CheckpointVersion,
    FullRestoreOfOtherClasses,
    TrainedFromScratch,
)
from odapi_repro.diagnosis.rules.checkpoint.checkpoint_path import (
    CheckpointInModelDir,
    CheckpointPath,
)

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    CheckpointVersion(),
    CheckpointTypeUnsupported(),
    CheckpointPath(),
    CheckpointKind(),
    CheckpointOfOtherArchitecture(),
    CheckpointInModelDir(),
    TrainedFromScratch(),
    FullRestoreOfOtherClasses(),
)
