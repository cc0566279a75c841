"""Peak rate, schedule length and training shards: what moves, what is held, where they stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fake_trials import EFFICIENTDET, MASK_RCNN, plan_of, small_data, small_records

from odapi_repro.datasets.source import DataFlags, resolve_data
from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Setting
from odapi_repro.features.ablate.study_plan import Plan, StudyData
from odapi_repro.pipeline import (
    Pipeline,
    field_differences,
    load_pipeline,
    parse_pipeline,
    read_recipe,
    read_schedule,
    render_recipe,
)

NEW = ("learning_rate", "schedule_length", "train_shards")
PLACES = [(p, s) for p in (EFFICIENTDET, MASK_RCNN) for s in ("proxy", "full")]
COSINE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"
RATE = COSINE + ".learning_rate_base"


def setting_of(pipeline: Path = EFFICIENTDET, scale: str = "full") -> Setting:
    return plan_of("batch_size", pipeline=pipeline, scale=scale).setting


def setting_at(pipeline: Pipeline, files: int | None = None) -> Setting:
    recipe = read_recipe(pipeline)
    return Setting(pipeline, recipe, recipe, num_train_files=files)


def rendered(setting: Setting, **levels: str) -> Pipeline:
    recipe = setting.recipe
    for name, text in levels.items():
        factor = FACTORS[name]
        recipe = factor.edit(recipe, factor.parse_level(text, setting))
    return render_recipe(recipe, setting.pipeline)


def changes(setting: Setting, **levels: str) -> dict[str, object]:
    after = rendered(setting, **levels).proto
    return {path: new for path, _, new in field_differences(setting.pipeline.proto, after)}


def with_schedule(text: str) -> Setting:
    return setting_at(
        parse_pipeline(
            "model { ssd { } } train_config { batch_size: 8 num_steps: 1000 optimizer { "
            f"momentum_optimizer {{ learning_rate {{ {text} }} }} }} }}",
            "mine.config",
        )
    )


def rates(plan: Plan) -> dict[tuple[str, ...], float]:
    return {tuple(trial.cell.values()): trial.base_lr for trial in plan.trials}


@pytest.mark.parametrize(("pipeline", "scale"), PLACES)
@pytest.mark.parametrize("name", NEW)
def test_each_begins_with_the_reference_and_edits_only_what_it_owns(name, pipeline, scale) -> None:
    setting, factor = setting_of(pipeline, scale), FACTORS[name]
    reference = factor.reference_level(setting)
    (axis,) = plan_of(name, pipeline=pipeline, scale=scale).axes
    assert axis.reference_level == reference.label
    assert reference in factor.default_levels(setting)
    same = render_recipe(factor.edit(setting.recipe, reference), setting.pipeline)
    assert same.proto == setting.pipeline.proto
    before = dataclasses.asdict(setting.recipe)
    for level in factor.default_levels(setting):
        assert factor.parse_level(level.label, setting) == level
        after = dataclasses.asdict(factor.edit(setting.recipe, level))
        changed = {field for field in before if before[field] != after[field]}
        assert changed == (set() if level == reference else set(factor.owns))


# learning_rate


def test_a_rate_is_literal_or_relative_and_written_as_it_was_typed() -> None:
    setting, factor = setting_of(), FACTORS["learning_rate"]
    typed = [factor.parse_level(text, setting).label for text in ("0.01", "1/8", "2x", "1e-3")]
    assert typed == ["0.01", "0.01", "0.16", "0.001"]
    assert "learning_rate_base: 0.0707\n" in rendered(setting, learning_rate="0.0707").to_text()


def test_a_rate_moves_nothing_but_the_peak() -> None:
    assert changes(setting_of(), learning_rate="1/8") == {RATE: pytest.approx(0.01)}


def test_a_warmup_starts_no_higher_than_the_peak() -> None:
    # cosine_decay_with_warmup refuses a base below the warm-up's start.
    schedule = read_schedule(rendered(setting_of(), learning_rate="0.0005").proto)
    assert schedule.refusal == ""
    assert schedule.at(0) == schedule.base == pytest.approx(0.0005)


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("constant_learning_rate { learning_rate: 0.02 }", [0.02, 0.02], [0.01, 0.01]),
        (
            "manual_step_learning_rate { initial_learning_rate: 0.02 "
            "schedule { step: 500 learning_rate: 0.002 } }",
            [0.02, 0.002],
            [0.01, 0.001],
        ),
        # With a warm-up the initial rate is where it starts, and the first boundary its end.
        (
            "manual_step_learning_rate { initial_learning_rate: 0.004 warmup: true "
            "schedule { step: 100 learning_rate: 0.02 } "
            "schedule { step: 500 learning_rate: 0.002 } }",
            [0.004, 0.002],
            [0.004, 0.001],
        ),
        (
            "exponential_decay_learning_rate { initial_learning_rate: 0.02 decay_steps: 999 "
            "decay_factor: 0.1 staircase: true burnin_steps: 9 burnin_learning_rate: 0.004 "
            "min_learning_rate: 0.02 }",
            [0.02, 0.02],
            [0.01, 0.01],
        ),
    ],
)
def test_any_schedule_keeps_its_shape_when_its_peak_moves(text, before, after) -> None:
    setting = with_schedule(text)
    schedule = read_schedule(setting.pipeline.proto)
    assert [schedule.at(0), schedule.at(900)] == pytest.approx(before)
    moved = read_schedule(rendered(setting, learning_rate="1/2").proto)
    assert [moved.at(0), moved.at(900)] == pytest.approx(after)
    assert moved.base == pytest.approx(schedule.base / 2)


def test_lr_scaling_multiplies_the_rate_that_learning_rate_sets() -> None:
    levels = {"batch_size": ["32"], "learning_rate": ["0.04"], "lr_scaling": ["linear"]}
    found = rates(plan_of(*levels, levels=levels, design="grid", scale="full"))
    assert found["32", "0.04", "linear"] == pytest.approx(0.01)
    assert found["32", "0.04", "none"] == pytest.approx(0.04)
    assert found["32", "0.08", "linear"] == pytest.approx(0.02)
    assert found["128", "0.04", "none"] == pytest.approx(0.04)


def test_a_schedule_without_a_rate_is_refused() -> None:
    setting = with_schedule("constant_learning_rate { learning_rate: 0 }")
    with pytest.raises(UserError, match="no rate above 0") as caught:
        FACTORS["learning_rate"].check_applies(setting)
    assert "effdet_d3.config" in caught.value.expected


# schedule_length


def test_a_length_moves_steps_horizon_and_warmup_together() -> None:
    assert changes(setting_of(), schedule_length="1/4") == {
        "train_config.num_steps": 75_000,
        COSINE + ".total_steps": 75_000,
        COSINE + ".warmup_steps": 625,
    }


def test_batch_length_and_warmup_name_the_same_training_in_any_order() -> None:
    setting = setting_of()
    levels = {"batch_size": "2", "schedule_length": "1200000", "warmup": "1250"}
    config = rendered(setting, **levels)
    backwards = rendered(setting, **dict(reversed(levels.items())))
    assert config.proto == backwards.proto
    # tensorflow/models #10530: 600,000 steps of 2, of which 2,500 are warm-up.
    found = changes(setting, **levels)
    assert found["train_config.num_steps"] == found[COSINE + ".total_steps"] == 600_000
    assert COSINE + ".warmup_steps" not in found


def test_lengths_are_images_or_shares_of_the_references() -> None:
    factor = FACTORS["schedule_length"]
    setting = setting_of(scale="proxy")
    labels = [factor.parse_level(text, setting).label for text in ("880", "1/4", "2x")]
    assert labels == ["880", "880", "7040"]
    level = factor.parse_level("1/4", setting)
    assert factor.at_full_scale(level, setting) == "9,600,000 (1/4 of 38,400,000)"


# train_shards


def test_fewer_shards_are_the_first_by_name_and_nothing_else_moves() -> None:
    plan = plan_of("train_shards", levels={"train_shards": ["1/2", "1"]}, seeds=2)
    names = [path.name for path in small_data().train_files]
    for trial in plan.trials:
        read = parse_pipeline(trial.pipeline_text).proto.train_input_reader.tf_record_input_reader
        expected = names[: int(trial.cell["train_shards"])]
        assert [Path(path).name for path in read.input_path] == expected
    assert len({trial.spec.pipeline_text for trial in plan.trials}) == 1
    assert len({trial.spec.train_records for trial in plan.trials}) == 3
    assert len({trial.spec.eval_records for trial in plan.trials}) == 1


def test_reading_all_shards_is_the_trial_of_every_other_study() -> None:
    plain, sharded = plan_of("batch_size"), plan_of("train_shards")
    assert sharded.trials[0].trial_id == plain.trials[0].trial_id


def test_the_first_shard_is_the_trial_of_a_data_set_of_that_shard_alone() -> None:
    made = small_records()
    first = str(small_data().train_files[0])
    flags = DataFlags("", first, made.val_pattern, str(made.label_map_path))
    alone = StudyData.of(resolve_data(flags))
    part = small_data().reading(1)
    assert part.train == alone.train
    assert part.train_files == alone.train_files
    assert small_data().reading(None) is small_data()


def test_records_in_one_file_cannot_be_read_in_part() -> None:
    for files in (None, 1):
        with pytest.raises(UserError, match="they are one file"):
            FACTORS["train_shards"].check_applies(
                setting_at(load_pipeline(EFFICIENTDET), files=files)
            )


def test_defaults_of_a_hundred_shards_are_all_ten_and_one() -> None:
    setting = setting_at(load_pipeline(EFFICIENTDET), files=100)
    levels = FACTORS["train_shards"].default_levels(setting)
    assert [level.label for level in levels] == ["100", "10", "1"]
    texts = [FACTORS["train_shards"].at_full_scale(level, setting) for level in levels]
    assert texts == ["all", "1/10 of the records", "1/100 of the records"]


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("learning_rate", "0", "above 0"),
        ("learning_rate", "-0.1", "above 0"),
        ("learning_rate", "nan", "above 0"),
        ("learning_rate", "high", "1/8, 2x"),
        ("schedule_length", "127", "at least 128"),
        ("schedule_length", "long", "1/4, 2x"),
        ("train_shards", "5", "at most the 4 files"),
        ("train_shards", "0", "at least 1"),
        ("train_shards", "some", "training files to read"),
    ],
)
def test_a_wrong_level_is_refused_with_what_is_expected(name, text, named) -> None:
    with pytest.raises(UserError) as caught:
        FACTORS[name].parse_level(text, setting_of())
    assert text in caught.value.found
    assert named in str(caught.value)
