"""Subsets that keep the shares of classes and sizes."""

from __future__ import annotations

import numpy as np
import pytest

from odapi_repro.datasets.conversion.shard_plan import choose_images, fit_of


def example(images: int = 400) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    owners = np.sort(rng.integers(0, images, 7 * images))
    frequency = 1 / np.arange(1, 31)
    classes = rng.choice(30, len(owners), p=frequency / frequency.sum())
    sizes = rng.integers(0, 3, len(owners)).astype(np.int8)
    return [str(one) for one in range(images)], owners, classes, sizes


def choose(count: int, seed: int) -> np.ndarray:
    ids, owners, classes, sizes = example()
    return choose_images(ids, owners, np.stack([classes, 30 + sizes], axis=1), count, seed)


@pytest.mark.parametrize("count", [1, 40, 399, 400])
def test_as_many_images_are_chosen_as_asked_for(count: int) -> None:
    assert choose(count, 0).sum() == count


def test_the_seed_alone_decides() -> None:
    assert np.array_equal(choose(40, 5), choose(40, 5))
    assert not np.array_equal(choose(40, 5), choose(40, 6))


def test_shares_are_nearer_to_the_whole_than_those_of_random_choices() -> None:
    _, owners, classes, sizes = example()
    ours = [fit_of(choose(40, seed), owners, classes, sizes) for seed in range(3)]
    rng = np.random.default_rng(0)
    random = []
    for _ in range(50):
        chosen = np.zeros(400, np.bool_)
        chosen[rng.choice(400, 40, replace=False)] = True
        random.append(fit_of(chosen, owners, classes, sizes))
    assert max(one.class_share for one in ours) < 0.25 * min(one.class_share for one in random)
    assert max(one.size_share for one in ours) < 0.01
    assert all(abs(one.boxes_per_image - 1) < 0.02 for one in ours)


def test_images_without_objects_keep_their_share() -> None:
    owners = np.repeat(np.arange(0, 400, 2), 3)  # every other image has none
    labels = np.zeros((len(owners), 1), np.int64)
    chosen = choose_images([str(one) for one in range(400)], owners, labels, 100, 0)
    assert chosen[::2].sum() == 50


def test_the_fit_says_how_far_off_and_where() -> None:
    owners = np.array([0, 0, 1, 1])
    classes, sizes = np.array([5, 5, 5, 9]), np.array([0, 0, 0, 2], np.int8)
    fit = fit_of(np.array([True, False]), owners, classes, sizes)
    assert (fit.class_share, fit.worst_class) == (0.25, 5)
    assert (fit.size_share, fit.worst_size) == (0.25, 0)
    assert fit.boxes_per_image == 1
