"""Reads a finished, failed or running training folder without TensorFlow, and judges it."""

from odapi_repro.diagnosis.finished_run.event_files import Scalar, iterate_scalars
from odapi_repro.diagnosis.finished_run.run_checkpoints import (
    CheckpointKind,
    CheckpointOnDisk,
    CheckpointState,
    checkpoint_fault,
    checkpoint_kind,
    list_checkpoints,
    read_checkpoint_state,
    resolve_checkpoint,
    write_checkpoint_state,
)
from odapi_repro.diagnosis.finished_run.run_evaluations import Evaluation
from odapi_repro.diagnosis.finished_run.run_history import (
    BestAndLast,
    Divergence,
    LearningRateMismatch,
    Plateau,
    RunHistory,
    applied_lr_mismatch,
    best_and_last,
    divergence,
    loss_plateau,
    read_run,
    steps_missing,
    steps_not_saved,
)
from odapi_repro.diagnosis.finished_run.tensor_bundle import (
    CheckpointIndex,
    StoredVariable,
    read_index,
)

__all__ = [
    "BestAndLast",
    "CheckpointIndex",
    "CheckpointKind",
    "CheckpointOnDisk",
    "CheckpointState",
    "Divergence",
    "Evaluation",
    "LearningRateMismatch",
    "Plateau",
    "RunHistory",
    "Scalar",
    "StoredVariable",
    "applied_lr_mismatch",
    "best_and_last",
    "checkpoint_fault",
    "checkpoint_kind",
    "divergence",
    "iterate_scalars",
    "list_checkpoints",
    "loss_plateau",
    "read_checkpoint_state",
    "read_index",
    "read_run",
    "resolve_checkpoint",
    "steps_missing",
    "steps_not_saved",
    "write_checkpoint_state",
]
