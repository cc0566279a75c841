"""Mends a config: what rules know to mend, the reference's model and recipe, until nothing is left.

One place knows each mend. Where a rule's finding carries edits, these are made; batch, length and
rates go through the recipe (`training`), because they have one owner each. What no finding speaks
against stays as the user wrote it, unless they ask for the reference's training; what that would
change is offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from odapi_repro.diagnosis.deviations import factor_of_field
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.mending.mend_request import (
    FINE_TUNE,
    REPRODUCE,
    Change,
    Constraints,
    Ledger,
    NotMendable,
    Reason,
)
from odapi_repro.diagnosis.mending.training_plan import (
    AUGMENTATION,
    Length,
    amend_augmentation,
    fitting_batch,
    plan_length,
    plan_training,
    restore_augmentation,
    restore_factors,
    restore_model,
)
from odapi_repro.diagnosis.outcome import diagnose
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, set_field
from odapi_repro.pipeline.named_paths import input_patterns
from odapi_repro.reference import Reference, reference_of

# --- The config under repair: applies edits, notes why, and diagnoses what came of it ---


# A bound only: a round ends when no finding has a new edit.
_MOST_EDITS = 100
_TRAINING = re.compile(r"^train_config\.(batch_size|num_steps|optimizer)\b")
_RATES = re.compile(r"^train_config\.optimizer\b(?!\.(use_)?moving_average)")
# What a finding may blame, apart from a field of its own.
_LENGTH, _TRAINING_RATES, _WHOLE_STEPS = "length", "rates", "whole steps"


_INDEX = re.compile(r"-[\d?*\[\]\-]+(?=-of-(?P<total>\d+))")
_CAUSES = ("single_train_shard", "single_eval_shard", "partial_shards")


def all_shards(patterns: Sequence[str]) -> list[str]:
    """Gives one pattern for each sharded data set that is named, other files as they are."""
    whole = [_INDEX.sub(lambda match: "-" + "?" * len(match["total"]), one) for one in patterns]
    return list(dict.fromkeys(whole))


def shard_edits(finding: Finding, pipeline: Pipeline) -> tuple[FieldFix, ...]:
    """Gives the edits for a finding about shards that are left out; none for another one."""
    field = finding.fields[0] if finding.fields else ""
    if finding.cause == "train_subsampled":
        return (FieldFix(field, None),)
    if finding.cause not in _CAUSES:
        return ()
    patterns = input_patterns(pipeline, evaluation=field.startswith("eval"))
    whole = all_shards(patterns)
    return (FieldFix(field, whole),) if whole != patterns else ()


class Bench:
    """The config under repair: applies edits, notes why, and diagnoses what came of it."""

    def __init__(
        self,
        subject: Subject,
        constraints: Constraints,
        rules: Sequence[Rule],
        start: Pipeline,
        *,
        freely: bool,
    ) -> None:
        self._freely = freely
        self._blamed: set[str] = set()
        self._constraints = constraints
        self._rules = rules
        self._first = subject
        self.before = tuple(diagnose(subject, rules))
        # What did not parse is not in the pipeline, and will not be in its text.
        # num_steps becomes what the run has, and --num_train_steps is not to be given any more.
        self.subject = replace(
            subject,
            pipeline=start,
            text=replace(subject.text, problems=(), not_utf8=None),
            circumstances=replace(subject.circumstances, num_train_steps=None),
        )
        self._found: tuple[Finding, ...] | None = None
        self.ledger = Ledger(start)
        self._codes: dict[str, str] = {}
        for finding in reversed(self.before):
            self._codes.update(dict.fromkeys(finding.fields, finding.code))

    @property
    def pipeline(self) -> Pipeline:
        """The config as it is now."""
        return self.subject.pipeline

    def findings(self) -> tuple[Finding, ...]:
        """What the rules say now, ranked."""
        if self._found is None:
            self._found = tuple(diagnose(self.subject, self._rules))
        return self._found

    def take(self, pipeline: Pipeline, reason: Reason | Callable[[str], Reason]) -> None:
        """Goes on with another config, and notes why."""
        if pipeline.proto == self.pipeline.proto:
            return
        self.ledger.note(self.pipeline, pipeline, reason)
        self.subject = replace(self.subject, pipeline=pipeline)
        self._found = None

    def mend(self, wanted: Callable[[Finding], bool]) -> None:
        """Makes the edits that findings carry, the worst first, until none applies any more."""
        done: set[str] = set()  # a second time, an edit that did not help would come round for ever
        for _ in range(_MOST_EDITS):
            for finding in self.findings():
                fix = finding.fix or shard_edits(finding, self.pipeline)
                edits = tuple(one for one in fix if not self._is_planned(one.field))
                new = [one for one in edits if repr((finding.cause, one)) not in done]
                kept = self._constraints.kept_factor_of([one.field for one in edits])
                if new and kept is None and wanted(finding):
                    done.update(repr((finding.cause, one)) for one in edits)
                    self.take(_edited(self.pipeline, edits), Reason(_reason(finding), finding.code))
                    break
            else:
                return

    def start_from_a_detector(self) -> None:
        """Points the checkpoint to the reference's own detector, where none is restored."""
        if self.subject.is_fine_tuning or self._constraints.keeps("checkpoint"):
            return
        archive = self._archive()
        if not archive:
            return
        folder = archive.rsplit("/", maxsplit=1)[-1].removesuffix(".tar.gz")
        prefix = "train_config.fine_tune_checkpoint"
        edits = (
            FieldFix(prefix, f"{folder}/checkpoint/ckpt-0"),
            FieldFix(f"{prefix}_type", "detection"),
            FieldFix(f"{prefix}_version", "V2"),
        )
        self.take(
            _edited(self.pipeline, edits),
            Reason(
                f"fine-tuning starts from the published detector, to be unpacked from {archive}"
            ),
        )

    def _archive(self) -> str:
        """The address of the reference's checkpoint, or of the same model's by the OD API."""
        if self.subject.reference.archive:
            return self.subject.reference.archive
        other = reference_of(self.subject.reference_pipeline)
        return other.archive if other is not None else ""

    def restore_the_reference(self) -> None:
        """Takes the reference's model, augmentation and clipping over."""
        reference, keep = self.subject.reference_pipeline, self._constraints

        def because(path: str) -> Reason:
            return Reason("as the reference", self._code_of(path))

        self.take(restore_model(self.pipeline, reference, keep), because)
        self.take(restore_augmentation(self.pipeline, reference, keep), because)

    def restore_what_stops(self, least: Severity) -> None:
        """Takes over the parts of the reference that findings ask for and no edit mends."""
        for finding in self.findings():
            if finding.fix or finding.severity > least:
                continue
            reason = Reason(_reason(finding), finding.code)
            factors = {
                factor_of_field(path) for path in finding.fields if path.startswith("model.")
            }
            factors -= self._constraints.keep
            theirs = self.subject.reference_pipeline
            if factors:
                self.take(restore_factors(self.pipeline, theirs, factors), reason)
            of_steps = any(path.startswith(AUGMENTATION) for path in finding.fields)
            if of_steps and least >= Severity.WARNING:
                keep = self._constraints
                amended = amend_augmentation(self.pipeline, theirs, finding.fields, keep)
                self.take(amended, reason)

    def plan(self, goal: str, *, begun_anew: bool) -> Length:
        """Plans batch, length, rate and warm-up, and takes the result.

        What no finding speaks against stays, unless the goal is to be met freely or the config was
        not written for it (`begun_anew`).
        """
        if not self._freely:
            self._blame()
        keep = self._constraints
        first = self._first.quantities
        replanned = self._freely or begun_anew
        length_is_bad = begun_anew or _LENGTH in self._blamed
        batch = fitting_batch(
            first.global_batch,
            self.subject.reference_quantities.global_batch,
            keep,
            own_stays=not self._freely,
        )
        # The length that the user chose, on the data as mended.
        own = replace(first, train_images=self.subject.quantities.train_images)
        length = plan_length(
            own,
            self.subject.reference_quantities,
            keep,
            goal,
            batch=batch,
            own_is_bad=length_is_bad,
            own_stays=not replanned and not length_is_bad,
            whole=self._freely or _WHOLE_STEPS in self._blamed,
        )
        # Averaging is mended by its own rule.
        kept = keep if replanned else replace(keep, keep=keep.keep | {"ema"})
        plan = plan_training(
            self.pipeline,
            self.subject.reference_pipeline,
            kept,
            length,
            fine_tuning=goal == FINE_TUNE,
            own_rates=not replanned and _TRAINING_RATES not in self._blamed,
        )
        self.take(plan.pipeline, lambda path: plan.reason(path, self._code_of(path)))
        return length

    def _blame(self) -> None:
        """Notes which parts of the training findings speak against; once noted, they stay so."""
        for finding in self.findings():
            telling = finding.fields[0] if finding.fields else ""
            if finding.severity > Severity.WARNING:
                continue
            if finding.cause == "last_checkpoint_not_saved":
                self._blamed.add(_WHOLE_STEPS)
            elif telling == "train_config.num_steps":
                self._blamed.add(_LENGTH)
            elif _RATES.match(telling):
                self._blamed.add(_TRAINING_RATES)

    def _is_planned(self, path: str) -> bool:
        """Whether the recipe owns the field, so that no rule's edit is made on it."""
        if not self._freely and "moving_average" in path:
            return False
        return _TRAINING.match(path) is not None and not self._constraints.keeps(
            "optimizer", "lr_schedule"
        )

    def _code_of(self, path: str) -> str | None:
        """The rule that spoke of the field, or of the message that it lies in."""
        while path:
            if path in self._codes:
                return self._codes[path]
            path = path.rpartition(".")[0]
        return None


