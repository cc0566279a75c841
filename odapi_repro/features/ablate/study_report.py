"""What a study's report is made of, as its command knows it when the trials have run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from odapi_repro.analysis.effects import Contrast, contrasts
from odapi_repro.analysis.trials import BOX_METRICS, MASK_METRICS, check_trials, ordered_trials
from odapi_repro.factors.axes import Axis
from odapi_repro.reference import ReportedMetric
from odapi_repro.trials.proxies import ScaleNote


@dataclass(frozen=True, eq=False)
class StudyReport:
    """Everything that results/<study>/ says.

    Attributes:
        study: the name of the study, which is that of its folder.
        command: the exact command line.
        pipeline: the pipeline that was ablated.
        scale: `full`, `proxy` or `smoke`.
        trials: see `odapi_repro.analysis.trials`.
        axes: the factors with their levels in order.
        data: what AP was measured on, as the axis of the plot says it ("80 shapes images").
        reference_name: the catalogue's name of the reference; empty when there is none.
        reported: published numbers of the reference.
        scale_notes: relations kept and clipped at this scale.
        level_mapping: levels of the pipeline and of these trials, where they differ.
        held: a sentence for each thing that a factor holds constant.
        seeds: the seeds asked for.
        loss_curves: by trial id, points in order; tuples (step, images_seen, loss) will do.
        wall_seconds: from the first trial's start to the last one's end.
        versions: package to version.
        caveats: sentences about what may not be concluded, beyond those that every report has.
        num_train_images, num_eval_images: sizes of the data, None where unknown.
        margin: half-width in AP points of what is called equivalent.
        confidence: of the intervals.
    """

    study: str
    command: str
    pipeline: str
    scale: str
    trials: pd.DataFrame
    axes: tuple[Axis, ...]
    data: str = "the evaluation set"
    reference_name: str = ""
    reported: tuple[ReportedMetric, ...] = ()
    scale_notes: tuple[ScaleNote, ...] = ()
    level_mapping: tuple[tuple[str, str, str], ...] = ()
    held: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    loss_curves: Mapping[str, Sequence[tuple[int, float, float]]] = field(default_factory=dict)
    wall_seconds: float = float("nan")
    versions: Mapping[str, str] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    num_train_images: int | None = None
    num_eval_images: int | None = None
    margin: float = 0.5
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_trials(self.trials, self.factors)

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors, in the order of their columns."""
        return tuple(axis.name for axis in self.axes)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The trials with documented columns, by level in its order, then by seed."""
        levels = {axis.name: axis.levels for axis in self.axes}
        return ordered_trials(self.trials, levels)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are compared: those of boxes, and those of masks where there are any."""
        masks = MASK_METRICS if MASK_METRICS[0] in self.table.columns else ()
        return (*BOX_METRICS, *masks)

    @cached_property
    def effects(self) -> list[Contrast]:
        """Every level against the reference level of its factor, on every metric."""
        return contrasts(
            self.table,
            self.axes,
            metrics=self.metrics,
            margin=self.margin,
            confidence=self.confidence,
        )

    def status_counts(self) -> dict[str, int]:
        """How many trials have each status that occurs."""
        counts = self.table["status"].value_counts(sort=False)
        return {str(status): int(count) for status, count in counts.items()}
