"""Two configs as factors: what a study can vary, and what it is told that it cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from issue_10530 import REFERENCE, edited, issue_10530

from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS
from odapi_repro.features.explain import varied_deviations as kinds
from odapi_repro.features.explain.user_levels import AS_GIVEN
from odapi_repro.features.explain.varied_deviations import FactorDeviation, deviations_as_factors
from odapi_repro.pipeline import (
    Circumstances,
    Pipeline,
    field_differences,
    load_pipeline,
    read_recipe,
    render_recipe,
)

MASK_RCNN = Path(__file__).parents[3] / "pipelines" / "mask_rcnn.config"


def levels(found: tuple[FactorDeviation, ...]) -> dict[str, tuple[str, str]]:
    return {
        one.factor: (one.reference.label, one.user.label)
        for one in found
        if one.kind == kinds.TRAINING
    }


def of_kind(found: tuple[FactorDeviation, ...], kind: str) -> dict[str, FactorDeviation]:
    return {one.factor: one for one in found if one.kind == kind}


def against_reference(pipeline: Pipeline, **known: Any) -> tuple[FactorDeviation, ...]:
    return deviations_as_factors(
        pipeline, REFERENCE.pipeline(), circumstances=Circumstances(**known)
    )


def test_issue_10530_is_five_factors() -> None:
    found = against_reference(issue_10530())
    assert levels(found) == {
        "train_shards": ("100", "1"),
        "batch_size": ("128", "2"),
        "learning_rate": ("0.08", "0.01"),
        "schedule_length": ("38400000", "1200000"),
        # 2,500 steps in both configs: 0.83 % of the reference's run, 0.42 % of theirs.
        "warmup": ("2500", "1250"),
    }
    assert of_kind(found, kinds.UNEXPRESSED) == {}


def test_what_costs_no_training_or_nothing_at_all_is_told_apart() -> None:
    found = against_reference(issue_10530())
    (evaluation,) = of_kind(found, kinds.EVALUATION).values()
    assert {one.name: (one.a, one.b) for one in evaluation.quantities} == {
        "eval_shards_read": (1, 32),
        "eval_shards_named": (50, 32),
    }
    (inert,) = of_kind(found, kinds.INERT).values()
    assert [field.path for field in inert.fields] == ["train_config.use_bfloat16"]
    opened = of_kind(found, kinds.LEFT_OPEN).values()
    assert {field.path for one in opened for field in one.fields} == {
        "train_config.fine_tune_checkpoint",
        "train_input_reader.label_map_path",
        "eval_input_reader[0].label_map_path",
    }


def test_every_field_that_differs_is_told_once() -> None:
    found = against_reference(issue_10530())
    told = [field.path for one in found for field in one.fields]
    differing = field_differences(issue_10530().proto, REFERENCE.pipeline().proto)
    # A list is told as a whole.
    assert sorted(told) == sorted(re.sub(r"input_path.*", "input_path", p) for p, _, _ in differing)


@pytest.mark.parametrize(
    "pipeline",
    [
        issue_10530(),
        edited(batch_size=8),
        edited(batch_size=8, num_steps=4_800_000, total_steps=4_800_000, warmup_steps=40_000),
        edited(num_steps=50_000, total_steps=50_000),
        edited(learning_rate_base=0.3, warmup_steps=0),
    ],
)
def test_the_levels_on_the_references_recipe_give_the_users_training(pipeline: Pipeline) -> None:
    reference = REFERENCE.pipeline()
    recipe = read_recipe(reference)
    found = against_reference(pipeline)
    assert of_kind(found, kinds.UNEXPRESSED) == {}
    for one in of_kind(found, kinds.TRAINING).values():
        recipe = FACTORS[one.factor].edit(recipe, one.user)
    composed = render_recipe(recipe, reference).proto.train_config
    wanted = pipeline.proto.train_config
    assert composed.optimizer == wanted.optimizer
    assert (composed.batch_size, composed.num_steps) == (wanted.batch_size, wanted.num_steps)


def test_a_horizon_that_did_not_move_with_the_run_is_unexpressed() -> None:
    found = against_reference(edited(num_steps=30_000))
    assert levels(found)["schedule_length"] == ("38400000", "3840000")
    (field,) = of_kind(found, kinds.UNEXPRESSED)["lr_schedule"].fields
    assert field.path.endswith("total_steps")


def test_steps_on_the_command_line_are_the_length_of_the_run() -> None:
    found = against_reference(REFERENCE.pipeline(), num_train_steps=150_000)
    assert levels(found)["schedule_length"] == ("38400000", "19200000")


def test_replicas_are_a_deviation_where_both_are_told() -> None:
    pipeline = edited(batch_size=8)
    assert "sync_replicas" not in levels(against_reference(pipeline, num_replicas=2))
    found = deviations_as_factors(
        pipeline,
        REFERENCE.pipeline(),
        circumstances=Circumstances(num_replicas=2),
        reference_circumstances=Circumstances(num_replicas=REFERENCE.num_replicas),
    )
    assert levels(found)["sync_replicas"] == ("32", "2")


def test_all_shards_under_other_names_are_no_deviation() -> None:
    def edit(proto: Any) -> None:
        reader = proto.train_input_reader.tf_record_input_reader
        reader.input_path[:] = ["/data/coco_train.record-?????-of-00100"]

    found = against_reference(REFERENCE.pipeline().edited(edit))
    assert [(one.factor, one.kind) for one in found] == [("train_shards", kinds.LEFT_OPEN)]


def test_a_pattern_that_reads_no_shard_is_no_level() -> None:
    def edit(proto: Any) -> None:
        reader = proto.train_input_reader.tf_record_input_reader
        reader.input_path[:] = ["/data/coco_train.record-00100-of-00100"]

    found = against_reference(REFERENCE.pipeline().edited(edit))
    assert levels(found) == {}
    assert "train_shards" in of_kind(found, kinds.UNEXPRESSED)


def test_another_augmentation_is_a_level_by_its_name_or_as_given() -> None:
    def keep(count: int, scale_max: float = 2.0) -> Pipeline:
        def edit(proto: Any) -> None:
            options = proto.train_config.data_augmentation_options
            del options[count:]
            if count == 2:
                options[1].random_scale_crop_and_pad_to_square.scale_max = scale_max

        return REFERENCE.pipeline().edited(edit)

    assert levels(against_reference(keep(0)))["augmentation"] == ("reference", "none")
    assert levels(against_reference(keep(1)))["augmentation"] == ("reference", "flip")
    found = against_reference(keep(2, scale_max=1.5))
    assert levels(found)["augmentation"] == ("reference", AS_GIVEN)
    assert "scale_max: 1.5" in of_kind(found, kinds.TRAINING)["augmentation"].user.value[1]


def test_regions_of_a_second_stage_are_a_level() -> None:
    reference = load_pipeline(MASK_RCNN)

    def edit(proto: Any) -> None:
        proto.model.faster_rcnn.second_stage_batch_size = 16

    found = deviations_as_factors(reference.edited(edit), reference)
    assert levels(found) == {"rois_per_image": ("64", "16")}


def test_what_no_factor_expresses_and_what_is_only_shown_are_told() -> None:
    def edit(proto: Any) -> None:
        proto.train_config.gradient_clipping_by_norm = 10.0
        proto.eval_config.num_visualizations = 3
        nms = proto.model.ssd.post_processing.batch_non_max_suppression
        nms.score_threshold = 0.3

    found = against_reference(REFERENCE.pipeline().edited(edit))
    assert levels(found) == {}
    assert set(of_kind(found, kinds.UNEXPRESSED)) == {"gradient_clipping"}
    assert set(of_kind(found, kinds.EVALUATION)) == {"score_threshold"}
    assert set(of_kind(found, kinds.INERT)) == {"visualisation"}


def test_the_reference_does_not_deviate_from_itself() -> None:
    assert against_reference(REFERENCE.pipeline()) == ()


def test_pipelines_of_two_families_are_refused() -> None:
    with pytest.raises(UserError, match=r"faster_rcnn model and .* a ssd one") as caught:
        against_reference(load_pipeline(MASK_RCNN))
    assert "one meta-architecture" in caught.value.expected
