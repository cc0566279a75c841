"""`results/<name>/sanity.json`: what a sanity run was made of, what it showed, what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from odapi_repro.features.sanity.outcome import Outcome
from odapi_repro.features.sanity.verdict import Verdict, judge
from odapi_repro.files import read_record, write_record
from odapi_repro.trials.trial_entries import check_same_foundation

__all__ = ["RECORD", "SanityRecord"]

RECORD = "sanity.json"
_VERSION = 1


@dataclass(frozen=True)
class _MadeOf:
    """What of a record decides whether a run may go on."""

    foundation: Mapping[str, str]


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

    def check_same(self, folder: Path) -> None:
        """Refuses to go on with a folder whose run was made of something else.

        Raises:
            StudyMismatch: it was, or its record does not read.
        """
        mend = (
            "choose another --name, or delete the file: trials are kept in the runs folder and do "
            "not run again"
        )
        try:
            made = read_record(folder / RECORD, _MadeOf, version=_VERSION, mend=mend, partly=True)
        except FileNotFoundError:
            return
        check_same_foundation(self.study, made.foundation, self.foundation)

    def write(self, folder: Path) -> None:
        """Writes the record, atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        fields = {
            **{name: value for name, value in vars(self).items() if name != "outcome"},
            "verdict": dataclasses.asdict(self.verdict),
            "outcome": dataclasses.asdict(self.outcome),
        }
        write_record(folder / RECORD, fields, version=_VERSION)
