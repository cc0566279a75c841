"""How many steps, images and epochs a run has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.comparison import (
    learning_rate_path,
    number,
    run_steps,
    start_of,
    steps_fix,
    trains_on_coco,
)
from odapi_repro.diagnosis.subject import Subject

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
