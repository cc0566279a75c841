"""What the trainings of the checks are made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from fake_trials import EFFICIENTDET, MASK_RCNN, small_data

from odapi_repro.factors import Level, factor_named
from odapi_repro.features.sanity.sanity_trainings import SanityTrainings, Training, known_rate
from odapi_repro.pipeline import Pipeline, load_pipeline, parse_pipeline
from odapi_repro.trials.groundwork import TrialConditions, lay_groundwork
from odapi_repro.trials.trial import TrialSpec

CONDITIONS = TrialConditions(
    scale="proxy",
    num_steps=None,
    num_replicas=1,
    device="cpu",
    deterministic=True,
    checkpoint=None,
    sample_1_of_n_eval_examples=None,
)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    (tmp_path / "ckpt-2.index").write_bytes(b"the checksums of all tensors")
    return str(tmp_path / "ckpt-2")


def trainings(path: Path = EFFICIENTDET, *, scale: str = "proxy", **at: str) -> SanityTrainings:
    pipeline = load_pipeline(path)
    conditions = dataclasses.replace(CONDITIONS, scale=scale)
    setting = lay_groundwork(pipeline, small_data(), conditions).setting
    levels: dict[str, Level] = {
        name: factor_named(name).parse_level(text, setting) for name, text in at.items()
    }
    return SanityTrainings(pipeline, conditions, levels)


def config(training: Training) -> Any:
    return parse_pipeline(training.trial.pipeline_text).proto.train_config


def rate(training: Training) -> Any:
    return config(training).optimizer.momentum_optimizer.learning_rate


def test_the_reference_is_the_trial_that_a_study_of_factors_begins_with() -> None:
    pipeline = load_pipeline(EFFICIENTDET)
    ground = lay_groundwork(pipeline, small_data(), CONDITIONS)
    assert trainings().reference(small_data()).trial.trial_id == ground.trial({}, 1).trial_id


def test_a_hold_starts_from_the_whole_detector_and_counts_its_own_steps(prefix: str) -> None:
    hold = trainings().hold(small_data(), prefix)
    assert config(hold).fine_tune_checkpoint == prefix
    assert config(hold).fine_tune_checkpoint_type == "full"
    assert "fresh_step" in hold.trial.spec.extensions
    assert prefix not in hold.trial.spec.pipeline_text
    assert hold.trial.spec.checkpoint


def test_a_hold_keeps_a_low_rate_and_the_pipelines_batch_and_augmentation(prefix: str) -> None:
    hold = trainings().hold(small_data(), prefix)
    reference = trainings().reference(small_data())
    kind = rate(hold).WhichOneof("learning_rate")
    assert kind == "constant_learning_rate"
    assert rate(hold).constant_learning_rate.learning_rate == pytest.approx(hold.peak_rate)
    assert hold.peak_rate < 0.1 * reference.trial.base_lr
    assert config(hold).batch_size == config(reference).batch_size
    assert config(hold).data_augmentation_options == config(reference).data_augmentation_options


def test_a_hold_is_about_data_and_so_the_same_whatever_the_schedule(prefix: str) -> None:
    ids = {
        trainings(**at).hold(small_data(), prefix).trial.trial_id
        for at in ({}, {"learning_rate": "20x"}, {"batch_size": "2"})
    }
    assert len(ids) == 1


def test_an_overfit_has_the_schedule_under_test_and_no_augmentation(prefix: str) -> None:
    own = trainings(learning_rate="20x").overfit(small_data(), prefix, safe=False)
    cosine = rate(own).cosine_decay_learning_rate
    assert cosine.learning_rate_base == pytest.approx(20 * 0.2) == own.peak_rate
    assert cosine.total_steps == config(own).num_steps == own.trial.num_steps
    assert not config(own).data_augmentation_options


def test_an_overfit_at_a_smaller_batch_sees_as_many_images(prefix: str) -> None:
    whole = trainings().overfit(small_data(), prefix, safe=False).trial
    small = trainings(batch_size="2").overfit(small_data(), prefix, safe=False).trial
    assert (small.global_batch_size, small.images_seen) == (2, whole.images_seen)


def test_an_overfit_is_evaluated_on_every_one_of_its_images(prefix: str) -> None:
    sampled = dataclasses.replace(CONDITIONS, sample_1_of_n_eval_examples=5)
    made = dataclasses.replace(trainings(), conditions=sampled)

    def sample(training: Training) -> int:
        proto = parse_pipeline(training.trial.pipeline_text).proto
        return int(proto.eval_input_reader[0].sample_1_of_n_examples)

    assert sample(made.hold(small_data(), prefix)) == 5
    assert sample(made.overfit(small_data(), prefix, safe=False)) == 1


def test_the_known_rate_follows_the_batch_and_not_the_schedule_under_test(prefix: str) -> None:
    at = {"learning_rate": "20x", "batch_size": "2"}
    safe = trainings(**at).overfit(small_data(), prefix, safe=True)
    assert safe.known.rate == pytest.approx(0.2 * 2 / 16)
    assert rate(safe).constant_learning_rate.learning_rate == pytest.approx(safe.peak_rate)
    assert safe.peak_rate <= safe.known.rate
    assert safe.trial.global_batch_size == 2


@pytest.mark.parametrize(("own", "steps", "kept"), [(2500, 400, 40), (12, 400, 12), (0, 400, 0)])
def test_a_warmup_keeps_its_steps_up_to_a_tenth_of_a_short_run(
    own: int, steps: int, kept: int
) -> None:
    def edit(proto: Any) -> None:
        momentum = proto.train_config.optimizer.momentum_optimizer
        momentum.learning_rate.cosine_decay_learning_rate.warmup_steps = own

    pipeline: Pipeline = load_pipeline(EFFICIENTDET).edited(edit)
    conditions = dataclasses.replace(CONDITIONS, scale="full")
    overfit = SanityTrainings(pipeline, conditions, {}).overfit(small_data(), None, safe=False)
    cosine = rate(overfit).cosine_decay_learning_rate
    assert (overfit.trial.num_steps, cosine.warmup_steps) == (steps, kept)


def test_steps_replace_those_of_the_checks_and_not_of_the_reference(prefix: str) -> None:
    short = dataclasses.replace(
        trainings(), conditions=dataclasses.replace(CONDITIONS, num_steps=12)
    )
    data = small_data()
    assert short.hold(data, prefix).trial.num_steps == 12
    assert short.overfit(data, prefix, safe=False).trial.num_steps == 12
    assert short.reference(data).trial.trial_id == trainings().reference(data).trial.trial_id


def test_the_rate_known_at_full_scale_is_the_catalogues_moved_to_the_batch() -> None:
    known = known_rate(load_pipeline(EFFICIENTDET), scale="full", global_batch_size=2)
    assert known.rate == pytest.approx(0.08 * 2 / 128)
    assert "efficientdet_d3" in known.source


def test_adam_has_a_known_rate_of_its_own() -> None:
    def edit(proto: Any) -> None:
        proto.train_config.optimizer.adam_optimizer.learning_rate.constant_learning_rate.learning_rate = 0.08  # noqa: E501

    pipeline = load_pipeline(EFFICIENTDET).edited(edit)
    assert known_rate(pipeline, scale="full", global_batch_size=2).rate == 1e-3


def test_a_mask_rcnn_has_the_same_checks(prefix: str) -> None:
    made = trainings(MASK_RCNN)
    hold = made.hold(small_data(), prefix)
    assert hold.trial.with_masks
    assert isinstance(hold.trial.spec, TrialSpec)
    assert config(hold).fine_tune_checkpoint == prefix
