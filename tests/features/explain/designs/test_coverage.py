"""What intervals, tests and orders are worth, in a few hundred studies of each design.

`benchmarks/coverage_attribution.py` simulates more of them; its figures are in docs/statistics.md.
Seeds are fixed. With others, a bound here would be crossed by chance in fewer than one of a
thousand runs, while a variance that is halved crosses it in nearly all.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from response_surface import ResponseSurface, risky, unequal
from simulated_studies import Simulation, Tally, chance_of_order, simulate

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
)

STUDIES = 200
# Normal quantiles of a thousandth on two sides, alone and for each of the 20 effects of a design.
ALONE, AMONG_20 = 3.3, 4.1

THREE, CROSSED = (-4.0, -1.5, 0.0), {(0, 1): -1.0}
EQUAL = ResponseSurface(THREE, CROSSED)
UNEQUAL = ResponseSurface(THREE, CROSSED, sd=unequal())

Maker = Callable[[ResponseSurface], Design]


def fixed(kind: type[FixedDesign], replicates: int) -> Maker:
    return lambda surface: kind(surface.deviations, seeds=range(1, replicates + 1))


DESIGNS: dict[str, Maker] = {
    "both_ends": fixed(BothEnds, 3),
    "factorial": fixed(FullFactorial, 2),
    "shapley": fixed(Shapley, 3),
    "path": lambda surface: AblationPath(
        surface.deviations, seeds=(2, 3, 4), order_seeds=(1,), margin=0.5
    ),
    "bisection": lambda surface: Bisection(
        surface.deviations, seeds=(3, 4, 5), order_seeds=(1, 2), margin=2.0
    ),
}


def slack(share: float, studies: int, quantile: float = ALONE) -> float:
    return quantile * math.sqrt(share * (1 - share) / studies)


def check_unbiased(tallies: list[Tally]) -> None:
    for one in tallies:
        assert abs(one.bias_z) < AMONG_20


def check_coverage(tallies: list[Tally], *, low: float = 0.93, high: float = 0.97) -> None:
    """Each interval covers, and on average they do so more exactly."""
    assert tallies
    for one in tallies:
        studies = len(one.covered)
        assert low - slack(low, studies, AMONG_20) <= one.coverage
        assert one.coverage <= high + slack(high, studies, AMONG_20)
    fewest = min(len(one.covered) for one in tallies)
    mean = float(np.mean([one.coverage for one in tallies]))
    assert 0.95 - slack(0.95, fewest) - 0.005 <= mean <= 0.965 + slack(0.965, fewest)


def check_null(simulation: Simulation) -> None:
    """Effects that are none are called significant in 5 %, and as a family in at most 5 %."""
    null = [one for one in simulation.common() if one.null]
    assert null
    found = float(np.mean([np.mean(one.significant) for one in null]))
    assert found == pytest.approx(0.05, abs=slack(0.05, min(len(one.covered) for one in null)))
    assert simulation.false_finding <= 0.05 + slack(0.05, STUDIES)


@pytest.mark.parametrize("surface", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize("name", DESIGNS)
def test_estimates_are_unbiased_and_intervals_cover(name: str, surface: ResponseSurface) -> None:
    design = DESIGNS[name](surface)
    simulation = simulate(surface, lambda _: design, studies=STUDIES)
    check_unbiased(simulation.common())
    check_coverage(simulation.common())
    if isinstance(design, FixedDesign):
        check_null(simulation)
        chance = chance_of_order(surface, design.definitions(), len(design.seeds))
        assert simulation.ordered == pytest.approx(chance, abs=slack(chance, STUDIES) + 0.005)


def test_a_fraction_covers_what_it_says_it_estimates() -> None:
    surface = ResponseSurface((-4.0, -1.5, 0.0, 1.0), {(0, 1): -1.0, (1, 2): 0.5})
    design = FractionalFactorial(surface.deviations, seeds=(1, 2, 3))
    simulation = simulate(surface, lambda _: design, studies=STUDIES)
    check_unbiased(simulation.common())
    check_coverage(simulation.common())


def test_sampled_shapley_values_cover_those_of_all_orders_where_the_order_matters_most() -> None:
    # Next to no noise between replicates: the error is that of the orders.
    surface = ResponseSurface(
        (-5.0, -3.0, -2.0, -1.0, 0.0), {(0, 1): -3.0, (2, 3): 2.0, (0, 1, 2): 3.0}, sd=lambda _: 0.1
    )
    simulation = simulate(
        surface,
        lambda number: SampledShapley(
            surface.deviations, seeds=(1, 2), orders=8, order_seed=number
        ),
        studies=STUDIES,
    )
    values = list(simulation.of("shapley_value").values())
    check_unbiased(values)
    # The reverse of an order undoes what pairs do to it: only the three that act together vary.
    check_coverage([one for one in values if np.std(one.errors) > 0.15], high=0.985)


def test_shapley_values_of_every_study_sum_to_its_gap_with_and_without_divergence() -> None:
    for surface in (EQUAL, ResponseSurface(THREE, CROSSED, diverges=risky(0.3))):
        design = Shapley(surface.deviations, seeds=(1, 2))
        assert simulate(surface, lambda _, d=design: d, studies=30).unsummed < 1e-12


def test_families_are_judged_together_so_that_a_null_study_finds_anything_in_5_percent() -> None:
    for sd in (lambda _: 0.8, unequal()):
        surface = ResponseSurface((0.0, 0.0, 0.0, 0.0), sd=sd)
        design = FullFactorial(surface.deviations, seeds=(1, 2))
        check_null(simulate(surface, lambda _, d=design: d, studies=STUDIES))


@pytest.mark.parametrize("sd", [lambda _: 0.8, unequal()], ids=["equal", "unequal"])
def test_a_race_holds_the_level_of_its_intervals_and_of_its_tests(sd) -> None:
    surface = ResponseSurface((-3.0, -1.0, 0.0), sd=sd)
    design, race = BothEnds(surface.deviations, seeds=(1, 2, 3)), Race((3, 5, 8))
    simulation = simulate(surface, lambda _: design, studies=STUDIES, race=race)
    check_coverage(simulation.common())
    check_null(simulation)
    for one in simulation.common():
        # Stopping where an effect looks large makes it look larger, by little.
        assert abs(one.bias) < 0.2 * np.std(one.errors) + AMONG_20 * one.bias_error
    assert 8 * 3 < simulation.trials < 8 * 8


def test_surfaces_with_divergence_are_covered_in_both_estimands() -> None:
    surface = ResponseSurface(THREE, CROSSED, diverges=risky(0.3))
    design = FullFactorial(surface.deviations, seeds=range(1, 6))
    simulation = simulate(surface, lambda _: design, studies=STUDIES)
    for estimand in ("ap_or_0", "given_convergence"):
        found = simulation.common(estimand)
        assert len(found) == 1 + 3 + 3
        check_unbiased(found)
        check_coverage(found)
    chance = chance_of_order(surface, design.definitions(), len(design.seeds))
    assert simulation.ordered == pytest.approx(chance, abs=slack(chance, STUDIES) + 0.005)


def test_one_noisy_cell_is_not_taken_for_one_of_the_others() -> None:
    surface = ResponseSurface(THREE, CROSSED, sd=lambda cell: 2.4 if all(cell) else 0.8)
    design = BothEnds(surface.deviations, seeds=range(1, 6))
    simulation = simulate(surface, lambda _: design, studies=STUDIES)
    (gap,) = simulation.of("gap").values()
    check_coverage([gap, *simulation.of("from_user").values()])
