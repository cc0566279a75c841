"""Rules about the checkpoint that a training starts from."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.checkpoint.architecture import CheckpointOfOtherArchitecture
from odapi_repro.diagnosis.rules.checkpoint.full_restore import FullRestoreOfOtherClasses
from odapi_repro.diagnosis.rules.checkpoint.kind import CheckpointKind
from odapi_repro.diagnosis.rules.checkpoint.model_dir import CheckpointInModelDir
from odapi_repro.diagnosis.rules.checkpoint.path import CheckpointPath
from odapi_repro.diagnosis.rules.checkpoint.scratch import TrainedFromScratch
from odapi_repro.diagnosis.rules.checkpoint.type_supported import CheckpointTypeUnsupported
from odapi_repro.diagnosis.rules.checkpoint.version import CheckpointVersion

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
