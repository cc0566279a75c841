"""Plans batch, length, rate and warm-up: the reference's recipe at the batch that fits.

Everything goes through the recipe, where each quantity has one owner; only what is kept is put
back behind it.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.mending.changes import Reason
from odapi_repro.diagnosis.mending.constraints import Constraints
from odapi_repro.diagnosis.mending.length import SAVED_EVERY, Length
from odapi_repro.errors import ConfigError
from odapi_repro.pipeline import Pipeline, Recipe, read_recipe, read_schedule, render_recipe
from odapi_repro.pipeline.recipe import learning_rate_message

# A detector that is fine-tuned has learnt most already. Detectron2's tutorial takes a tenth of what
# the linear rule gives for its batch of 2 (0.00025 for 0.02 at 16); an author's own comparison on
# RetinaNet-ResNet50 from the OD API's zoo (batch 4, Waymo) doubled AP by going down to 0.001 with
# an exponential decay, 0.4 of the rule (https://github.com/kaka-lin/nd013-c1-vision-starter).
FINE_TUNE_RATE = 0.2
_FINE_TUNE_SOURCE = "a tenth in Detectron2's tutorial, 0.4 in kaka-lin/nd013-c1-vision-starter"
# A warm-up of the reference's images may take this share of a shorter run, or the reference's own.
_WARMUP_SHARE = 0.1
_WHOLE = f", in whole checkpoint intervals of {SAVED_EVERY:,}"
_LINEAR = "linear rule: Goyal et al. 2017, section 2.1"
_SQRT = "square-root rule for Adam: Malladi et al. 2022"


@dataclass(frozen=True)
class TrainingPlan:
    """How a mended config trains.

    Attributes:
        pipeline: with optimizer, schedule, batch and steps written.
        batch, steps, rate, warmup: why each is what it is.
        replaced: which optimizer or schedule took the place of another; empty where none did.
    """

    pipeline: Pipeline
    batch: str
    steps: str
    rate: str
    warmup: str
    replaced: str

    def reason(self, path: str, code: str | None) -> Reason:
        """Gives why a field of the training was changed."""
        if path == "train_config.batch_size":
            return Reason(self.batch, code)
        if path == "train_config.num_steps":
            return Reason(self.steps, code)
        if self.replaced and "moving_average" not in path:
            return Reason(f"{self.replaced}: {self.rate}, {self.warmup}", code)
        for pattern, text in (
            (r"(warmup|burnin)_(steps|learning_rate)$", self.warmup),
            (r"learning_rate(_base)?$", self.rate),
            (r"learning_rate\.", "the schedule ends with the run"),
        ):
            if re.search(pattern, path):
                return Reason(text, code)
        return Reason("as the reference trains", code)


def fitting_batch(
    own: int, reference: int, constraints: Constraints, *, own_stays: bool = False
) -> tuple[int, str]:
    """Gives the global batch and why: the largest that fits, no larger than the reference's.

    Where the config's own stays, and nobody says what fits, it may be larger.
    """
    replicas = constraints.num_replicas
    if constraints.keeps("batch_size"):
        return max(own, 1), "kept"
    fits = constraints.max_batch if constraints.max_batch is not None else own
    most = fits if own_stays and constraints.max_batch is None else min(fits, reference)
    batch = max(most // replicas, 1) * replicas
    limit = f"--max_batch {fits}" if constraints.max_batch is not None else f"the config's {own}"
    shared = f", shared by {replicas} replicas" if replicas > 1 else ""
    if batch == reference:
        return batch, f"the reference's batch fits ({limit}{shared})"
    return batch, f"the largest batch that fits ({limit}{shared}; the reference has {reference})"


def plan_training(
    pipeline: Pipeline,
    reference: Pipeline,
    constraints: Constraints,
    length: Length,
    *,
    fine_tuning: bool,
    own_rates: bool = False,
) -> TrainingPlan:
    """Gives the training of a config at the batch of `length`, for the images of `length`.

    Args:
        pipeline: the config, whose kept quantities are taken over.
        reference: whose optimizer, schedule, rates and warm-up are taken otherwise.
        constraints: what to respect.
        length: batch, steps, and why.
        fine_tuning: whether a detector is fine-tuned, which takes a lower rate.
        own_rates: whether optimizer and schedule stay the config's own, led to batch and length.
    """
    source = _source(pipeline, reference, constraints, own_rates)
    base = read_recipe(source)
    own_rates = source is pipeline
    warmup = base.warmup_images
    if warmup is not None:
        share = max(_WARMUP_SHARE, warmup / base.images_seen)
        warmup = min(warmup, int(share * length.images))
    recipe = dataclasses.replace(
        base,
        global_batch_size=length.batch,
        num_replicas=constraints.num_replicas,
        images_seen=length.images,
        warmup_images=warmup,
        warmup_run_images=max(length.images, 1),
        lr_rule="none" if constraints.keeps("base_lr") else _rule(source),
    )
    rendered = render_recipe(recipe, source)
    factor = 1.0
    if fine_tuning and not own_rates and not constraints.keeps("base_lr"):
        factor = FINE_TUNE_RATE
    if constraints.keeps("base_lr") and not own_rates:
        kept, theirs = read_schedule(pipeline.proto).base, read_schedule(source.proto).base
        factor = kept / theirs if kept > 0 and theirs > 0 else 1.0
    if factor != 1.0 or recipe.lr_factor != 1.0:
        rendered = _with_rates(rendered, factor)
    if own_rates and _trains_as_before(pipeline, length):
        rendered = pipeline  # to the last digit
    return TrainingPlan(
        pipeline=_with_training_of(pipeline, rendered, constraints),
        batch=length.batch_why,
        steps=length.why if length.to_the_letter else f"{length.why}{_WHOLE}",
        rate=_rate_why(recipe, source, own_rates, lowered=factor == FINE_TUNE_RATE),
        warmup=_warmup_why(recipe, base, own_rates),
        replaced=_replaced(pipeline, rendered),
    )


def _trains_as_before(pipeline: Pipeline, length: Length) -> bool:
    train = pipeline.proto.train_config
    return (train.batch_size, train.num_steps) == (length.batch, length.steps)


def _rate_why(recipe: Recipe, source: Pipeline, own: bool, *, lowered: bool) -> str:
    told = f"{'the config' if own else 'the reference'}'s {read_schedule(source.proto).base:.6g}"
    ratio = f"{recipe.global_batch_size}/{recipe.lr_batch_size}"
    if recipe.lr_factor != 1.0 and recipe.lr_rule == "linear":
        told += f" x {ratio} ({_LINEAR})"
    elif recipe.lr_factor != 1.0:
        told += f" x sqrt({ratio}) ({_SQRT})"
    return told + (
        f" x {FINE_TUNE_RATE:g} for fine-tuning ({_FINE_TUNE_SOURCE})" if lowered else ""
    )


def _replaced(pipeline: Pipeline, rendered: Pipeline) -> str:
    """Says which optimizer or schedule takes the place of the config's; empty where none does."""
    own, now = (
        str(one.proto.train_config.optimizer.WhichOneof("optimizer") or "none")
        for one in (pipeline, rendered)
    )
    if own != now:
        return f"the reference's {now} in place of {own}"
    own, now = (read_schedule(one.proto).kind or "none" for one in (pipeline, rendered))
    return f"the reference's {now} schedule in place of {own}" if own != now else ""


