"""`results/<name>/sanity.json`: what a sanity run was made of, what it showed, what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from odapi_repro.features.sanity.outcome import Outcome
from odapi_repro.features.sanity.verdict import Verdict, judge
from odapi_repro.trials.record_file import RecordFile


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
