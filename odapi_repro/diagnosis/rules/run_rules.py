""""""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.finished_run import (
    RunHistory,
    applied_lr_mismatch,
    best_and_last,
    divergence,
    loss_plateau,
    steps_missing,
    steps_not_saved,
)
from odapi_repro.diagnosis.rule import RunRule, RunSubject, published
from odapi_repro.pipeline.quantities import COCO_VAL_IMAGES

# What it costs is unknown; that every other finding may be about another training ranks it.
_DOUBT_AP = 15.0


class AppliedLearningRateDiffers(RunRule):
    """The run was not trained with the learning rates that this config gives.

    The config was edited after the training began, or it is not the one that was trained. Then all
    that is said about it here is said about another training.

    Anti-pattern

        learning_rate_base: 0.01   # in the config; train/events say 0.08 at step 2500

    Best practice

    Keep the config in model_dir and do not edit it there; copy it for the next run. Name the one
    that was trained with --pipeline.

    Source

    object_detection/model_lib_v2.py: train_loop logs `learning_rate` after each report; the rate
    logged at a step is the schedule's at that step. Differences of over 1 % are told.
    """

    code = "RUN006"
    name = "run.applied_lr_differs"
    causes = ("applied_lr_differs",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for the report that differs most."""
        if subject.config is None:
            return
        schedule = subject.config.schedule
        found = applied_lr_mismatch(subject.history, schedule.at)
        if found is None:
            return
        yield self.finding(
            "applied_lr_differs",
            Severity.WARNING,
            fields=("train_config.optimizer",),
            found=(
                f"the learning rate at step {found.step:,} was {found.logged:.4g}; "
                f"{found.reports_off:,} of {found.reports:,} reports differ from the config"
            ),
            expected=f"{found.expected:.4g} at that step, by this config",
            why=(
                "The config was edited after the training began, or is another one: what is found "
                "in it may not hold for this run."
            ),
            loss_ap=_DOUBT_AP,
        )


# Below these shares the loss is small beside what a rerun costs.
_TELLING_SHARE = 0.02
_MOST_SHARE = 0.5


class RunStoppedEarly(RunRule):
    """The run took fewer steps than its config says, or its last steps are in no checkpoint.

    With a decaying schedule the last steps, at low rates, bring the last points of AP. A run
    that was stopped looks finished: it has checkpoints and evaluations.

    Anti-pattern

        num_steps: 300000      # in the config, and the last report is of step 122000
        num_steps: 1500        # with --checkpoint_every_n 1000: ckpt of step 1000 is the last

    Best practice

    Start model_main_tf2 again with the same model_dir; it goes on from the last checkpoint. Make
    num_steps a multiple of --checkpoint_every_n.

    Source

    object_detection/model_lib_v2.py: train_loop saves only when checkpoint_every_n steps have
    passed since the last time, and not at its end.
    """

    code = "RUN004"
    name = "run.stopped_early"
    causes = ("run_stopped_early", "last_checkpoint_not_saved")

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields what is missing to num_steps, or else what was trained and not saved."""
        history, num_steps = subject.history, subject.num_steps
        reached = history.steps_reached or 0
        missing = steps_missing(history, num_steps) if num_steps else 0
        if num_steps and missing:
            share = missing / num_steps
            late = share < _TELLING_SHARE
            yield self.finding(
                "run_stopped_early",
                Severity.INFO
                if late
                else (Severity.CRITICAL if share > _MOST_SHARE else Severity.WARNING),
                fields=("train_config.num_steps",),
                found=f"step {reached:,} of {num_steps:,} was reached, {1 - share:.0%} of the run",
                expected="the whole run, unless it is still going on",
                why=(
                    "The schedule was cut off where its rate was still high, or training would "
                    "still have gained."
                ),
                # The published -1.4 is for the last 42 %; more costs more.
                loss_ap=3.5 * share,
                evidence=published("stopped_early"),
            )
        elif (lost := steps_not_saved(history)) > 0:
            last = history.last_checkpoint
            saved = f"is of step {last.step:,}" if last and last.step else "is not there"
            yield self.finding(
                "last_checkpoint_not_saved",
                Severity.WARNING if lost > _TELLING_SHARE * reached else Severity.INFO,
                fields=("train_config.num_steps",),
                found=f"step {reached:,} was reached and the last whole checkpoint {saved}",
                expected="num_steps a multiple of --checkpoint_every_n (1,000 by default)",
                why=f"The last {lost:,} steps, those at the lowest rates, are lost.",
                loss_ap=min(1.4, 3.5 * lost / max(reached, 1)),
            )


# What a detector with NaN weights has: nothing. Ranks it before all that costs a part.
_ALL_AP = 100.0


class RunDiverged(RunRule):
    """The training diverged: its loss became NaN or infinite, or blew up and stayed up.

    The OD API neither stops nor says so. `train_loop` goes on for all of num_steps with weights
    that are NaN, saves them, and evaluation reports an AP of 0.

    Anti-pattern

        I1101 12:00:00 model_lib_v2.py: Step 1300 per-step time 0.412s
        {'Loss/classification_loss': nan, 'Loss/total_loss': nan, 'learning_rate': 0.0423}

    Best practice

    Look at the learning rate of the last finite report. Where it is above what the batch allows by
    the linear rule (LR001), lower it. Otherwise lengthen the warm-up, clip the gradients, and check
    the boxes. Start again from before the step: checkpoints from there on are of no use.

    Source

    object_detection/model_lib_v2.py: train_loop has no check of the loss. Only the last step of
    each report (100 steps) is logged, so the first bad step lies between two reports.
    """

    code = "RUN001"
    name = "run.diverged"
    causes = ("run_diverged",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for a loss that went bad."""
        history = subject.history
        found = divergence(history)
        if found is None:
            return
        not_finite = found.kind == "not_finite"
        losses = " and ".join(found.losses[:3]) or "the loss"
        since = f"in the report of step {found.step:,}"
        if found.last_good_step is not None:
            since += f", the one of step {found.last_good_step:,} was still good"
        what = "is NaN or infinite" if not_finite else "is more than three times its lowest level"
        yield self.finding(
            "run_diverged",
            Severity.FATAL if not_finite else Severity.CRITICAL,
            fields=("train_config.optimizer",),
            found=f"{losses} {what} {since}{_rate_text(history, found.step)}",
            expected="a finite loss that falls, to the end",
            why=(
                "After one such step the weights are NaN and stay so. The OD API goes on silently, "
                "and every checkpoint from there on is worthless."
                if not_finite
                else "What was learned before is gone. Checkpoints from before the rise may be "
                "better than the last."
            ),
            loss_ap=_ALL_AP,
            evidence=published("lr_8x_nan"),
        )


def _rate_text(history: RunHistory, step: int) -> str:
    before = [rate for at, rate in history.learning_rates if at <= step]
    return f"; the learning rate was {before[-1]:.3g}" if before else ""


# An AP from here on is proof that something was learnt, whatever the logged losses look like.
_LEARNT_AP = 5.0
# What a detector of this kind of data reaches is unknown; a reference's typical AP ranks it.
_TYPICAL_AP = 30.0


class LossPlateau(RunRule):
    """The classification loss stayed on its starting plateau: the detector learnt nothing.

    A detector with a focal loss begins on a plateau where it knows how rare objects are and
    nothing else. Too small a learning rate, a checkpoint that was not restored, or labels that do
    not match the images keep it there. The total loss may fall all the same, by its regularisation.

    Anti-pattern

        step 100    classification_loss 1.13   total_loss 1.87
        step 20000  classification_loss 1.05   total_loss 1.21

    Best practice

    Draw the boxes on the images (`eval_side_by_side` in TensorBoard), check that
    fine_tune_checkpoint names a checkpoint of this backbone with the fitting
    fine_tune_checkpoint_type, and compare the peak learning rate with the reference's.

    Source

    The judgement compares medians of the first reports with those of all later windows; a fall of
    less than a quarter is no learning. Measured on trainings of the embedded shapes: the worst that
    learnt anything (AP 4.6) had fallen by three tenths.
    """

    code = "RUN002"
    name = "run.loss_plateau"
    causes = ("loss_plateau",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding where no loss was learnt away and no AP says otherwise."""
        plateau = loss_plateau(subject.history)
        if plateau is None or divergence(subject.history) is not None:
            return
        scored = best_and_last(subject.history)
        ap = scored.best.metrics["AP"] if scored else None
        if ap is not None and ap >= _LEARNT_AP:
            return
        restore = ""
        if subject.config is not None and subject.config.pipeline.meta_architecture:
            restore = subject.config.quantities.checkpoint_restore
        # With all its weights restored it may have been good from the start.
        severity = Severity.INFO if restore in ("full", "fine_tune") else Severity.WARNING
        if ap is not None:
            severity = Severity.CRITICAL
        told = "" if ap is None else f", and the best AP is {ap:.1f}"
        yield self.finding(
            "loss_plateau",
            severity,
            fields=("train_config.optimizer", "train_config.fine_tune_checkpoint"),
            found=(
                f"{plateau.loss} went from {plateau.start_level:.3g} to no lower than "
                f"{plateau.lowest_level:.3g} over steps {plateau.first_step:,} to "
                f"{plateau.last_step:,}{told}"
            ),
            expected="a loss that falls by well over a quarter from its first reports",
            why=(
                "A detector whose classification loss does not leave its start has not learned to "
                "tell objects from background."
            ),
            loss_ap=_TYPICAL_AP,
        )


class RunRestarted(RunRule):
    """The training was started more than once in this folder.

    A restart goes on from the newest checkpoint: steps since then are trained again, the data
    begin in another order, and a config that was edited in between holds from there on.

    Anti-pattern

        train/events.out.tfevents.1700000000.host   # steps 100 to 40000
        train/events.out.tfevents.1700090000.host   # steps 38100 on, with another batch_size

    Best practice

    Use a new model_dir for a changed config. Where a run was only interrupted, a restart costs
    little.

    Source

    object_detection/model_lib_v2.py: train_loop restores the latest checkpoint of model_dir after
    fine_tune_checkpoint, and begins its input anew.
    """

    code = "RUN008"
    name = "run.restarted"
    causes = ("run_restarted",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for all restarts."""
        restarts = subject.history.restarts
        if not restarts:
            return
        yield self.finding(
            "run_restarted",
            Severity.INFO,
            fields=(),
            found=f"the training was started {restarts + 1} times in this folder",
            expected="one start, or restarts with an unchanged config",
            why=(
                "Each start trains again from the last checkpoint on, with the data in another "
                "order and the config as it was then."
            ),
            count=restarts,
        )


class CheckpointIncomplete(RunRule):
    """A checkpoint of the run is not whole: its data or its index is missing, short or damaged.

    A full disk, a killed copy or a download that stopped leaves such files. A restart from the
    newest of them fails; an evaluation or an export of one fails or, worse, waits.

    Anti-pattern

        ckpt-12.index                  # without ckpt-12.data-00000-of-00001
        ckpt-13.data-00000-of-00001    # 1.2 MB where ckpt-12 has 45 MB

    Best practice

    Remove the files of the damaged checkpoint and its name in the file `checkpoint`, so that the
    one before is taken. Free disk space: every checkpoint holds the optimizer's slots too.

    Source

    tensorflow/core/protobuf/tensor_bundle.proto: the index says which bytes of which data file
    belong to it.
    """

    code = "RUN007"
    name = "run.checkpoint_incomplete"
    causes = ("checkpoint_incomplete",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for all checkpoints with a fault."""
        checkpoints = subject.history.checkpoints
        broken = [one for one in checkpoints if not one.is_complete]
        if not broken:
            return
        newest = checkpoints[-1]
        names = ", ".join(one.prefix.name for one in broken[:5])
        yield self.finding(
            "checkpoint_incomplete",
            Severity.WARNING if newest in broken else Severity.INFO,
            fields=(),
            found=f"{names} cannot be restored: {broken[-1].fault}",
            expected="an index with all the data that it names, for every checkpoint",
            why=(
                "A restart, an evaluation or an export takes the newest checkpoint, and it fails."
                if newest in broken
                else "It is not the newest, so a restart does not meet it."
            ),
            where=str(broken[-1].prefix),
            count=len(broken),
        )


# Runs of one config differ by 0.15 AP (standard deviation, 3 to 15 runs of published models);
# the best of many evaluations of one run lies above its last by as much, by chance.
_NOISE_AP = 0.5
_TELLING_AP = 2.0


class BestCheckpointNotLast(RunRule):
    """The last evaluation is worse than an earlier one: overfitting, or a rate that never fell.

    A cosine schedule that ends with the run makes the last checkpoint the best or nearly so. Where
    it is not, the training went on for too long on little data, or the rate was still high.

    Anti-pattern

        step 20000  AP 31.2
        step 60000  AP 24.7    (the one that is exported)

    Best practice

    Export the best one, if it is still on disk: model_main_tf2 keeps the seven newest. Report it as
    chosen on the evaluation set, which flatters it. Better, shorten the run or let the schedule end
    with it.

    Source

    object_detection/model_lib_v2.py: CheckpointManager with checkpoint_max_to_keep=7, and no memory
    of the best.
    """

    code = "RUN003"
    name = "run.best_checkpoint_not_last"
    causes = ("best_checkpoint_not_last",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding where the best evaluation is better by more than noise."""
        scored = best_and_last(subject.history)
        if scored is None or scored.lost < _NOISE_AP:
            return
        best, last = scored.best, scored.last
        yield self.finding(
            "best_checkpoint_not_last",
            Severity.WARNING if scored.lost >= _TELLING_AP else Severity.INFO,
            fields=("train_config.num_steps",),
            found=(
                f"AP {last.metrics['AP']:.1f} at the last step evaluated, {last.step:,}, and "
                f"{best.metrics['AP']:.1f} at step {best.step:,}"
                f"{_whereabouts(subject.history, best.step)}"
            ),
            expected="the last checkpoint to be the best, within the noise of half a point",
            why=(
                "Whoever exports the last checkpoint loses the difference. It is a sign of "
                "overfitting, or of a learning rate that was still high at the end."
            ),
            loss_ap=scored.lost,
        )


def _whereabouts(history: RunHistory, step: int) -> str:
    held = [one.prefix.name for one in history.checkpoints if one.step == step and one.is_complete]
    if held:
        return f", which is still here as {held[-1]}"
    return ", which is no longer here" if history.checkpoints else ""


# It says nothing about AP lost; it makes the number itself unsafe, which ranks it high.
_UNSAFE_AP = 20.0


class EvaluationIncomplete(RunRule):
    """The last evaluation ended early, and its metrics are those of the images seen until then.

    Any exception in an evaluation step, out of memory included, ends the loop with a log line and
    no error. The metrics of the images so far are then reported as if they were all.

    Anti-pattern

        I1101 12:00:00 model_lib_v2.py: Encountered OOM when allocating tensor ... exception.
        I1101 12:00:00 model_lib_v2.py: A replica probably exhausted all examples.

    Best practice

    Before trusting a number, look for `Finished eval step` in the log: the last one, times the
    evaluation batch, is the number of images. Lower eval_config.batch_size where memory ran out.

    Source

    object_detection/model_lib_v2.py: eager_eval_loop catches every exception of a step. COCO
    val2017 has 5,000 images (cocodataset.org).
    """

    code = "RUN005"
    name = "run.evaluation_incomplete"
    causes = ("evaluation_incomplete",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for an exception in the log, or fewer images than the reader has."""
        history = subject.history
        bounds = history.images_evaluated_bounds
        expected = _images_expected(subject)
        seen = ""
        if bounds is not None:
            least, most = bounds
            seen = f"{least:,}" if most == least else f"{least:,} to {most:,}" if most else ""
            seen = f" after {seen or f'at least {least:,}'} images"
        if history.evaluation_stopped_by:
            cut = history.evaluation_stopped_by[:120]
            found = f"the last evaluation was ended{seen} by an exception: {cut}"
        elif expected is not None and bounds is not None and (bounds[1] or expected) < expected:
            found = f"the last evaluation ended{seen}"
        else:
            return
        yield self.finding(
            "evaluation_incomplete",
            Severity.CRITICAL if history.evaluation_stopped_by else Severity.WARNING,
            fields=("eval_input_reader", "eval_config.batch_size"),
            found=found,
            expected="all images" if expected is None else f"all {expected:,} images",
            why=(
                "The metrics cover the images seen until then and are reported as if they covered "
                "all. They cannot be compared with anything."
            ),
            loss_ap=_UNSAFE_AP,
        )


def _images_expected(subject: RunSubject) -> int | None:
    """Gives the images that the evaluation reader has, where the file names are COCO's."""
    config = subject.config
    if config is None or not config.pipeline.meta_architecture or not subject.evaluates_coco:
        return None
    share = config.quantities.eval_shards_share
    if share is None:
        return None
    reader = config.pipeline.proto.eval_input_reader[0]
    images = int(COCO_VAL_IMAGES * share) // max(1, int(reader.sample_1_of_n_examples))
    # Shards differ by an image or so.
    images -= config.quantities.eval_shards_read or 0
    batch = max(1, int(config.pipeline.proto.eval_config.batch_size))
    return images // batch * batch if reader.drop_remainder else images


RULES: tuple[RunRule, ...] = (
    RunDiverged(),
    LossPlateau(),
    BestCheckpointNotLast(),
    RunStoppedEarly(),
    EvaluationIncomplete(),
    AppliedLearningRateDiffers(),
    CheckpointIncomplete(),
    RunRestarted(),
)
