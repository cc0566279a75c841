"""Learning rate schedules: against the OD API's own functions, and by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from object_detection.protos import pipeline_pb2

from odapi_repro.pipeline import Pipeline, Schedule, load_pipeline, read_schedule
from odapi_repro.pipeline.recipe import learning_rate_message

COSINE = "cosine_decay_learning_rate"
EXPONENTIAL = "exponential_decay_learning_rate"
MANUAL = "manual_step_learning_rate"
CONSTANT = "constant_learning_rate"


def pipeline_with(rate: str) -> pipeline_pb2.TrainEvalPipelineConfig:
    text = f"train_config {{ optimizer {{ momentum_optimizer {{ learning_rate {{ {rate} }} }} }} }}"
    proto: pipeline_pb2.TrainEvalPipelineConfig = text_format.Parse(
        text, pipeline_pb2.TrainEvalPipelineConfig()
    )
    return proto


def schedule_of(rate: str) -> Schedule:
    return read_schedule(pipeline_with(rate))


def cosine(base: float, total: int, start: float, warmup: int, hold: int = 0) -> str:
    return (
        f"{COSINE} {{ learning_rate_base: {base!r} total_steps: {total} warmup_steps: {warmup} "
        f"warmup_learning_rate: {start!r} hold_base_rate_steps: {hold} }}"
    )


def manual(initial: float, steps: list[tuple[int, float]], warmup: bool = False) -> str:
    entries = " ".join(f"schedule {{ step: {s} learning_rate: {r!r} }}" for s, r in steps)
    flag = "true" if warmup else "false"
    return f"{MANUAL} {{ initial_learning_rate: {initial!r} {entries} warmup: {flag} }}"


def exponential(
    initial: float,
    every: int,
    factor: float,
    *,
    staircase: bool = True,
    burnin: tuple[float, int] = (0.0, 0),
    floor: float = 0.0,
) -> str:
    return (
        f"{EXPONENTIAL} {{ initial_learning_rate: {initial!r} decay_steps: {every} "
        f"decay_factor: {factor!r} staircase: {'true' if staircase else 'false'} "
        f"burnin_learning_rate: {burnin[0]!r} burnin_steps: {burnin[1]} "
        f"min_learning_rate: {floor!r} }}"
    )


def steps_to_look_at(schedule: Schedule, end: int) -> list[int]:
    """1,000 steps, the corners and their neighbours among them."""
    corners = {0, schedule.warmup_steps, schedule.end_step or 0, *schedule.corners, end}
    near = {corner + offset for corner in corners for offset in (-1, 0, 1)}
    even = {end * index // 980 for index in range(981)}
    return sorted(step for step in near | even if step >= 0)


def drawn(seed: int) -> Iterator[str]:
    """Schedules of every kind with odd numbers, some of which the OD API refuses."""
    draw = random.Random(seed)
    for _ in range(6):
        total, warmup = draw.randint(50, 40_000), draw.choice([0, draw.randint(1, 3000)])
        base = 10 ** draw.uniform(-5, 0)
        start = base * draw.choice([0.0, 0.3, 1.0, 1.5])
        hold = draw.choice([0, 0, draw.randint(1, total)])
        yield cosine(base, total, start, warmup, hold)
    for _ in range(6):
        yield exponential(
            10 ** draw.uniform(-4, 0),
            draw.randint(1, 5000),
            draw.uniform(0.1, 1.1),
            staircase=draw.random() < 0.5,
            burnin=(draw.choice([0.0, 0.01]), draw.choice([0, draw.randint(1, 2000)])),
            floor=draw.choice([0.0, 1e-4]),
        )
    for _ in range(6):
        boundaries = sorted(draw.sample(range(1, 3000), draw.randint(1, 5)))
        steps = [(step, 10 ** draw.uniform(-5, 0)) for step in boundaries]
        yield manual(10 ** draw.uniform(-5, 0), steps, warmup=draw.random() < 0.5)
    yield f"{CONSTANT} {{ learning_rate: 0.0123 }}"


EDGES = (
    cosine(0.08, 2000, 0.01, 2000),  # 0 / 0 at step 2000
    cosine(0.08, 0, 0.01, 0),
    cosine(0.08, 3000, 0.01, 1000, 2000),
    cosine(0.08, 3000, 0.01, 1000, 5000),
    cosine(0.08, 1000, 0.01, 2000),  # refused
    cosine(0.01, 1000, 0.08, 200),  # refused
    cosine(0.01, 1000, 0.08, 0),
    f"{COSINE} {{ }}",
    exponential(0.01, 0, 0.9),
    exponential(0.01, 0, 0.9, burnin=(0.001, 50)),
    exponential(0.01, 100, 0.0),
    exponential(0.01, 100, 2.0),
    exponential(0.01, 100, -0.5, staircase=False),
    f"{EXPONENTIAL} {{ }}",
    manual(0.01, []),  # refused
    manual(0.01, [(0, 0.1)]),  # refused
    manual(0.01, [(100, 0.1), (100, 0.01)]),  # refused
    manual(0.01, [(100, 0.1), (50, 0.01)]),  # refused
    manual(0.01, [(1, 0.1), (2, 0.01)], warmup=True),
    manual(0.01, [(100, math.inf)]),
    manual(0.01, [(100, 0.1), (200, math.inf)], warmup=True),
    manual(0.01, [(100, math.inf), (200, 0.1)], warmup=True),
    f"{CONSTANT} {{ }}",
)


def the_od_apis(message: Any, steps: list[int]) -> list[float] | str:
    """The OD API's rates at these steps; the error where it refuses."""
    import tensorflow as tf
    from object_detection.builders import optimizer_builder

    def rate(step: Any) -> Any:
        return tf.identity(optimizer_builder._create_learning_rate(message, global_step=step))

    @tf.function  # as train_loop has it, which also raises what only a step raises
    def all_rates(every: Any) -> Any:
        return tf.map_fn(rate, every, fn_output_signature=tf.float32, parallel_iterations=64)

    try:
        return [float(value) for value in all_rates(tf.constant(steps, tf.int64))]
    except ValueError as error:
        return str(error)


