"""What becomes of detections in a cell of a sweep, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from odapi_repro.evaluation.coco_data import Detections
from odapi_repro.evaluation.post_processing import (
    box_voting,
    consensus,
    nms,
    union,
    weighted_boxes,
)
from odapi_repro.factors.post_hoc import FusionStep
from odapi_repro.features.sweep.sweep_cells import PostHocCell, Source
from odapi_repro.features.sweep.sweep_runner import detections_of_cell

NAMES = ("a", "b", "c")


def detections(seed: int, number: int = 40) -> Detections:
    random = np.random.default_rng(seed)
    sizes = random.uniform(5, 15, (number, 2))
    return Detections(
        images=random.integers(0, 2, number).astype(np.int32),
        categories=random.integers(0, 2, number).astype(np.int32),
        boxes=np.concatenate([random.uniform(0, 20, (number, 2)), sizes], axis=1),
        scores=random.uniform(0, 1, number),
    )


MEMBERS = {name: nms(detections(seed), 0.5) for seed, name in enumerate(NAMES)}
CANDIDATES = detections(0)


def found(
    step: FusionStep | None,
    names: Sequence[str] = NAMES,
    *,
    per_class: int | None = None,
    per_image: int | None = None,
    min_score: float = 0.0,
) -> Detections:
    cell = PostHocCell(
        levels={},
        members=tuple(Source(name, "as_configured") for name in names),
        candidates=Source("a", "candidates"),
        step=step,
        per_class=per_class,
        per_image=per_image,
        class_agnostic=False,
        min_score=min_score,
    )

    def load(source: Source) -> Detections:
        return CANDIDATES if source.variant == "candidates" else MEMBERS[source.pass_name]

    # The AP of a member: how many boxes it has, here.
    return detections_of_cell(cell, load, lambda one: float(one.num))


def same(one: Detections, other: Detections) -> bool:
    return (
        np.array_equal(one.images, other.images)
        and np.array_equal(one.categories, other.categories)
        and np.array_equal(one.scores, other.scores)
        and np.array_equal(one.boxes, other.boxes)
    )


def test_without_a_step_the_network_s_own_detections_are_taken() -> None:
    assert same(found(None, ("b",)), MEMBERS["b"])


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (FusionStep("union", 0.5), lambda m: union(m, 0.5)),
        (FusionStep("consensus", 0.5, 2), lambda m: consensus(m, 0.5, 2)),
        (FusionStep("weighted_boxes", 0.55), lambda m: weighted_boxes(m, 0.55)),
    ],
)
def test_each_step_is_the_function_of_its_name(step: FusionStep, expected) -> None:
    assert same(found(step), expected([MEMBERS[name] for name in NAMES]))


def test_voting_moves_what_nms_kept_by_what_it_was_given() -> None:
    expected = box_voting(MEMBERS["a"], CANDIDATES, 0.6)
    moved = found(FusionStep("box_voting", 0.6), ("a",))
    assert same(moved, expected)
    assert not np.array_equal(moved.boxes, MEMBERS["a"].boxes)


def test_the_best_member_is_the_one_with_the_highest_ap() -> None:
    most = max(MEMBERS.values(), key=lambda one: one.num)
    assert same(found(FusionStep("best")), most)


def test_a_soft_union_keeps_the_pipelines_score_threshold() -> None:
    soft = found(FusionStep("soft_union"), min_score=0.3)
    assert soft.scores.min() > 0.3
    assert soft.num > found(FusionStep("union", 0.1)).num / 2
    # Scores decay; the best box of an image and class keeps its own.
    everything = np.concatenate([one.scores for one in MEMBERS.values()])
    assert soft.scores.max() == everything.max()
    assert not np.isin(soft.scores, everything).all()


def test_the_pipelines_caps_hold_after_fusion() -> None:
    capped = found(FusionStep("union", 0.5), per_class=4, per_image=6)
    keys, counts = np.unique(capped.images * 10 + capped.categories, return_counts=True)
    assert len(keys) > 1
    assert counts.max() <= 4
    assert np.bincount(capped.images).max() == 6
