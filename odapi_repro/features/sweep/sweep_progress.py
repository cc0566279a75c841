"""How far a sweep is, on the live line: its forward passes, then the scoring of its cells."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from odapi_repro.features.sweep.sweep import Sweep
from odapi_repro.features.sweep.sweep_runner import SweepCell
from odapi_repro.trials.evaluations.evaluation_progress import EvaluationProgress


class SweepProgress(EvaluationProgress):
    """Shows the events of the child that detects, then those of cells."""

    def __init__(
        self,
        sweep: Sweep,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        passes = {one.name: sweep.about(one) for one in sweep.plan.passes}
        super().__init__("", sweep.truth.num_images, passes=passes, stream=stream, clock=clock)
        self._sweep = sweep
        self._scored = 0

    def of_cell(self, unit: SweepCell, event: dict[str, Any]) -> None:
        """Takes an event of a cell."""
        own, levels = self._sweep.reference.levels, unit.cell.levels
        changed = [f"{name} {level}" for name, level in levels.items() if level != own[name]]
        label = ", ".join(changed) or "as configured"
        if event["event"] == "trial_started":
            place = f"{self._scored + 1}/{len(self._sweep.plan.cells)}"
            self.line.update(f"scoring {place}: {label}", news=True)
        elif event["event"] == "trial_ended":
            self._scored += 1
            if event["state"] != "succeeded":
                self.line.line(f"{label}: {event['state']}: {event['message']}")
