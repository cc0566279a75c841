"""A race adds replicates where they decide something, and stays within its budget."""

from __future__ import annotations

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from response_surface import ResponseSurface

from odapi_repro.analysis.attribution import ATTRIBUTION_COLUMNS, Combination, Outcome, Outcomes
from odapi_repro.analysis.effect import effects_frame
from odapi_repro.features.explain.designs import (
    AblationPath,
    BothEnds,
    Race,
    Shapley,
    attribute,
    in_rounds,
)

# Two clear effects, one within the noise.
SURFACE = ResponseSurface((-9.0, -8.0, -0.6))
SEEDS = range(1, 9)
STEPS = (-1.0, 0.0, 1.0, -1.0, 1.0, 0.0, 0.0, 0.0)
RACE = Race((3, 5, 8), margin=0.5)


def both_ends() -> BothEnds:
    return BothEnds(SURFACE.deviations, seeds=(1, 2, 3))


def draw(number: int) -> Outcomes:
    return SURFACE.draw(np.random.default_rng(number), SEEDS)


def test_replicates_go_to_the_cells_of_effects_that_are_not_decided() -> None:
    state = RACE.state(both_ends(), draw(1))
    given = {cell: len(seeds) for cell, seeds in state.seeds.items()}
    # The third deviation alone, at either end, and the ends themselves.
    raised = {cell for cell, count in given.items() if count > 3}
    assert raised == {(0, 0, 0), (1, 1, 1), (0, 0, 1), (1, 1, 0)}
    assert state.added == sum(count - 3 for count in given.values())
    assert state.reason in ("decided", "looks")


def test_a_race_ends_when_everything_is_decided() -> None:
    surface = ResponseSurface((-9.0, -8.0), sd=lambda _: 0.2)
    design = BothEnds(surface.deviations, seeds=(1, 2, 3))
    drawn = surface.draw(np.random.default_rng(0), SEEDS)
    state = RACE.state(design, drawn)
    assert (state.reason, state.looks, state.added, state.undecided) == ("decided", 1, 0, ())


def test_a_race_ends_after_its_looks_and_names_what_is_undecided() -> None:
    surface = ResponseSurface((-9.0, -0.7), sd=lambda _: 2.0)
    design = BothEnds(surface.deviations, seeds=(1, 2, 3))
    state = RACE.state(design, surface.draw(np.random.default_rng(3), SEEDS))
    assert (state.reason, state.looks, state.undecided) == ("looks", 3, ("lr",))
    assert max(len(seeds) for seeds in state.seeds.values()) == 8


@pytest.mark.parametrize("budget", [0, 3, 8, 12, 40])
def test_a_race_stays_within_its_budget(budget: int) -> None:
    race = Race((3, 5, 8), max_trials=budget)
    for number in range(5):
        state = race.state(both_ends(), draw(number))
        assert state.added <= budget
        assert state.added == sum(len(seeds) - 3 for seeds in state.seeds.values())
        if budget == 0:
            assert state.reason == "budget"


def run(drawn: Outcomes, design, race: Race, most: int) -> Outcomes:
    cells: dict[Combination, dict[int, Outcome]] = {}
    while True:
        known = Outcomes(drawn.deviations, cells)
        wanted = in_rounds(race.next_replicates(design, known))[:most]
        if not wanted:
            return known
        for cell, seed in wanted:
            cells.setdefault(cell.combination, {})[seed] = drawn.by_cell[cell.combination][seed]


@pytest.mark.parametrize("budget", [None, 10])
@pytest.mark.parametrize("kind", ["both_ends", "shapley", "path"])
def test_a_race_interrupted_between_any_two_trials_ends_alike(kind: str, budget) -> None:
    race = Race((3, 5, 8), max_trials=budget)
    design = {
        "both_ends": both_ends(),
        "shapley": Shapley(SURFACE.deviations, seeds=(1, 2, 3)),
        "path": AblationPath(SURFACE.deviations, seeds=(2, 3, 4), order_seeds=(1,), margin=0.5),
    }[kind]
    drawn = SURFACE.draw(np.random.default_rng(5), range(1, 10))
    at_once, one_by_one = run(drawn, design, race, 10**6), run(drawn, design, race, 1)
    assert at_once == one_by_one
    # What others have run beyond it makes no difference.
    ours, theirs = attribute(design, at_once, race=race), attribute(design, drawn, race=race)
    assert ours.race == theirs.race
    assert_frame_equal(
        effects_frame(ours.rows, ATTRIBUTION_COLUMNS),
        effects_frame(theirs.rows, ATTRIBUTION_COLUMNS),
        check_exact=True,
    )


def test_a_design_comes_first_and_then_its_race() -> None:
    nothing = Outcomes(SURFACE.deviations)
    wanted = RACE.next_replicates(both_ends(), nothing)
    assert wanted == both_ends().next_cells(nothing)
    assert attribute(both_ends(), nothing, race=RACE).wanted == wanted


def test_a_race_is_strict_at_first_and_takes_its_verdicts_at_the_look_it_ended_with() -> None:
    first, second, last = RACE.levels
    assert 0.0005 < first < 0.002 < second < 0.02 < last < 0.05
    assert RACE.level == last
    clear = ResponseSurface((-9.0, -8.0), sd=lambda _: 0.2)
    design = BothEnds(clear.deviations, seeds=(1, 2, 3))
    drawn = clear.draw(np.random.default_rng(0), SEEDS)
    ended = attribute(design, drawn, race=RACE)
    assert ended.race is not None
    assert (ended.race.looks, ended.race.level) == (1, first)
    assert [row.delta for row in ended.rows] == [row.delta for row in attribute(design, drawn).rows]


def test_an_effect_that_is_significant_but_not_by_the_level_of_its_look_is_not_decided() -> None:
    # With three replicates of spread 1, a difference of 3 is significant at 0.05 and not at 0.001.
    cells = {
        cell: {seed: Outcome(mean + step) for seed, step in zip(SEEDS, STEPS, strict=True)}
        for cell, mean in {(0,): 30.0, (1,): 27.0}.items()
    }
    (deviation,) = ResponseSurface((-3.0,)).deviations
    found = Outcomes((deviation,), cells)
    design = BothEnds([deviation], seeds=(1, 2, 3))
    plain = attribute(design, found).rows[0]
    assert RACE.levels[0] < plain.p_value < 0.05
    state = RACE.state(design, found)
    assert (state.looks, state.reason) == (2, "decided")
    assert attribute(design, found, race=RACE).rows[0].verdict == "loss"


def test_a_race_and_its_design_begin_with_the_same_replicates() -> None:
    with pytest.raises(ValueError, match="the race begins with 2 replicates, the design has 3"):
        Race((2, 4)).state(both_ends(), draw(1))
    with pytest.raises(ValueError, match="at least two replicates"):
        Race((1, 3))
