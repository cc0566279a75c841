"""The plan of an explanation: what is varied, what is not, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_trials import MASK_RCNN, small_data
from issue_10530 import REFERENCE, edited, issue_10530

from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.features.ablate.study_plan import make_plan
from odapi_repro.features.explain.explain_plan import (
    ExplainRequest,
    ExplanationPlan,
    plan_explanation,
    reference_fields,
)
from odapi_repro.features.explain.explanation import EXPLANATION_FILE
from odapi_repro.features.explain.varied_deviations import deviations_as_factors
from odapi_repro.files import write_whole
from odapi_repro.pipeline import Pipeline, load_pipeline

COSINE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"


def asked(**changes: Any) -> ExplainRequest:
    fields: dict[str, Any] = {
        "study": "mine",
        "command": "explain",
        "reference_name": "efficientdet_d3",
        "reported": (),
        "metric": "AP",
        "design": "auto",
        "seeds": 2,
        "scale": "proxy",
        "num_steps": None,
        "num_replicas": 1,
        "device": "cpu",
        "deterministic": True,
        "checkpoint": None,
        "sample_1_of_n_eval_examples": None,
        **changes,
    }
    return ExplainRequest(**fields)


def planned(user: Pipeline | None = None, **changes: Any) -> ExplanationPlan:
    user = issue_10530() if user is None else user
    return plan_explanation(user, REFERENCE.pipeline(), small_data(), asked(**changes))


def test_issue_10530_has_four_deviations_and_the_warm_up_follows_the_schedule() -> None:
    plan = planned()
    assert [one.name for one in plan.explanation.deviations] == [
        "train_shards",
        "batch_size",
        "learning_rate",
        "schedule_length+warmup",
    ]
    assert plan.explanation.design.name == "shapley"
    assert plan.design.price().trials_max == 32
    kinds = {(one.factor, one.kind) for one in plan.explanation.unvaried}
    assert kinds == {
        ("evaluation", "evaluation"),
        ("checkpoint", "left_open"),
        ("classes", "left_open"),
        ("bfloat16", "inert"),
    }
    assert plan.explanation.eval_share == 1 / 50


def test_the_example_in_the_repository_is_the_config_of_the_issue(repository: Path) -> None:
    example = load_pipeline(repository / "examples" / "issue_10530.config")
    assert example.proto == issue_10530().proto


def test_its_reference_cell_is_the_trial_that_a_study_of_one_factor_runs() -> None:
    from fake_trials import request

    plan = planned()
    single = make_plan(REFERENCE.pipeline(), small_data(), request("batch_size"))
    assert plan.trial(plan.design.reference, 1).trial_id == single.trials[0].trial_id


def test_the_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    explanation = planned(race=True, claimed=14.0, seeds=3).explanation
    write_whole(tmp_path / EXPLANATION_FILE.name, explanation.to_json())
    assert EXPLANATION_FILE.read(tmp_path) == explanation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 99}', "format 99"),
        ('{"vers', "cannot be read"),
        ("[]", "it holds a list"),
        ('{"version": 1, "study": "x"}', "missing required field"),
        ('{"version": 1, "moons": 3}', "it holds moons"),
    ],
)
def test_a_record_that_is_newer_or_damaged_is_refused(tmp_path, text: str, message: str) -> None:
    write_whole(tmp_path / EXPLANATION_FILE.name, text)
    with pytest.raises(DamagedFile, match=message):
        EXPLANATION_FILE.read(tmp_path)


def test_groups_can_be_chosen_or_dissolved() -> None:
    alone = planned(groups=())
    assert [one.name for one in alone.explanation.deviations][-2:] == ["schedule_length", "warmup"]
    assert alone.explanation.design.name == "both_ends", "five deviations"
    together = planned(groups=(("batch_size", "learning_rate"),))
    names = [one.name for one in together.explanation.deviations]
    assert names == ["train_shards", "batch_size+learning_rate", "schedule_length", "warmup"]


def test_what_is_held_stands_at_the_reference_and_is_said() -> None:
    plan = planned(held=("train_shards",))
    assert "train_shards" not in plan.explanation.factors
    held = [one for one in plan.explanation.unvaried if one.kind == "held"]
    assert [one.factor for one in held] == ["train_shards"]


def test_what_to_write_brings_one_deviation_back_and_leaves_the_others() -> None:
    settings = {one.factor: dict(one.settings) for one in planned().explanation.mapped}
    # 38.4 million images at the batch of 128 take 300,000 steps, at the user's 2 64 times those.
    assert settings["schedule_length"]["train_config.num_steps"] == "19200000"
    # 2,500 of 300,000 steps are 1/120 of the run.
    assert settings["schedule_length"][f"{COSINE}.warmup_steps"] == "160000"
    # The user's 1.2 million images at 128 are 9,375 steps.
    assert settings["batch_size"]["train_config.batch_size"] == "128"
    assert settings["batch_size"]["train_config.num_steps"] == "9375"
    assert settings["learning_rate"] == {f"{COSINE}.learning_rate_base": "0.08"}
    assert settings["warmup"] == {}, "told with the schedule that it moves with"
    assert "100 files" in next(iter(settings["train_shards"].values()))


def test_mending_everything_gives_the_reference() -> None:
    reference = REFERENCE.pipeline()
    levels = {
        one.factor: (one.reference, one.user)
        for one in deviations_as_factors(issue_10530(), reference)
        if one.reference is not None and one.user is not None
    }
    every = dict(reference_fields(reference, levels, set(levels)))
    config = reference.proto.train_config
    assert every["train_config.num_steps"] == str(config.num_steps)
    assert every["train_config.batch_size"] == str(config.batch_size)


@pytest.mark.parametrize(
    ("user", "changes", "message"),
    [
        (load_pipeline(MASK_RCNN), {}, "faster_rcnn model"),
        (REFERENCE.pipeline(), {}, "does not deviate"),
        (edited(use_bfloat16=False), {}, r"inert: bfloat16"),
        (None, {"held": ("warmup_start",)}, "unknown factor"),
        (None, {"held": ("augmentation",)}, "does not deviate"),
        (None, {"groups": (("batch_size", "augmentation"),)}, "augmentation is not varied"),
        (
            None,
            {"groups": (("batch_size", "warmup"), ("learning_rate", "warmup"))},
            "in two groups",
        ),
        (None, {"design": "bisection", "seeds": 1}, "--seeds 1"),
        (None, {"race": True, "seeds": 1}, "--race with 1"),
        (
            None,
            {"scale": "full", "num_replicas": 8, "user_replicas": 1},
            "levels that cannot be combined: .*batch_size=2.*8 replicas",
        ),
    ],
)
def test_bad_input_is_refused_in_one_message(
    user: Pipeline | None, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        planned(user, **changes)
    assert caught.value.expected
    assert caught.value.mend


def test_levels_that_cannot_be_combined_can_be_grouped() -> None:
    # 2 images cannot be shared by the reference's 8 replicas; with the user's single one they can.
    together = (("batch_size", "sync_replicas"), ("schedule_length", "warmup"))
    plan = planned(scale="full", num_replicas=8, user_replicas=1, groups=together)
    assert plan.design.price().cells_max == 2**4


def test_replicates_that_decide_are_not_those_that_are_estimated_from() -> None:
    choice = planned(design="path", seeds=6, first_seed=11).explanation.design
    assert choice.order_seeds == (11, 12)
    assert choice.seeds == (13, 14, 15, 16)
