"""Published effects: the figures of the evidence table, and the keys that rules cite."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from pathlib import Path

import pytest

from odapi_repro.reference import effect_catalogue
from odapi_repro.reference.effect_catalogue import (
    CHECKED_ON,
    CHECKS,
    EFFECT_FACTORS,
    UNKNOWN_EFFECTS,
    effect,
    effect_keys,
    published_effects,
)

PADDLE_SEMI = "https://github.com/PaddlePaddle/PaddleDetection/blob/develop/configs/semi_det"

MOVED = {f"{PADDLE_SEMI}/README.md": f"{PADDLE_SEMI}/baseline/README.md"}
"""Addresses of the evidence that lack the number, and those that have it."""

CONTROLLED = ("controlled", "near-controlled", "confounded", "field report", "")


def exact(text: str) -> float | None:
    """A figure of the evidence table; None for words and ranges."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def delta_in_words(text: str) -> float | None:
    """The figure of "about -31.4"; None where there is none, or a range."""
    found = re.fullmatch(r"about ([+-][0-9.]+)", text)
    return float(found[1]) if found else None


@pytest.fixture(scope="module")
def evidence(reference_configs: Path) -> list[dict[str, str]]:
    path = reference_configs.parent / "evidence.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_figure_of_the_evidence_is_there_in_points(evidence: list[dict[str, str]]) -> None:
    assert len(evidence) == len(published_effects()) == 395
    for row, ours in zip(evidence, published_effects(), strict=True):
        source = row["source_url"]
        if ours.model.startswith("PP-YOLOE+"):
            source = MOVED[source]
        assert (source, row["model"].replace('"', "")) == (ours.source, ours.model)
        assert ours.quality == row["quality"].removeprefix("read_")
        scale = 100 if "x100" in row["note"] else 1
        values = {exact(row["before"]), exact(row["after"])} - {None}
        figures = [value for value in (ours.before, ours.after) if value is not None]
        for value in values:
            assert pytest.approx(value * scale, abs=1e-6) in figures
        if (delta := exact(row["delta"])) is not None:
            assert ours.delta is not None
            assert abs(ours.delta) == pytest.approx(abs(delta), abs=1e-6)
        elif delta_in_words(row["delta"]) is not None:
            assert ours.delta == pytest.approx(delta_in_words(row["delta"]), abs=0.5)
        elif row["delta"]:
            assert ours.stated or ours.delta is not None


def test_a_row_is_turned_round_only_with_its_figures(evidence: list[dict[str, str]]) -> None:
    turned = [
        ours
        for row, ours in zip(evidence, published_effects(), strict=True)
        if ours.change != row["change"].replace('"', "")
    ]
    mended = ("strikes back", "WBF of 7 models", "default batch size of 2")
    assert all(
        ours.key or ours.checked == "not found in source"
        for ours in turned
        if not any(part in ours.change for part in mended)
    )


def test_every_row_is_whole() -> None:
    for found in published_effects():
        assert found.factor in EFFECT_FACTORS
        assert found.change, found
        assert found.model, found
        assert found.source.startswith("https://"), found
        assert found.where, found
        assert found.quality in ("primary", "secondary", "memory"), found
        assert found.controlled in CONTROLLED, found
        assert found.delta is not None or found.stated or found.after is not None, found
        for value in (found.before, found.after):
            assert value is None or 0 <= value <= 100, found
        if found.before is not None and found.after is not None:
            assert found.delta == pytest.approx(found.after - found.before, abs=0.011), found


