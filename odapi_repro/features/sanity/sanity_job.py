"""What a sanity run is made of: its records, its checkpoint, the trainings it will take."""

from __future__ import annotations

from dataclasses import dataclass

from odapi_repro.evaluation.checkpoint import CheckpointSource, find_checkpoint
from odapi_repro.features.sanity.trainings import SanityTrainings, Training
from odapi_repro.trials.store import TrialStore
from odapi_repro.trials.study_data import StudyData

__all__ = ["SanityJob"]


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
