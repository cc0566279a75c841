"""What a pipeline's own augmentation left of the boxes in some records."""

from __future__ import annotations

from dataclasses import dataclass

from odapi_repro.datasets.census.columns import Tally


@dataclass(frozen=True)
class AugmentedBoxes:
    """Boxes counted before and after the pipeline's input functions.

    Attributes:
        records: records that were drawn.
        draws: times that each was augmented.
        boxes_before: objects in the records, once a draw.
        boxes_after: objects that the model would be given.
        emptied: draws of records with objects that were left with none.
        refused: draws at which the OD API stops, with what it says.
        refused_mend: how to mend the first of them; empty where nobody knows.
    """

    records: int
    draws: int
    boxes_before: int
    boxes_after: int
    emptied: Tally
    refused: Tally
    refused_mend: str = ""

    @property
    def share_left(self) -> float:
        """Boxes that are left, as a share; 1 where there were none."""
        return self.boxes_after / self.boxes_before if self.boxes_before else 1.0
