"""A name that is no factor is answered with the factor that people mean by it."""

from __future__ import annotations

import pytest

from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, POST_HOC_FACTORS, factor_hint, factor_named, hint_of

ALL = [*FACTORS, *POST_HOC_FACTORS]


@pytest.mark.parametrize(
    ("word", "factor"),
    [
        ("lr", "learning_rate"),
        ("learning_rate_base", "learning_rate"),
        ("epochs", "schedule_length"),
        ("num_train_steps", "schedule_length"),
        ("augment", "augmentation"),
        ("Batch-Size", "batch_size"),
        ("bs", "batch_size"),
        ("gpus", "sync_replicas"),
        ("data_fraction", "train_fraction"),
        ("nms", "nms_iou"),
        ("iou_threshold", "nms_iou"),
        ("conf", "score_threshold"),
        ("max_detections", "detections_per_image"),
        ("tta", "flip_testing"),
        ("shedule", "schedule_length"),
        ("warmpu", "warmup"),
    ],
)
def test_another_word_for_a_factor_names_it(word: str, factor: str) -> None:
    assert factor_hint(word, ALL) == f"did you mean '{factor}'?"


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("image_size", "the input size (multi_scale_testing"),
        ("imagesize", "the input size"),
        ("resolution", "the input size"),
        ("anchors", "the anchors"),
        ("bn", "batch norm"),
        ("optimizer", "the optimizer"),
        ("ema", "the moving average of weights"),
        ("num_classes", "the classes"),
    ],
)
def test_what_no_factor_varies_is_said_to_be_none_and_how_to_study_it(word: str, what: str) -> None:
    hint = factor_hint(word, ALL)
    assert hint.startswith(f"no factor varies {what}")
    assert hint.endswith("--pipeline COPY --ablate batch_size --levels 1x")


def test_a_word_with_a_hint_is_not_told_another_factor_as_well() -> None:
    for word in ("lr", "anchors"):
        with pytest.raises(UserError) as raised:
            factor_named(word)
        assert raised.value.mend == factor_hint(word, list(FACTORS))


@pytest.mark.parametrize("word", ["seeds", "hello", "tensorflow", ""])
def test_a_word_that_means_no_factor_has_no_hint(word: str) -> None:
    assert factor_hint(word, ALL) == ""


def test_a_factor_that_is_not_allowed_there_is_not_named() -> None:
    assert "nms_iou" not in factor_hint("nms", list(FACTORS))


def test_what_a_new_factor_varies_is_no_longer_said_to_be_varied_by_none() -> None:
    assert hint_of("clip", {}).startswith("no factor varies gradient clipping")
    assert hint_of("clip", {"gradient_clipping": ""}) == "did you mean 'gradient_clipping'?"


def test_no_word_is_that_of_two_factors() -> None:
    factors = (*FACTORS.values(), *POST_HOC_FACTORS.values())
    words = [word for one in factors for word in (one.name, *one.also_called.split())]
    assert sorted(set(words)) == sorted(words)


def test_image_size_is_not_taken_for_a_mask_size() -> None:
    with pytest.raises(UserError, match="no factor varies the input size") as caught:
        factor_named("image_size")
    assert "mask_size" not in caught.value.mend
