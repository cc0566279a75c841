"""The factors and their registry, in the order in which tables show them."""

from collections.abc import Sequence
from typing import Any

from odapi_repro.errors import UserError
from odapi_repro.factors.augmentation import Augmentation
from odapi_repro.factors.batch_size import BatchSize
from odapi_repro.factors.duplicate_share import DuplicateShare
from odapi_repro.factors.factor import Factor, Level, Setting, TrainedFactor
from odapi_repro.factors.label_noise import LabelNoiseFactor
from odapi_repro.factors.learning_rate import LearningRate
from odapi_repro.factors.lr_scaling import LrScaling
from odapi_repro.factors.other_words import hint_of
from odapi_repro.factors.post_hoc.box_voting import BoxVoting
from odapi_repro.factors.post_hoc.checkpoints import Fusion, Swa
from odapi_repro.factors.post_hoc.factor import PostHocFactor
from odapi_repro.factors.post_hoc.final_nms import (
    DetectionsPerClass,
    DetectionsPerImage,
    NmsIou,
    ScoreThreshold,
    SoftNms,
)
from odapi_repro.factors.post_hoc.two_stage import CropSize, MaskSize, Proposals, RpnNmsIou
from odapi_repro.factors.post_hoc.views import FlipTesting, MultiScaleTesting
from odapi_repro.factors.rois_per_image import RoisPerImage
from odapi_repro.factors.schedule_length import ScheduleLength
from odapi_repro.factors.sync_replicas import SyncReplicas
from odapi_repro.factors.train_fraction import TrainFraction
from odapi_repro.factors.train_shards import TrainShards
from odapi_repro.factors.warmup import Warmup

__all__ = [
    "FACTORS",
    "POST_HOC_FACTORS",
    "Factor",
    "Level",
    "Setting",
    "TrainedFactor",
    "factor_hint",
    "factor_named",
    "need_training",
]

_REGISTRY: tuple[Factor[Any], ...] = (
    BatchSize(),
    LrScaling(),
    Warmup(),
    SyncReplicas(),
    Augmentation(),
    LearningRate(),
    ScheduleLength(),
    TrainShards(),
    TrainFraction(),
    DuplicateShare(),
    LabelNoiseFactor(),
    RoisPerImage(),
    ScoreThreshold(),
    NmsIou(),
    SoftNms(),
    DetectionsPerImage(),
    DetectionsPerClass(),
    BoxVoting(),
    FlipTesting(),
    MultiScaleTesting(),
    Fusion(),
    Swa(),
    Proposals(),
    RpnNmsIou(),
    MaskSize(),
    CropSize(),
)
FACTORS = {one.name: one for one in _REGISTRY if isinstance(one, TrainedFactor)}
"""Those that need a training."""
POST_HOC_FACTORS = {one.name: one for one in _REGISTRY if isinstance(one, PostHocFactor)}
"""Those that are measured on a finished checkpoint."""


def factor_named(name: str) -> TrainedFactor:
    """Gives the factor of that name that is trained.

    Raises:
        UserError: with the nearest name.
    """
    if name not in FACTORS:
        raise UserError(
            f"unknown factor '{name}'",
            expected=f"one of {', '.join(FACTORS)}",
            mend=factor_hint(name, list(FACTORS)) or "e.g. --ablate batch_size",
        )
    return FACTORS[name]


def factor_hint(name: str, known: Sequence[str]) -> str:
    """Gives what to tell somebody who typed `name`, which is none of the `known` factors."""
    called = {one.name: one.also_called for one in _REGISTRY}
    return hint_of(name, {one: called[one] for one in known})


def need_training(names: Sequence[str], checkpoint: str | None) -> bool:
    """Tells whether the factors named need a training, or are measured on a checkpoint.

    Raises:
        UserError: a name is unknown, some are and some are not, or no checkpoint is named.
    """
    known = {one.name: one for one in _REGISTRY}
    for name in names:
        if name not in known:
            raise UserError(
                f"unknown factor '{name}'",
                expected=f"one of {', '.join(FACTORS)}; or, with --checkpoint and without "
                f"training, of {', '.join(POST_HOC_FACTORS)}",
                mend=factor_hint(name, list(known)) or "e.g. --ablate batch_size",
            )
    post_hoc = [name for name in names if not known[name].needs_training]
    trained = [name for name in names if known[name].needs_training]
    if not post_hoc:
        return True
    if trained:
        raise UserError(
            f"--ablate mixes {', '.join(trained)} (trained) with {', '.join(post_hoc)} (measured "
            "on a finished checkpoint)",
            expected="factors of one kind in one study",
            mend=f"--ablate {','.join(trained)} first, then --ablate {','.join(post_hoc)} "
            "--checkpoint runs/<trial>",
        )
    if not checkpoint:
        raise UserError(
            f"{', '.join(post_hoc)}: no checkpoint was named to measure on",
            expected="--checkpoint with a trial's folder runs/<id>, a training folder, a ckpt-N "
            "prefix or an unpacked zoo archive",
            mend="--checkpoint runs/<trial>",
        )
    return False
