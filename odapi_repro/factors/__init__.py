"""The factors and their registry, in the order in which tables show them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from odapi_repro.errors import UserError
from odapi_repro.factors.augmentation_factor import Augmentation
from odapi_repro.factors.batch_factors import BatchSize, RoisPerImage, SyncReplicas
from odapi_repro.factors.data_factors import (
    DuplicateShare,
    LabelNoiseFactor,
    TrainFraction,
    TrainShards,
)
from odapi_repro.factors.factor import Factor, Level, Setting, TrainedFactor
from odapi_repro.factors.post_hoc.nms_factors import (
    BoxVoting,
    DetectionsPerClass,
    DetectionsPerImage,
    NmsIou,
    ScoreThreshold,
    SoftNms,
)
from odapi_repro.factors.post_hoc.post_hoc_factor import PostHocFactor
from odapi_repro.factors.post_hoc.two_stage_factors import CropSize, MaskSize, Proposals, RpnNmsIou
from odapi_repro.factors.post_hoc.views_and_checkpoints import (
    FlipTesting,
    Fusion,
    MultiScaleTesting,
    Swa,
)
from odapi_repro.factors.schedule_factors import LearningRate, LrScaling, ScheduleLength, Warmup

# --- What somebody meant who typed the name of no factor ---


# What no factor varies, until one has one of its names -> its names.
_INPUT_SIZE = "the input size"
_UNVARIED = {
    _INPUT_SIZE: "image_size img_size imgsz input_size input_resolution resolution size "
    "image_resizer image_resolution input_shape",
    "the anchors": "anchors anchor anchor_scale anchor_scales anchor_generator aspect_ratios",
    "batch norm": "bn batch_norm batchnorm freeze_bn freeze_batchnorm",
    "the optimizer": "optimizer optim momentum adam sgd weight_decay wd l2 regularization",
    "gradient clipping": "clipping gradient_clipping clip grad_clip",
    "the loss": "loss losses loss_weights focal_loss alpha gamma loss_function",
    "the architecture": "backbone model architecture feature_extractor fpn neck depth width",
    "dropout": "dropout use_dropout",
    "the moving average of weights": "ema moving_average use_moving_average",
    "the checkpoint to start from": "checkpoint fine_tune_checkpoint pretrained weights init",
    "the classes": "classes num_classes class_weights",
}
_ALIKE = 0.67


def hint_of(name: str, known: Mapping[str, str]) -> str:
    """Gives what to tell somebody who typed `name`, which is none of the `known` factors.

    `did you mean 'x'?` where x, another word for it or the misspelling of either was typed; how to
    study what no factor varies; an empty text where nothing is near.

    Args:
        known: factor -> what else it is called.
    """
    meant: dict[str, str] = {}
    for what, words in (*_UNVARIED.items(), *known.items()):
        names = [what, *words.split()]
        factor = next((one for one in names if one in known), what)
        meant.update(dict.fromkeys(map(_plain, names), factor))
    near = difflib.get_close_matches(_plain(name), meant, n=1, cutoff=_ALIKE)
    if not near:
        return ""
    found = meant[near[0]]
    if found in known:
        return f"did you mean '{found}'?"
    tested = "multi_scale_testing"
    sizes = f" ({tested} gives a finished --checkpoint other sizes)" if tested in known else ""
    return (
        f"no factor varies {found}{sizes if found == _INPUT_SIZE else ''}: train a copy of the "
        "config that differs there, as it is, with --pipeline COPY --ablate batch_size "
        "--levels 1x"
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


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
