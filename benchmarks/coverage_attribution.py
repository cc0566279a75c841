"""What the intervals, tests and orders of attributions are worth, on studies whose truth is known.

Studies of every design are simulated on closed-form response surfaces
(tests/analysis/response_surface.py): effects, interactions and noise are known; noise is equal in
all cells, or three times as large wherever the first deviation stands at the user's level, or in
the user's own cell only; trainings diverge. Replicates are drawn, and the product's own design,
race and estimator do the rest. One JSON line a design and surface, shares in percent:

- coverage: of nominal 95 % intervals, of the worst and the best covered effect, and their mean;
  beside it `converged`, the same given convergence;
- bias: the largest of an effect, in points, and in its Monte Carlo standard errors (of 20 effects
  the largest is 3 or less, but for chance); `largest_se`: the standard error of that estimate;
- null: how often effects that are 0 were called significant, each by its own test (least, most and
  mean of them); false: how often the verdicts of a study's question named any effect that is none;
- order, theory: how often all effects came out in their true order, or a path's first step was the
  best one, and how often the law of cell means lets them (a race: at its first and its last look);
- unsummed: the largest difference between a study's gap and the sum of its Shapley values;
- named, cells: how often a culprit among eight deviations was named, and by how many cells at most;
- trials: mean number a study.

    python benchmarks/coverage_attribution.py [--studies 1000] [--only NAME]

1,000 studies of each take five to six minutes on one core; the Monte Carlo standard error of a
coverage of 95 % is then 0.7 %. The figures are in docs/statistics.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "analysis"))

import numpy as np
from response_surface import NAMES, ResponseSurface, risky, unequal
from simulated_studies import Simulation, chance_of_order, chance_of_path, simulate

from odapi_repro.features.explain.designs import (
    AblationPath,
    Bisection,
    BothEnds,
    Design,
    FixedDesign,
    FractionalFactorial,
    FullFactorial,
    Race,
    SampledShapley,
    Shapley,
    attribute,
)

_FOUR = (-6.0, -3.0, -1.5, 0.0)
_CROSSED = {(0, 1): -2.0, (1, 2): 1.0}
_SIX = (-5.0, -3.0, -2.5, -1.0, -0.7, 0.0)
_BY_TWOS = {(0, 1): -3.0, (2, 3): 1.0}
# Close together, so that no look decides them all.
_CLOSE = (-2.0, -1.0, -0.5, 0.0)

SURFACES = {
    "equal": ResponseSurface(_FOUR, _CROSSED),
    "unequal": ResponseSurface(_FOUR, _CROSSED, sd=unequal()),
    "one noisy cell": ResponseSurface(_FOUR, _CROSSED, sd=lambda c: 1.5 if all(c) else 0.5),
    "nothing": ResponseSurface((0.0,) * 4),
    "nothing, unequal": ResponseSurface((0.0,) * 4, sd=unequal()),
    "diverging 10 %": ResponseSurface(_FOUR, _CROSSED, diverges=risky(0.1)),
    "diverging 30 %": ResponseSurface(_FOUR, _CROSSED, diverges=risky(0.3)),
    "diverging 50 %": ResponseSurface(_FOUR, _CROSSED, diverges=risky(0.5)),
    "diverging 20 to 50 %": ResponseSurface(_FOUR, _CROSSED, diverges=risky(0.2, 0.3)),
    "diverging always": ResponseSurface(_FOUR, _CROSSED, diverges=lambda c: float(c[0] and c[1])),
    "close": ResponseSurface(_CLOSE),
    "close, unequal": ResponseSurface(_CLOSE, sd=unequal()),
    "six": ResponseSurface(_SIX, _BY_TWOS),
    "six, unequal": ResponseSurface(_SIX, _BY_TWOS, sd=unequal()),
    "six, by threes": ResponseSurface(_SIX, {**_BY_TWOS, (0, 1, 2): 1.5}),
    "six, diverging 30 %": ResponseSurface(_SIX, _BY_TWOS, diverges=risky(0.3)),
}

Maker = Callable[[ResponseSurface, int], Design]


def _fixed(kind: type[FixedDesign], replicates: int) -> Maker:
    made: dict[int, Design] = {}

    def make(surface: ResponseSurface, number: int) -> Design:
        del number
        seeds = range(1, replicates + 1)
        return made.setdefault(id(surface), kind(surface.deviations, seeds=seeds))

    return make


def _path(replicates: int) -> Maker:
    seeds = range(2, 2 + replicates)
    return lambda surface, _: AblationPath(
        surface.deviations, seeds=seeds, order_seeds=(1,), margin=0.5
    )


def _bisection(replicates: int) -> Maker:
    seeds = range(3, 3 + replicates)
    return lambda surface, _: Bisection(
        surface.deviations, seeds=seeds, order_seeds=(1, 2), margin=2.0
    )


def _sampled(replicates: int, orders: int = 8) -> Maker:
    seeds = range(1, 1 + replicates)
    return lambda surface, number: SampledShapley(
        surface.deviations, seeds=seeds, orders=orders, order_seed=number
    )


_PLAIN = ("equal", "unequal")
_NOISY = (*_PLAIN, "one noisy cell")
_NULL = ("nothing", "nothing, unequal")
_DIVERGING = (
    *("diverging 10 %", "diverging 30 %", "diverging 50 %", "diverging 20 to 50 %"),
    "diverging always",
)
_CLOSE_ONES = ("close", "close, unequal")
CASES: tuple[tuple[str, Maker, tuple[str, ...], Race | None], ...] = (
    ("both_ends, 2 seeds", _fixed(BothEnds, 2), _NOISY, None),
    ("both_ends, 3 seeds", _fixed(BothEnds, 3), (*_NOISY, *_NULL), None),
    ("both_ends, 5 seeds", _fixed(BothEnds, 5), (*_NOISY, *_DIVERGING), None),
    ("both_ends, 8 seeds", _fixed(BothEnds, 8), _DIVERGING, None),
    ("path, 1 + 2 seeds", _path(2), _NOISY, None),
    ("path, 1 + 3 seeds", _path(3), _NOISY, None),
    ("path, 1 + 5 seeds", _path(5), (*_NOISY, "diverging 30 %"), None),
    ("factorial, 2 seeds", _fixed(FullFactorial, 2), _NOISY, None),
    ("factorial, 3 seeds", _fixed(FullFactorial, 3), (*_NOISY, *_NULL, *_DIVERGING), None),
    ("factorial, 5 seeds", _fixed(FullFactorial, 5), _DIVERGING, None),
    ("factorial, 8 seeds", _fixed(FullFactorial, 8), _DIVERGING, None),
    ("fractional, 2 seeds", _fixed(FractionalFactorial, 2), _NOISY, None),
    ("fractional, 3 seeds", _fixed(FractionalFactorial, 3), (*_NOISY, *_NULL), None),
    ("fractional, 5 seeds", _fixed(FractionalFactorial, 5), ("diverging 30 %",), None),
    ("shapley, 2 seeds", _fixed(Shapley, 2), _NOISY, None),
    ("shapley, 3 seeds", _fixed(Shapley, 3), (*_NOISY, *_NULL), None),
    ("shapley, 5 seeds", _fixed(Shapley, 5), _DIVERGING, None),
    ("sampled_shapley, 2 seeds", _sampled(2), ("six", "six, unequal"), None),
    ("sampled_shapley, 3 seeds", _sampled(3), ("six", "six, unequal", "six, by threes"), None),
    ("sampled_shapley, 3 seeds, 4 orders", _sampled(3, 4), ("six, by threes",), None),
    ("sampled_shapley, 3 seeds, 2 orders", _sampled(3, 2), ("six", "six, by threes"), None),
    ("sampled_shapley, 5 seeds", _sampled(5), ("six, diverging 30 %",), None),
    ("bisection, 2 + 2 seeds", _bisection(2), _PLAIN, None),
    ("bisection, 2 + 3 seeds", _bisection(3), _PLAIN, None),
    ("bisection, 2 + 5 seeds", _bisection(5), (*_PLAIN, "diverging 30 %"), None),
    (
        "both_ends, race 3 5 8",
        _fixed(BothEnds, 3),
        (*_PLAIN, *_CLOSE_ONES, *_NULL),
        Race((3, 5, 8)),
    ),
    ("both_ends, race 2 4 8", _fixed(BothEnds, 2), (*_PLAIN, *_CLOSE_ONES), Race((2, 4, 8))),
    ("factorial, race 2 4 8", _fixed(FullFactorial, 2), (*_PLAIN, *_CLOSE_ONES), Race((2, 4, 8))),
    ("shapley, race 3 5 8", _fixed(Shapley, 3), (*_PLAIN, *_NULL), Race((3, 5, 8))),
    ("path, race 3 5 8", _path(3), _PLAIN, Race((3, 5, 8))),
    ("both_ends, race 5 8 12", _fixed(BothEnds, 5), ("diverging 30 %",), Race((5, 8, 12))),
)


def main(studies: int, only: str) -> int:
    """Simulates every case and prints what was seen."""
    for name, make, surfaces, race in CASES:
        for label in surfaces:
            if only in f"{name}, {label}":
                start = time.process_time()
                surface = SURFACES[label]
                made: list[Design] = []

                def design_of(
                    number: int,
                    make: Maker = make,
                    surface: ResponseSurface = surface,
                    made: list[Design] = made,
                ) -> Design:
                    made.append(make(surface, number))
                    return made[-1]

                simulation = simulate(surface, design_of, studies=studies, race=race)
                figures = _figures(simulation, surface, made, race, studies)
                _print(name, label, studies, start, figures)
    for kind in (Bisection, AblationPath):
        for noise in (0.8, 1.5):
            name = f"{kind.name}, one culprit of eight"
            if only in f"{name}, sd {noise}":
                start = time.process_time()
                _print(name, f"sd {noise}", studies, start, _culprits(kind, noise, studies))
    return 0


def _print(
    design: str, surface: str, studies: int, start: float, figures: dict[str, object]
) -> None:
    seconds = round(time.process_time() - start, 1)
    line = {"design": design, "surface": surface, "studies": studies, **figures, "cpu_s": seconds}
    print(json.dumps(line), flush=True)


def _figures(
    simulation: Simulation,
    surface: ResponseSurface,
    designs: Sequence[Design],
    race: Race | None,
    studies: int,
) -> dict[str, object]:
    found: dict[str, object] = {}
    for label, estimand in (("coverage", "ap_or_0"), ("converged", "given_convergence")):
        covered = [one.coverage for one in simulation.common(estimand)]
        if covered:
            found[label] = _spread(covered)
    common = simulation.common()
    worst = max(common, key=lambda one: abs(one.bias_z))
    found["bias"] = [round(worst.bias, 3), round(worst.bias_z, 1)]
    found["largest_se"] = round(worst.bias_error * math.sqrt(len(worst.errors)), 2)
    null = [float(np.mean(one.significant)) for one in common if one.null]
    if null:
        found["null"] = _spread(null)
        found["false"] = _percent(simulation.false_finding)
    found |= _order(simulation, surface, designs, race, studies)
    if any(key[1] == "shapley_value" for key in simulation.tallies):
        found["unsummed"] = float(f"{simulation.unsummed:.0e}")
    found["trials"] = round(simulation.trials, 1)
    return found


def _order(
    simulation: Simulation,
    surface: ResponseSurface,
    designs: Sequence[Design],
    race: Race | None,
    studies: int,
) -> dict[str, object]:
    """How often the order was right, and what theory allows."""
    design = designs[0]
    if isinstance(design, AblationPath):
        first = {
            key[2]: len(one.errors)
            for key, one in simulation.tallies.items()
            if key[0] == "ap_or_0" and key[3] == "mended first"
        }
        mended = [surface.expected(_without(index, surface)) for index in range(len(surface.main))]
        best = NAMES[int(np.argmax(mended))]
        theory = chance_of_path(surface, len(design.order_seeds), design.margin)
        return {"order": _percent(first.get(best, 0) / studies), "theory": _percent(theory)}
    if not isinstance(design, FixedDesign) or len(set(map(abs, surface.main))) == 1:
        return {}
    found: dict[str, object] = {"order": _percent(simulation.ordered)}
    if isinstance(design, SampledShapley):
        some = [one for one in designs[:20] if isinstance(one, SampledShapley)]
        chances = [
            chance_of_order(
                surface,
                one.definitions(),
                len(one.seeds),
                truths=surface.shapley(),
                draws=5_000,
            )
            for one in some
        ]
        return {**found, "theory": _percent(math.fsum(chances) / len(chances))}
    looks = (len(design.seeds),) if race is None else (race.replicates[0], race.replicates[-1])
    theory = [_percent(chance_of_order(surface, design.definitions(), n)) for n in looks]
    return {**found, "theory": theory[0] if race is None else theory}


def _without(index: int, surface: ResponseSurface) -> tuple[int, ...]:
    return tuple(int(other != index) for other in range(len(surface.main)))


def _culprits(kind: type[Bisection | AblationPath], sd: float, studies: int) -> dict[str, object]:
    """One deviation of eight costs 12 points; the others 0 to 0.2 each."""
    named = judged = most = 0
    trials = 0.0
    rng = np.random.default_rng(0)
    for number in range(studies):
        culprit = number % 8
        main = tuple(-12.0 if index == culprit else -0.1 * (index % 3) for index in range(8))
        surface = ResponseSurface(main, sd=lambda _: sd)
        design = kind(surface.deviations, seeds=(3, 4, 5), order_seeds=(1, 2), margin=4.0)
        outcomes = surface.draw(rng, range(1, 6))
        planned = design.planned(outcomes)
        most = max(most, len(planned))
        trials += sum(map(len, planned.values()))
        losses = {row.factor for row in attribute(design, outcomes).rows if row.verdict == "loss"}
        judged += NAMES[culprit] in losses
        if isinstance(design, Bisection):
            named += design.state(outcomes).culprits == (culprit,)
        else:
            named += all(
                design.state(outcomes, direction).steps[0] == (culprit,)
                for direction in design.directions
            )
    return {
        "named": _percent(named / studies),
        "judged a loss": _percent(judged / studies),
        "cells": most,
        "trials": round(trials / studies, 1),
    }


def _percent(share: float) -> float:
    return round(100 * share, 1)


def _spread(shares: Sequence[float]) -> list[float]:
    return [_percent(one) for one in (min(shares), max(shares), math.fsum(shares) / len(shares))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--only", default="", help="part of a design's or a surface's name")
    given = parser.parse_args()
    sys.exit(main(given.studies, given.only))
