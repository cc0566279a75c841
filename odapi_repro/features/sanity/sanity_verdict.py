"""What the checks have shown, and the verdict that follows from it.

It is a screen and no proof: the thresholds were set where good and damaged copies of the embedded
set came apart (docs/sanity.md has the measurements), and what lies between is `undecided`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from odapi_repro.features.sanity.sanity_trainings import Training
from odapi_repro.files.trial_files import LOSSES, read_losses
from odapi_repro.trials.trial_store import TrialStore

# --- What the checks of sanity training have shown so far; the verdict follows from it alone ---


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


# --- From what the checks have shown to a verdict in words, by rules that are all here ---


Cause = Literal[
    "sound", "training_data", "evaluation_data", "training_input", "schedule", "undecided"
]

NOTHING_AP = 2.0
"""AP at or below which a checkpoint finds nothing; shuffled boxes leave less."""

OWN_SHARE = 0.5
"""Share of the AP on its own images below which other images' labels are not what it knows."""

AGREE_SHARE = 0.8
"""AP on training images, as a share of that on evaluation images, from which on the labels agree:
a model knows what it was trained on, and images like them, no worse."""

DISAGREE_SHARE = 0.5
"""The share below which they do not."""

HOLD_SHARE_LOST = 0.1
"""Share of the AP that may be lost at a very low rate."""

FELL_SHARE_LOST = 0.2
"""Share of the AP above which a loss counts as a fall, if its interval is below 0, too."""

LEARNED_AP = 10.0
"""By how much AP on a few images rises when they are learned."""

KNOWN_AP = 90.0
"""AP on a few images from which on nothing is left to rise."""

_LOOK_AT_EVALUATION = (
    "Look at the evaluation records with their boxes (`data show`), and check them and the label "
    "map (`data check`)."
)


_SURE = 1.96


def untested(what: str, reason: str) -> str:
    """Gives the sentence for a check that did not take place; empty without a reason."""
    return f"{what}: not tested, {reason}." if reason else ""


def course_of(run: Run) -> str:
    """Gives how an overfit went: from which AP to which, or what ended it."""
    if run.status == "diverged":
        return f"diverged, {run.message} (peak rate {run.peak_rate:g})"
    before, after = run.ap_before, run.ap_after
    if before is None or after is None:
        return f"{run.status}{message_of(run)}"
    return (
        f"AP on the few images from {before:.1f} to {after:.1f} in {run.num_steps} steps "
        f"(peak rate {run.peak_rate:g})"
    )


def message_of(run: Run) -> str:
    """Gives what a run said at its end, after a comma; empty where it said nothing."""
    return f", {run.message}" if run.message else ""


def ap_text(score: Score) -> str:
    """Gives AP with the half width of its 95 % interval over the images."""
    return f"{score.ap:.1f}" + ("" if score.se is None else f" ± {_SURE * score.se:.1f}")


def change_text(change: Change) -> str:
    """Gives a difference with its sign, and its interval where there is one."""
    if change.low is None or change.high is None:
        return f"{change.value:+.1f}"
    return f"{change.value:+.1f} ({change.low:+.1f} to {change.high:+.1f})"


@dataclass(frozen=True)
class Verdict:
    """What a sanity run says.

    Attributes:
        causes: what is wrong, the surest first; `sound` or `undecided` alone.
        headline: one sentence.
        reasons: what it rests on, a sentence a check, with the numbers.
        next_steps: what to do about it, or what would decide.
    """

    causes: tuple[Cause, ...]
    headline: str
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]

    @property
    def is_fault(self) -> bool:
        """Whether something was found to be wrong."""
        return not {"sound", "undecided"} & set(self.causes)


@dataclass(frozen=True)
class _Finding:
    """What one check says: a cause, `sound`, `undecided`, or `untested`; why, and what next."""

    cause: Cause | Literal["untested"]
    reason: str
    next_step: str = ""


