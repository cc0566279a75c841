"""What the report of a sweep without training is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from odapi_repro.analysis.image_effects import ImageEffect
from odapi_repro.analysis.trials import check_trials, ordered_trials
from odapi_repro.factors.axes import Axis


class CheckpointLine(NamedTuple):
    """A checkpoint of the sweep: what was named, its training step and its digest."""

    label: str
    step: int | None
    digest: str


class ForwardPass(NamedTuple):
    """One run of the network over all images.

    Attributes:
        name: of its folder.
        about: what it is, in words.
        variants: how many post-processings share it.
        seconds: what it took, None where nobody noted it.
        ran_now: whether this command ran it; else an earlier one had.
    """

    name: str
    about: str
    variants: int
    seconds: float | None
    ran_now: bool


@dataclass(frozen=True, eq=False)
class PostHocReport:
    """Everything that results/<study>/ says of a sweep.

    Attributes:
        study: the name of the study, which is that of its folder.
        command: the exact command line.
        pipeline: the checkpoint's own, or the one named.
        scale: `full`, or `proxy` for a proxy's checkpoint.
        design: `one_at_a_time` or `grid`.
        trials: a row a cell, see `odapi_repro.analysis.trials`; `seed` is the training's.
        axes: the factors with their levels in order, the pipeline's own first.
        effects: every level against the pipeline's own, on the same images.
        checkpoints: in the order named; the last is the one that single levels are measured on.
        passes: the forward passes.
        data: what was evaluated on ("160 images of val.record").
        num_images: images scored.
        held: a sentence for each factor.
        notes: how detections were made, beyond the passes.
        caveats: what may not be concluded, beyond what every sweep says of itself.
        resamples: of the bootstrap.
        versions: package to version.
        margin, confidence: of the verdicts.
    """

    study: str
    command: str
    pipeline: str
    scale: str
    design: str
    trials: pd.DataFrame
    axes: tuple[Axis, ...]
    effects: tuple[ImageEffect, ...]
    checkpoints: tuple[CheckpointLine, ...]
    passes: tuple[ForwardPass, ...]
    data: str
    num_images: int
    held: tuple[str, ...]
    notes: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    resamples: int = 1000
    versions: Mapping[str, str] = field(default_factory=dict)
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
        """The trials with documented columns, the reference first, in the order of the levels."""
        levels = {axis.name: axis.levels for axis in self.axes}
        return ordered_trials(self.trials, levels, last_first=True)

    @property
    def has_masks(self) -> bool:
        """Whether mask metrics were measured."""
        return "mask_AP" in self.table.columns

    def effect(self, factor: str, level: str, metric: str) -> ImageEffect | None:
        """Gives one effect; None for the reference level, or where none was measured."""
        return self._effects.get((factor, level, metric))

    def cell(self, factor: str, level: str) -> pd.Series | None:
        """Gives the row in which one factor stands at a level and the others at their own."""
        chosen = pd.Series(True, index=self.table.index)
        for axis in self.axes:
            wanted = level if axis.name == factor else axis.reference_level
            chosen &= self.table[axis.name] == wanted
        return self.table[chosen].iloc[0] if chosen.any() else None

    @cached_property
    def _effects(self) -> dict[tuple[str, str, str], ImageEffect]:
        return {(row.factor, row.to_level, row.metric): row for row in self.effects}
