"""The recipe: what it holds when the batch moves, checked against the OD API's own rules."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline import Pipeline, load_pipeline, parse_pipeline, read_recipe, render_recipe
from odapi_repro.pipeline.recipe import learning_rate_message

SCHEDULES = {
    "cosine_decay_learning_rate": "learning_rate_base: 0.08 total_steps: {steps} "
    "warmup_learning_rate: 0.001 warmup_steps: {warmup} hold_base_rate_steps: {hold}",
    "exponential_decay_learning_rate": "initial_learning_rate: 0.004 decay_steps: {warmup} "
    "decay_factor: 0.95 burnin_learning_rate: 0.001 burnin_steps: {hold}",
    "manual_step_learning_rate": "initial_learning_rate: 0.01 "
    "schedule {{ step: {warmup} learning_rate: 0.001 }} "
    "schedule {{ step: {steps} learning_rate: 0.0001 }}",
    "constant_learning_rate": "learning_rate: 0.02",
}
STEP_FIELDS: dict[str, Callable[..., list[int]]] = {
    "cosine_decay_learning_rate": lambda s: [s.total_steps, s.warmup_steps, s.hold_base_rate_steps],
    "exponential_decay_learning_rate": lambda s: [s.decay_steps, s.burnin_steps],
    "manual_step_learning_rate": lambda s: [entry.step for entry in s.schedule],
    "constant_learning_rate": lambda s: [],
}
RATES: dict[str, Callable[..., list[float]]] = {
    "cosine_decay_learning_rate": lambda s: [s.learning_rate_base, s.warmup_learning_rate],
    "exponential_decay_learning_rate": lambda s: [s.initial_learning_rate, s.burnin_learning_rate],
    "manual_step_learning_rate": lambda s: [
        s.initial_learning_rate,
        *(entry.learning_rate for entry in s.schedule),
    ],
    "constant_learning_rate": lambda s: [s.learning_rate],
}


def pipeline_with(kind: str, batch: int, steps: int, warmup: int, hold: int = 0) -> Pipeline:
    schedule = SCHEDULES[kind].format(steps=steps, warmup=warmup, hold=hold)
    return parse_pipeline(
        f"model {{ ssd {{ }} }} train_config {{ batch_size: {batch} num_steps: {steps} "
        f"optimizer {{ momentum_optimizer {{ learning_rate {{ {kind} {{ {schedule} }} }} }} }} }}"
    )


@st.composite
def pipelines(draw: st.DrawFn) -> tuple[str, Pipeline]:
    kind = draw(st.sampled_from(sorted(SCHEDULES)))
    steps = draw(st.integers(2, 400_000))
    warmup = draw(st.integers(1, steps - 1))
    hold = draw(st.integers(0, steps - warmup - 1))
    return kind, pipeline_with(kind, draw(st.integers(1, 512)), steps, warmup, hold)


def schedule_of(pipeline: Pipeline) -> tuple[list[int], list[float]]:
    kind, message = learning_rate_message(pipeline.proto)
    return STEP_FIELDS[kind](message), RATES[kind](message)


def test_rendering_what_was_read_changes_nothing_in_any_reference_config(
    reference_configs: Path,
) -> None:
    configs = sorted(reference_configs.glob("*.config"))
    assert len(configs) == 36
    for path in configs:
        pipeline = load_pipeline(path)
        recipe = read_recipe(pipeline)
        assert render_recipe(recipe, pipeline).proto == pipeline.proto, path.name
        # Going away and coming back by a batch that divides is exact, too.
        halved = dataclasses.replace(recipe, global_batch_size=1)
        back = dataclasses.replace(
            read_recipe(render_recipe(halved, pipeline)), global_batch_size=recipe.lr_batch_size
        )
        returned = render_recipe(back, render_recipe(halved, pipeline))
        assert returned.proto == pipeline.proto, path.name


@settings(max_examples=200, deadline=None)
@given(pipelines(), st.integers(1, 1024))
def test_a_batch_holds_images_seen_warmup_and_horizon_to_rounding(
    drawn: tuple[str, Pipeline], batch: int
) -> None:
    _, pipeline = drawn
    recipe = read_recipe(pipeline)
    rendered = render_recipe(dataclasses.replace(recipe, global_batch_size=batch), pipeline)
    config = rendered.proto.train_config
    assert config.batch_size == batch
    old, new = schedule_of(pipeline)[0], schedule_of(rendered)[0]
    for steps_before, steps_now in zip(
        [recipe.num_steps, *old], [int(config.num_steps), *new], strict=True
    ):
        # Rounded to whole steps, never to none; where the OD API wants an order, one step more.
        images = steps_before * recipe.global_batch_size
        allowed = 2 * batch + 0.01
        if recipe.images_seen % batch and recipe.images_seen / batch >= 2000:
            # Many steps that do not come out even are rounded to hundreds or thousands.
            allowed += 0.025 * images
        assert abs(steps_now * batch - images) < allowed
    assert schedule_of(rendered)[1] == schedule_of(pipeline)[1], "rates are left to lr_scaling"


@pytest.mark.parametrize("batch", [7, 11, 2, 128])
def test_days_of_steps_come_in_blocks_that_the_od_api_can_save(batch: int) -> None:
    pipeline = load_pipeline("pipelines/effdet_d3.config")
    recipe = dataclasses.replace(read_recipe(pipeline), global_batch_size=batch)
    config = render_recipe(recipe, pipeline).proto.train_config
    assert config.num_steps % 1000 == 0
    cosine = config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
    assert cosine.total_steps == config.num_steps


@settings(max_examples=200, deadline=None)
@given(pipelines(), st.integers(1, 1024), st.sampled_from(["none", "linear", "sqrt"]))
def test_a_learning_rate_rule_multiplies_every_rate_alike(
    drawn: tuple[str, Pipeline], batch: int, rule: str
) -> None:
    _, pipeline = drawn
    recipe = read_recipe(pipeline)
    ratio = batch / recipe.global_batch_size
    factor = {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[rule]
    rendered = render_recipe(
        dataclasses.replace(recipe, global_batch_size=batch, lr_rule=rule), pipeline
    )
    expected = [rate * factor for rate in schedule_of(pipeline)[1]]
    assert schedule_of(rendered)[1] == pytest.approx(expected, rel=1e-5)


@settings(max_examples=200, deadline=None)
@given(pipelines(), st.integers(1, 2000), st.floats(0.0001, 2), st.floats(0, 1.5))
def test_the_od_api_accepts_every_schedule_that_is_rendered(
    drawn: tuple[str, Pipeline], batch: int, stretch: float, warmup_share: float
) -> None:
    kind, pipeline = drawn
    recipe = read_recipe(pipeline)
    images = max(1, round(recipe.images_seen * stretch))
    warmup = None if recipe.warmup_images is None else round(images * warmup_share)
    edited = dataclasses.replace(
        recipe, global_batch_size=batch, images_seen=images, warmup_images=warmup
    )
    rendered = render_recipe(edited, pipeline)
    assert rendered.proto.train_config.num_steps >= 1
    _, schedule = learning_rate_message(rendered.proto)
    if kind == "cosine_decay_learning_rate" and edited != recipe:
        # It divides by total_steps - warmup_steps - hold_base_rate_steps.
        assert schedule.warmup_steps < schedule.total_steps
        assert schedule.warmup_steps + schedule.hold_base_rate_steps < max(
            schedule.total_steps, schedule.hold_base_rate_steps + 1
        )
    if kind == "manual_step_learning_rate":
        boundaries = [entry.step for entry in schedule.schedule]
        assert boundaries[0] > 0
        assert all(a < b for a, b in itertools.pairwise(boundaries))


@pytest.mark.parametrize("kind", sorted(SCHEDULES))
def test_a_schedule_far_beyond_its_run_is_stretched_to_what_the_proto_can_hold(kind: str) -> None:
    far = pipeline_with(kind, 2, 4_000_000_000, 3_000_000_000)
    far = far.edited(lambda proto: setattr(proto.train_config, "num_steps", 10))
    longer = dataclasses.replace(read_recipe(far), images_seen=2_000_000)
    steps, _ = schedule_of(render_recipe(longer, far))
    assert all(0 <= step < 2**32 for step in steps)
    assert longer.num_steps == 1_000_000


def test_the_numbers_of_efficientdet_at_a_batch_of_two_are_those_one_computes_by_hand() -> None:
    pipeline = load_pipeline(Path(__file__).parents[2] / "pipelines" / "effdet_d3.config")
    recipe = read_recipe(pipeline)
    assert (recipe.images_seen, recipe.warmup_images) == (128 * 300_000, 128 * 2_500)
    edited = dataclasses.replace(recipe, global_batch_size=2, lr_rule="linear")
    config = render_recipe(edited, pipeline).proto.train_config
    cosine = config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
    assert (config.num_steps, cosine.total_steps, cosine.warmup_steps) == (
        19_200_000,
        19_200_000,
        160_000,
    )
    assert cosine.learning_rate_base == pytest.approx(0.00125)
    assert cosine.warmup_learning_rate == pytest.approx(0.001 * 2 / 128)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("num_steps: 10", "learning rate"),
        ("optimizer { adam_optimizer { } } batch_size: 2 num_steps: 10", "learning rate"),
    ],
)
def test_a_pipeline_without_a_schedule_has_no_recipe(text: str, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        read_recipe(parse_pipeline(f"model {{ ssd {{ }} }} train_config {{ {text} }}"))


@pytest.mark.parametrize(("batch", "steps", "field"), [(0, 10, "batch_size"), (2, 0, "num_steps")])
def test_a_recipe_needs_a_batch_and_steps(batch: int, steps: int, field: str) -> None:
    with pytest.raises(ConfigError, match=rf"train_config\.{field} is 0"):
        read_recipe(pipeline_with("constant_learning_rate", batch, steps, 0))
