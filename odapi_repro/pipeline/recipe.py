"""The recipe: the quantities of a training that can be set, each with one owner.

Batch size, schedule length, warm-up and learning rate all write the same few fields (`num_steps`,
`total_steps`, `warmup_steps`, rates). So nobody edits those fields: factors edit the recipe, in
images rather than steps, and `render_recipe` writes the fields once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.fields import set_field
from odapi_repro.pipeline.parse import Pipeline
from odapi_repro.pipeline.schedule import read_schedule

# --- What a recipe does to the training records before they are read: damage on purpose ---


LABEL_NOISE_KINDS = {
    "shifted": "boxes moved by a quarter to a half of their own size, along both axes",
    "scaled": "boxes shrunk to 0.5 to 0.7, or grown to 1.4 to 2 times their sides",
    "dropped": "objects left out",
    "swapped": "objects of another class, drawn evenly from the label map",
    "absolute": "images whose boxes are in pixels instead of shares of the image",
    "shuffled": "images with the objects of another image",
}
"""Kind -> what it does."""

_OF_IMAGES = frozenset({"absolute", "shuffled"})


@dataclass(frozen=True)
class LabelNoise:
    """Wrong annotations of one kind.

    Attributes:
        kind: of `LABEL_NOISE_KINDS`.
        share: above 0, up to 1, of the objects, or of the images that have any.
    """

    kind: str
    share: float

    @property
    def is_of_images(self) -> bool:
        """Whether the share counts images instead of objects."""
        return self.kind in _OF_IMAGES

    @property
    def label(self) -> str:
        """As it is typed and shown, e.g. `dropped:0.2`."""
        return f"{self.kind}:{self.share:g}"


@dataclass(frozen=True)
class RecordEdits:
    """What is done to the training records, in this order.

    Attributes:
        train_fraction: share of the images that is kept, above 0, up to 1.
        label_noise: what is done to annotations; None for nothing.
        duplicate_share: share of the images, below 1, that are replaced by copies of others; the
            number of records stays.
    """

    train_fraction: float = 1.0
    label_noise: LabelNoise | None = None
    duplicate_share: float = 0.0

    @property
    def is_none(self) -> bool:
        """Whether the records stay as they are."""
        return self == RecordEdits()

    @property
    def text(self) -> str:
        """One line: what is done, exactly; it enters a trial's identity."""
        parts = []
        if self.train_fraction != 1.0:
            parts.append(f"train_fraction={self.train_fraction!r}")
        if self.label_noise is not None:
            parts.append(f"label_noise={self.label_noise.kind}:{self.label_noise.share!r}")
        if self.duplicate_share:
            parts.append(f"duplicate_share={self.duplicate_share!r}")
        return " ".join(parts)


# --- The recipe: the quantities of a training that can be set, each with one owner ---


LR_RULES = ("none", "linear", "sqrt")

# Fields of each schedule in object_detection/protos/optimizer.proto that count steps, and that are
# rates. manual_step's own are in a repeated message and handled beside them.
_STEP_FIELDS = {
    "constant_learning_rate": (),
    "exponential_decay_learning_rate": ("decay_steps", "burnin_steps"),
    "manual_step_learning_rate": (),
    "cosine_decay_learning_rate": ("total_steps", "warmup_steps", "hold_base_rate_steps"),
}
_RATE_FIELDS = {
    "constant_learning_rate": ("learning_rate",),
    "exponential_decay_learning_rate": (
        "initial_learning_rate",
        "burnin_learning_rate",
        "min_learning_rate",
    ),
    "manual_step_learning_rate": ("initial_learning_rate",),
    "cosine_decay_learning_rate": ("learning_rate_base", "warmup_learning_rate"),
}
# Steps are uint32 in the proto; half of that leaves room for boundaries that must increase.
_MOST_STEPS = 2**31 - 1

# Of these, where a warm-up starts. manual_step's is its initial rate, if it has a warm-up.
_START_FIELDS = ("warmup_learning_rate", "burnin_learning_rate")
# Quantities that decide which records are read and what is done to them.
_OF_RECORDS = ("train_shards", "train_fraction", "label_noise", "duplicate_share")


