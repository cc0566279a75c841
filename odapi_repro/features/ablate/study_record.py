"""`results/<study>/study.json`: which trials a study consists of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict

from odapi_repro.factors import factor_named
from odapi_repro.features.ablate.study_plan import Plan
from odapi_repro.files import damaged
from odapi_repro.trials.record_file import RecordFile, TrialEntry, check_same_foundation, described


class AxisEntry(TypedDict):
    """A factor of a study: its levels, the reference's first, and where the others stand."""

    levels: list[str]
    at: dict[str, str]
    full_scale: dict[str, str]


@dataclass(frozen=True)
class StudyRecord:
    """`results/<study>/study.json`: which trials a study consists of, and what they share.

    Attributes:
        foundation: field -> value that all its trials share.
        axes: factor name -> reference level, levels in order, and where the others stand.
        trials: trial id -> cell, seed, steps, batch, peak rate, and the digest of the training
            records where it is not the study's: of some of their files.
        design: of the last command.
    """

    foundation: Mapping[str, Any]
    axes: Mapping[str, AxisEntry]
    trials: Mapping[str, TrialEntry]
    design: str

    @staticmethod
    def of(plan: Plan) -> StudyRecord:
        """Gives the record of a plan."""
        return StudyRecord(
            foundation=json.loads(json.dumps(dict(plan.foundation))),
            axes={
                axis.name: {
                    "levels": list(axis.levels),
                    "at": dict(axis.at),
                    "full_scale": {
                        label: factor_named(axis.name).at_full_scale(
                            plan.levels[axis.name][label], plan.setting
                        )
                        for label in axis.levels
                    },
                }
                for axis in plan.axes
            },
            trials={
                trial.trial_id: described(trial, train_records=plan.data.train.digest)
                for trial in plan.trials
            },
            design=plan.request.design,
        )

    @staticmethod
    def read(folder: Path) -> StudyRecord | None:
        """Reads the record of a study that exists, None for one that does not.

        Raises:
            DamagedFile: not readable, or written by a newer version.
        """
        try:
            record = STUDY_FILE.read(folder)
        except FileNotFoundError:
            return None
        empty = [name for name, axis in record.axes.items() if not axis["levels"]]
        if empty:
            raise damaged(
                folder / STUDY_FILE.name, f"{', '.join(empty)} has no level", STUDY_FILE.mend
            )
        return record

    def grown_by(self, other: StudyRecord, study: str) -> StudyRecord:
        """Gives this study with the levels, seeds and factors of `other` added.

        Raises:
            StudyMismatch: the trials would not be made of the same.
        """
        self._check_same_foundation(other, study)
        axes = dict(self.axes)
        for name, axis in other.axes.items():
            mine = axes.get(name, axis)
            axes[name] = {
                "levels": list(dict.fromkeys([*mine["levels"], *axis["levels"]])),
                "at": mine["at"],
                "full_scale": {**mine["full_scale"], **axis["full_scale"]},
            }
        return StudyRecord(
            foundation={**self.foundation, **other.foundation},
            axes=axes,
            trials={**self.trials, **other.trials},
            design=other.design,
        )

    def _check_same_foundation(self, other: StudyRecord, study: str) -> None:
        mine, theirs = self.foundation, other.foundation
        names = [
            n
            for n in {**mine, **theirs}
            if not n.startswith("held.") or self._held_by_both(other, n)
        ]
        check_same_foundation(
            study, {n: mine.get(n) for n in names}, {n: theirs.get(n) for n in names}
        )

    def _held_by_both(self, other: StudyRecord, name: str) -> bool:
        """Whether both say where `held.<factor>.<other factor>` stands, if only by default.

        A factor that only one of the two studies, or that a grid varies, is held nowhere there.
        """
        _, factor, held = name.split(".")
        return all(
            name in record.foundation
            or (factor in record.axes and not (record.design == "grid" and held in record.axes))
            for record in (self, other)
        )


STUDY_FILE: Final = RecordFile(
    "study.json",
    StudyRecord,
    1,
    "choose another --name; the trials themselves are in the runs folder",
)
