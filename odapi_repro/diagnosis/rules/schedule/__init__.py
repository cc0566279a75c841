"""Rules about the learning rate, its schedule, the optimizer, and how long a run is."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.schedule.gradient_clipping import GradientClipping
from odapi_repro.diagnosis.rules.schedule.last_checkpoint import LastCheckpoint
from odapi_repro.diagnosis.rules.schedule.low_rate import LowRate
from odapi_repro.diagnosis.rules.schedule.momentum_and_decay import MomentumAndDecay
from odapi_repro.diagnosis.rules.schedule.moving_average import MovingAverage
from odapi_repro.diagnosis.rules.schedule.optimizer_defaults import OptimizerDefaults
from odapi_repro.diagnosis.rules.schedule.optimizer_kind import OptimizerKind
from odapi_repro.diagnosis.rules.schedule.peak_rate import PeakRate
from odapi_repro.diagnosis.rules.schedule.refused import ScheduleRefused
from odapi_repro.diagnosis.rules.schedule.run_length import RunLength
from odapi_repro.diagnosis.rules.schedule.schedule_end import ScheduleEnd
from odapi_repro.diagnosis.rules.schedule.warmup_length import WarmupLength

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    PeakRate(),
    LowRate(),
    ScheduleRefused(),
    WarmupLength(),
    ScheduleEnd(),
    RunLength(),
    LastCheckpoint(),
    OptimizerKind(),
    OptimizerDefaults(),
    MovingAverage(),
    GradientClipping(),
    MomentumAndDecay(),
)
