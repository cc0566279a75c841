"""What every factor keeps, on both pipelines, at proxy and at full scale."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fake_trials import EFFICIENTDET, MASK_RCNN, plan_of
from google.protobuf import text_format
from object_detection.protos import preprocessor_pb2

from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Setting, factor_named
from odapi_repro.factors.augmentation_factor import AUGMENTATIONS
from odapi_repro.pipeline import load_pipeline, parse_pipeline, read_recipe, render_recipe

FIVE = ("batch_size", "lr_scaling", "warmup", "sync_replicas", "augmentation")
PLACES = [(p, s) for p in (EFFICIENTDET, MASK_RCNN) for s in ("proxy", "full")]


def setting_of(pipeline: Path, scale: str = "full", **changes: int) -> Setting:
    return plan_of("batch_size", pipeline=pipeline, scale=scale, **changes).setting


def every_factor_everywhere() -> list:
    return [
        pytest.param(name, *place, id=f"{name}-{place[0].stem}-{place[1]}")
        for name in FIVE
        for place in PLACES
    ]


def test_the_five_factors_of_the_command_line_are_there_in_order() -> None:
    assert tuple(FACTORS)[:5] == FIVE


@pytest.mark.parametrize(("name", "pipeline", "scale"), every_factor_everywhere())
def test_a_study_of_default_levels_begins_with_the_reference_and_varies(
    name: str, pipeline: Path, scale: str
) -> None:
    (axis,) = plan_of(name, pipeline=pipeline, scale=scale).axes
    setting = setting_of(pipeline, scale)
    factor = FACTORS[name]
    assert factor.reference_level(setting) in factor.default_levels(setting)
    assert axis.reference_level == factor.reference_level(setting).label
    assert len(axis.levels) >= 3
    assert len(set(axis.levels)) == len(axis.levels)


@pytest.mark.parametrize(("name", "pipeline", "scale"), every_factor_everywhere())
def test_the_reference_level_is_the_pipeline_itself(name, pipeline, scale) -> None:
    setting, factor = setting_of(pipeline, scale), FACTORS[name]
    edited = factor.edit(setting.recipe, factor.reference_level(setting))
    assert render_recipe(edited, setting.pipeline).proto == setting.pipeline.proto


@pytest.mark.parametrize(("name", "pipeline", "scale"), every_factor_everywhere())
def test_a_factor_edits_only_what_it_owns_and_labels_parse_back(name, pipeline, scale) -> None:
    setting, factor = setting_of(pipeline, scale), FACTORS[name]
    before = dataclasses.asdict(setting.recipe)
    for level in factor.default_levels(setting):
        assert factor.parse_level(level.label, setting) == level
        after = dataclasses.asdict(factor.edit(setting.recipe, level))
        changed = {field for field in before if before[field] != after[field]}
        assert changed <= set(factor.owns)
        assert changed or level == factor.reference_level(setting)


def test_no_two_factors_own_the_same_quantity() -> None:
    owned = [field for factor in FACTORS.values() for field in factor.owns]
    assert len(set(owned)) == len(owned)


def test_batch_levels_are_literal_or_relative_to_the_reference() -> None:
    setting, factor = setting_of(EFFICIENTDET), FACTORS["batch_size"]
    parsed = [factor.parse_level(text, setting).label for text in ("2", "8", "32", "1/4", "2x")]
    assert parsed == ["2", "8", "32", "32", "256"]


def test_warmup_levels_are_steps_at_the_references_batch_or_multiples_of_its_own() -> None:
    setting, factor = setting_of(EFFICIENTDET), FACTORS["warmup"]
    parsed = [factor.parse_level(text, setting) for text in ("0", "100", "1/4", "2x")]
    assert [level.label for level in parsed] == ["0", "100", "625", "5000"]
    assert parsed[1].value == 100 * 128


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("batch_size", "two", "1/4, 2x"),
        ("batch_size", "0", "at least 1"),
        ("batch_size", "1/0", "whole number"),
        ("batch_size", "1.5", "whole number"),
        ("lr_scaling", "linaer", "did you mean 'linear'?"),
        ("warmup", "-1", "at least 0"),
        ("warmup", "300000", "fewer steps than the run has"),
        ("sync_replicas", "0", "at least 1"),
        ("augmentation", "jiter", "did you mean 'jitter'?"),
        ("augmentation", "mosaic", "large_jitter"),
    ],
)
def test_a_wrong_level_is_refused_with_what_is_expected(name, text, named) -> None:
    with pytest.raises(UserError) as caught:
        FACTORS[name].parse_level(text, setting_of(EFFICIENTDET))
    assert text in caught.value.found
    assert named in str(caught.value)


def test_an_unknown_factor_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'batch_size'") as caught:
        factor_named("batchsize")
    assert all(name in caught.value.expected for name in FIVE)


def test_warmup_names_the_pipelines_it_applies_to_when_there_is_no_cosine() -> None:
    text = load_pipeline(EFFICIENTDET).to_text()
    start = text.index("cosine_decay_learning_rate {")
    end = text.index("}", start)
    pipeline = parse_pipeline(
        f"{text[:start]}constant_learning_rate {{ learning_rate: 0.01 {text[end:]}", "mine.config"
    )
    recipe = read_recipe(pipeline)
    with pytest.raises(UserError, match=r"warmup does not apply to mine\.config") as caught:
        FACTORS["warmup"].check_applies(Setting(pipeline, recipe, recipe))
    assert "effdet_d3.config" in caught.value.expected
    assert "mask_rcnn.config" in caught.value.expected
    # The same when it is only held while another factor is studied.
    with pytest.raises(UserError, match="warmup does not apply"):
        plan_of("batch_size", pipeline=pipeline, scale="full", at={"warmup": "10"})


@pytest.mark.parametrize("steps", [2, 4, 5, 250])
def test_default_warmups_differ_and_fit_however_short_the_run(steps: int) -> None:
    plan = plan_of("warmup", num_steps=steps)
    assert len(plan.trials) >= 2
    for trial in plan.trials:
        config = parse_pipeline(trial.pipeline_text).proto.train_config
        cosine = config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
        assert cosine.warmup_steps < cosine.total_steps


@pytest.mark.parametrize(("pipeline", "scale"), PLACES)
def test_lr_scaling_is_studied_at_the_smallest_default_batch(pipeline, scale) -> None:
    plan = plan_of("lr_scaling", pipeline=pipeline, scale=scale)
    smallest = min(int(level.label) for level in FACTORS["batch_size"].default_levels(plan.setting))
    assert plan.axes[0].at == {"batch_size": str(smallest)}
    rates = {trial.cell["lr_scaling"]: trial.base_lr for trial in plan.trials[1:]}
    ratio = smallest / plan.setting.recipe.global_batch_size
    assert rates["linear"] / rates["none"] == pytest.approx(ratio)
    assert rates["sqrt"] / rates["none"] == pytest.approx(ratio**0.5)


def test_sync_replicas_refuses_a_batch_that_the_replicas_cannot_share() -> None:
    with pytest.raises(UserError, match="batch of 128 cannot be shared by 3 replicas") as caught:
        plan_of("sync_replicas", scale="full", levels={"sync_replicas": ["3"]})
    assert "choose a batch that 3 divides" in caught.value.mend


def test_sync_replicas_moves_nothing_but_the_replicas() -> None:
    trials = plan_of("sync_replicas").trials
    assert {trial.spec.num_replicas for trial in trials} == {1, 2, 4}
    assert len({trial.spec.pipeline_text for trial in trials}) == 1


@pytest.mark.parametrize(("pipeline", "scale"), PLACES)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_levels_are_options_that_the_od_api_reads(name, pipeline, scale) -> None:
    setting = setting_of(pipeline, scale)
    level = FACTORS["augmentation"].parse_level(name, setting)
    resizer = setting.pipeline.model.image_resizer
    if resizer.HasField("fixed_shape_resizer"):
        size = resizer.fixed_shape_resizer.height
    else:
        size = resizer.keep_aspect_ratio_resizer.max_dimension
    for option in level.value:
        step = text_format.Parse(option, preprocessor_pb2.PreprocessingStep())
        assert step.WhichOneof("preprocessing_step")
        if step.HasField("random_scale_crop_and_pad_to_square"):
            assert step.random_scale_crop_and_pad_to_square.output_size == size
    rendered = render_recipe(FACTORS["augmentation"].edit(setting.recipe, level), setting.pipeline)
    assert len(rendered.proto.train_config.data_augmentation_options) == len(level.value)
