"""A user's levels at proxy scale: the relation that each rule keeps, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from fake_trials import plan_of, request, small_data
from issue_10530 import REFERENCE, edited, issue_10530

from odapi_repro.features.ablate.study_plan import make_plan
from odapi_repro.features.explain.varied_deviations import (
    LevelMapping,
    deviations_as_factors,
    map_levels,
)
from odapi_repro.pipeline import Circumstances, Pipeline, load_pipeline, parse_pipeline

PIPELINES = __file__.rpartition("/tests/")[0] + "/pipelines/"


def mapped(
    user: Pipeline,
    reference: Pipeline | None = None,
    *,
    scale: str = "proxy",
    replicas: tuple[int, int] | None = None,
    **changes: Any,
) -> dict[str, LevelMapping]:
    full = reference or REFERENCE.pipeline()
    known = [Circumstances(num_replicas=one) for one in replicas or ()] or [None, None]
    found = deviations_as_factors(
        user, full, circumstances=known[0], reference_circumstances=known[1]
    )
    setting = plan_of("batch_size", pipeline=full, scale=scale, **changes).setting
    user_replicas = replicas[0] if replicas else 1
    mappings = map_levels(found, full, setting, scale=scale, user_replicas=user_replicas)
    return {mapping.factor: mapping for mapping in mappings}


def labels(mappings: dict[str, LevelMapping]) -> dict[str, tuple[str, str]]:
    return {name: (one.reference.label, one.user.label) for name, one in mappings.items()}


def test_issue_10530_at_proxy_scale() -> None:
    found = mapped(issue_10530())
    assert labels(found) == {
        "train_shards": ("4", "1"),  # of four files one is the nearest to 1 of 100
        "batch_size": ("16", "2"),  # 2 images a replica
        "learning_rate": ("0.2", "0.0707"),  # 1/8 at 1/64 is a square root: 0.2 / sqrt(8)
        "schedule_length": ("3520", "880"),  # 1/32, clipped at a quarter
        "warmup": ("22", "11"),  # half the share
    }
    assert {name for name, one in found.items() if one.clipped} == set(found) - {"warmup"}
    assert "images per batch-norm replica, 2" in found["batch_size"].kept
    assert "square-root rule" in found["learning_rate"].kept
    assert "1/32 of the images becomes 1/4" in found["schedule_length"].why


def test_the_mapped_levels_of_four_factors_are_a_grid_of_sixteen_cells() -> None:
    found = mapped(issue_10530())
    four = ("batch_size", "learning_rate", "schedule_length", "train_shards")
    levels = {name: [found[name].user.label] for name in four}
    asked = request(*four, levels=levels, design="grid", seeds=2)
    plan = make_plan(load_pipeline(PIPELINES + "effdet_d3.config"), small_data(), asked)
    assert len(plan.trials) == 32
    assert len({trial.trial_id for trial in plan.trials}) == 32
    worst = parse_pipeline(
        next(
            trial.pipeline_text
            for trial in plan.trials
            if all(trial.cell[name] == levels[name][0] for name in four)
        )
    ).proto.train_config
    assert (worst.batch_size, worst.num_steps) == (2, 440)


@pytest.mark.parametrize(
    ("batch", "rate", "expected"),
    [
        (2, 0.00125, "0.025"),  # linear: 0.2 / 8
        (64, 0.04, "0.1"),  # half at half the batch
        (2, 0.00125 / 8, "0.00884"),  # 1/512 is the batch to the power of 1.5: 0.2 / 8 ** 1.5
        (128, 0.02, "0.05"),  # at the same batch the ratio is kept
    ],
)
def test_a_rate_keeps_its_power_of_the_batch(batch: int, rate: float, expected: str) -> None:
    found = mapped(edited(batch_size=batch, learning_rate_base=rate))
    assert found["learning_rate"].user.label == expected


def test_a_rate_left_alone_is_no_factor_whatever_the_batch() -> None:
    assert "learning_rate" not in mapped(edited(batch_size=2))


@pytest.mark.parametrize(
    ("batch", "replicas", "expected", "kept"),
    [
        (8, None, "8", "images per batch-norm replica, 8"),
        (64, None, "8", "the ratio to the reference's batch, 1/2"),
        (256, None, "32", "the ratio to the reference's batch, 2"),
        (32, (8, 32), "4", "images per batch-norm replica, 4"),
    ],
)
def test_a_batch_keeps_the_images_of_a_replica_or_else_its_ratio(
    batch: int, replicas: tuple[int, int] | None, expected: str, kept: str
) -> None:
    one = mapped(edited(batch_size=batch), replicas=replicas)["batch_size"]
    assert (one.user.label, one.kept) == (expected, kept)


def test_with_frozen_batch_norm_the_ratio_is_what_counts() -> None:
    reference = load_pipeline(PIPELINES + "mask_rcnn.config")

    def edit(proto: Any) -> None:
        proto.train_config.batch_size = 4

    one = mapped(reference.edited(edit), reference)["batch_size"]
    assert (one.reference.label, one.user.label, one.clipped) == ("8", "2", False)
    assert "frozen" in one.why


@pytest.mark.parametrize(
    ("share", "expected", "clipped"),
    [(1 / 2, 1760, False), (1 / 100, 880, True), (10, 7040, True), (2, 7040, False)],
)
def test_a_length_is_kept_within_what_trains_something_in_minutes(
    share: float, expected: int, clipped: bool
) -> None:
    steps = round(300_000 * share)
    one = mapped(edited(num_steps=steps, total_steps=steps))["schedule_length"]
    assert (one.user.value, one.clipped) == (expected, clipped)


def test_a_warmup_that_the_reference_has_not_keeps_its_share_of_the_run() -> None:
    reference, user = edited(warmup_steps=0), edited(warmup_steps=15_000)
    one = mapped(user, reference)["warmup"]
    # 5 % of 220 steps; the proxy has a warm-up of its own, which is its reference.
    assert one.user.label == "11"


def test_replicas_stay_and_say_where_their_share_went() -> None:
    one = mapped(edited(batch_size=8), replicas=(1, 32))["sync_replicas"]
    assert not one.is_varied
    assert "batch_size" in one.why


def test_an_augmentation_is_fitted_to_the_input_as_the_references_is() -> None:
    def edit(proto: Any) -> None:
        options = proto.train_config.data_augmentation_options
        del options[0]

    one = mapped(REFERENCE.pipeline().edited(edit))["augmentation"]
    (option,) = one.user.value
    assert "output_size: 192" in option
    assert one.is_varied


def test_at_full_scale_levels_stay_and_those_in_images_follow_the_steps() -> None:
    found = mapped(issue_10530(), scale="full", num_steps=3000)
    assert labels(found) == {
        "train_shards": ("4", "1"),
        "batch_size": ("128", "2"),
        "learning_rate": ("0.08", "0.01"),
        "schedule_length": ("384000", "12000"),
        "warmup": ("25", "12"),
    }


def test_a_mapping_is_a_line_with_both_scales_and_the_relation() -> None:
    text = mapped(issue_10530())["learning_rate"].text
    assert text.startswith("learning_rate: 0.08 -> 0.01 at full scale is 0.2 -> 0.0707 here")
    assert math.isclose(0.2 / math.sqrt(8), 0.0707, rel_tol=1e-3)
