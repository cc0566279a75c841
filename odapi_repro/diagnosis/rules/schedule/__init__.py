"""Rules about the learning rate, its schedule, the optimizer, and how long a run is."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.schedule.learning_rate import LowRate, PeakRate, WarmupLength
from odapi_repro.diagnosis.rules.schedule.optimizer import (
    GradientClipping,
    MomentumAndDecay,
    MovingAverage,
    OptimizerDefaults,
    OptimizerKind,
)
from odapi_repro.diagnosis.rules.schedule.run_length import LastCheckpoint, RunLength, ScheduleEnd
from odapi_repro.diagnosis.rules.schedule.schedule_refused import ScheduleRefused

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
