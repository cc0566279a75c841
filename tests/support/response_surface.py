"""A closed-form response surface, whose effects are known exactly.

AP of a cell is `base` plus the effect of each deviation that stands at the user's level, plus that
of each pair and triple that do together, plus normal noise whose standard deviation is the cell's
own; a training diverges with the cell's own probability, and then counts for 0. So the truth of
every effect is known exactly, with and without divergence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from odapi_repro.analysis.attribution import (
    Combination,
    Outcome,
    Outcomes,
    StudiedDeviation,
    corners,
    shapley_effects,
)

NAMES = ("batch", "lr", "warmup", "shards", "augment", "size", "anchors", "decay")


@dataclass(frozen=True)
class ResponseSurface:
    """What training would give, in points.

    Attributes:
        main: the effect of each deviation at the reference; their number is that of deviations.
        crossed: the effect of deviations that stand at the user's level together.
        base: AP of the reference.
        sd: standard deviation between replicates of a cell.
        diverges: probability that a training of a cell diverges.
    """

    main: tuple[float, ...]
    crossed: Mapping[tuple[int, ...], float] = field(default_factory=dict)
    base: float = 35.0
    sd: Callable[[Combination], float] = lambda _: 0.8
    diverges: Callable[[Combination], float] = lambda _: 0.0

    @property
    def deviations(self) -> tuple[StudiedDeviation, ...]:
        return tuple(
            StudiedDeviation.of(name, "reference", "user") for name in NAMES[: len(self.main)]
        )

    def mean(self, cell: Combination) -> float:
        """AP of a training that converges, on average."""
        moved = math.fsum(effect for effect, level in zip(self.main, cell, strict=True) if level)
        together = math.fsum(
            effect
            for indices, effect in self.crossed.items()
            if all(cell[index] for index in indices)
        )
        return self.base + moved + together

    def expected(self, cell: Combination) -> float:
        """AP or 0, on average."""
        return (1 - self.diverges(cell)) * self.mean(cell)

    def truth(self, weights: Mapping[Combination, float], estimand: str = "ap_or_0") -> float:
        """The true value of an effect."""
        values = self._values[estimand]
        return math.fsum(weight * values[cell] for cell, weight in weights.items())

    @cached_property
    def _values(self) -> dict[str, dict[Combination, float]]:
        cells = corners(len(self.main))
        return {
            "ap_or_0": {cell: self.expected(cell) for cell in cells},
            "given_convergence": {cell: self.mean(cell) for cell in cells},
        }

    @cached_property
    def _cells(self) -> list[tuple[Combination, float, float, float]]:
        return [
            (cell, self.mean(cell), self.sd(cell), self.diverges(cell))
            for cell in corners(len(self.main))
        ]

    def draw(self, rng: np.random.Generator, seeds: Sequence[int]) -> Outcomes:
        """Every cell trained with every seed; a design takes from it what it asks for."""
        cells = self._cells
        noise = rng.standard_normal((len(cells), len(seeds))).tolist()
        luck = rng.random((len(cells), len(seeds))).tolist()
        by_cell = {}
        for (cell, mean, sd, risk), scatter, chances in zip(cells, noise, luck, strict=True):
            by_cell[cell] = {
                seed: Outcome(0.0, True) if chance < risk else Outcome(mean + sd * z)
                for seed, z, chance in zip(seeds, scatter, chances, strict=True)
            }
        return Outcomes(self.deviations, by_cell)

    def shapley(self, estimand: str = "ap_or_0") -> dict[str, float]:
        """The true Shapley value of each deviation."""
        return {
            one.name: self.truth(one.weights, estimand)
            for one in shapley_effects(self.deviations, interactions=False)
        }


def unequal(low: float = 0.5, high: float = 1.5) -> Callable[[Combination], float]:
    """Noise that is three times as large wherever the first deviation stands at the user's."""
    return lambda cell: high if cell[0] else low


def risky(*chances: float) -> Callable[[Combination], float]:
    """Divergence: each deviation at the user's level adds its chance."""
    return lambda cell: math.fsum(
        chance for chance, level in zip(chances, cell, strict=False) if level
    )