def judge(outcome: Outcome) -> Verdict:
    """Gives the verdict on what is known so far."""
    if outcome.scale == "smoke":
        return Verdict(
            ("undecided",),
            "Undecided: a smoke run takes a few steps, which prove the plumbing only.",
            (),
            ("Run it at --scale proxy or full.",),
        )
    findings = [check(outcome) for check in _CHECKS]
    reasons = tuple(one.reason for one in findings if one.reason)
    faults = tuple(cause for cause in _FAULTS if cause in {one.cause for one in findings})
    steps = tuple(dict.fromkeys(one.next_step for one in findings if one.next_step))
    if faults:
        return Verdict(faults, " ".join(_FAULTS[cause] for cause in faults), reasons, steps)
    if all(one.cause == "sound" for one in findings):
        headline = (
            "Sound: the labels agree with what the checkpoint knows, and the schedule learns a few "
            "images by heart."
        )
        return Verdict(("sound",), headline, reasons, steps)
    unsettled = [
        what for what, one in zip(_UNSETTLED, findings, strict=True) if one.cause != "sound"
    ]
    headline = f"Undecided: {', and '.join(unsettled)}."
    return Verdict(("undecided",), headline, reasons, steps)


_FAULTS: Mapping[Cause, str] = {
    "evaluation_data": "The evaluation data or the label map are wrong: a trained checkpoint does "
    "not find what the evaluation records say is there.",
    "training_data": "The training data are wrong: their labels are not what a trained checkpoint "
    "sees in the images.",
    "training_input": "What training makes of the images is wrong: the labels are right, and a "
    "trained checkpoint still loses what it knows.",
    "schedule": "The schedule is wrong: a few images are not learned at its own rate, and are "
    "learned at another.",
}
# What is not settled where a check says so, in the order of `_CHECKS`.
_UNSETTLED = (
    "whether the evaluation labels are right",
    "whether the training labels are right",
    "whether a trained checkpoint holds on the training data",
    "whether the schedule learns",
)


def nothing_to_hold(outcome: Outcome) -> bool:
    """Whether the evaluation labels are not what the checkpoint knows: no AP that could hold."""
    return outcome.on_eval is not None and _disagrees(outcome.on_eval, outcome.own_ap)


def learned(run: Run) -> bool | None:
    """Whether the few images of an overfit were learned; None where it is not known."""
    if run.status == "diverged":
        return False
    before, after = run.ap_before, run.ap_after
    if before is None or after is None:
        return None
    return after >= min(before + LEARNED_AP, KNOWN_AP)


def needs_safe_rate(outcome: Outcome) -> bool:
    """Whether the overfit has to be tried at a rate that is known to train, too."""
    return outcome.overfit is not None and learned(outcome.overfit) is False


def _disagrees(score: Score, own_ap: float | None) -> bool:
    return score.ap <= NOTHING_AP or (own_ap is not None and score.ap < OWN_SHARE * own_ap)


def _evaluation(outcome: Outcome) -> _Finding:
    score = outcome.on_eval
    if score is None:
        return _Finding("untested", untested("Labels and hold", outcome.no_hold))
    own = "" if outcome.own_ap is None else f" ({outcome.own_ap:.1f} on its own run's images)"
    said = f"Before any step the checkpoint has AP {ap_text(score)} on the evaluation records{own}."
    on_train = outcome.on_train
    if not _disagrees(score, outcome.own_ap):
        if outcome.own_ap is None and on_train and score.ap < DISAGREE_SHARE * on_train.ap:
            return _Finding(
                "undecided",
                said + " That is far less than on the training records. Either it knows the "
                "training images by heart, or some evaluation labels are wrong.",
                _LOOK_AT_EVALUATION,
            )
        return _Finding("sound", said)
    if on_train is not None and not _disagrees(on_train, outcome.own_ap):
        return _Finding(
            "evaluation_data",
            said + " It finds the objects of the training records, so it knows the classes.",
            _LOOK_AT_EVALUATION,
        )
    if outcome.own_ap is not None and outcome.own_ap > NOTHING_AP:
        return _Finding(
            "evaluation_data",
            said + " It scores on neither set of records what it scores on its own images. What "
            "both sets share, the label map or the way they were made, disagrees with the "
            "checkpoint.",
            "Compare the label map with the one the checkpoint was trained with, and check the "
            "records (`data check`).",
        )
    return _Finding(
        "undecided",
        said
        + " It does not find the objects of the training records either. How good it is elsewhere "
        "is unknown.",
        "Evaluate the checkpoint on images it is known to be good on (`evaluate`): if it is, the "
        "data are wrong.",
    )