def _edited(pipeline: Pipeline, edits: Sequence[FieldFix]) -> Pipeline:
    def edit(proto: object) -> None:
        # Removals first: they may be members of a oneof of which another one is set.
        for one in sorted(edits, key=lambda one: one.value is not None):
            set_field(proto, one.field, one.value)  # type: ignore[arg-type]

    return pipeline.edited(edit)


def _reason(finding: Finding) -> str:
    return f"{finding.found}; expected: {finding.expected}"


# --- Mends a config: what rules know to mend, the reference's model and recipe, until nothing is
# left ---


# A bound only: the rounds end when nothing changes.
_MOST_ROUNDS = 6
_CHECKPOINT = re.compile(r"^train_config\.(fine_tune_checkpoint|from_detection_checkpoint)")


_BACKBONES = "research/object_detection/g3doc/tf2_classification_zoo.md of tensorflow/models"
_OTHER_CONFIG = "start from a config of the TF2 zoo: python -m odapi_repro.zoo lists them"
_WHAT_TO_DO = {
    "placeholder_path": "fill in the paths of your records, label map and checkpoint",
    "eval_input_not_configured": "name records to evaluate on, and their label map, in "
    "eval_input_reader",
    "train_input_not_configured": "name your records and label map in train_input_reader",
    "input_pattern_matches_nothing": "name records that exist",
    "input_not_a_record": "make TFRecord files: python -m odapi_repro.data convert takes COCO json",
    "partial_shards": "bring the missing shards to this disk",
    "train_eq_eval": "hold some images out: evaluate on records that training does not read",
    "eval_train_overlap": "take the images that training reads out of the evaluation's records",
    "dataset_too_small": "collect more images",
    "label_map_malformed": "write a new label map: one item { id name } a class, ids from 1",
    "label_id_offset": "write the records again, with ids from 1",
    "label_name_mismatch": "write the records again, with the label map's names",
    "boxes_not_normalized": "write the records again, with boxes as shares of the image",
    "crowd_trained_as_positive": "leave crowd regions out of the training records",
    "ckpt_in_model_dir": "train into another --model_dir than the checkpoint's folder",
    "tf1_only_model": _OTHER_CONFIG,
    "feature_extractor_unknown": _OTHER_CONFIG,
    "model_missing": _OTHER_CONFIG,
    "backbone_changed": "name the reference of your own model: --reference",
}
_TINY_BATCH = (
    "{why}; more replicas do not help, as each takes its own statistics, and the OD API does not "
    "accumulate gradients. What helps: memory for 4 images or more a replica, a smaller input, "
)
_NOT_FROZEN = {
    "efficientdet": "the EfficientNet backbone's batch norm cannot be frozen by a config",
    "centernet": "CenterNet's batch norm cannot be frozen by a config",
}
_UNNORMALISED = "frozen, batch norm would leave the FPN and heads, which are random, unnormalised"
_OTHER_MODEL = "or a model whose batch norm can be frozen (Faster R-CNN, a fine-tuned SSD ResNet)"


