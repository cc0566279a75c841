"""Regions sampled per image for the second stage: what the factor writes, and where it stops."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fake_trials import EFFICIENTDET, MASK_RCNN, plan_of

from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Setting
from odapi_repro.pipeline import (
    Pipeline,
    field_differences,
    load_pipeline,
    read_recipe,
    render_recipe,
)

NAME = "rois_per_image"
FIELD = "model.faster_rcnn.second_stage_batch_size"


def setting_of(scale: str = "full") -> Setting:
    return plan_of("batch_size", pipeline=MASK_RCNN, scale=scale).setting


def changed(**fields: object) -> Pipeline:
    def edit(proto: object) -> None:
        for name, value in fields.items():
            setattr(proto.model.faster_rcnn, name, value)

    return load_pipeline(MASK_RCNN).edited(edit)


def setting_at(pipeline: Pipeline) -> Setting:
    recipe = read_recipe(pipeline)
    return Setting(pipeline, recipe, recipe)


@pytest.mark.parametrize(("scale", "labels"), [("full", "64 32 16"), ("proxy", "16 8 4")])
def test_default_levels_are_the_reference_a_half_and_a_quarter(scale: str, labels: str) -> None:
    (axis,) = plan_of(NAME, pipeline=MASK_RCNN, scale=scale).axes
    assert list(axis.levels) == labels.split()


@pytest.mark.parametrize("scale", ["full", "proxy"])
def test_only_the_second_stages_batch_is_written(scale: str) -> None:
    setting, factor = setting_of(scale), FACTORS[NAME]
    before = dataclasses.asdict(setting.recipe)
    for level in factor.default_levels(setting)[1:]:
        recipe = factor.edit(setting.recipe, level)
        after = dataclasses.asdict(recipe)
        assert {name for name in before if before[name] != after[name]} == set(factor.owns)
        rendered = render_recipe(recipe, setting.pipeline)
        differing = field_differences(setting.pipeline.proto, rendered.proto)
        assert [(path, new) for path, _, new in differing] == [(FIELD, level.value)]


def test_the_reference_level_writes_nothing() -> None:
    # The reference leaves the field at the proto's default of 64, and it stays unwritten.
    setting, factor = setting_of(), FACTORS[NAME]
    recipe = factor.edit(setting.recipe, factor.reference_level(setting))
    assert render_recipe(recipe, setting.pipeline).to_text() == setting.pipeline.to_text()
    assert "second_stage_batch_size" not in setting.pipeline.to_text()


@pytest.mark.parametrize(("text", "label"), [("1/4", "16"), ("2x", "128"), ("300", "300")])
def test_levels_are_literal_or_relative_to_the_reference(text: str, label: str) -> None:
    assert FACTORS[NAME].parse_level(text, setting_of()).label == label


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("301", "at most first_stage_max_proposals, 300"),
        ("8x", "comes to 512 of 300 proposals"),
        ("0", "at least 1"),
        ("many", "1/4, 2x"),
    ],
)
def test_a_level_the_od_api_would_stop_at_is_refused(text: str, named: str) -> None:
    with pytest.raises(UserError) as caught:
        FACTORS[NAME].parse_level(text, setting_of())
    assert named in str(caught.value)


def test_proxy_levels_map_to_the_same_share_of_the_pipelines_own() -> None:
    setting, factor = setting_of("proxy"), FACTORS[NAME]
    levels = factor.default_levels(setting)
    assert [factor.at_full_scale(level, setting) for level in levels] == [
        "64",
        "32 (1/2 of 64)",
        "16 (1/4 of 64)",
    ]


@pytest.mark.parametrize("pipeline", [EFFICIENTDET, "one_stage"])
def test_a_model_without_a_second_stage_is_refused(pipeline: Path | str) -> None:
    read = changed(number_of_stages=1) if pipeline == "one_stage" else load_pipeline(Path(pipeline))
    assert read_recipe(read).rois_per_image is None
    with pytest.raises(UserError, match="has no second stage") as caught:
        FACTORS[NAME].check_applies(setting_at(read))
    assert "mask_rcnn.config" in caught.value.expected


def test_two_stages_are_enough() -> None:
    FACTORS[NAME].check_applies(setting_at(changed(number_of_stages=2)))


def test_a_hard_example_miner_samples_nothing_and_is_refused() -> None:
    mining = load_pipeline(MASK_RCNN).edited(
        lambda proto: proto.model.faster_rcnn.hard_example_miner.SetInParent()
    )
    with pytest.raises(UserError, match="every proposal is trained on"):
        FACTORS[NAME].check_applies(setting_at(mining))