def _source(
    pipeline: Pipeline, reference: Pipeline, constraints: Constraints, own_rates: bool
) -> Pipeline:
    """The pipeline whose optimizer and schedule the recipe starts from."""
    if own_rates or constraints.keeps("optimizer", "lr_schedule"):
        try:
            read_recipe(pipeline)
        except ConfigError:
            return reference
        return pipeline
    return reference


def _rule(source: Pipeline) -> str:
    """How rates follow the batch: Adam divides by the gradient's own size, which SGD does not."""
    kind = source.proto.train_config.optimizer.WhichOneof("optimizer")
    return "sqrt" if kind == "adam_optimizer" else "linear"


def _with_rates(pipeline: Pipeline, factor: float) -> Pipeline:
    """Gives the pipeline with every rate of its schedule multiplied, and rounded to be read."""

    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        _, schedule = learning_rate_message(proto)
        _multiply(schedule, factor)

    return pipeline.edited(edit)


def _multiply(message: Message, factor: float) -> None:
    for descriptor, value in message.ListFields():
        if isinstance(value, float):
            if "learning_rate" in descriptor.name:
                setattr(message, descriptor.name, float(f"{value * factor:.5g}"))
        elif not isinstance(value, (Message, str, bytes, int)):
            for item in value:
                if isinstance(item, Message):
                    _multiply(item, factor)


def _with_training_of(pipeline: Pipeline, rendered: Pipeline, constraints: Constraints) -> Pipeline:
    theirs = rendered.proto.train_config

    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        train = proto.train_config
        kept = type(train.optimizer)()
        kept.CopyFrom(train.optimizer)
        train.optimizer.CopyFrom(theirs.optimizer)
        if constraints.keeps("ema"):
            for name in ("use_moving_average", "moving_average_decay"):
                train.optimizer.ClearField(name)
                if kept.HasField(name):
                    setattr(train.optimizer, name, getattr(kept, name))
        train.batch_size = theirs.batch_size
        train.num_steps = theirs.num_steps
        if constraints.keeps("warmup"):
            _keep_warmup(kept, train.optimizer)

    edited = pipeline.edited(edit)
    return pipeline if edited.proto == pipeline.proto else edited


def _keep_warmup(kept: Message, optimizer: Message) -> None:
    """Puts the config's own warm-up back, where both schedules are of one kind."""
    own, now = _schedule(kept), _schedule(optimizer)
    if own is None or now is None or own.DESCRIPTOR.full_name != now.DESCRIPTOR.full_name:
        return
    for descriptor in own.DESCRIPTOR.fields:
        if descriptor.name.startswith(("warmup", "burnin")):
            now.ClearField(descriptor.name)
            if own.HasField(descriptor.name):
                setattr(now, descriptor.name, getattr(own, descriptor.name))


def _schedule(optimizer: Message) -> Message | None:
    kind = optimizer.WhichOneof("optimizer")
    rate = getattr(optimizer, kind).learning_rate if kind else None
    name = rate.WhichOneof("learning_rate") if rate is not None else None
    return getattr(rate, name) if name else None


def _warmup_why(recipe: Recipe, base: Recipe, own: bool) -> str:
    if not recipe.warmup_images or not base.warmup_images:
        return "no warm-up"
    whose = "the config's own" if own else "the reference's"
    if recipe.warmup_images == base.warmup_images:
        return f"{whose} {base.warmup_images:,} warm-up images at this batch"
    return (
        f"{recipe.warmup_images:,} warm-up images: {whose} {base.warmup_images:,} would be more "
        f"than {recipe.warmup_images / recipe.images_seen:.0%} of this run"
    )
