"""The model and the recipe of a mended config: the reference's, but for what is kept.

Everything goes through the recipe, where each quantity has one owner; only what is kept is put
back behind it.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.deviations import FACTOR_ORDER
from odapi_repro.diagnosis.mending.mend_request import FINE_TUNE, Constraints, Reason
from odapi_repro.errors import ConfigError
from odapi_repro.pipeline import (
    Pipeline,
    Quantities,
    Recipe,
    derive_quantities,
    read_recipe,
    read_schedule,
    render_recipe,
)
from odapi_repro.pipeline.quantities import COCO_TRAIN_IMAGES, Circumstances
from odapi_repro.pipeline.recipe import learning_rate_message

# --- How long a mended config trains: steps at the batch that fits, and why ---


#: Steps between checkpoints in model_main_tf2: only a multiple saves the last step, too.
SAVED_EVERY = 1000
_MOST_STEPS = 2**32 - 1  # what num_steps holds
# Images under which the rule about a run's length (STP001) calls a training short: from a detector
# and from a backbone; and epochs from which it calls any training long.
_LEAST_FROM_DETECTOR = 20_000
_LEAST_FROM_BACKBONE = 100_000
_MOST_EPOCHS = 300
# Fine-tuning without a length of the user's own: some tens of passes over the data, and at most
# the 12 over COCO that detection calls a 1x schedule.
_FINE_TUNE_EPOCHS = 50
_FINE_TUNE_MOST = 12 * COCO_TRAIN_IMAGES
# Where the size of the data is not known.
_FINE_TUNE_UNKNOWN = 40_000


@dataclass(frozen=True)
class Length:
    """Batch and steps of a run.

    Attributes:
        batch: global, in images.
        steps: of the run.
        batch_why, why: where they come from.
        to_the_letter: whether the steps are what the user said; else they are whole checkpoint
            intervals.
    """

    batch: int
    steps: int
    batch_why: str
    why: str
    to_the_letter: bool = False

    @property
    def images(self) -> int:
        """Images seen, repeats counted."""
        return self.batch * self.steps


def plan_length(
    own: Quantities,
    reference: Quantities,
    constraints: Constraints,
    goal: str,
    *,
    batch: tuple[int, str],
    own_is_bad: bool = False,
    own_stays: bool = False,
    whole: bool = True,
) -> Length:
    """Gives batch and steps.

    Args:
        own: quantities of the config, with the training images where they are known.
        reference: quantities of the reference.
        constraints: steps or epochs that the user asks for, what is kept, the hours there are.
        goal: reproducing takes the reference's images (or its epochs, of other data),
            fine-tuning the config's own where the user chose them.
        batch: the global batch and why.
        own_is_bad: whether a rule speaks against the config's own length.
        own_stays: whether the config's own length stays, as nothing speaks against it.
        whole: whether steps are whole checkpoint intervals although the user chose others.
    """
    size, why = batch
    if constraints.steps is not None:
        return Length(size, constraints.steps, why, f"--steps {constraints.steps}", True)
    if constraints.keeps("schedule_length"):
        return Length(size, own.num_steps, why, "kept", True)
    if constraints.epochs is not None:
        images = constraints.epochs * (own.train_images or COCO_TRAIN_IMAGES)
        return _length(images, f"{constraints.epochs:g} epochs (--epochs)", batch)
    if goal == FINE_TUNE:
        return _fine_tuning(own, constraints, batch, own_is_bad, whole)
    if own_stays:
        return _own(own, batch, whole)
    if _is_other_data(own):
        return _length(*_other_data(own, reference), batch)
    return _length(reference.images_seen, f"the reference's {_count(reference.images_seen)}", batch)


def _other_data(own: Quantities, reference: Quantities) -> tuple[float, str]:
    """The reference's epochs of other data; of little data more, as far as that is sensible."""
    known = own.train_images or 0
    epochs = reference.images_seen / COCO_TRAIN_IMAGES
    if epochs * known >= _LEAST_FROM_BACKBONE:
        return epochs * known, f"the reference's {epochs:.0f} epochs of {known:,} training images"
    images = min(_LEAST_FROM_BACKBONE, max(2 * epochs, _MOST_EPOCHS) * known)
    # Less teaches nothing, however often the images come round.
    images = max(images, _LEAST_FROM_DETECTOR)
    why = f"{images / known:.0f} epochs of {known:,} training images, although there are few"
    return images, why


def _is_other_data(own: Quantities) -> bool:
    """Whether the data are known not to be COCO's, give or take some images."""
    known = own.train_images
    return known is not None and not 0.9 <= known / COCO_TRAIN_IMAGES <= 1.1


