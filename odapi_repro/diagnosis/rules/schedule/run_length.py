"""Rules about how long is trained, and where the schedule ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.learning_rate import (
    BLOCK,
    compare_peaks,
    fitting_warmup,
    learning_rate_path,
    number,
    run_steps,
    start_of,
    steps_fix,
    trains_on_coco,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

# Images, at full rate, under which a training is called short. Judged: a detector fine-tuned with
# 16,000 images ended at 7.7 AP (EfficientDet-D1), one with 8,000 at 61 mAP (MobileNet, 4 classes).
_FEW = {"detector": (0, 20_000), "backbone": (16_000, 100_000), "nothing": (100_000, 400_000)}
_FULL_EPOCHS = 12  # the 1x schedule of the published baselines


class RunLength(Rule):
    """The run is too short, or too long, for what it trains on.

    On COCO the images seen are held against the reference's, on other data against what trainings
    from the same start needed. Where a batch is cut and the steps are kept, the epochs are cut with
    it: the commonest way to lose AP with the learning rate scaled as it should be.

    Anti-pattern

        train_config { batch_size: 8 num_steps: 300000 }     # the reference: 128, as many steps

    Best practice

    Keep the images seen: steps times batch. Say `--train_images` to have epochs counted.

    Source

    Detectron issue 72: an eighth of the batch with as many steps, 35.7 to 23.3 AP. num_steps 0
    leaves train_steps at None, which `range` refuses (model_lib_v2.train_loop).
    """

    code: ClassVar[str] = "STP001"
    name: ClassVar[str] = "steps.run_length"
    causes: ClassVar[tuple[str, ...]] = ("too_few_steps", "too_few_epochs", "too_many_epochs")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Counts steps, then images against COCO's reference or a floor, then epochs."""
        if not run_steps(subject):
            yield self._no_steps(subject)
            return
        if subject.quantities.global_batch < 1:
            return
        if trains_on_coco(subject) and start_of(subject.pipeline) != "detector":
            yield from self._against_reference(subject)
        else:
            yield from self._few_images(subject)
            yield from self._few_epochs(subject)
        yield from self._many_epochs(subject)

    def _no_steps(self, subject: Subject) -> Finding:
        flag = subject.circumstances.num_train_steps is not None
        return self.finding(
            "too_few_steps",
            Severity.FATAL,
            fields=["train_config.num_steps"],
            found="--num_train_steps leaves no step to train" if flag else "num_steps is 0",
            expected=f"{number(subject.reference_quantities.num_steps)} steps in the reference",
            why="The training ends before its first step."
            if flag
            else "Without --num_train_steps the OD API then stops with TypeError before the first "
            "step; 0 does not mean endless.",
            fix=steps_fix("train_config.num_steps", subject.reference_quantities.num_steps),
        )

    def _against_reference(self, subject: Subject) -> Iterator[Finding]:
        own, reference = subject.quantities, subject.reference_quantities
        if not own.num_steps or not reference.images_seen:
            return
        steps = _steps_at_rate(subject)
        images = steps * own.global_batch
        share = images / reference.images_seen
        if share >= 0.55:
            return
        steps_kept = steps >= 0.55 * reference.num_steps
        # Records that are read only in part give more epochs of less: the data rules' finding.
        epochs = images / own.train_images if own.train_images else None
        repeated = (epochs or 0.0) >= 0.9 * (reference.epochs or math.inf)
        severity = Severity.CRITICAL if share <= 0.13 else Severity.WARNING
        evidence: tuple[Evidence, ...] = published("epochs_cut_8x")
        if share > 0.3:
            evidence = published("schedule_2x_1x", "stopped_early")
        idle = "" if steps == run_steps(subject) else " at a learning rate above 0"
        yield self.finding(
            "too_few_epochs" if steps_kept else "too_few_steps",
            Severity.INFO if repeated else severity,
            fields=["train_config.num_steps", "train_config.batch_size"],
            found=f"{number(steps)} steps of {number(own.global_batch)}{idle} are "
            f"{number(images)} images, {share:.1%} of the reference's"
            + (f", {number(epochs)} epochs" if epochs and not repeated else ""),
            expected=f"{number(reference.images_seen)} images"
            + (f", {number(reference.epochs)} epochs" if reference.epochs else ""),
            why="As many steps at a smaller batch see fewer images."
            if steps_kept
            else "A training on COCO from a backbone has not converged by then.",
            # Published: 12.4 AP for an eighth, 0.9 for a half; between and beyond by the logarithm.
            loss_ap=min(15.0, max(0.9, 4.0 * math.log2(1 / max(share, 1e-6)) - 2.0)),
            evidence=evidence,
            fix=_longer(subject, reference.images_seen / own.global_batch),
        )

    def _few_images(self, subject: Subject) -> Iterator[Finding]:
        steps, start = _steps_at_rate(subject), start_of(subject.pipeline)
        images = steps * subject.quantities.global_batch
        worst, few = _FEW[start]
        if images >= few:
            return
        # A type without a path: the path may have been taken out, and then less is enough.
        worst = min(worst, _FEW[start_of(subject.pipeline, path_missing=True)][0])
        begins = {
            "detector": "fine-tunes a detector",
            "backbone": "trains a detector from a backbone",
            "nothing": "trains from random weights",
        }[start]
        yield self.finding(
            "too_few_steps",
            Severity.CRITICAL if images < worst else Severity.WARNING,
            fields=["train_config.num_steps", "train_config.batch_size"],
            found=f"the run {begins} with {number(images)} images "
            f"({number(steps)} steps of {number(subject.quantities.global_batch)})",
            expected=f"{number(few)} images or more",
            why="The heads for new classes start from random weights and need several thousand "
            "steps."
            if start == "detector"
            else "FPN, heads and their batch norm start from random weights.",
            # Judged: each halving costs 2 AP when fine-tuning, 3 otherwise.
            loss_ap=min(20.0, 1.0 + (2 if start == "detector" else 3) * math.log2(few / images))
            if images
            else 20.0,
            fix=_longer(subject, few / subject.quantities.global_batch),
        )

    def _few_epochs(self, subject: Subject) -> Iterator[Finding]:
        # A detector fine-tuned on records with COCO's names hardly reads COCO: only what was said.
        images, start = subject.circumstances.train_images, start_of(subject.pipeline)
        if not images:
            return
        epochs = _steps_at_rate(subject) * subject.quantities.global_batch / images
        wanted = 4 if start == "detector" else _FULL_EPOCHS
        if epochs >= wanted:
            return
        yield self.finding(
            "too_few_epochs",
            Severity.CRITICAL if epochs < 1 and start != "detector" else Severity.WARNING,
            fields=["train_config.num_steps", "train_config.batch_size"],
            found=f"the run sees its {number(images)} images {number(epochs)} times",
            expected=f"{wanted} times or more",
            why="Images that are hardly seen are not learned."
            if start == "detector"
            else "The published baselines train at least 12 epochs, from a pretrained backbone.",
            loss_ap=min(15.0, 2.0 * math.log2(wanted / max(epochs, 1e-3))),  # judged
            evidence=published("schedule_72_12") if start != "detector" else (),
            fix=_longer(subject, wanted * images / subject.quantities.global_batch),
        )

    def _many_epochs(self, subject: Subject) -> Iterator[Finding]:
        own, reference = subject.quantities, subject.reference_quantities
        limit = max(300.0, 2.0 * (reference.epochs or 0.0))
        if own.epochs is None or own.epochs < limit:
            return
        # One shard of a hundred makes a thousand epochs: the shards are the finding then.
        partial = (own.train_shards_share or 1.0) < 0.9
        yield self.finding(
            "too_many_epochs",
            Severity.INFO if partial else Severity.WARNING,
            fields=["train_config.num_steps", "train_config.batch_size"],
            found=f"{number(own.images_seen)} images are {number(own.epochs)} times the same "
            f"{number(own.train_images or 0)}",
            expected=f"{number(reference.epochs)} epochs in the reference"
            if reference.epochs
            else "some tens of epochs",
            why="A detector that sees the same images that often learns them by heart; more data "
            "helps, and so does the best checkpoint of the evaluation instead of the last.",
            loss_ap=1.0,  # judged: little is lost where augmentation is strong
        )


