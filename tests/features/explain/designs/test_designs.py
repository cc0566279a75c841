"""Every design asks for the cells its name says, goes on where it stopped, and knows its price."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from response_surface import NAMES, ResponseSurface

from odapi_repro.analysis.attribution import (
    ATTRIBUTION_COLUMNS,
    Combination,
    Outcome,
    Outcomes,
    StudiedDeviation,
    corners,
)
from odapi_repro.analysis.effect import effects_frame
from odapi_repro.errors import UserError
from odapi_repro.features.explain.designs import (
    AblationPath,
    Bisection,
    BothEnds,
    Design,
    FractionalFactorial,
    FullFactorial,
    Grid,
    SampledShapley,
    Shapley,
    attribute,
    check_budget,
    in_rounds,
)

SURFACE = ResponseSurface((-6.0, -3.0, -1.5, 0.2), {(0, 1): -2.0, (1, 2): 1.0})
NOTHING = Outcomes(SURFACE.deviations)

Maker = Callable[[Sequence[StudiedDeviation]], Design]
ALL: dict[str, Maker] = {
    "both_ends": lambda d: BothEnds(d, seeds=(1, 2, 3)),
    "factorial": lambda d: FullFactorial(d, seeds=(1, 2, 3)),
    "fractional": lambda d: FractionalFactorial(d, seeds=(1, 2, 3)),
    "shapley": lambda d: Shapley(d, seeds=(1, 2, 3)),
    "sampled_shapley": lambda d: SampledShapley(d, seeds=(1, 2, 3), orders=3, order_seed=5),
    "grid": lambda d: Grid(d, seeds=(1, 2, 3)),
    "path": lambda d: AblationPath(d, seeds=(2, 3, 4), order_seeds=(1,), margin=0.5),
    "bisection": lambda d: Bisection(d, seeds=(2, 3, 4), order_seeds=(1,), margin=2.0),
}


def deviations(count: int) -> list[StudiedDeviation]:
    return [StudiedDeviation.of(name, "reference", "user") for name in NAMES[:count]]


Trials = dict[tuple[Combination, int], Outcome]


def known(drawn: Outcomes, trials: Trials) -> Outcomes:
    """What is known once these trials have finished."""
    cells: dict[Combination, dict[int, Outcome]] = {}
    for (cell, seed), outcome in trials.items():
        cells.setdefault(cell, {})[seed] = outcome
    return Outcomes(drawn.deviations, cells)


def run(drawn: Outcomes, design: Design, *, most: int = 10**6) -> Trials:
    """The trials that a design asks for, given up to `most` at a time, interrupted in between."""
    trials: Trials = {}
    while wanted := in_rounds(design.next_cells(known(drawn, trials)))[:most]:
        for cell, seed in wanted:
            trials[cell.combination, seed] = drawn.by_cell[cell.combination][seed]
    return trials


def cells_of(design: Design, drawn: Outcomes) -> set[Combination]:
    return {cell for cell, _ in run(drawn, design)}


@pytest.mark.parametrize(
    ("name", "count", "cells"),
    [
        ("both_ends", 1, 2),
        ("both_ends", 2, 4),
        ("both_ends", 4, 10),
        ("both_ends", 8, 18),
        ("factorial", 4, 16),
        ("shapley", 5, 32),
        ("grid", 4, 16),
        ("fractional", 4, 8),
        ("fractional", 7, 16),
        # Generators of odd words leave out the user's end, which the gap needs.
        ("fractional", 8, 17 - 1),
    ],
)
def test_a_design_has_the_cells_of_its_name(name: str, count: int, cells: int) -> None:
    design = ALL[name](deviations(count))
    wanted = design.next_cells(Outcomes(tuple(deviations(count))))
    assert len({cell.combination for cell in wanted}) == len(wanted) == cells
    assert {cell.seeds for cell in wanted} == {(1, 2, 3)}
    assert {design.reference, design.user} <= {cell.combination for cell in wanted}


def test_a_cell_is_told_by_the_labels_of_its_factors() -> None:
    group = StudiedDeviation(
        "run", ({"steps": "300k", "warmup": "2500"}, {"steps": "20k", "warmup": "0"})
    )
    design = BothEnds([StudiedDeviation.of("batch", "128", "2"), group], seeds=(1,))
    labels = [dict(cell.labels) for cell in design.next_cells(Outcomes(design.deviations))]
    assert labels[0] == {"batch": "128", "steps": "300k", "warmup": "2500"}
    assert {"batch": "128", "steps": "20k", "warmup": "0"} in labels
    assert {"batch": "128", "steps": "20k", "warmup": "2500"} not in labels


def test_trials_come_in_rounds_each_a_study_of_its_own() -> None:
    trials = in_rounds(ALL["both_ends"](deviations(3)).next_cells(NOTHING))
    assert [seed for _, seed in trials] == [1] * 8 + [2] * 8 + [3] * 8


def test_a_trial_that_any_study_has_run_is_not_asked_for_again() -> None:
    drawn = SURFACE.draw(np.random.default_rng(1), (1, 2, 3, 4))
    ran = known(drawn, run(drawn, ALL["factorial"](SURFACE.deviations)))
    for name in ("both_ends", "fractional", "shapley", "sampled_shapley", "grid"):
        assert not ALL[name](SURFACE.deviations).next_cells(ran), name
    # The path decides by seed 1, which is there, and lacks only the fourth of its own cells.
    assert {cell.seeds for cell in ALL["path"](SURFACE.deviations).next_cells(ran)} == {(4,)}


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_study_interrupted_between_any_two_trials_gives_the_same_attribution(name: str) -> None:
    drawn = SURFACE.draw(np.random.default_rng(7), range(1, 5))
    design = ALL[name](SURFACE.deviations)
    at_once, one_by_one = run(drawn, design), run(drawn, design, most=1)
    assert one_by_one == at_once
    undisturbed = attribute(design, drawn)
    assert not undisturbed.wanted
    # Neither the trials of others nor the order in which they came make a difference.
    continued = attribute(design, known(drawn, one_by_one))
    assert not continued.wanted
    assert_frame_equal(
        effects_frame(continued.rows, ATTRIBUTION_COLUMNS),
        effects_frame(undisturbed.rows, ATTRIBUTION_COLUMNS),
        check_exact=True,
    )


@pytest.mark.parametrize("name", sorted(ALL))
def test_trials_that_finish_in_any_order_lead_to_the_same_cells(name: str) -> None:
    drawn = SURFACE.draw(np.random.default_rng(3), range(1, 5))
    design = ALL[name](SURFACE.deviations)
    shuffled = random.Random(4)
    trials: dict[tuple[Combination, int], Outcome] = {}
    while wanted := in_rounds(design.next_cells(known(drawn, trials))):
        chosen, seed = shuffled.choice(wanted)
        trials[chosen.combination, seed] = drawn.by_cell[chosen.combination][seed]
    assert trials == run(drawn, design)


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_price_holds_on_every_surface(name: str) -> None:
    rng = np.random.default_rng(11)
    fewest = {"fractional": 4, "sampled_shapley": 2}.get(name, 1)
    for count in range(fewest, 6):
        for _ in range(5):
            surface = ResponseSurface(tuple(rng.normal(-2, 3, count)))
            design = ALL[name](surface.deviations)
            price = design.price()
            trials = run(surface.draw(rng, range(1, 5)), design)
            cells = {cell for cell, _ in trials}
            assert price.cells_min <= len(cells) <= price.cells_max
            assert price.trials_min <= len(trials) <= price.trials_max


def test_the_price_of_a_path_is_reached_at_both_of_its_ends() -> None:
    # All alike and far beyond the margin: every round tries whatever is left.
    slow = ResponseSurface((-5.0, -5.1, -5.2, -5.3), sd=lambda _: 1e-6)
    one_way = AblationPath(
        slow.deviations, seeds=(2, 3), order_seeds=(1,), margin=0.5, directions=("from_user",)
    )
    trials = run(slow.draw(np.random.default_rng(0), (1, 2, 3)), one_way)
    price = one_way.price()
    assert len({cell for cell, _ in trials}) == price.cells_max == 4 + 3 + 2 + 2
    assert len(trials) == price.trials_max == price.cells_max + 2 * 5
    quick = ResponseSurface((-0.1, 0.1, 0.0, 0.0), sd=lambda _: 1e-6)
    trials = run(quick.draw(np.random.default_rng(0), (1, 2, 3)), one_way)
    assert (len({cell for cell, _ in trials}), len(trials)) == (price.cells_min, price.trials_min)


def test_a_price_reads_as_its_least_and_its_most() -> None:
    assert str(ALL["factorial"](deviations(3)).price()) == "24 trials of 8 cells"
    assert str(ALL["bisection"](deviations(3)).price()) == "8 to 15 trials of 2 to 6 cells"


@pytest.mark.parametrize("name", sorted(set(ALL) - {"grid"}))
def test_effects_begin_with_the_gap_and_some_answer_the_question(name: str) -> None:
    design = ALL[name](SURFACE.deviations)
    drawn = SURFACE.draw(np.random.default_rng(2), range(1, 5))
    effects = design.effects(drawn)
    assert effects[0].kind == "gap"
    primary = [one for one in effects if one.primary]
    assert primary
    if name in ("shapley", "sampled_shapley", "bisection"):
        rows = attribute(design, drawn).rows
        shares = [row.delta for row, one in zip(rows, effects, strict=True) if one.primary]
        assert sum(shares) == pytest.approx(rows[0].delta)


def test_both_paths_share_out_the_gap() -> None:
    drawn = SURFACE.draw(np.random.default_rng(2), range(1, 5))
    rows = attribute(ALL["path"](SURFACE.deviations), drawn).rows
    for family in ("path from_user", "path from_reference"):
        shares = [row.delta for row in rows if row.family == family]
        assert sum(shares) == pytest.approx(rows[0].delta)


def test_a_path_moves_the_largest_first_and_the_rest_together_once_the_gap_is_closed() -> None:
    surface = ResponseSurface((-1.0, -8.0, 0.0, -4.0), sd=lambda _: 1e-6)
    drawn = surface.draw(np.random.default_rng(0), (1, 2))
    path = AblationPath(surface.deviations, seeds=(2,), order_seeds=(1,), margin=1.5)
    for direction in path.directions:
        assert path.state(drawn, direction).steps == ((1,), (3,), (0, 2))
    rows = attribute(path, drawn).rows
    assert [row.factor for row in rows[1:4]] == ["lr", "shards", "batch + warmup"]


def test_the_order_of_a_path_and_its_shares_come_from_different_replicates() -> None:
    # By seed 1 the first deviation costs most, by all others it costs nothing.
    cells = {
        cell: {seed: Outcome(40.0 - 10 * cell[seed != 1] + 0.01 * seed) for seed in (1, 2, 3)}
        for cell in corners(2)
    }
    found = Outcomes(tuple(deviations(2)), cells)
    path = AblationPath(deviations(2), seeds=(2, 3), order_seeds=(1,), margin=0.5)
    first = attribute(path, found).rows[1]
    assert (first.factor, first.replicates) == ("batch", 2)
    assert first.delta == pytest.approx(0)


@pytest.mark.parametrize("culprit", range(8))
def test_a_planted_culprit_among_eight_is_named_by_bisection_in_8_cells(culprit: int) -> None:
    main = tuple(-12.0 if index == culprit else -0.1 * (index % 3) for index in range(8))
    surface = ResponseSurface(main, sd=lambda _: 0.8)
    for number in range(6):
        drawn = surface.draw(np.random.default_rng(number), range(1, 6))
        design = Bisection(surface.deviations, seeds=(3, 4, 5), order_seeds=(1, 2), margin=4.0)
        assert len(cells_of(design, drawn)) <= 8
        state = design.state(drawn)
        assert (state.culprits, state.restored) == ((culprit,), True)
        rows = attribute(design, drawn).rows
        assert (rows[1].factor, rows[1].verdict) == (NAMES[culprit], "loss")
        assert rows[1].delta + rows[2].delta == pytest.approx(rows[0].delta)


@pytest.mark.parametrize("culprit", range(8))
def test_a_planted_culprit_among_eight_is_named_by_the_path_in_20_cells(culprit: int) -> None:
    main = tuple(-12.0 if index == culprit else -0.1 * (index % 3) for index in range(8))
    surface = ResponseSurface(main, sd=lambda _: 0.8)
    for number in range(4):
        drawn = surface.draw(np.random.default_rng(number), range(1, 6))
        design = AblationPath(surface.deviations, seeds=(3, 4, 5), order_seeds=(1, 2), margin=4.0)
        assert len(cells_of(design, drawn)) <= 20
        for direction in design.directions:
            assert design.state(drawn, direction).steps[0] == (culprit,)
        named = {row.factor for row in attribute(design, drawn).rows if row.verdict == "loss"}
        assert NAMES[culprit] in named


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_bisection_finds_any_set_of_culprits_in_at_most_2k_cells(count: int) -> None:
    for size in range(count + 1):
        for culprits in itertools.combinations(range(count), size):
            # All of them have to be mended: each alone holds AP down.
            cells = {
                cell: {1: Outcome(10.0 if any(cell[i] for i in culprits) else 40.0)}
                for cell in corners(count)
            }
            drawn = Outcomes(
                tuple(deviations(count)), {c: {**s, 2: s[1]} for c, s in cells.items()}
            )
            design = Bisection(deviations(count), seeds=(2,), order_seeds=(1,), margin=1.0)
            state = design.state(drawn)
            assert state.culprits is not None
            assert (tuple(sorted(state.culprits)), state.restored) == (culprits, True)
            assert len(cells_of(design, drawn)) <= 2 * count


def test_bisection_says_when_what_it_found_does_not_restore() -> None:
    # Mending both makes things worse again: no set is minimal in the usual sense.
    ap = {(0, 0, 0): 40.0, (1, 1, 1): 10.0, (0, 1, 1): 10.0, (0, 0, 1): 39.5, (1, 0, 1): 10.0}
    cells = {cell: {1: Outcome(ap.get(cell, 10.0)), 2: Outcome(10.0)} for cell in corners(3)}
    design = Bisection(deviations(3), seeds=(2,), order_seeds=(1,), margin=1.0)
    state = design.state(Outcomes(tuple(deviations(3)), cells))
    assert state.culprits is not None
    mended = tuple(0 if i in state.culprits else 1 for i in range(3))
    assert state.restored == (ap.get(mended, 10.0) >= 39.0)


def test_a_gap_within_the_margin_ends_the_search_at_the_two_ends() -> None:
    surface = ResponseSurface((-0.3, 0.2, 0.0), sd=lambda _: 1e-6)
    drawn = surface.draw(np.random.default_rng(0), (1, 2, 3))
    for kind in (AblationPath, Bisection):
        design = kind(surface.deviations, seeds=(2, 3), order_seeds=(1,), margin=0.5)
        assert cells_of(design, drawn) == {(0, 0, 0), (1, 1, 1)}


def test_cells_that_come_to_the_same_training_are_asked_for_once() -> None:
    # The third deviation is inert.
    same = {(*cell, 1): (*cell, 0) for cell in corners(2)}
    found = Outcomes(tuple(deviations(3)), same=same)
    wanted = ALL["factorial"](deviations(3)).next_cells(found)
    assert {cell.combination for cell in wanted} == {(*cell, 0) for cell in corners(2)}


def test_a_diverged_training_decides_like_an_ap_of_0() -> None:
    surface = ResponseSurface((-1.0, -2.0, -1.0), sd=lambda _: 0.1, diverges=lambda c: c[2] * 1.0)
    drawn = surface.draw(np.random.default_rng(0), (1, 2, 3))
    design = Bisection(surface.deviations, seeds=(2, 3), order_seeds=(1,), margin=5.0)
    assert design.state(drawn).culprits == (2,)


def test_replicates_that_only_decide_show_where_trainings_diverge() -> None:
    # The user's config diverged once, in a replicate of the search; those that count converged.
    ap = {(0, 0): 40.0, (0, 1): 39.9, (1, 0): 20.0, (1, 1): 20.0}
    cells = {
        cell: {seed: Outcome(mean + 0.1 * seed) for seed in (1, 2, 3, 4)}
        for cell, mean in ap.items()
    }
    design = Bisection(deviations(2), seeds=(2, 3, 4), order_seeds=(1,), margin=5.0)
    calm = attribute(design, Outcomes(tuple(deviations(2)), cells))
    cells[1, 1][1] = Outcome(0.0, diverged=True)
    risky = attribute(design, Outcomes(tuple(deviations(2)), cells))
    assert (calm.rows[0].method, risky.rows[0].method) == ("pooled", "divergence")
    assert risky.rows[0].delta == calm.rows[0].delta
    assert risky.rows[0].se > 5 * calm.rows[0].se


def test_a_budget_too_small_is_refused_with_what_the_design_needs() -> None:
    design = ALL["factorial"](deviations(4))
    check_budget(design, trials=48)
    with pytest.raises(
        UserError, match="a budget of 47 trials is too small for factorial"
    ) as caught:
        check_budget(design, trials=47)
    assert caught.value.expected == "48 trials of 16 cells"


def test_designs_that_do_not_fit_the_deviations_say_what_would() -> None:
    with pytest.raises(
        UserError, match="exact Shapley values of 6 deviations take 64 cells"
    ) as caught:
        Shapley(deviations(6), seeds=(1,))
    assert "sampled_shapley" in caught.value.mend
    with pytest.raises(UserError, match="no fraction of 4 deviations has resolution 5") as caught:
        FractionalFactorial(deviations(4), seeds=(1,), resolution=5)
    assert "4 deviations in 8 cells (IV)" in caught.value.expected


def test_a_fraction_of_as_many_deviations_as_there_is_none_of_says_of_how_many() -> None:
    for count in (2, 12):
        many = [StudiedDeviation.of(f"f{i}", "a", "b") for i in range(count)]
        with pytest.raises(UserError) as caught:
            FractionalFactorial(many, seeds=(1,))
        assert caught.value.expected == "3 to 11 deviations"


def test_random_orders_need_two_deviations_and_are_no_more_than_there_are() -> None:
    with pytest.raises(UserError, match="sampled_shapley of one deviation"):
        SampledShapley(deviations(1), seeds=(1, 2))
    surface = ResponseSurface((-6.0, -3.0, -1.5), {(0, 1): -2.0})
    drawn = surface.draw(np.random.default_rng(0), (1, 2, 3))
    sampled = SampledShapley(surface.deviations, seeds=(1, 2, 3), orders=8)
    assert len(sampled.orders) == 3
    assert "all 6 orders" in sampled.describe()
    # All of them are sampled: nothing is left of the error of sampling.
    exact = {
        row.factor: row
        for row in attribute(Shapley(surface.deviations, seeds=(1, 2, 3)), drawn).rows
    }
    for row in attribute(sampled, drawn).rows[1:]:
        assert row.se_sampling == 0
        assert (row.delta, row.se) == pytest.approx((exact[row.factor].delta, exact[row.factor].se))


def test_replicates_and_deviations_have_to_be_there_and_different() -> None:
    with pytest.raises(ValueError, match="no deviations"):
        BothEnds([], seeds=(1,))
    with pytest.raises(ValueError, match="the same deviation twice"):
        BothEnds([*deviations(2), *deviations(1)], seeds=(1,))
    for wrong in ((), (1, 1)):
        with pytest.raises(ValueError, match="seeds must be different and at least one"):
            FullFactorial(deviations(2), seeds=wrong)


def test_deciding_and_estimating_replicates_may_not_be_the_same() -> None:
    for kind in (AblationPath, Bisection):
        with pytest.raises(ValueError, match="replicates of its own"):
            kind(deviations(2), seeds=(1, 2), order_seeds=(1,), margin=1.0)


def test_a_fraction_prints_its_resolution_and_aliases() -> None:
    text = FractionalFactorial(deviations(4), seeds=(1,)).describe()
    assert text.startswith("2^(4-1), resolution IV: main effects are clear")
    assert text.endswith("defining relation I = batch x lr x warmup x shards")
    third = FractionalFactorial(deviations(3), seeds=(1,), resolution=3).describe()
    assert "resolution III: main effects cannot be told from interactions of two" in third
    assert third.endswith("I = -batch x lr x warmup")


def test_every_design_describes_itself_and_what_it_could_see() -> None:
    for name, make in ALL.items():
        design = make(deviations(4))
        assert design.name == name
        assert len(design.describe()) > 40
        assert 0 < design.smallest_effect(1.0) < design.smallest_effect(1.0, comparisons=4)
    # The more cells share the noise, the less of it is in an effect.
    assert ALL["factorial"](deviations(4)).smallest_effect(1.0) < 1.1
    assert ALL["path"](deviations(4)).smallest_effect(1.0) > 3


def test_a_grid_takes_all_levels_and_not_only_two() -> None:
    three = StudiedDeviation.of("batch", "128", "2", "32")
    design = Grid([three, *deviations(3)[1:2]], seeds=(1, 2))
    assert len(design.cells()) == 6
    cells = {
        cell: {seed: Outcome(40.0 - 5 * cell[0] + 0.1 * seed) for seed in (1, 2)}
        for cell in design.cells()
    }
    rows = attribute(design, Outcomes(design.deviations, cells)).rows
    found = {(row.factor, row.to_level): row.delta for row in rows[1:]}
    assert found == pytest.approx({("batch", "2"): -5, ("batch", "32"): -10, ("lr", "user"): 0})
