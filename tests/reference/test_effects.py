"""Published effects: the figures of the evidence table, and the keys that rules cite."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from pathlib import Path

import pytest

from odapi_repro.reference import effects
from odapi_repro.reference.effects import (
    EFFECT_FACTORS,
    UNKNOWN_EFFECTS,
    effect,
    effect_keys,
    published_effects,
)

CONTROLLED = ("controlled", "near-controlled", "confounded", "field report", "")


def exact(text: str) -> float | None:
    """A figure of the evidence table; None for words and ranges."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


@pytest.fixture(scope="module")
def evidence(reference_configs: Path) -> list[dict[str, str]]:
    path = reference_configs.parent / "evidence.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_figure_of_the_evidence_is_there_in_points(evidence: list[dict[str, str]]) -> None:
    assert len(evidence) == len(published_effects()) == 395
    for row, ours in zip(evidence, published_effects(), strict=True):
        assert (row["source_url"], row["model"].replace('"', "")) == (ours.source, ours.model)
        assert ours.quality == row["quality"].removeprefix("read_")
        scale = 100 if "x100" in row["note"] else 1
        values = {exact(row["before"]), exact(row["after"])} - {None}
        figures = [value for value in (ours.before, ours.after) if value is not None]
        for value in values:
            assert pytest.approx(value * scale, abs=1e-6) in figures
        if (delta := exact(row["delta"])) is not None:
            assert ours.delta is not None
            assert abs(ours.delta) == pytest.approx(abs(delta), abs=1e-6)
        elif row["delta"]:
            assert ours.stated or ours.delta is not None


def test_a_row_is_turned_round_only_with_its_figures(evidence: list[dict[str, str]]) -> None:
    turned = [
        ours
        for row, ours in zip(evidence, published_effects(), strict=True)
        if ours.change != row["change"].replace('"', "")
    ]
    assert all(ours.key for ours in turned if "strikes back" not in ours.change)


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
        if found.before is not None and found.after is not None and not found.stated:
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
        ("size_1024_640", -2.9),
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
        ("effdet_d3_one_gpu", -31.0),
    ],
)
def test_keys_lead_to_the_figures_of_the_evidences_summary(key: str, delta: float) -> None:
    assert effect(key).delta == pytest.approx(delta, abs=0.05)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("lr_8x_nan", "NaN"),
        ("batch_2_paper_lr", "NaN"),
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
    listed = re.findall(r"^ {4}([a-z0-9_.]+) {2,}\S", effects.__doc__ or "", re.MULTILINE)
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
