"""google/automl's recipe: what a pipeline.config can say of it is said, the rest is listed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from odapi_repro.pipeline import read_recipe
from odapi_repro.reference import REFERENCES

MEMBERS = range(8)
EXAMPLES_PER_EPOCH = 120_000


@pytest.fixture(scope="module")
def recipes(reference_configs: Path) -> list[dict[str, str]]:
    path = reference_configs.parent / "automl_recipe.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("number", MEMBERS)
def test_rates_length_and_losses_are_automls(number: int) -> None:
    reference = REFERENCES[f"efficientdet_d{number}_automl"]
    proto = reference.pipeline().proto
    recipe = read_recipe(reference.pipeline())
    epochs = 600 if number == 7 else 300
    assert recipe.images_seen == pytest.approx(epochs * EXAMPLES_PER_EPOCH, rel=0.002)
    assert recipe.num_steps % 1000 == 0
    assert recipe.warmup_images == pytest.approx(EXAMPLES_PER_EPOCH, abs=128)
    train = proto.train_config
    cosine = train.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
    assert cosine.learning_rate_base == pytest.approx(0.16)
    assert cosine.warmup_learning_rate == pytest.approx(0.016)
    assert cosine.total_steps == train.num_steps
    assert train.gradient_clipping_by_norm == 10
    assert train.optimizer.use_moving_average
    assert train.optimizer.moving_average_decay == pytest.approx(0.9998)
    coder = proto.model.ssd.box_coder.faster_rcnn_box_coder
    assert [coder.y_scale, coder.x_scale, coder.height_scale, coder.width_scale] == [1, 1, 1, 1]
    loss = proto.model.ssd.loss
    assert loss.localization_weight == 50
    assert loss.localization_loss.weighted_smooth_l1.delta == pytest.approx(0.1)
    # Evaluating the average raises under model_main_tf2.
    assert not proto.eval_config.use_moving_averages


@pytest.mark.parametrize("number", MEMBERS)
def test_architecture_and_numbers_are_those_of_automls_table(
    recipes: list[dict[str, str]], number: int
) -> None:
    reference, row = REFERENCES[f"efficientdet_d{number}_automl"], recipes[number]
    ssd = reference.pipeline().proto.model.ssd
    bifpn, anchors = ssd.feature_extractor.bifpn, ssd.anchor_generator.multiscale_anchor_generator
    head = ssd.box_predictor.weight_shared_convolutional_box_predictor
    assert row["model"] == f"D{number}"
    assert reference.image_size == (int(row["image_size"]), int(row["image_size"]))
    assert f"efficient{row['backbone'].removeprefix('efficient')}" in ssd.feature_extractor.type
    assert bifpn.num_filters == head.depth == int(row["fpn_filters"])
    assert bifpn.num_iterations == int(row["fpn_cells"])
    assert (bifpn.combine_method == "sum") == (row["fpn_weight_method"] == "sum")
    assert head.num_layers_before_predictor == int(row["head_repeats"])
    assert anchors.anchor_scale == float(row["anchor_scale"])
    assert float(row["box_loss_weight"]) == ssd.loss.localization_weight
    reported = [metric.value for metric in reference.reported]
    columns = ("val_HEAD", "val_2020-07-06", "val_2020-06-14", "testdev_HEAD", "testdev_2020-07-06")
    assert reported == [float(row[f"AP_{column}"]) for column in columns]


def test_it_differs_from_the_od_apis_recipe_in_the_backbones_weight_decay() -> None:
    def overrides(name: str) -> bool:
        extractor = REFERENCES[name].pipeline().proto.model.ssd.feature_extractor
        return bool(extractor.override_base_feature_extractor_hyperparams)

    assert overrides("efficientdet_d0_automl")
    assert not overrides("efficientdet_d0")


def test_d6_is_smaller_and_d7_has_larger_anchors_than_in_the_od_api() -> None:
    assert REFERENCES["efficientdet_d6_automl"].image_size == (1280, 1280)
    assert REFERENCES["efficientdet_d6"].image_size == (1408, 1408)
    scales = [
        REFERENCES[name]
        .pipeline()
        .proto.model.ssd.anchor_generator.multiscale_anchor_generator.anchor_scale
        for name in ("efficientdet_d7_automl", "efficientdet_d7")
    ]
    assert scales == [5.0, 4.0]


@pytest.mark.parametrize(
    "aspect", ["average", "clipping", "batch norm", "crowd", "padding", "cosine", "NMS"]
)
def test_what_the_od_api_cannot_say_is_listed(aspect: str) -> None:
    for number in MEMBERS:
        reference = REFERENCES[f"efficientdet_d{number}_automl"]
        found = [one for one in reference.unexpressed if aspect in one.aspect]
        assert len(found) == 1
        assert found[0].theirs
        assert found[0].here
        assert found[0].effect


def test_only_b0_goes_without_stochastic_depth() -> None:
    without = [
        name
        for name, reference in REFERENCES.items()
        if any(one.aspect == "stochastic depth" for one in reference.unexpressed)
    ]
    assert without == ["efficientdet_d0_automl"]


def test_the_od_apis_own_recipes_leave_nothing_out() -> None:
    assert not any(r.unexpressed for r in REFERENCES.values() if r.recipe == "odapi")
