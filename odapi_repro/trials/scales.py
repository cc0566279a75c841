"""How large trials are: the pipeline as it is, or its family shrunk to minutes on two cores."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from odapi_repro.errors import UserError
from odapi_repro.pipeline import Pipeline, read_recipe, render_recipe
from odapi_repro.pipeline.recipe import learning_rate_message
from odapi_repro.trials.proxies import PipelineProto, Proxy, ScaleNote, proxy_for

SCALES = ("auto", "full", "proxy", "smoke")
_SMOKE_BATCH_SIZE = 4
_SMOKE_STEPS = 4
_SMOKE_EVAL_IMAGES = 16
_EVAL_BATCH_SIZE = 8


@dataclass(frozen=True)
class Scaled:
    """A pipeline at a study's scale.

    Attributes:
        pipeline: the reference of the study.
        notes: what was changed and whether the relation was kept.
        extensions: training extensions that it needs.
    """

    pipeline: Pipeline
    notes: tuple[ScaleNote, ...]
    extensions: tuple[str, ...]


def scale_pipeline(
    pipeline: Pipeline, scale: str, *, num_steps: int | None = None, num_eval_images: int = 0
) -> Scaled:
    """Gives the pipeline at `full`, `proxy` or `smoke` scale.

    Args:
        num_steps: overrides the steps at the scale's reference batch; warm-up and the end of the
            schedule keep their shares of the run.
        num_eval_images: in the records, so that `smoke` can sample them.

    Raises:
        UserError: unknown scale, a family without a proxy, or fewer than one step.
    """
    if scale not in SCALES[1:]:
        raise UserError(f"unknown scale '{scale}'", expected=f"one of {', '.join(SCALES)}")
    if num_steps is not None and num_steps < 1:
        raise UserError(f"--steps {num_steps}", expected="at least 1 step")
    if scale == "full":
        return _full(pipeline, num_steps)
    proxy = proxy_for(pipeline)
    batch, steps = proxy.batch_size, num_steps or proxy.num_steps
    if scale == "smoke":
        batch, steps = _SMOKE_BATCH_SIZE, num_steps or _SMOKE_STEPS
    notes: list[ScaleNote] = []

    def edit(proto: PipelineProto) -> None:
        notes.extend(proxy.shrink(proto, proxy.input_size))
        notes.extend(_shrink_schedule(proto, proxy, batch, steps))
        # The weights of another model; the OD API would refuse them.
        proto.train_config.ClearField("fine_tune_checkpoint")
        proto.train_config.ClearField("fine_tune_checkpoint_type")
        proto.eval_config.batch_size = _EVAL_BATCH_SIZE
        reader = proto.eval_input_reader[0]
        reader.drop_remainder = False
        if scale == "smoke" and num_eval_images > _SMOKE_EVAL_IMAGES:
            sample = num_eval_images // _SMOKE_EVAL_IMAGES
            reader.sample_1_of_n_examples = sample
            notes.append(
                ScaleNote("eval images", "all", f"1 of {sample}", False, "proves the plumbing only")
            )

    return Scaled(pipeline.edited(edit), tuple(notes), proxy.extensions)


def _full(pipeline: Pipeline, num_steps: int | None) -> Scaled:
    if num_steps is None:
        return Scaled(pipeline, (), ())
    recipe = read_recipe(pipeline)
    shorter = dataclasses.replace(recipe, images_seen=num_steps * recipe.global_batch_size)
    note = ScaleNote(
        "num_steps",
        str(recipe.num_steps),
        str(num_steps),
        False,
        "--steps; warm-up and decay keep their shares of the run",
    )
    return Scaled(render_recipe(shorter, pipeline), (note,), ())


def _shrink_schedule(proto: PipelineProto, proxy: Proxy, batch: int, steps: int) -> list[ScaleNote]:
    """Writes batch, steps and a cosine schedule of the proxy, and compares them."""
    train_config = proto.train_config
    kind, full = learning_rate_message(proto)
    full_batch, full_steps = int(train_config.batch_size), int(train_config.num_steps)
    base, full_share = _peak_and_warmup_share(kind, full, full_steps)
    full_horizon = _horizon(kind, full, full_steps)
    warmup = round(proxy.warmup_share * steps)
    # The OD API divides by total_steps - warmup_steps.
    warmup = min(warmup, steps - 1)
    optimizer = train_config.optimizer
    rate = getattr(optimizer, optimizer.WhichOneof("optimizer")).learning_rate
    cosine = rate.cosine_decay_learning_rate
    cosine.learning_rate_base = proxy.base_lr
    cosine.warmup_learning_rate = proxy.base_lr * proxy.warmup_start_fraction
    cosine.total_steps, cosine.warmup_steps = steps, warmup
    cosine.hold_base_rate_steps = 0
    train_config.batch_size, train_config.num_steps = batch, steps
    per_image, full_per_image = proxy.base_lr / batch, base / full_batch
    return [
        ScaleNote(
            "images seen",
            f"{full_steps * full_batch:,}",
            f"{steps * batch:,}",
            False,
            "minutes on two cores",
        ),
        ScaleNote("batch size", str(full_batch), str(batch), False, "levels map by their ratio"),
        ScaleNote(
            "peak learning rate per image",
            f"{full_per_image:.2e} ({base:g} at {full_batch})",
            f"{per_image:.2e} ({proxy.base_lr:g} at {batch})",
            abs(per_image / full_per_image - 1) < 0.05 if full_per_image else False,
            "a run this short from random weights needs a higher rate",
        ),
        ScaleNote(
            "warm-up, share of the run",
            f"{full_share:.2%}",
            f"{warmup / steps:.2%}",
            abs(warmup / steps - full_share) < 0.005,
            "at the full share it would last a few steps only",
        ),
        ScaleNote(
            "end of the schedule / end of training",
            f"{full_horizon:.2f}",
            "1.00",
            abs(full_horizon - 1) < 0.01,
            "cosine to zero at the last step",
        ),
    ]


def _peak_and_warmup_share(kind: str, schedule: object, steps: int) -> tuple[float, float]:
    if kind == "cosine_decay_learning_rate":
        return (
            float(schedule.learning_rate_base),  # type: ignore[attr-defined]
            float(schedule.warmup_steps) / steps,  # type: ignore[attr-defined]
        )
    if kind == "constant_learning_rate":
        return float(schedule.learning_rate), 0.0  # type: ignore[attr-defined]
    return float(schedule.initial_learning_rate), 0.0  # type: ignore[attr-defined]


def _horizon(kind: str, schedule: object, steps: int) -> float:
    if kind == "cosine_decay_learning_rate":
        return float(schedule.total_steps) / steps  # type: ignore[attr-defined]
    return 1.0