def _fine_tuning(
    own: Quantities,
    constraints: Constraints,
    batch: tuple[int, str],
    own_is_bad: bool,
    whole: bool,
) -> Length:
    known = own.train_images
    in_time = constraints.images_in_time
    stays = bool(own.num_steps) and not own_is_bad
    if stays and (in_time is None or in_time >= own.images_seen):
        return _own(own, batch, whole)
    if stays:
        images, reason = own.images_seen, f"the {_count(own.images_seen)} that the config asks for"
    elif known:
        images = min(max(_FINE_TUNE_EPOCHS * known, _LEAST_FROM_DETECTOR), _FINE_TUNE_MOST)
        reason = f"{images / known:.3g} epochs of {known:,} training images"
    else:
        images = _LEAST_FROM_DETECTOR if own.num_steps else _FINE_TUNE_UNKNOWN
        reason = f"{_count(images)}, as the number of training images is unknown (--train_images)"
    if in_time is not None and in_time < images:
        steps = max(in_time // batch[0] // SAVED_EVERY, 1) * SAVED_EVERY
        return Length(batch[0], steps, batch[1], f"what {constraints.hours:g} hours hold")
    return _length(images, reason, batch)


def _own(own: Quantities, batch: tuple[int, str], whole: bool) -> Length:
    """The config's own length: its steps, or at another batch its images."""
    reason = f"the {_count(own.images_seen)} that the config asks for"
    if batch[0] == own.global_batch and not (whole and own.num_steps % SAVED_EVERY):
        return Length(batch[0], own.num_steps, batch[1], reason, True)
    return _length(own.images_seen, reason, batch)


def _length(images: float, reason: str, batch: tuple[int, str]) -> Length:
    """Rounds up to whole checkpoint intervals."""
    size, why = batch
    intervals = min(max(math.ceil(images / size / SAVED_EVERY), 1), _MOST_STEPS // SAVED_EVERY)
    return Length(size, intervals * SAVED_EVERY, why, reason)


def _count(images: int) -> str:
    return f"{images / 1e6:.3g} million images" if images >= 1_000_000 else f"{images:,} images"


# --- Puts a config's model and augmentation back to the reference's, but for what is kept ---


# The data decide these, not the recipe.
_OF_THE_DATA = ("num_classes",)
_PATHS = ("_path", "_label_map")
_CROP = "random_scale_crop_and_pad_to_square"
#: The field of the augmentation steps.
AUGMENTATION = "train_config.data_augmentation_options"
_STEP = re.compile(rf"{re.escape(AUGMENTATION)}\[(\d+)\]")


def restore_model(pipeline: Pipeline, reference: Pipeline, constraints: Constraints) -> Pipeline:
    """Gives the pipeline with the reference's model, its own classes and what is kept.

    A field that says explicitly what the reference leaves to its default stays. Of another
    meta-architecture the whole model is taken, unless the backbone is kept: then nothing is.
    """
    same = pipeline.meta_architecture == reference.meta_architecture
    if constraints.keeps("backbone") and (
        not same or _extractor(pipeline) != _extractor(reference)
    ):
        return pipeline

    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        kind = reference.meta_architecture
        theirs = getattr(reference.proto.model, kind)
        if not same:
            classes = pipeline.num_classes
            proto.model.CopyFrom(reference.proto.model)
            if classes and hasattr(theirs, "num_classes"):
                getattr(proto.model, kind).num_classes = classes
            return
        _adopt(getattr(proto.model, kind), theirs, f"model.{kind}", constraints)

    edited = pipeline.edited(edit)
    return pipeline if edited.proto == pipeline.proto else edited


def restore_factors(pipeline: Pipeline, reference: Pipeline, factors: Collection[str]) -> Pipeline:
    """Gives the pipeline with the reference's model as far as these factors go, no further.

    Of another meta-architecture nothing is taken.
    """
    if pipeline.meta_architecture != reference.meta_architecture:
        return pipeline
    others = frozenset(factor for factor in FACTOR_ORDER if factor not in factors)
    return restore_model(pipeline, reference, Constraints(keep=others))


def restore_augmentation(
    pipeline: Pipeline, reference: Pipeline, constraints: Constraints
) -> Pipeline:
    """Gives the pipeline with the reference's augmentation, crops of the input's own size."""
    if constraints.keeps("augmentation"):
        return pipeline

    return _with_augmentation(pipeline, _augmentation_of(reference, pipeline))


def amend_augmentation(
    pipeline: Pipeline, reference: Pipeline, fields: Collection[str], constraints: Constraints
) -> Pipeline:
    """Gives the pipeline with the augmentation steps mended that the fields name, no others.

    A step becomes the reference's of its kind, or goes where there is none; where the whole list is
    named, the reference's steps that are missing are added.
    """
    if constraints.keeps("augmentation"):
        return pipeline
    theirs = {_kind(step): step for step in _augmentation_of(reference, pipeline)}
    named = {int(match[1]) for path in fields if (match := _STEP.match(path))}
    steps = []
    for index, step in enumerate(pipeline.proto.train_config.data_augmentation_options):
        if index not in named:
            steps.append(step)
        elif _kind(step) in theirs:
            steps.append(theirs[_kind(step)])
    if AUGMENTATION in fields or not steps:
        present = {_kind(step) for step in steps}
        steps += [step for kind, step in theirs.items() if kind not in present]
    return _with_augmentation(pipeline, steps)


def _augmentation_of(reference: Pipeline, pipeline: Pipeline) -> list[Any]:
    """The reference's steps, with crops of the pipeline's own input size."""
    wanted = reference.edited(lambda _: None).proto.train_config.data_augmentation_options
    size = derive_quantities(pipeline, Circumstances(look_at_disk=False))
    for option in wanted:
        if _kind(option) == _CROP and size.input_height:
            getattr(option, _CROP).output_size = size.input_height
    return list(wanted)


def _with_augmentation(pipeline: Pipeline, steps: Sequence[Any]) -> Pipeline:
    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        own = proto.train_config.data_augmentation_options
        if len(own) != len(steps) or any(
            not _equal(one, other) for one, other in zip(own, steps, strict=True)
        ):
            wanted = list(steps)
            del own[:]
            own.extend(wanted)

    edited = pipeline.edited(edit)
    return pipeline if edited.proto == pipeline.proto else edited


def _kind(step: Any) -> str:
    return str(step.WhichOneof("preprocessing_step"))


def _extractor(pipeline: Pipeline) -> str:
    return str(getattr(getattr(pipeline.model, "feature_extractor", None), "type", ""))


def _equal(one: Message, other: Message) -> bool:
    """Whether two messages mean the same, unset fields counting as their defaults."""
    if one.DESCRIPTOR.full_name != other.DESCRIPTOR.full_name:
        return False
    for oneof in one.DESCRIPTOR.oneofs:
        if one.WhichOneof(oneof.name) != other.WhichOneof(oneof.name):
            return False
    for descriptor in one.DESCRIPTOR.fields:
        name = descriptor.name
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, Message):
            if (one.HasField(name) or other.HasField(name)) and not _equal(left, right):
                return False
        elif repr(left) != repr(right):
            return False
    return True


def _adopt(own: Any, theirs: Any, path: str, constraints: Constraints) -> None:
    """Leads a message to the reference's, where the two do not mean the same anyway."""
    for descriptor in theirs.DESCRIPTOR.fields:
        name = descriptor.name
        here = f"{path}.{name}"
        left, right = getattr(own, name), getattr(theirs, name)
        if isinstance(left, Message) and own.HasField(name) and theirs.HasField(name):
            _adopt(left, right, here, constraints)  # parts of it may be kept and others not
        elif _is_left_alone(here, name, constraints):
            continue
        elif not isinstance(left, Message):
            _adopt_value(own, theirs, name)
        elif theirs.HasField(name):
            left.CopyFrom(right)
            left.SetInParent()
        elif own.HasField(name) and not _is_chosen_elsewhere(own, theirs, descriptor):
            own.ClearField(name)


def _is_left_alone(path: str, name: str, constraints: Constraints) -> bool:
    if name in _OF_THE_DATA or name.endswith(_PATHS):
        return True
    return constraints.kept_factor_of([path]) is not None


def _is_chosen_elsewhere(own: Message, theirs: Message, descriptor: Any) -> bool:
    """Whether another member of the oneof was copied already, which cleared this one."""
    oneof = descriptor.containing_oneof
    return bool(oneof is not None and own.WhichOneof(oneof.name) != descriptor.name)


def _adopt_value(own: Any, theirs: Any, name: str) -> None:
    left, right = getattr(own, name), getattr(theirs, name)
    if repr(left) == repr(right):
        return
    if isinstance(left, (str, bytes, int, float)):
        if theirs.HasField(name):
            setattr(own, name, right)
        else:
            own.ClearField(name)
    else:
        own.ClearField(name)
        getattr(own, name).MergeFrom(right)


# --- Plans batch, length, rate and warm-up: the reference's recipe at the batch that fits ---


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
