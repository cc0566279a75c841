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
from odapi_repro.diagnosis.mending.beyond_config import not_mendable
from odapi_repro.diagnosis.mending.changes import Change, NotMendable
from odapi_repro.diagnosis.mending.constraints import FINE_TUNE, REPRODUCE, Constraints
from odapi_repro.diagnosis.mending.length import Length
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline

# A bound only: the rounds end when nothing changes.
_MOST_ROUNDS = 6
_CHECKPOINT = re.compile(r"^train_config\.(fine_tune_checkpoint|from_detection_checkpoint)")


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
