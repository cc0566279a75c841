"""The factors and their registry, in the order in which tables show them."""

from odapi_repro.errors import UserError
from odapi_repro.factors.augmentation import Augmentation
from odapi_repro.factors.batch_size import BatchSize
from odapi_repro.factors.duplicate_share import DuplicateShare
from odapi_repro.factors.factor import Factor, Level, Setting
from odapi_repro.factors.label_noise import LabelNoiseFactor
from odapi_repro.factors.learning_rate import LearningRate
from odapi_repro.factors.lr_scaling import LrScaling
from odapi_repro.factors.other_words import factor_hint
from odapi_repro.factors.rois_per_image import RoisPerImage
from odapi_repro.factors.schedule_length import ScheduleLength
from odapi_repro.factors.sync_replicas import SyncReplicas
from odapi_repro.factors.train_fraction import TrainFraction
from odapi_repro.factors.train_shards import TrainShards
from odapi_repro.factors.warmup import Warmup

__all__ = ["FACTORS", "Factor", "Level", "Setting", "factor_hint", "factor_named"]

FACTORS: dict[str, Factor] = {
    factor.name: factor
    for factor in (
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
    )
}


def factor_named(name: str) -> Factor:
    """Gives the factor of that name.

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