def _training(outcome: Outcome) -> _Finding:
    on_eval, on_train = outcome.on_eval, outcome.on_train
    if on_eval is None or on_train is None:
        return _Finding("untested", "")
    said = f"On {on_train.num_images} training images it has AP {ap_text(on_train)}"
    if _disagrees(on_eval, outcome.own_ap):
        known = outcome.own_ap is not None and outcome.own_ap > NOTHING_AP
        if known and _disagrees(on_train, outcome.own_ap):
            return _Finding("training_data", said + ".")
        return _Finding("undecided", said + ".")
    share = on_train.ap / on_eval.ap
    said += f", {share:.0%} of that on the evaluation images."
    look = (
        "Look at the training records with their boxes (`data show`), and check them "
        "(`data check`)."
    )
    if share < DISAGREE_SHARE:
        return _Finding("training_data", said, look)
    if share < AGREE_SHARE:
        return _Finding(
            "undecided",
            said + " A part of the labels may be wrong, or these images are harder.",
            look,
        )
    return _Finding("sound", said)


def _hold(outcome: Outcome) -> _Finding:
    run, change = outcome.hold, outcome.hold_change
    if run is None:
        why = "" if outcome.on_eval is None else untested("Hold", outcome.no_hold)
        return _Finding("untested", why)
    rate = f"{run.num_steps} steps at a rate of {run.peak_rate:g}"
    if run.status == "diverged":
        return _Finding(
            "training_data",
            f"Hold: diverged ({run.message}) in {rate}. A trained checkpoint does not diverge "
            "there unless boxes or images are wrong.",
            "Check the training records (`data check`): boxes outside the image or of no area.",
        )
    if change is None or outcome.on_eval is None:
        return _Finding("untested", f"Hold: {run.status}{message_of(run)}.")
    said = f"Hold: {rate} change AP on the evaluation images by {change_text(change)}."
    lost = -change.value / outcome.on_eval.ap if outcome.on_eval.ap else 0.0
    if lost <= HOLD_SHARE_LOST:
        return _Finding("sound", said)
    surely = change.high is not None and change.high < 0
    if lost > FELL_SHARE_LOST and surely:
        trained = _training(outcome).cause
        if trained == "sound":
            return _Finding(
                "training_input",
                said + " The labels agree with the checkpoint, so something else makes it unlearn: "
                "augmentation, or batch-norm statistics of "
                f"{run.global_batch_size} images.",
                "Look at the images as the model gets them (`data show`), and freeze batch norm "
                "or raise the batch.",
            )
        return _Finding("training_data", said)
    return _Finding("undecided", said, "Use more steps (--steps) or more evaluation images.")


def _overfit(outcome: Outcome) -> _Finding:
    run, safe = outcome.overfit, outcome.overfit_safe
    if run is None:
        return _Finding("untested", "")
    said = f"Overfit: {course_of(run)}."
    own = learned(run)
    if own is None:
        return _Finding("untested", said)
    if own:
        return _Finding("sound", said)
    if safe is None:
        return _Finding("undecided", said)
    said += f" At {safe.peak_rate:g}: {course_of(safe)}."
    if learned(safe):
        way = "lower" if run.peak_rate > safe.known_rate else "raise"
        return _Finding(
            "schedule",
            said,
            f"{way.capitalize()} the peak rate: {safe.known_rate:g} is known to train this model "
            f"at batch {run.global_batch_size} (`diagnose` names what differs from the reference).",
        )
    return _Finding(
        "undecided",
        said + " Neither rate learns them. That points to the data or the model, not to the "
        "schedule.",
        "Look at the ten images with their boxes (`data show`), or try more steps (--steps).",
    )


_CHECKS: tuple[Callable[[Outcome], _Finding], ...] = (_evaluation, _training, _hold, _overfit)
