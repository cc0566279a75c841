"""What a scale makes of a pipeline, and what a study is expected to take."""

from __future__ import annotations

import pytest
from fake_trials import EFFICIENTDET, MASK_RCNN, fake_trial, plan_of

from odapi_repro.errors import UserError
from odapi_repro.pipeline import load_pipeline, read_recipe
from odapi_repro.trials.scales import scale_pipeline
from odapi_repro.trials.trial_cost import TrialCost, estimate_cost


def test_full_scale_is_the_pipeline_as_it_is() -> None:
    pipeline = load_pipeline(EFFICIENTDET)
    scaled = scale_pipeline(pipeline, "full")
    assert scaled.pipeline.proto == pipeline.proto
    assert (scaled.notes, scaled.extensions) == ((), ())


def test_steps_at_full_scale_keep_the_shares_of_warmup_and_horizon() -> None:
    scaled = scale_pipeline(load_pipeline(EFFICIENTDET), "full", num_steps=3000)
    config = scaled.pipeline.proto.train_config
    cosine = config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
    assert (config.num_steps, cosine.total_steps, cosine.warmup_steps) == (3000, 3000, 25)
    assert config.batch_size == 128
    assert [(note.what, note.kept) for note in scaled.notes] == [("num_steps", False)]


@pytest.mark.parametrize("pipeline", [EFFICIENTDET, MASK_RCNN])
@pytest.mark.parametrize("scale", ["proxy", "smoke"])
def test_a_smaller_scale_says_everything_it_clips(pipeline, scale: str) -> None:
    full = load_pipeline(pipeline)
    scaled = scale_pipeline(full, scale, num_eval_images=160)
    assert scaled.pipeline.meta_architecture == full.meta_architecture
    assert scaled.pipeline.predicts_masks == full.predicts_masks
    assert read_recipe(scaled.pipeline).images_seen < read_recipe(full).images_seen
    whats = {note.what for note in scaled.notes}
    assert {"input size", "backbone", "images seen", "batch size"} <= whats
    for note in scaled.notes:
        assert note.why
    steps = scaled.pipeline.proto.train_config.num_steps
    assert (steps <= 10) == (scale == "smoke")


def test_regions_of_a_second_stage_are_among_what_a_proxy_clips() -> None:
    """The factor `rois_per_image` studies them: its levels at the proxy are not those in full."""
    full = load_pipeline(MASK_RCNN)
    scaled = scale_pipeline(full, "proxy")
    here = scaled.pipeline.model.second_stage_batch_size
    (note,) = [note for note in scaled.notes if note.what == "RoIs per image"]
    assert (note.full, note.here, note.kept) == ("64", str(here), False)
    assert here <= scaled.pipeline.model.first_stage_max_proposals


def test_steps_set_the_length_of_a_proxy() -> None:
    plan = plan_of("batch_size", num_steps=40)
    assert plan.setting.recipe.num_steps == 40
    assert {trial.images_seen for trial in plan.trials} == {
        40 * plan.setting.recipe.global_batch_size
    }


def test_a_family_without_a_proxy_is_told_to_run_at_full_scale(reference_configs) -> None:
    path = reference_configs / "centernet_hourglass104_512x512_coco17_tpu-8.config"
    with pytest.raises(UserError, match="center_net model, which has no proxy") as caught:
        scale_pipeline(load_pipeline(path), "proxy")
    assert "--scale full" in caught.value.mend


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(UserError, match="unknown scale 'tiny'"):
        scale_pipeline(load_pipeline(EFFICIENTDET), "tiny")


def test_the_cost_comes_from_trials_of_the_same_model_with_the_nearest_batch() -> None:
    trials = [fake_trial(batch=4), fake_trial(batch=8)]
    history = [
        TrialCost("mine", 4, overhead_seconds=10, seconds_per_image=1),
        TrialCost("mine", 8, overhead_seconds=20, seconds_per_image=2),
        TrialCost("another", 4, overhead_seconds=1e6, seconds_per_image=1e6),
    ]
    cost = estimate_cost(trials, ["mine", "mine"], history, scale="full", family="ssd")
    # 4 steps of 4 and of 8 images.
    assert cost.seconds == (10 + 1 * 16) + (20 + 2 * 32)
    assert "ran here" in cost.source


def test_the_cost_is_unknown_rather_than_guessed_at_full_scale() -> None:
    cost = estimate_cost([fake_trial()], ["mine"], [], scale="full", family="ssd")
    assert cost.seconds is None


def test_nothing_to_run_costs_nothing() -> None:
    assert estimate_cost([], [], [], scale="full", family="ssd").seconds == 0