def not_mendable(
    finding: Finding, constraints: Constraints, reference: Reference, goal: str
) -> NotMendable:
    """Gives what the user has to do about a finding that is left."""
    kept = constraints.kept_factor_of(finding.fields)
    if kept is not None:
        todo = f"it was kept: leave '{kept}' out of --keep"
    elif constraints.steps is not None and "train_config.num_steps" in finding.fields:
        todo = f"--steps {constraints.steps} was asked for; it takes {finding.expected}"
    elif finding.cause == "tiny_batch_batchnorm":
        todo = _TINY_BATCH.format(why=_NOT_FROZEN.get(reference.family, _UNNORMALISED))
        todo += ("" if goal == FINE_TUNE else f"fine-tuning (--goal {FINE_TUNE}), ") + _OTHER_MODEL
    elif finding.cause == "ckpt_from_other_architecture" and goal == FINE_TUNE:
        todo = (
            f"download a checkpoint of this model: {reference.archive or 'the TF2 zoo lists them'}"
        )
    elif finding.cause in ("ckpt_from_other_architecture", "trained_from_scratch"):
        todo = f"do as the reference: it {_lowered(reference.source.start)} ({_BACKBONES})"
    else:
        todo = _WHAT_TO_DO.get(finding.cause, f"needed: {finding.expected}")
    return NotMendable(finding.cause, finding.code, finding.severity, finding.found, todo)


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