@pytest.mark.parametrize(
    ("key", "delta"),
    [
        # The typical values of the evidence's summary, in the direction in which users deviate.
        ("data_1_percent", -30.9),
        ("data_5_percent", -20.0),
        ("data_10_percent", -14.0),
        ("data_30_percent", -4.8),
        ("schedule_2x_1x", -0.9),
        ("epochs_cut_8x", -12.4),
        ("scratch_2x", -3.5),
        ("lr_2x", -0.8),
        ("lr_8x", -10.0),
        ("bn_train_2_images", -3.1),
        ("bn_in_roi_head", -9.0),
        ("frozen_vs_sync", -1.1),
        ("cosine_vs_step", 0.7),
        ("sgd_to_adamw", 0.4),
        ("ema_on", 0.3),
        ("augmentation_off", -3.5),
        ("size_640_320", -6.0),
        ("size_800_400", -5.2),
        ("size_800_500", -3.2),
        ("backbone_101_50", -1.3),
        ("focal_to_ce", -2.9),
        ("focal_to_ohem", -3.2),
        ("label_smoothing_on", -5.0),
        ("box_weight_x5", -0.7),
        ("box_weight_x10", -7.1),
        ("anchors_9_to_1", -3.7),
        ("anchors_9_to_3", -1.6),
        ("forced_match_off", -0.7),
        ("proposals_300_10", -6.4),
        ("score_threshold_0.05", -0.55),
        ("score_threshold_0.3", -3.2),
        ("nms_soft", 0.3),
        ("label_noise_20", -10.8),
        ("effdet_d3_one_gpu", -31.4),
    ],
)
def test_keys_lead_to_the_figures_of_the_evidences_summary(key: str, delta: float) -> None:
    assert effect(key).delta == pytest.approx(delta, abs=0.05)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("lr_8x_nan", "NaN"),
        ("lr_divided_by_2_nan", "NaN"),
        ("bias_prior_off", "diverges"),
        ("proposals_300_50", "-4 % relative"),
        ("crowd", "no difference"),
        ("seed", "standard deviation 0.10"),
    ],
)
def test_an_outcome_without_an_exact_number_is_stated(key: str, words: str) -> None:
    assert words in effect(key).stated


def test_keys_are_unique_and_listed_in_the_docstring() -> None:
    keys = [found.key for found in published_effects() if found.key]
    assert max(Counter(keys).values()) == 1
    assert set(keys) == set(effect_keys())
    listed = re.findall(r"^ {4}([a-z0-9_.]+) {2,}\S", effect_catalogue.__doc__ or "", re.MULTILINE)
    assert sorted(listed) == sorted(keys)


def test_every_factor_has_rows_and_every_row_a_factor() -> None:
    assert {found.factor for found in published_effects()} == set(EFFECT_FACTORS)
    rows = [found for factor in EFFECT_FACTORS for found in published_effects(factor)]
    assert Counter(rows) == Counter(published_effects())


@pytest.mark.parametrize(
    "factor", ["warmup", "learning_rate", "gradient_clipping", "bfloat16", "nms_iou"]
)
def test_what_nobody_published_is_said_to_be_unknown(factor: str) -> None:
    assert UNKNOWN_EFFECTS[factor]


def test_an_unknown_factor_or_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(KeyError, match="'data_fraction'"):
        published_effects("data_fractions")
    with pytest.raises(KeyError, match="'focal_to_ce'"):
        effect("focal_to_cee")


def test_every_row_says_how_it_was_checked() -> None:
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", CHECKED_ON)
    counted = Counter(found.checked for found in published_effects())
    assert set(counted) == set(CHECKS)
    assert counted["source"] + counted["facts"] > 180
    for check in CHECKS:
        assert f"\n- `{check}`: " in (effect_catalogue.__doc__ or "")


def test_no_key_leads_to_a_figure_that_its_source_does_not_have() -> None:
    for found in published_effects():
        assert not (found.key and found.checked == "not found in source"), found


def test_issue_205_of_automl_is_of_batch_4_and_a_divisor_of_2() -> None:
    (found,) = [one for one in published_effects() if one.source.endswith("automl/issues/205")]
    assert "128 -> 2" not in found.change
    assert found.change == "batch 4, rate scaled by a default batch size of 2"
    assert found.stated == "NaN"


def test_pp_yoloe_is_cited_where_its_numbers_stand() -> None:
    rows = [one for one in published_effects() if one.model.startswith("PP-YOLOE+")]
    assert [(one.before, one.after) for one in rows] == [
        *((43.7, 32.8), (43.7, 35.3)),
        *((52.9, 42.9), (52.9, 45.7)),
    ]
    assert {one.source for one in rows} == {f"{PADDLE_SEMI}/baseline/README.md"}
    assert all("49.8" in one.where for one in rows if one.before == 52.9)


def test_the_ensemble_has_as_many_models_as_weights_that_are_not_zero() -> None:
    # Weights of benchmark_coco/README.md: EfficientDet B0 to B7, two DetectoRS, each also mirrored,
    # and YOLOv5x.
    weights = [0] * 8 + [4, 4, 5, 5, 7, 7, 9, 9, 8, 8, 5, 5, 10]
    models = [*zip(weights[0:20:2], weights[1:20:2], strict=True), (weights[20], 0)]
    assert sum(any(pair) for pair in models) == 7
    assert "WBF of 7 models, 6 of them with mirror" in effect("ensemble_on").change