@dataclass(frozen=True)
class Recipe:
    """What a training sets, in images where the proto counts steps.

    Attributes:
        global_batch_size: images in a step, over all replicas.
        num_replicas: replicas that share the global batch; batch-norm statistics and loss
            normalisers are per replica.
        images_seen: training images over the whole run, repeats counted.
        warmup_images: images during warm-up; None for a schedule that has none to set.
        warmup_run_images: `images_seen` of the run that `warmup_images` were chosen for; in a run
            of another length the warm-up keeps its share.
        base_lr: rate after warm-up and before decay, at `lr_batch_size`; None where the schedule
            has none above 0. Rates to which it decays move with it.
        lr_rule: how rates follow the batch: `none`, `linear` or `sqrt` of
            global_batch_size / lr_batch_size.
        lr_batch_size: the batch for which the pipeline's rates were chosen.
        augmentation: each `data_augmentation_options` in text format, in order.
        rois_per_image: proposals of an image on which the second stage is trained; None for a model
            without one.
        train_shards: how many files of those that the training reader's patterns match are read,
            the first by name; None for all. No field of the proto: the files are named where the
            records are bound.
        fields: dotted paths of the proto and values, set as they are: what no quantity above owns.
        train_fraction, label_noise, duplicate_share: what is done to the training records before
            they are read, see `RecordEdits`; no fields either.
    """

    global_batch_size: int
    num_replicas: int
    images_seen: int
    warmup_images: int | None
    warmup_run_images: int
    base_lr: float | None
    lr_rule: str
    lr_batch_size: int
    augmentation: tuple[str, ...]
    rois_per_image: int | None = None
    train_shards: int | None = None
    train_fraction: float = 1.0
    label_noise: LabelNoise | None = None
    duplicate_share: float = 0.0
    fields: tuple[tuple[str, object], ...] = ()

    @property
    def record_edits(self) -> RecordEdits:
        """What is done to the training records before they are read."""
        return RecordEdits(self.train_fraction, self.label_noise, self.duplicate_share)

    @property
    def lr_factor(self) -> float:
        """What the pipeline's rates are multiplied with (Goyal et al. 2017, eq. 3-4, if linear)."""
        ratio = self.global_batch_size / self.lr_batch_size
        return {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[self.lr_rule]

    @property
    def num_steps(self) -> int:
        """Steps that see `images_seen` images, at least 1.

        Where the batch does not divide the images, the steps are rounded, to a multiple of 100 from
        2,000 on and of 1,000 from 20,000 on: the OD API steps and saves by blocks of 100.
        """
        steps, rest = divmod(self.images_seen, self.global_batch_size)
        if not rest:
            return max(1, steps)
        unit = 1000 if steps >= 20_000 else 100 if steps >= 2_000 else 1
        return max(1, round(self.images_seen / self.global_batch_size / unit) * unit)

    @property
    def images_per_replica(self) -> int:
        """Images over which one batch-norm update takes its statistics."""
        return self.global_batch_size // self.num_replicas


def learning_rate_message(proto: pipeline_pb2.TrainEvalPipelineConfig) -> tuple[str, Message]:
    """Gives the schedule's name (`cosine_decay_learning_rate` ...) and its message.

    Raises:
        ConfigError: the pipeline has no optimizer or no schedule.
    """
    optimizer = proto.train_config.optimizer
    kind = optimizer.WhichOneof("optimizer")
    schedule = getattr(optimizer, kind).learning_rate if kind else None
    name = schedule.WhichOneof("learning_rate") if schedule is not None else None
    if schedule is None or name is None:
        raise ConfigError(
            "train_config.optimizer has no learning rate",
            expected="an optimizer with one of the OD API's schedules",
            mend="see train_config in pipelines/effdet_d3.config",
        )
    return str(name), getattr(schedule, str(name))


def read_recipe(pipeline: Pipeline, *, num_replicas: int = 1) -> Recipe:
    """Gives the recipe that a pipeline stands for.

    Raises:
        ConfigError: no optimizer, batch size or number of steps.
    """
    train_config = pipeline.proto.train_config
    name, schedule = learning_rate_message(pipeline.proto)
    batch = int(train_config.batch_size)
    for field, value in (("batch_size", batch), ("num_steps", int(train_config.num_steps))):
        if value < 1:
            raise ConfigError(
                f"train_config.{field} is {value}",
                expected="at least 1",
                mend=f"set train_config.{field}",
                where=pipeline.path,
            )
    warmup: int | None = None
    if name == "cosine_decay_learning_rate":
        warmup = int(schedule.warmup_steps) * batch  # type: ignore[attr-defined]
    # The proto holds a float32: seven digits are what was written.
    base_lr = float(f"{read_schedule(pipeline.proto).base:.7g}")
    return Recipe(
        global_batch_size=batch,
        num_replicas=num_replicas,
        images_seen=int(train_config.num_steps) * batch,
        warmup_images=warmup,
        warmup_run_images=int(train_config.num_steps) * batch,
        base_lr=base_lr if 0 < base_lr < math.inf else None,
        lr_rule="none",
        lr_batch_size=batch,
        augmentation=tuple(
            str(text_format.MessageToString(option, as_one_line=True))
            for option in train_config.data_augmentation_options
        ),
        rois_per_image=_rois_per_image(pipeline),
    )


def render_recipe(recipe: Recipe, pipeline: Pipeline) -> Pipeline:
    """Gives the pipeline with every field that the recipe owns written.

    `pipeline` is the one whose recipe was read and then edited: its schedule gives the shape
    (where it ends, its boundaries), stretched with the run when `images_seen` changes.

    Rendering the recipe that was read from a pipeline gives that pipeline back. `num_replicas` and
    what is read of the records, and done to them, stand in no field.
    """
    base = read_recipe(pipeline)
    records = {name: getattr(base, name) for name in _OF_RECORDS}
    if replace(recipe, **records) == base:
        return pipeline
    # From the rounded steps, so that a schedule that ends with the training still does.
    stretch = recipe.num_steps / base.num_steps

    def rescale(steps: int) -> int:
        return min(max(1, round(steps * stretch)), _MOST_STEPS)

    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        train_config = proto.train_config
        name, message = learning_rate_message(proto)
        schedule: Any = message
        if recipe.num_steps != train_config.num_steps:
            for field in _STEP_FIELDS[name]:
                if steps := getattr(schedule, field):
                    setattr(schedule, field, rescale(steps))
        _set_rates(name, schedule, recipe, base)
        if name == "manual_step_learning_rate":
            last = 0
            for boundary in schedule.schedule:
                # manual_stepping refuses boundaries that do not increase.
                boundary.step = last = max(rescale(boundary.step), last + 1)
        if recipe.warmup_images is not None:
            _set_warmup(schedule, recipe)
        train_config.batch_size = recipe.global_batch_size
        train_config.num_steps = recipe.num_steps
        if recipe.augmentation != base.augmentation:
            del train_config.data_augmentation_options[:]
            for text in recipe.augmentation:
                text_format.Parse(
                    text,
                    train_config.data_augmentation_options.add(),
                )
        if recipe.rois_per_image != base.rois_per_image:
            proto.model.faster_rcnn.second_stage_batch_size = recipe.rois_per_image
        for path, value in recipe.fields:
            set_field(proto, path, value)

    return pipeline.edited(edit)


def _rois_per_image(pipeline: Pipeline) -> int | None:
    if pipeline.meta_architecture != "faster_rcnn":
        return None
    model = pipeline.proto.model.faster_rcnn
    return int(model.second_stage_batch_size) if model.number_of_stages > 1 else None


def _set_rates(name: str, schedule: Any, recipe: Recipe, base: Recipe) -> None:
    """Writes the rates: moved with `base_lr`, then multiplied by the rule."""
    moved = recipe.base_lr is not None and recipe.base_lr != base.base_lr
    if not moved and recipe.lr_factor == 1.0:
        return

    def rate(value: float, *, start: bool) -> float:
        if moved and recipe.base_lr and base.base_lr:
            # A warm-up that starts above the peak is refused (cosine_decay_with_warmup).
            shifted = value * recipe.base_lr / base.base_lr
            value = min(value, recipe.base_lr) if start else float(f"{shifted:.7g}")
        return value * recipe.lr_factor

    stepped = name == "manual_step_learning_rate"
    boundaries = schedule.schedule if stepped else ()
    climbs = stepped and len(boundaries) > 0 and bool(schedule.warmup)
    for field in _RATE_FIELDS[name]:
        if value := getattr(schedule, field):
            setattr(schedule, field, rate(value, start=climbs or field in _START_FIELDS))
    for boundary in boundaries:
        boundary.learning_rate = rate(boundary.learning_rate, start=False)


def _set_warmup(schedule: Any, recipe: Recipe) -> None:
    images = (recipe.warmup_images or 0) * recipe.images_seen / recipe.warmup_run_images
    steps = round(images / recipe.global_batch_size)
    if recipe.warmup_images and not steps:
        steps = 1
    # cosine_decay_with_warmup divides by total_steps - warmup_steps - hold_base_rate_steps.
    room = int(schedule.total_steps - schedule.hold_base_rate_steps) - 1
    schedule.warmup_steps = min(steps, max(0, room))
