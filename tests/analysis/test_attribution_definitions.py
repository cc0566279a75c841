"""Effects are what their names say: against brute force, published tables and surfaces."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from response_surface import NAMES, ResponseSurface

from odapi_repro.analysis.attribution import (
    GENERATORS,
    EffectDefinition,
    Fraction,
    StudiedDeviation,
    both_ends_effects,
    corners,
    factorial_effects,
    fraction_of,
    fractional_effects,
    gap_effect,
    level_effects,
    path_effects,
    sampled_orders,
    sampled_shapley_effects,
    shapley_effects,
    visited,
)

SURFACE = ResponseSurface(
    (-6.0, -3.0, -1.5, 0.5), {(0, 1): -2.0, (1, 2): 1.0, (0, 1, 2): 0.7, (0, 1, 2, 3): -0.3}
)
DEVIATIONS = SURFACE.deviations


def deviations(count: int) -> list[StudiedDeviation]:
    names = [*NAMES, "a", "b", "c"]
    return [StudiedDeviation.of(name, "reference", "user") for name in names[:count]]


def value(definition: EffectDefinition, surface: ResponseSurface = SURFACE) -> float:
    return surface.truth(definition.weights)


def named(definitions: tuple[EffectDefinition, ...]) -> dict[tuple[str, str], float]:
    return {(one.kind, one.name): value(one) for one in definitions}


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_shapley_values_are_the_mean_over_all_orders_and_sum_to_the_gap(count: int) -> None:
    rng = np.random.default_rng(count)
    game = dict(zip(corners(count), rng.normal(20, 8, 2**count), strict=True))
    values = {}
    for index in range(count):
        gains = []
        for order in itertools.permutations(range(count)):
            before = set(order[: order.index(index)])
            cell = tuple(int(i in before) for i in range(count))
            with_it = tuple(int(i in before or i == index) for i in range(count))
            gains.append(game[with_it] - game[cell])
        values[index] = np.mean(gains)
    for index, one in enumerate(shapley_effects(deviations(count), interactions=False)):
        ours = sum(weight * game[cell] for cell, weight in one.weights.items())
        assert ours == pytest.approx(values[index])
    assert sum(values.values()) == pytest.approx(game[(1,) * count] - game[(0,) * count])


def test_shapley_interactions_are_grabisch_and_roubens_index() -> None:
    # By hand, for three players: the mean of the differences of differences without and with the
    # third; that of all three together counts half in each.
    surface = ResponseSurface(SURFACE.main[:3], {(0, 1): -2.0, (1, 2): 1.0, (0, 1, 2): 0.7})
    found = {
        one.name: surface.truth(one.weights)
        for one in shapley_effects(surface.deviations)
        if one.kind == "shapley_interaction"
    }
    assert found == pytest.approx(
        {"batch x lr": -2 + 0.35, "lr x warmup": 1 + 0.35, "batch x warmup": 0.35}
    )


def test_a_shapley_value_shares_interactions_equally() -> None:
    found = named(shapley_effects(DEVIATIONS))
    assert found["shapley_value", "batch"] == pytest.approx(-6 - 1 + 0.7 / 3 - 0.3 / 4)
    assert found["shapley_value", "shards"] == pytest.approx(0.5 - 0.3 / 4)


def test_all_orders_sampled_are_the_exact_values() -> None:
    orders = sampled_orders(4, math.factorial(4) // 2, seed=3)
    exact = shapley_effects(DEVIATIONS, interactions=False)
    for ours, theirs in zip(sampled_shapley_effects(DEVIATIONS, orders), exact, strict=True):
        assert value(ours) == pytest.approx(value(theirs))


def test_orders_are_different_come_with_their_reverse_and_begin_with_the_fewer() -> None:
    few, many = sampled_orders(6, 5, seed=1), sampled_orders(6, 9, seed=1)
    assert many[:5] == few
    assert len({order for pair in many for order in pair}) == 18
    assert all(second == tuple(reversed(first)) for first, second in many)
    assert sampled_orders(6, 5, seed=2) != few
    with pytest.raises(ValueError, match="of 3 deviations there are 3"):
        sampled_orders(3, 4)


def test_sampled_values_sum_to_the_gap_whatever_the_orders() -> None:
    drawn = sampled_shapley_effects(DEVIATIONS, sampled_orders(4, 3, seed=8))
    assert sum(value(one) for one in drawn) == pytest.approx(value(gap_effect(DEVIATIONS)))


def test_an_order_passes_a_cell_for_each_deviation() -> None:
    assert visited((2, 0, 1)) == [(0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1)]


def test_a_main_effect_is_the_mean_difference_and_an_interaction_a_difference_of_differences() -> (
    None
):
    found = named(factorial_effects(DEVIATIONS))
    mean = {cell: SURFACE.mean(cell) for cell in corners(4)}
    high = np.mean([ap for cell, ap in mean.items() if cell[0]])
    low = np.mean([ap for cell, ap in mean.items() if not cell[0]])
    assert found["main_effect", "batch"] == pytest.approx(high - low)
    doubled = np.mean(
        [
            mean[1, 1, *rest] - mean[1, 0, *rest] - mean[0, 1, *rest] + mean[0, 0, *rest]
            for rest in itertools.product((0, 1), repeat=2)
        ]
    )
    assert found["interaction", "batch x lr"] == pytest.approx(doubled)
    assert len(found) == 4 + 6


def test_both_ends_disagree_by_what_a_deviation_has_with_the_others() -> None:
    found = named(both_ends_effects(DEVIATIONS))
    assert found["from_reference", "lr"] == pytest.approx(-3)
    assert found["from_user", "lr"] == pytest.approx(-3 - 2 + 1 + 0.7 - 0.3)
    assert found["disagreement", "lr"] == pytest.approx(-0.6)
    assert found["both_ends", "lr"] == pytest.approx(-3.3)


def test_a_single_deviation_is_the_gap_at_both_ends() -> None:
    (one,) = deviations(1)
    kinds = {row.kind: row.weights for row in both_ends_effects([one])}
    assert "disagreement" not in kinds
    assert kinds["from_reference"] == kinds["from_user"] == gap_effect([one]).weights


@pytest.mark.parametrize("start", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_the_shares_of_a_path_sum_to_the_gap_from_either_end(start) -> None:
    shares = path_effects(DEVIATIONS, [(2,), (0,), (1, 3)], start=start)
    assert [one.name for one in shares] == ["warmup", "batch", "lr + shards"]
    assert sum(map(value, shares)) == pytest.approx(value(gap_effect(DEVIATIONS)))
    first = -1.5 if start[0] == 0 else SURFACE.mean(start) - SURFACE.mean((1, 1, 0, 1))
    assert value(shares[0]) == pytest.approx(first)


def test_a_grid_compares_every_level_with_the_reference() -> None:
    three = StudiedDeviation.of("batch", "128", "2", "32")
    two = StudiedDeviation.of("lr", "0.08", "0.01")
    cells = list(itertools.product(range(3), range(2)))
    mean = {cell: 10.0 * cell[0] + cell[1] + cell[0] * cell[1] for cell in cells}
    found = {
        (one.name, one.to_level): sum(w * mean[c] for c, w in one.weights.items())
        for one in level_effects([three, two], cells)
    }
    assert found == pytest.approx({("batch", "2"): 10.5, ("batch", "32"): 21, ("lr", "0.01"): 2})


@pytest.mark.parametrize(("count", "dropped"), sorted(GENERATORS))
def test_a_fraction_estimates_an_effect_and_its_aliases_and_nothing_else(
    count: int, dropped: int
) -> None:
    fraction = Fraction(count, GENERATORS[count, dropped])
    assert len(set(fraction.cells)) == 2 ** (count - dropped)
    assert fraction.cells[0] == (0,) * count
    # Any surface: a random effect for every set of deviations, in differences of the k-th order.
    rng = np.random.default_rng(count)
    sets = [
        chosen for size in range(count + 1) for chosen in itertools.combinations(range(count), size)
    ]
    effects = dict(zip(sets, rng.normal(0, 1, len(sets)), strict=True))

    def mean(cell) -> float:
        signs = [1 if level else -1 for level in cell]
        return sum(
            effect / 2 ** len(chosen) * math.prod(signs[i] for i in chosen)
            for chosen, effect in effects.items()
        )

    means = {cell: mean(cell) for cell in fraction.cells}
    names = {one.name: index for index, one in enumerate(deviations(count))}
    for one in fractional_effects(deviations(count), fraction, most=count):
        estimate = sum(weight * means[cell] for cell, weight in one.weights.items())
        own = effects[tuple(sorted(names[name] for name in one.deviations))]
        others = sum(
            alias.coefficient * effects[tuple(sorted(names[name] for name in alias.deviations))]
            for alias in one.aliases
        )
        assert estimate == pytest.approx(own + others)


def test_resolutions_and_word_lengths_are_those_of_the_published_tables() -> None:
    # Box, Hunter and Hunter, table 6.22; word lengths from Chen, Sun and Wu 1993.
    resolutions = {
        **{(3, 1): 3, (4, 1): 4, (5, 1): 5, (5, 2): 3, (6, 1): 6, (6, 2): 4, (6, 3): 3},
        **{(7, 2): 4, (7, 3): 4, (7, 4): 3, (8, 3): 4, (8, 4): 4, (9, 4): 4, (9, 5): 3},
        **{(10, 5): 4, (10, 6): 3, (11, 6): 4, (11, 7): 3},
    }
    words = {(7, 2): {4: 1, 5: 2}, (8, 3): {4: 3, 5: 4}, (8, 4): {4: 14, 8: 1}}
    for (count, dropped), generators in GENERATORS.items():
        fraction = Fraction(count, generators)
        assert fraction.resolution == resolutions[count, dropped]
        if (count, dropped) in words:
            lengths = [len(word) for word, _ in fraction.words]
            assert {n: lengths.count(n) for n in set(lengths)} == words[count, dropped]


@pytest.mark.parametrize(
    ("count", "dropped"), [key for key in sorted(GENERATORS) if key[0] - key[1] < 5]
)
def test_no_fraction_of_the_size_has_less_aberration(count: int, dropped: int) -> None:
    base = count - dropped
    columns = [
        chosen
        for size in range(2, base + 1)
        for chosen in itertools.combinations(range(base), size)
    ]

    def aberration(generators) -> list[int]:
        lengths = [len(word) for word, _ in Fraction(count, generators).words]
        return [lengths.count(length) for length in range(1, count + 1)]

    best = min(map(aberration, itertools.combinations(columns, dropped)))
    assert aberration(GENERATORS[count, dropped]) <= best


def test_the_smallest_fraction_of_a_resolution_is_chosen() -> None:
    sizes = {
        (count, resolution): len(found.cells) if found else None
        for count in (4, 5, 7)
        for resolution in (3, 4, 5)
        for found in [fraction_of(count, resolution=resolution)]
    }
    assert sizes == {
        **{(4, 3): 8, (4, 4): 8, (4, 5): None},
        **{(5, 3): 8, (5, 4): 16, (5, 5): 16},
        **{(7, 3): 8, (7, 4): 16, (7, 5): None},
    }


def test_resolution_3_has_no_rows_for_interactions_it_cannot_tell_from_main_effects() -> None:
    fraction = fraction_of(5, resolution=3)
    assert fraction is not None
    rows = fractional_effects(deviations(5), fraction)
    assert {row.kind for row in rows} == {"main_effect"}
    assert {alias.deviations for alias in rows[0].aliases} == {
        ("lr", "shards"),
        ("warmup", "augment"),
    }


def test_resolution_4_names_interactions_that_cannot_be_told_apart_together() -> None:
    fraction = fraction_of(4)
    assert fraction is not None
    rows = fractional_effects(deviations(4), fraction)
    pairs = {row.name: [" x ".join(a.deviations) for a in row.aliases] for row in rows[4:]}
    assert pairs == {
        "batch x lr": ["warmup x shards"],
        "batch x warmup": ["lr x shards"],
        "batch x shards": ["lr x warmup"],
    }
    assert all(not row.aliases for row in rows[:4])
