"""`results/<study>/sweep.json`: which cells a sweep consists of, so that it can grow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from odapi_repro.features.sweep.sweep_plan import Sweep
from odapi_repro.files import damaged
from odapi_repro.trials.record_file import RecordFile, check_same_foundation


@dataclass(frozen=True)
class SweepRecord:
    """What a study without training is made of.

    Attributes:
        foundation: field -> value that all its cells share, weights included.
        reference: id of the cell that is compared with.
        axes: factor name -> labels of its levels, the pipeline's own first.
        cells: id -> factor name -> label; a factor that is not named stands at its reference.
        passes: name -> what it is, in words.
        variants: name of a pass -> its post-processings.
        seconds: name of a pass -> what it took.
        design: of the last command.
    """

    foundation: Mapping[str, Any]
    reference: str
    axes: Mapping[str, list[str]]
    cells: Mapping[str, Mapping[str, str]]
    passes: Mapping[str, str]
    variants: Mapping[str, list[str]]
    seconds: Mapping[str, float]
    design: str

    @staticmethod
    def of(sweep: Sweep, seconds: Mapping[str, float]) -> SweepRecord:
        """Gives the record of a sweep whose passes took these seconds."""
        foundation = {
            **sweep.foundation,
            "checkpoints": [source.digest for source in sweep.sources],
        }
        return SweepRecord(
            foundation=json.loads(json.dumps(foundation)),
            reference=sweep.cell_id(sweep.reference),
            axes={axis.name: list(axis.levels) for axis in sweep.plan.axes},
            cells={sweep.cell_id(cell): dict(cell.levels) for cell in sweep.plan.cells},
            passes={one.name: sweep.about(one) for one in sweep.plan.passes},
            variants={one.name: list(one.variants) for one in sweep.plan.passes},
            seconds=dict(seconds),
            design=sweep.plan.request.design,
        )

    @staticmethod
    def read(folder: Path) -> SweepRecord | None:
        """Reads the record of a sweep that exists, None for one that does not.

        Raises:
            StudyMismatch: not readable, written by a newer version, or the study is one of
                trainings.
        """
        try:
            record = SWEEP_FILE.read(folder)
        except FileNotFoundError:
            return None
        path, mend = folder / SWEEP_FILE.name, SWEEP_FILE.mend
        if record.reference not in record.cells:
            raise damaged(path, "its reference is none of its cells", mend)
        if not all(record.axes.values()):
            raise damaged(path, "an axis has no level", mend)
        return record

    def grown_by(self, other: SweepRecord, study: str) -> SweepRecord:
        """Gives this sweep with the levels and factors of `other` added.

        Raises:
            StudyMismatch: from `check_same`.
        """
        check_same_foundation(study, self.foundation, other.foundation)
        return SweepRecord(
            foundation=self.foundation,
            reference=self.reference,
            axes=_joined(self.axes, other.axes),
            cells={**self.cells, **other.cells},
            passes={**self.passes, **other.passes},
            variants=_joined(self.variants, other.variants),
            seconds={**self.seconds, **other.seconds},
            design=other.design,
        )

    def levels(self, cell_id: str) -> dict[str, str]:
        """Gives the label of every factor of the study in one cell."""
        own = self.cells[cell_id]
        return {name: own.get(name, labels[0]) for name, labels in self.axes.items()}


def _joined(one: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {
        name: list(dict.fromkeys([*one.get(name, []), *other.get(name, [])]))
        for name in dict.fromkeys([*one, *other])
    }


SWEEP_FILE: Final = RecordFile(
    "sweep.json",
    SweepRecord,
    1,
    "choose another --name, or delete the file: cells that were scored are kept in the runs folder "
    "and are not scored again",
)
