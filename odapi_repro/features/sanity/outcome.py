"""What the checks of sanity training have shown so far; the verdict follows from it alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from odapi_repro.features.sanity.trainings import Training
from odapi_repro.files.losses_csv import read_losses
from odapi_repro.files.trial_files import LOSSES
from odapi_repro.trials.store import TrialStore


@dataclass(frozen=True)
class Score:
    """AP of a checkpoint on some images, as it is before anything is trained. Points.

    Attributes:
        ap: COCO's AP of boxes.
        se: its standard error over the images; None where they cannot say.
        num_images: scored.
    """

    ap: float
    se: float | None
    num_images: int


@dataclass(frozen=True)
class Change:
    """AP after a training less AP before it, on the same images. Points.

    Attributes:
        value: the difference.
        low, high: 95 % interval of the paired bootstrap over the images; None where they cannot
            say.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Point:
    """AP after so many steps. Points."""

    step: int
    ap: float


@dataclass(frozen=True)
class Run:
    """One training of the checks, as far as it came.

    Attributes:
        name: as in `sanity.trainings`.
        trial_id: its folder in the store.
        status: one of the store's states; `planned` for one that has not run.
        message: why, for a run that diverged, failed or was interrupted.
        steps_done: of `num_steps`; for a run that diverged, the first that may have been the end.
        num_steps, global_batch_size: of the training.
        peak_rate: the highest learning rate of its schedule.
        known_rate: the rate known to train this kind of model at this batch.
        rate_note: what the rate is.
        points: AP by step, from step 0 on.
        losses: step and total loss, as far as they were finite.
        wall_seconds: of training and its own evaluation; None where not known.
    """

    name: str
    trial_id: str
    status: str
    message: str
    steps_done: int
    num_steps: int
    global_batch_size: int
    peak_rate: float
    known_rate: float
    rate_note: str
    points: tuple[Point, ...] = ()
    losses: tuple[tuple[int, float], ...] = ()
    wall_seconds: float | None = None

    @property
    def ap_before(self) -> float | None:
        """AP at step 0, None where it was not evaluated."""
        return self.points[0].ap if self.points and self.points[0].step == 0 else None

    @property
    def ap_after(self) -> float | None:
        """AP after the last step; None for a run that did not reach it."""
        if self.status != "succeeded" or not self.points:
            return None
        last = self.points[-1]
        return last.ap if last.step == self.num_steps else None


@dataclass(frozen=True)
class Outcome:
    """All checks of one sanity run.

    Attributes:
        scale: `full`, `proxy` or `smoke`.
        checkpoint: what the checkpoint is, in words; empty where there is none.
        own_ap: AP that the checkpoint had on the images of its own training run, where it says so.
        on_eval: the checkpoint on the evaluation records; None before it was evaluated.
        on_train: the checkpoint on training records, evenly sampled.
        hold: the training at a very low rate.
        hold_change: of AP on the evaluation records.
        no_hold: why there is no such training, where there is none.
        overfit: a few images at the schedule under test.
        overfit_safe: the same at a rate that is known to train; None where it was not needed.
    """

    scale: str
    checkpoint: str = ""
    own_ap: float | None = None
    on_eval: Score | None = None
    on_train: Score | None = None
    hold: Run | None = None
    hold_change: Change | None = None
    no_hold: str = ""
    overfit: Run | None = None
    overfit_safe: Run | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        """The trainings that are part of it, in order."""
        found = (self.hold, self.overfit, self.overfit_safe)
        return tuple(run for run in found if run is not None)


def run_of(training: Training, store: TrialStore) -> Run:
    """Gives a training as far as it came; it was not evaluated yet."""
    trial = training.trial
    state, took = store.state(trial.trial_id), store.provenance(trial.trial_id)
    losses = read_losses(store.folder(trial.trial_id) / LOSSES).series()
    return Run(
        name=training.name,
        trial_id=trial.trial_id,
        status=state.state,
        message=state.message,
        steps_done=state.step,
        num_steps=trial.num_steps,
        global_batch_size=trial.global_batch_size,
        peak_rate=training.peak_rate,
        known_rate=training.known.rate,
        rate_note=training.rate_note,
        losses=tuple((step, loss) for step, loss in losses if math.isfinite(loss)),
        wall_seconds=took.wall_seconds if took else None,
    )