def _longer(subject: Subject, steps: float) -> list[FieldFix]:
    """Edits for a run of that many steps, in thousands, and a cosine that ends with it."""
    thousands = math.ceil(steps / 1000) * 1000
    edits = steps_fix("train_config.num_steps", thousands)
    if subject.schedule.kind == "cosine":
        edits += steps_fix(f"{learning_rate_path(subject.pipeline)}.total_steps", thousands)
    return edits


def _steps_at_rate(subject: Subject) -> int:
    """Steps with a learning rate above 0: none after the end of a cosine."""
    steps = run_steps(subject)
    if subject.schedule.kind == "cosine":
        steps = min(steps, subject.schedule.end_step or 0)
    return steps


_CONSTANT = Evidence(
    -1.5,
    "https://github.com/gau-nernst/centernet-lightning/blob/"
    "5d5f73dd873c20e96057c426479ac357f91fb9cf/docs/experiments.md",
    "a rate that rises and falls over the run -> a constant one, CenterNet R18-FPN, VOC 2012 (mAP)",
)
_SPENT = 0.01  # share of the peak below which an exponential or stepped rate trains no more


class ScheduleEnd(Rule):
    """The schedule is made for another number of steps than the run has.

    `--num_train_steps` changes num_steps and leaves total_steps as it is, so a short run with it
    ends long before the rate comes down.

    Anti-pattern

        num_steps: 30000
        optimizer { momentum_optimizer { learning_rate { cosine_decay_learning_rate {
          total_steps: 300000              # at step 30,000 the rate is still at 99 %
        } } } }

    Best practice

    total_steps equal to num_steps, and boundaries of manual steps inside the run.

    Source

    utils/learning_schedules: the cosine is 0 after total_steps, where only momentum's rest and the
    statistics of batch norm still change the model. model_main_tf2.py, config_util.py
    (_update_train_steps). A decay over the run against a constant rate: 1.5 mAP on VOC
    (experiment 3 in gau-nernst/centernet-lightning, docs/experiments.md).
    """

    code: ClassVar[str] = "LR004"
    name: ClassVar[str] = "lr.schedule_end"
    causes: ClassVar[tuple[str, ...]] = (
        "cosine_horizon_longer_than_run",
        "cosine_horizon_shorter_than_run",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the rate of the last step, then at the steps that are left without one."""
        schedule, steps = subject.schedule, run_steps(subject)
        if schedule.refusal or not schedule.kind or not steps:
            return
        peak = schedule.peak_within(steps)
        if not 0 < peak < math.inf:
            return
        idle = _idle_steps(subject, peak)
        if idle >= max(BLOCK, 0.01 * steps):
            yield self._shorter(subject, idle)
        elif schedule.at(steps - 1) > 0.01 * peak:
            yield from self._longer(subject, peak)

    def _longer(self, subject: Subject, peak: float) -> Iterator[Finding]:
        schedule, steps = subject.schedule, run_steps(subject)
        last, reference = schedule.at(steps - 1), subject.reference_quantities
        share = last / peak
        if reference.lr_last > 0.1 * reference.lr_peak:
            return
        told = _planned(subject)
        if not told and share <= 0.1:
            return
        # A constant or slowly falling rate is a choice that fine-tuning stands; a plan that the
        # run does not reach is a slip.
        slip = bool(told) or start_of(subject.pipeline) != "detector"
        warned = share >= 0.1 and slip
        peaks = compare_peaks(subject)
        high = peaks is not None and peaks.ratio > 2
        yield self.finding(
            "cosine_horizon_longer_than_run",
            Severity.WARNING if warned else Severity.INFO,
            fields=[_end_field(subject), "train_config.num_steps"],
            found=f"the last step trains at {number(last)}, {share:.0%} of the peak"
            + (f": {told}" if told else f": the rate is {_KINDS[schedule.kind]}"),
            expected="a rate that has come down to 0 by the last step"
            if reference.lr_last < 0.001 * reference.lr_peak
            else f"a rate of {number(reference.lr_last)} in the last step",
            why="The last AP comes while the rate falls: a model taken at a high rate still "
            "swings around what it could reach.",
            # Published: 1.5 mAP for no decay at all; judged: twice that where the rate is high.
            loss_ap=1.5 * share * (2.0 if high else 1.0) if warned else 0.2,
            evidence=[_CONSTANT],
            fix=_ends_with_run(subject, steps),
        )

    def _shorter(self, subject: Subject, idle: int) -> Finding:
        steps = run_steps(subject)
        share = idle / steps
        cosine = subject.schedule.kind == "cosine"
        rate = "0" if cosine else f"less than {_SPENT:.0%} of the peak"
        return self.finding(
            "cosine_horizon_shorter_than_run",
            Severity.WARNING if share >= 0.05 else Severity.INFO,
            fields=[_end_field(subject), "train_config.num_steps"],
            found=f"{number(idle)} of {number(steps)} steps ({share:.0%}) train at a learning "
            f"rate of {rate}",
            expected="a schedule that ends with the run",
            why="Those steps cost their time and change no weight; batch-norm statistics drift on."
            if cosine
            else "Those steps cost their time and hardly change a weight.",
            # Judged: AP is lost only in so far as the steps were wanted.
            loss_ap=3.0 * share if share >= 0.05 else 0.1,
            fix=_ends_with_run(subject, steps),
        )


_KINDS = {
    "constant": "constant",
    "exponential": "falling too slowly",
    "manual_step": "not stepped down further",
    "cosine": "held until the end",
}


def _idle_steps(subject: Subject, peak: float) -> int:
    """Steps at the end of the run that are trained at (next to) no rate."""
    schedule, steps = subject.schedule, run_steps(subject)
    if schedule.kind == "cosine":
        return max(0, steps - (schedule.end_step or 0))
    if schedule.at(steps - 1) > _SPENT * peak:
        return 0
    # The rate only falls once the warm-up is over, so the last step above is found by halving.
    low, high = min(schedule.warmup_steps, steps - 1), steps - 1
    while low < high:
        middle = (low + high) // 2
        if schedule.at(middle) > _SPENT * peak:
            low = middle + 1
        else:
            high = middle
    # Manual steps end low by design: the zoo's CenterNet takes its last seventh at 1 %.
    idle = steps - low
    return idle if schedule.kind == "exponential" or idle > 0.5 * steps else 0


def _planned(subject: Subject) -> str:
    """What the schedule would still have done after the run; empty where nothing."""
    schedule, steps = subject.schedule, run_steps(subject)
    if schedule.kind == "cosine" and (schedule.end_step or 0) > steps:
        return f"total_steps is {number(schedule.end_step or 0)}, the run has {number(steps)}"
    if schedule.kind == "manual_step":
        beyond = [step for step in schedule.corners if step >= steps]
        if beyond:
            return (
                f"{len(beyond)} of {len(schedule.corners)} boundaries lie beyond the run, the "
                f"next at step {number(beyond[0])}"
            )
    return ""


def _end_field(subject: Subject) -> str:
    path = learning_rate_path(subject.pipeline)
    name = {"cosine": ".total_steps", "exponential": ".decay_steps", "manual_step": ".schedule"}
    return path + name.get(subject.schedule.kind, "")


def _ends_with_run(subject: Subject, steps: int) -> list[FieldFix]:
    path = learning_rate_path(subject.pipeline)
    num_steps = subject.quantities.num_steps
    if subject.schedule.kind == "cosine":
        edits = steps_fix(f"{path}.total_steps", num_steps)
        if subject.schedule.warmup_steps >= num_steps:  # total_steps below it would be refused
            edits += steps_fix(f"{path}.warmup_steps", fitting_warmup(subject, num_steps))
        return edits
    if subject.schedule.kind == "manual_step":
        last = max(subject.schedule.corners, default=0)
        entries = descend(subject.pipeline.proto, path).schedule
        # As a share of the run, the last boundary where the zoo's manual schedules have it: 6/7.
        moved = [max(1, int(entry.step * steps * 6 / 7 / last)) for entry in entries if last]
        if len(set(moved)) == len(entries) and moved == sorted(moved):
            return [
                FieldFix(f"{path}.schedule[{index}].step", step) for index, step in enumerate(moved)
            ]
    return []


class LastCheckpoint(Rule):
    """The run ends between two checkpoints, and what it trained last is lost.

    Anti-pattern

        num_steps: 1500        # checkpoints at 0 and 1,000: the last 500 steps are not saved

    Best practice

    Make num_steps a multiple of 1,000, or give `--checkpoint_every_n` a divisor of it that is a
    multiple of 100.

    Source

    model_lib_v2.train_loop saves where checkpoint_every_n steps have passed since the last
    checkpoint, looks once in 100 steps, and saves nothing at the end. eval_continuously ends by
    itself only at a checkpoint whose step is num_steps, else after --eval_timeout.
    """

    code: ClassVar[str] = "STP002"
    name: ClassVar[str] = "steps.last_checkpoint"
    causes: ClassVar[tuple[str, ...]] = ("last_checkpoint_not_saved",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Counts the steps after the last checkpoint."""
        steps = run_steps(subject)
        # The loop looks once a block whether the interval has passed.
        every = -(-subject.circumstances.checkpoint_every_n // BLOCK) * BLOCK
        lost = steps % every
        asked = subject.quantities.num_steps
        if not steps or (not lost and steps == asked):
            return
        saved = steps - lost
        share = lost / steps
        severity = Severity.WARNING if share >= 0.1 else Severity.INFO
        yield self.finding(
            "last_checkpoint_not_saved",
            Severity.CRITICAL if not saved else severity,
            fields=["train_config.num_steps"],
            found=self._found(steps, asked, every),
            expected=f"a multiple of {number(every)}, or --checkpoint_every_n with a divisor",
            why="What was trained since the last checkpoint is gone, and the evaluation, which "
            "waits for the checkpoint of the last step, waits until its timeout."
            if saved
            else "The only checkpoint holds the weights from before the first step: the whole "
            "training is lost.",
            # All of it where nothing is saved; judged by the share of the run otherwise.
            loss_ap=20.0 if not saved else 3.0 * share,
            fix=steps_fix("train_config.num_steps", max(every, -(-asked // every) * every)),
        )

    def _found(self, steps: int, asked: int, every: int) -> str:
        lost = steps % every
        made = f"{number(steps)} steps"
        if steps != asked:
            made += f" (num_steps {number(asked)}, in blocks of {BLOCK})"
        if lost == steps:
            return f"of {made}, none is saved: checkpoints come every {number(every)} steps"
        if not lost:
            return f"the run makes {made}, and no checkpoint has the number {number(asked)}"
        return (
            f"of {made}, the last {number(lost)} are not saved: checkpoints come every "
            f"{number(every)} steps"
        )
