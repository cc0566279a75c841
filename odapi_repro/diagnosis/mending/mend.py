"""Mends a config: what rules know to mend, the reference's model and recipe, until nothing is left.

One place knows each mend. Where a rule's finding carries edits, these are made; batch, length and
rates go through the recipe (`training`), because they have one owner each. What no finding speaks
against stays as the user wrote it, unless they ask for the reference's training; what that would
change is offered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.mending.bench import Bench
from odapi_repro.diagnosis.mending.changes import Change, NotMendable
from odapi_repro.diagnosis.mending.constraints import FINE_TUNE, REPRODUCE, Constraints
from odapi_repro.diagnosis.mending.length import Length
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline
from odapi_repro.reference import Reference

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
    "label_map_malformed": "write the label map anew: one item { id name } a class, ids from 1",
    "label_id_offset": "write the records anew, with ids from 1",
    "label_name_mismatch": "write the records anew, with the label map's names",
    "boxes_not_normalized": "write the records anew, with boxes as shares of the image",
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
