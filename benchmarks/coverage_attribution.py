"""What the intervals of attributions are worth, on simulated studies whose truth is known.

Studies of every design are simulated on closed-form response surfaces
(tests/analysis/response_surface.py) with effects, interactions and noise that are known: equal
noise in all cells, noise three times as large wherever the first deviation stands at the user's
level, and trainings that diverge. One JSON line a design and surface:

- coverage: of nominal 95 % intervals, from the worst to the best effect, and their mean;
- bias_z: the largest bias of an effect, in its Monte Carlo standard errors (with many effects, up
  to about 3.5 is chance);
- null: how often an effect that is 0 was called significant, by the test of that effect alone;
- order, theory: how often all effects came out in their true order, and how often the normal law of
  the estimates lets them;
- trials: mean number of trials a study.

    python benchmarks/coverage_attribution.py [--studies 4000] [--only NAME]

4,000 studies take about ten minutes on one core; the Monte Carlo standard error of a coverage of
95 % is then 0.3 %. The figures are in docs/statistics.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "analysis"))

from response_surface import (
    ResponseSurface,
    Simulation,
    chance_of_order,
    risky,
    simulate,
    unequal,
)

from odapi_repro.study.designs import (
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
)

_FOUR = (-6.0, -3.0, -1.5, 0.0)
_CROSSED = {(0, 1): -2.0, (1, 2): 1.0}
_SIX = (-5.0, -3.0, -2.0, -1.0, -0.5, 0.0)
# Close together, so that no look decides them all.
_CLOSE = (-2.0, -1.0, -0.5, 0.0)

SURFACES = {
    "equal": ResponseSurface(_FOUR, _CROSSED),
    "unequal": ResponseSurface(_FOUR, _CROSSED, sd=unequal()),
    "diverging 30 %": ResponseSurface(_FOUR, _CROSSED, diverges=risky(0.3)),
    "diverging 50 %": ResponseSurface(_FOUR, _CROSSED, diverges=risky(0.5)),
    "diverging 20 to 50 %": ResponseSurface(_FOUR, _CROSSED, diverges=risky(0.2, 0.3)),
    "diverging 10 %": ResponseSurface(_FOUR, _CROSSED, diverges=risky(0.1)),
    "close": ResponseSurface(_CLOSE),
    "close, unequal": ResponseSurface(_CLOSE, sd=unequal()),
    "six": ResponseSurface(_SIX, {(0, 1): -3.0, (2, 3): 2.0}),
    "six, by threes": ResponseSurface(_SIX, {(0, 1): -3.0, (2, 3): 2.0, (0, 1, 2): 1.5}),
}

Maker = Callable[[ResponseSurface, int], Design]


def _fixed(kind: type[FixedDesign], replicates: int) -> Maker:
    made: dict[int, Design] = {}

    def make(surface: ResponseSurface, number: int) -> Design:
        del number
        seeds = range(1, replicates + 1)
        return made.setdefault(id(surface), kind(surface.deviations, seeds=seeds))

    return make


def _path(surface: ResponseSurface, number: int) -> Design:
    del number
    return AblationPath(surface.deviations, seeds=(2, 3, 4), order_seeds=(1,), margin=0.5)


def _bisection(surface: ResponseSurface, number: int) -> Design:
    del number
    return Bisection(surface.deviations, seeds=(3, 4, 5), order_seeds=(1, 2), margin=2.0)


def _sampled(surface: ResponseSurface, number: int) -> Design:
    return SampledShapley(surface.deviations, seeds=(1, 2, 3), orders=8, order_seed=number)


_PLAIN = ("equal", "unequal")
_DIVERGING = ("diverging 30 %", "diverging 50 %", "diverging 20 to 50 %", "diverging 10 %")
_CLOSE_ONES = ("close", "close, unequal")
CASES: tuple[tuple[str, Maker, tuple[str, ...], Race | None], ...] = (
    ("both_ends, 2 seeds", _fixed(BothEnds, 2), _PLAIN, None),
    ("both_ends, 3 seeds", _fixed(BothEnds, 3), _PLAIN, None),
    ("both_ends, 5 seeds", _fixed(BothEnds, 5), (*_PLAIN, *_DIVERGING), None),
    ("factorial, 2 seeds", _fixed(FullFactorial, 2), _PLAIN, None),
    ("factorial, 3 seeds", _fixed(FullFactorial, 3), (*_PLAIN, *_DIVERGING), None),
    ("factorial, 5 seeds", _fixed(FullFactorial, 5), _DIVERGING, None),
    ("shapley, 2 seeds", _fixed(Shapley, 2), _PLAIN, None),
    ("shapley, 3 seeds", _fixed(Shapley, 3), (*_PLAIN, *_DIVERGING), None),
    ("fractional, 3 seeds", _fixed(FractionalFactorial, 3), _PLAIN, None),
    ("sampled_shapley, 3 seeds", _sampled, ("six", "six, by threes"), None),
    ("path, 1 + 3 seeds", _path, _PLAIN, None),
    ("bisection, 2 + 3 seeds", _bisection, _PLAIN, None),
    ("both_ends, race 3 5 8", _fixed(BothEnds, 3), (*_PLAIN, *_CLOSE_ONES), Race((3, 5, 8))),
    ("both_ends, race 2 4 8", _fixed(BothEnds, 2), (*_PLAIN, *_CLOSE_ONES), Race((2, 4, 8))),
    ("factorial, race 2 4 8", _fixed(FullFactorial, 2), (*_PLAIN, *_CLOSE_ONES), Race((2, 4, 8))),
    ("path, race 3 5 8", _path, _PLAIN, Race((3, 5, 8))),
)


def main(studies: int, only: str) -> int:
    """Simulates every case and prints what was seen."""
    for name, make, surfaces, race in CASES:
        for label in surfaces:
            if only and only not in f"{name}, {label}":
                continue
            start = time.perf_counter()
            surface = SURFACES[label]
            simulation = simulate(
                surface,
                lambda number, make=make, surface=surface: make(surface, number),
                studies=studies,
                race=race,
            )
            line = {
                "design": name,
                "surface": label,
                "studies": studies,
                **_figures(simulation, surface, make(surface, 0), race),
                "seconds": round(time.perf_counter() - start, 1),
            }
            print(json.dumps(line), flush=True)
    return 0


def _figures(
    simulation: Simulation, surface: ResponseSurface, design: Design, race: Race | None
) -> dict[str, object]:
    # An effect that hardly ever came up (a step of a path) has no coverage to speak of.
    counts = [len(one.covered) for one in simulation.tallies.values()]
    common = {
        key: one for key, one in simulation.tallies.items() if len(one.covered) >= 0.5 * max(counts)
    }
    found: dict[str, object] = {}
    for estimand in ("ap_or_0", "given_convergence"):
        covered = [one.coverage for key, one in common.items() if key[0] == estimand]
        if covered:
            found[f"coverage {estimand}"] = [
                round(100 * value, 1)
                for value in (min(covered), max(covered), math.fsum(covered) / len(covered))
            ]
    found["bias_z"] = round(max(abs(one.bias_z) for one in common.values()), 1)
    null = [
        one
        for (estimand, kind, effect), one in common.items()
        if estimand == "ap_or_0"
        and kind in ("both_ends", "main_effect", "shapley_value")
        and effect == surface.deviations[-1].name
        and not surface.main[-1]
    ]
    if null:
        found["null"] = round(100 * sum(null[0].significant) / len(null[0].significant), 1)
    if isinstance(design, FixedDesign):
        found["order"] = round(100 * simulation.ordered, 1)
        plain = race is None and not isinstance(design, SampledShapley)
        if plain and not any(surface.diverges(cell) for cell in design.cells()):
            chance = chance_of_order(surface, design.definitions(), len(design.seeds))
            found["theory"] = round(100 * chance, 1)
    found["trials"] = round(simulation.trials, 1)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--only", default="", help="part of a design's or a surface's name")
    given = parser.parse_args()
    sys.exit(main(given.studies, given.only))
