"""What is printed before anything runs."""

from __future__ import annotations

import pytest
from fake_trials import EFFICIENTDET, MASK_RCNN, plan_of

from odapi_repro.features.ablate.study_plan import study_plan_page
from odapi_repro.page.terminal_page import terminal_page
from odapi_repro.trials.trial_cost import CostEstimate

UNKNOWN = CostEstimate(None, "no trial of this model has run here yet")


def text_of(*factors: str, done: int = 0, cost: CostEstimate = UNKNOWN, **changes: object) -> str:
    plan = plan_of(*factors, **changes)
    page = study_plan_page(plan, study="mine", todo=plan.trials[done:], cost=cost)
    return " ".join(terminal_page(page).split())


def test_the_price_in_trials_and_time_stands_before_anything_runs() -> None:
    text = text_of("batch_size", seeds=2, done=1, cost=CostEstimate(200, "from before"))
    assert "6 trials (3 cells x 2 seeds), 1 finished before, 5 to run" in text
    assert "about 3 min 20 s (from before)" in text
    assert "unknown (no trial of this model" in text_of("batch_size")


def test_one_seed_is_warned_of_and_two_are_not() -> None:
    assert "one seed: differences will have no interval" in text_of("batch_size")
    assert "one seed" not in text_of("batch_size", seeds=2)


@pytest.mark.parametrize(
    ("pipeline", "reported"),
    [(EFFICIENTDET, "efficientdet_d3: AP 45.4"), (MASK_RCNN, "AP 39, mask_AP 34.6, AP 40.4")],
)
def test_the_reported_numbers_are_there_contradictions_included(pipeline, reported) -> None:
    assert reported in text_of("batch_size", pipeline=pipeline)


def test_what_is_held_and_where_a_factor_is_studied_is_said() -> None:
    text = text_of("batch_size", "lr_scaling", scale="full")
    assert "batch_size 128, 32, 16" in text
    assert "images seen, warm-up images and the schedule's shape are held" in text
    assert "Studied at batch_size = 16." in text


def test_a_smaller_scale_maps_its_levels_to_the_pipelines_own_and_lists_what_it_clips() -> None:
    proxy, full = text_of("batch_size"), text_of("batch_size", scale="full")
    assert "(1/4 of 128) at full scale" in proxy
    assert "read differences only, not COCO AP" in proxy
    assert "(clipped: " in proxy
    assert "at full scale" not in full
    assert "clipped" not in full
    assert "the numbers mean nothing" in text_of("batch_size", scale="smoke")


def test_the_data_is_counted() -> None:
    assert "12 training and 6 evaluation images, 6 classes" in text_of("batch_size")
