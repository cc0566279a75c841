"""What a sanity run is made of, as types and as `results/<name>/sanity.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from odapi_repro.datasets.records import RecordManifest
from odapi_repro.evaluation.checkpoint import CheckpointSource, find_checkpoint
from odapi_repro.features.sanity.sanity_trainings import SanityTrainings, Training
from odapi_repro.features.sanity.sanity_verdict import Outcome, Verdict, judge
from odapi_repro.trials.groundwork import StudyData
from odapi_repro.trials.record_file import RecordFile
from odapi_repro.trials.trial_store import TrialStore

# --- `results/<name>/sanity.json`: what a sanity run was made of, what it showed, what it says ---


@dataclass(frozen=True)
class SanityRecord:
    """A sanity run.

    Attributes:
        study: its name.
        pipeline: name of the pipeline without `.config`.
        command: that was typed.
        seed: of every trial.
        foundation: field -> text of what it is made of; one of the same name has the same.
        outcome: what is known.
        notes: what to know of the records before the verdict is read, in sentences.
    """

    study: str
    pipeline: str
    command: str
    seed: int
    foundation: Mapping[str, str]
    outcome: Outcome
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """What it says."""
        return judge(self.outcome)

    @property
    def fields(self) -> dict[str, Any]:
        """What sanity.json holds, but for its version and sum."""
        return {
            **{name: value for name, value in vars(self).items() if name != "outcome"},
            "verdict": dataclasses.asdict(self.verdict),
            "outcome": dataclasses.asdict(self.outcome),
        }


SANITY_FILE: Final = RecordFile(
    "sanity.json",
    SanityRecord,
    1,
    "choose another --name, or delete the file: trials are kept in the runs folder and do not run "
    "again",
    partly=True,
)


# --- What a sanity run is made of: its records, its checkpoint, the trainings it will take ---


@dataclass(frozen=True, eq=False)
class SanityJob:
    """What a sanity run is made of.

    Attributes:
        trainings: makes its trials.
        data: the records under test.
        few: the few images of the overfit.
        source: the user's trained checkpoint; None where the scale's reference is trained first,
            or where there is none.
        reference_data: what the scale's reference is trained on; None with `source`, and where no
            reference can serve.
        no_hold: why there is no checkpoint, where there is none.
        notes: what to know of the records before the verdict is read, in sentences.
    """

    trainings: SanityTrainings
    data: StudyData
    few: StudyData
    source: CheckpointSource | None
    reference_data: StudyData | None
    no_hold: str = ""
    notes: tuple[str, ...] = ()

    def expected(self, store: TrialStore) -> tuple[Training, ...]:
        """Gives the trainings that are certain, for a price.

        Where a reference is trained first, the ids of the others are final once it is in `store`.
        """
        prefix = self.source.prefix if self.source else None
        trainings = []
        if self.reference_data is not None:
            reference = self.trainings.reference(self.reference_data)
            trainings.append(reference)
            trial_id = reference.trial.trial_id
            if store.state(trial_id).state == "succeeded":
                prefix = find_checkpoint(store.folder(trial_id)).prefix
        if self.source is not None or self.reference_data is not None:
            trainings.append(self.trainings.hold(self.data, prefix))
        trainings.append(self.trainings.overfit(self.few, prefix, safe=False))
        return tuple(trainings)

    def record(self, study: str, command: str) -> SanityRecord:
        """Gives the record of a run before anything is known."""
        trainings, conditions = self.trainings, self.trainings.conditions
        overfit = trainings.overfit(self.few, None, safe=False).trial
        source = self.source.digest if self.source else ""
        foundation = {
            "checks": overfit.trial_id,
            "scale": conditions.scale,
            "data": self.data.source.name,
            "training records": _images(self.data.train),
            "evaluation records": _images(self.data.eval),
            "checkpoint": source or ("the scale's reference" if self.reference_data else "none"),
            "schedule": ", ".join(f"{n} = {level.label}" for n, level in trainings.at.items())
            or "the pipeline's own at this scale",
            "seed": str(trainings.seed),
            "device": conditions.device,
            "deterministic": str(conditions.deterministic).lower(),
            **vars(overfit.spec.stack),
        }
        return SanityRecord(
            study=study,
            pipeline=Path(trainings.pipeline.path).stem,
            command=command,
            seed=trainings.seed,
            foundation=foundation,
            outcome=Outcome(scale=conditions.scale),
            notes=self.notes,
        )


def _images(records: RecordManifest) -> str:
    return f"{records.num_examples} images, {records.digest[:16]}"