@dataclass(frozen=True)
class Mended:
    """A mended config, and how it came about.

    Attributes:
        pipeline: the config.
        goal: what it is for.
        goal_why: why, where the user did not say or could not have it.
        changes: from the config as it was read to this one.
        ideas: what the goal would have, too, and no finding asks for; not made.
        not_mendable: findings that remain and cost, and what to do about them.
        findings: everything that the rules say about the result, ranked.
        before: what they said about the config as it was read.
        subject: the result under diagnosis.
        length: batch and steps.
    """

    pipeline: Pipeline
    goal: str
    goal_why: str
    changes: tuple[Change, ...]
    ideas: tuple[Change, ...]
    not_mendable: tuple[NotMendable, ...]
    findings: tuple[Finding, ...]
    before: tuple[Finding, ...]
    subject: Subject
    length: Length


def mend_config(
    subject: Subject,
    constraints: Constraints,
    rules: Sequence[Rule],
    *,
    start: Pipeline | None = None,
) -> Mended:
    """Gives the config mended within the constraints.

    The reference is the subject's; training images are its circumstances'. `start` is what the
    config says once its text is mended, where that differs: an augmentation step that did not count
    counts then.
    """
    start = start or subject.pipeline
    freely = constraints.goal == REPRODUCE
    mended, _ = _mend(subject, constraints, rules, start, freely=freely)
    if freely:
        return mended
    asked = replace(constraints, goal=mended.goal)
    whole, bench = _mend(subject, asked, rules, start, freely=True)
    ideas = bench.ledger.changes(whole.pipeline, bench.before, since=mended.pipeline)
    return replace(mended, ideas=ideas)


def _mend(
    subject: Subject,
    constraints: Constraints,
    rules: Sequence[Rule],
    start: Pipeline,
    *,
    freely: bool,
) -> tuple[Mended, Bench]:
    """Mends what findings ask for; freely: what the goal would have, too."""
    bench = Bench(subject, constraints, rules, start, freely=freely)
    bench.mend(_is_about_the_checkpoint)
    goal, goal_why = _goal(bench.subject, constraints)
    was_fine_tuning = bench.subject.is_fine_tuning
    if goal == FINE_TUNE:
        bench.start_from_a_detector()
        if not bench.subject.is_fine_tuning:
            goal, goal_why = REPRODUCE, "there is no detector of this model to fine-tune"
    if goal == REPRODUCE and freely:
        bench.restore_the_reference()
    # Only a length, or a rate, that was chosen for fine-tuning is one for fine-tuning.
    begun_anew = goal == FINE_TUNE and not was_fine_tuning
    for _ in range(_MOST_ROUNDS):
        settled = bench.pipeline
        bench.mend(lambda finding: finding.severity <= Severity.WARNING)
        bench.restore_what_stops(Severity.WARNING if goal == REPRODUCE else Severity.CRITICAL)
        length = bench.plan(goal, begun_anew=begun_anew)
        if bench.pipeline.proto == settled.proto:
            break
    findings = bench.findings()
    left = [one for one in findings if one.severity <= Severity.WARNING]
    mended = Mended(
        pipeline=bench.pipeline,
        goal=goal,
        goal_why=goal_why,
        changes=bench.ledger.changes(bench.pipeline, bench.before),
        ideas=(),
        not_mendable=tuple(not_mendable(one, constraints, subject.reference, goal) for one in left),
        findings=findings,
        before=bench.before,
        subject=bench.subject,
        length=length,
    )
    return mended, bench


def _is_about_the_checkpoint(finding: Finding) -> bool:
    return bool(finding.fix) and all(_CHECKPOINT.match(fix.field) for fix in finding.fix)


def _goal(subject: Subject, constraints: Constraints) -> tuple[str, str]:
    if constraints.goal is not None:
        return constraints.goal, ""
    if not subject.is_fine_tuning:
        return REPRODUCE, "training starts from no detector"
    kind = subject.quantities.checkpoint_restore
    theirs = subject.reference_quantities
    if theirs.checkpoint_restore == kind and theirs.num_classes == subject.quantities.num_classes:
        return REPRODUCE, f"the reference itself starts from a {kind} checkpoint"
    return FINE_TUNE, f"the checkpoint is restored as '{kind}'"
