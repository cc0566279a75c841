"""The config under repair: applies edits, notes why, and diagnoses what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from odapi_repro.diagnosis.engine import diagnose
from odapi_repro.diagnosis.field_factors import factor_of_field
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.mending.changes import Ledger, Reason
from odapi_repro.diagnosis.mending.constraints import FINE_TUNE, Constraints
from odapi_repro.diagnosis.mending.length import Length, plan_length
from odapi_repro.diagnosis.mending.restore import (
    AUGMENTATION,
    amend_augmentation,
    restore_augmentation,
    restore_factors,
    restore_model,
)
from odapi_repro.diagnosis.mending.training import fitting_batch, plan_training
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, set_field
from odapi_repro.pipeline.named_paths import input_patterns
from odapi_repro.reference import reference_of

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