def compare(proto: pipeline_pb2.TrainEvalPipelineConfig, end: int | None = None) -> None:
    """Holds one schedule against the OD API's."""
    schedule = read_schedule(proto)
    optimizer = proto.train_config.optimizer
    message = getattr(optimizer, str(optimizer.WhichOneof("optimizer"))).learning_rate
    last = schedule.end_step or 20_000
    steps = steps_to_look_at(schedule, end or min(last + last // 10 + 10, 400_000))
    theirs = the_od_apis(message, steps)
    if isinstance(theirs, str):
        assert schedule.refusal, theirs
        return
    assert not schedule.refusal
    highest = max((abs(rate) for rate in theirs if math.isfinite(rate)), default=0.0)
    for step, rate in zip(steps, theirs, strict=True):
        # float32: near its end the cosine is a small difference of large numbers.
        expected = pytest.approx(rate, rel=1e-5, abs=2e-6 * highest, nan_ok=True)
        assert schedule.at(step) == expected, f"step {step}"


@pytest.mark.tensorflow
def test_every_references_schedule_is_the_od_apis(reference_configs: Path) -> None:
    configs = sorted(reference_configs.glob("*.config"))
    assert len(configs) == 36
    seen = set()
    for config in configs:
        proto = load_pipeline(config).proto
        key = str(learning_rate_message(proto)[1])
        if key not in seen:  # the families share a handful of schedules
            seen.add(key)
            compare(proto)


@pytest.mark.tensorflow
@pytest.mark.parametrize("seed", range(4))
def test_any_schedule_is_the_od_apis(seed: int) -> None:
    for rate in drawn(seed):
        compare(pipeline_with(rate), end=20_000)


@pytest.mark.tensorflow
@pytest.mark.parametrize("rate", EDGES)
def test_at_the_edges_the_od_apis_rate_refusal_or_nan_is_ours(rate: str) -> None:
    compare(pipeline_with(rate), end=4000)


def test_a_cosine_warms_up_linearly_and_ends_at_nothing() -> None:
    schedule = schedule_of(cosine(0.08, 300_000, 0.001, 2500))
    assert schedule.kind == "cosine"
    assert schedule.at(0) == pytest.approx(0.001)
    assert schedule.at(1250) == pytest.approx(0.0405)
    assert schedule.at(2500) == pytest.approx(0.08)
    assert schedule.at((300_000 + 2500) // 2) == pytest.approx(0.04, rel=1e-4)
    assert schedule.at(300_000) == pytest.approx(0.0, abs=1e-12)
    assert schedule.at(300_001) == 0.0
    assert schedule.end_step == 300_000


def test_a_run_that_ends_in_the_warmup_peaks_in_its_last_step() -> None:
    schedule = schedule_of(cosine(0.008, 200_000, 0.0, 5000))
    assert schedule.peak_within(3000) == pytest.approx(0.008 * 2999 / 5000)
    assert schedule.peak_within(200_000) == pytest.approx(0.008)
    assert math.isnan(schedule.peak_within(0))


def test_equal_steps_of_warmup_and_schedule_give_one_step_that_is_no_number() -> None:
    schedule = schedule_of(cosine(0.08, 2500, 0.001, 2500))
    assert schedule.at(2499) == pytest.approx(0.08, rel=1e-3)
    assert math.isnan(schedule.at(2500))
    assert schedule.at(2501) == 0.0
    assert schedule.peak_within(5000) == schedule.at(2499)


@pytest.mark.parametrize(
    ("rate", "why"),
    [
        (cosine(0.08, 1000, 0.01, 2000), "total_steps (1000) is smaller"),
        (cosine(0.01, 1000, 0.08, 200), "learning_rate_base (0.01) is below"),
        (manual(0.01, []), "an empty learning rate schedule"),
        (manual(0.01, [(0, 0.1)]), "the first boundary is step 0"),
        (manual(0.01, [(9, 0.1), (5, 0.01)]), "9, 5 do not increase"),
    ],
)
def test_what_the_od_api_refuses_is_refused_with_its_reason(rate: str, why: str) -> None:
    assert why in schedule_of(rate).refusal


def test_a_burn_in_is_constant_and_the_decay_starts_after_it() -> None:
    schedule = schedule_of(exponential(0.01, 100, 0.5, burnin=(0.001, 50)))
    assert [schedule.at(step) for step in (0, 49)] == pytest.approx([0.001, 0.001])
    assert [schedule.at(step) for step in (50, 149, 150)] == pytest.approx([0.01, 0.01, 0.005])
    assert schedule.peak_within(200) == pytest.approx(0.01)


def test_without_the_staircase_a_decay_is_smooth_and_stops_at_its_floor() -> None:
    schedule = schedule_of(exponential(0.01, 100, 0.5, staircase=False, floor=0.002))
    assert schedule.at(50) == pytest.approx(0.01 * 0.5**0.5)
    assert schedule.at(100_000) == pytest.approx(0.002)


def test_manual_steps_switch_at_the_boundary_itself() -> None:
    schedule = schedule_of(manual(0.1, [(100, 0.01), (200, 0.001)]))
    rates = [schedule.at(step) for step in (0, 99, 100, 199, 200, 9999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert (schedule.base, schedule.end_step) == (pytest.approx(0.1), 200)


def test_manual_steps_may_warm_up_to_the_second_rate() -> None:
    schedule = schedule_of(manual(0.0, [(100, 0.1), (200, 0.01)], warmup=True))
    assert schedule.at(50) == pytest.approx(0.05)
    assert schedule.at(100) == pytest.approx(0.1)
    assert (schedule.base, schedule.warmup_steps) == (pytest.approx(0.1), 100)


def test_a_short_spike_of_manual_steps_is_the_peak() -> None:
    schedule = schedule_of(manual(0.01, [(100_003, 0.5), (100_004, 0.01)]))
    assert schedule.peak_within(200_000) == pytest.approx(0.5)


def test_without_an_optimizer_there_is_no_rate() -> None:
    for text in ("", "train_config { optimizer { momentum_optimizer { } } }"):
        proto = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
        schedule = read_schedule(proto)
        assert schedule.kind == ""
        assert schedule.refusal
        assert math.isnan(schedule.at(0))
        assert math.isnan(schedule.peak_within(100))


FLOATS = st.floats(width=32)
STEPS = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 3))
ANY_RATE = st.one_of(
    st.builds(cosine, FLOATS, STEPS, FLOATS, STEPS, STEPS),
    st.builds(
        exponential,
        FLOATS,
        STEPS,
        FLOATS,
        staircase=st.booleans(),
        burnin=st.tuples(FLOATS, STEPS),
        floor=FLOATS,
    ),
    st.builds(manual, FLOATS, st.lists(st.tuples(STEPS, FLOATS), max_size=4), warmup=st.booleans()),
    st.builds(f"{CONSTANT} {{{{ learning_rate: {{!r}} }}}}".format, FLOATS),
)


@settings(max_examples=300, deadline=None)
@given(rate=ANY_RATE, step=STEPS)
def test_every_schedule_has_a_rate_or_nan_at_every_step(rate: str, step: int) -> None:
    schedule = schedule_of(rate)
    assert isinstance(schedule.at(step), float)
    assert isinstance(schedule.peak_within(step), float)
    assert isinstance(schedule.sum_within(step), float)


@settings(max_examples=200, deadline=None)
@given(
    rates=st.tuples(*[st.floats(1e-5, 1.0)] * 2),
    steps=st.tuples(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 3000)),
    run=st.integers(1, 4000),
)
def test_the_peak_is_the_highest_rate_of_the_run(
    rates: tuple[float, float], steps: tuple[int, int, int], run: int
) -> None:
    low, high = sorted(rates)
    warmup, decay, hold = steps
    schedule = schedule_of(cosine(high, warmup + hold + decay, low, warmup, hold))
    every = [schedule.at(step) for step in range(run)]
    assert schedule.peak_within(run) == pytest.approx(max(every))
    assert schedule.sum_within(run) == pytest.approx(sum(every), rel=0.01, abs=0.01 * high)


@pytest.mark.parametrize(
    ("rate", "run"),
    [
        (cosine(0.08, 300_000, 0.001, 2500), 300_000),
        (cosine(0.08, 20_000, 0.001, 2500), 300_000),
        (exponential(0.001, 400, 0.95, staircase=True), 25_000),
        (manual(0.01, [(60_000, 0.001), (80_000, 0.0001)]), 90_000),
        (manual(0.0, [(10_000, 0.1), (20_000, 0.01)], warmup=True), 30_000),
    ],
)
def test_the_sum_over_a_long_run_is_that_of_its_steps(rate: str, run: int) -> None:
    schedule = schedule_of(rate)
    assert schedule.sum_within(run) == pytest.approx(
        sum(schedule.at(step) for step in range(run)), rel=0.005
    )


def test_a_pipeline_has_the_schedule_of_its_config(reference_configs: Path) -> None:
    path = reference_configs / "ssd_efficientdet_d3_896x896_coco17_tpu-32.config"
    pipeline: Pipeline = load_pipeline(path)
    schedule = read_schedule(pipeline.proto)
    assert (schedule.kind, schedule.warmup_steps, schedule.end_step) == ("cosine", 2500, 300_000)
