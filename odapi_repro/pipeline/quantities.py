"""What a pipeline amounts to: the derived numbers that decide how it trains.

A name like `train-00003-of-00100` says how many shards there are; tf.io.gfile.glob reads what
matches, and the OD API only complains when nothing at all does (builders/dataset_builder.py).

Two configs are compared in these rather than in fields: `batch_size: 2` and `num_steps: 600000`
say little, 1.2 million images, 1014 times the same 1183, say why it fails.
"""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import translate
from typing import Any

from odapi_repro.pipeline.fields import descend
from odapi_repro.pipeline.parse import Pipeline
from odapi_repro.pipeline.schedule import read_schedule

# --- How many shards of a sharded data set the patterns of an input reader read ---


# In a pattern the index may be digits or any mix of ?, * and [0-9] that stands for digits.
_SHARDED = re.compile(
    r"^(?P<prefix>.*?)-(?P<index>(?:[0-9?*]|\[!?[0-9\-]+\])+)-of-(?P<total>[0-9]+)(?P<suffix>.*)$",
    re.DOTALL,
)
_MOST_SHARDS = 100_000


@dataclass(frozen=True)
class ShardCount:
    """Shards that patterns read.

    Attributes:
        read: shards whose names match a pattern; None when the names tell no total.
        named: shards that exist according to `-of-NNNNN`; None when no name says so.
        files: files on this disk that match; None where no folder of a pattern is here.
        on_disk: shards of the same data sets on this disk, matched or not; None likewise.
    """

    read: int | None
    named: int | None
    files: int | None
    on_disk: int | None

    @property
    def share(self) -> float | None:
        """The share of the named shards that is read, 0 to 1."""
        if self.read is None or not self.named:
            return None
        return self.read / self.named


def count_shards(patterns: Sequence[str], *, look_at_disk: bool = True) -> ShardCount:
    """Gives what `patterns` (the reader's `input_path`) read, by their names and on this disk.

    Where one pattern tells no total, what the others read is no share of anything, and the names
    count as telling nothing.
    """
    read: dict[str, set[int]] = {}
    named: dict[str, int] = {}
    untold = False
    for pattern in patterns:
        match = _SHARDED.match(pattern)
        if match is None or len(match["total"]) > 9 or int(match["total"]) > _MOST_SHARDS:
            untold = True
            continue
        key = f"{match['prefix']}-of-{match['total']}{match['suffix']}"
        named[key] = int(match["total"])
        read.setdefault(key, set()).update(_indices(match["index"], match["total"]))
    files, on_disk = _on_disk(patterns) if look_at_disk else (None, None)
    if untold or not named:
        return ShardCount(None, None, files, on_disk)
    return ShardCount(sum(map(len, read.values())), sum(named.values()), files, on_disk)


def _indices(index: str, total: str) -> Iterable[int]:
    """The shards that an index pattern matches; names have as many digits as the total has."""
    count, width = int(total), len(total)
    if index.isdigit():
        # No wildcard: one file, whose name may be written with fewer zeros.
        return (int(index),) if int(index) < count else ()
    if index == "*" or index == "?" * width:
        return range(count)
    matches = re.compile(translate(index)).match
    return (number for number in range(count) if matches(f"{number:0{width}d}"))


def _on_disk(patterns: Sequence[str]) -> tuple[int | None, int | None]:
    matched: set[str] = set()
    beside: set[str] = set()
    looked = False
    for pattern in patterns:
        path = os.path.expanduser(pattern)
        folder = os.path.dirname(path) or "."
        if "://" in pattern or not os.path.isdir(folder):
            continue
        looked = True
        matched |= {found for found in glob.glob(path) if os.path.isfile(found)}
        sharded = _SHARDED.match(path)
        if sharded is not None:
            family = glob.escape(sharded["prefix"]) + "-*-of-*" + glob.escape(sharded["suffix"])
            beside |= {found for found in glob.glob(family) if os.path.isfile(found)}
    if not looked:
        return None, None
    return len(matched), len(matched | beside)


# --- What a pipeline amounts to: the derived numbers that decide how it trains ---


# COCO 2017 (cocodataset.org); train2017 counts the images without a box too.
COCO_TRAIN_IMAGES = 118_287
COCO_VAL_IMAGES = 5_000


@dataclass(frozen=True)
class Circumstances:
    """What decides a training but stands in no config.

    Attributes:
        num_train_steps: `--num_train_steps` of model_main_tf2; overrides num_steps, and num_steps
            only: the schedule keeps its own total_steps.
        train_images: images in the training records; None when nobody said.
        num_replicas: replicas that share a global batch; None when nobody said, taken as 1.
        checkpoint_every_n: `--checkpoint_every_n` of model_main_tf2, whose default is 1,000.
        look_at_disk: whether files that the config names are looked for.
    """

    num_train_steps: int | None = None
    train_images: int | None = None
    num_replicas: int | None = None
    checkpoint_every_n: int = 1000
    look_at_disk: bool = True


def _quantity(unit: str, meaning: str) -> Any:
    return field(metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True)
class Quantities:
    """The quantities of one pipeline; None where it does not say or the notion does not apply.

    Units and definitions are in each field's metadata: see `quantity_definitions`.
    """

    global_batch: int = _quantity("images", "images in one step, over all replicas (batch_size)")
    num_replicas: int = _quantity("replicas", "replicas that share the global batch")
    images_per_replica: float = _quantity("images", "global_batch / num_replicas")
    batchnorm: str = _quantity(
        "mode",
        "train: statistics of each replica's batch; sync: of the global batch; frozen: stored "
        "statistics (the affine parameters still train)",
    )
    batchnorm_images: float | None = _quantity(
        "images", "images over which one batch-norm update takes its statistics; none when frozen"
    )
    num_steps: int = _quantity("steps", "steps of the run; --num_train_steps overrides num_steps")
    images_seen: int = _quantity("images", "global_batch x num_steps, repeats counted")
    train_images: int | None = _quantity(
        "images",
        "images in the training records: --train_images, or the share of shards read of COCO "
        "train2017's 118,287 where the file names are COCO's",
    )
    epochs: float | None = _quantity("epochs", "images_seen / train_images")
    train_shards_read: int | None = _quantity("shards", "training shards that the patterns match")
    train_shards_named: int | None = _quantity(
        "shards", "training shards that exist by the `-of-NNNNN` of the names"
    )
    train_shards_on_disk: int | None = _quantity(
        "shards", "training shards on this disk, when their folder is here"
    )
    eval_shards_read: int | None = _quantity("shards", "evaluation shards that the patterns match")
    eval_shards_named: int | None = _quantity(
        "shards", "evaluation shards that exist by the `-of-NNNNN` of the names"
    )
    optimizer: str = _quantity("name", "momentum, adam or rms_prop; momentum is SGD with momentum")
    lr_schedule: str = _quantity("name", "cosine, exponential, manual_step or constant")
    lr_start: float = _quantity("1", "learning rate of step 0")
    lr_base: float = _quantity("1", "learning rate at the end of warm-up, as configured")
    lr_peak: float = _quantity("1", "highest learning rate that the run reaches")
    lr_last: float = _quantity("1", "learning rate of the last step")
    lr_per_image: float = _quantity("1/image", "lr_base / global_batch")
    warmup_steps: int = _quantity("steps", "steps of warm-up")
    warmup_images: int = _quantity("images", "warmup_steps x global_batch")
    schedule_end: int | None = _quantity(
        "steps", "step from which the learning rate no longer changes (cosine: total_steps)"
    )
    schedule_share: float | None = _quantity(
        "1", "schedule_end / num_steps: 1 when the schedule ends with the run"
    )
    momentum: float | None = _quantity("1", "momentum of the optimizer; none for Adam")
    gradient_clip_norm: float | None = _quantity(
        "1", "global norm to which a replica's gradients are clipped; none without clipping"
    )
    weight_decay: float | None = _quantity(
        "1",
        "L2 weight of the box predictor's (Faster R-CNN: the RPN's) convolutions; none where the "
        "loss leaves it out (add_regularization_loss)",
    )
    ema_decay: float | None = _quantity(
        "1", "decay of the moving average of weights; none when it is off"
    )
    checkpoint_restore: str = _quantity(
        "name",
        "what fine_tune_checkpoint restores: none, classification (backbone), detection "
        "(feature extractor), full, or refused",
    )
    input_height: int | None = _quantity("pixels", "largest height that the network sees")
    input_width: int | None = _quantity("pixels", "largest width that the network sees")
    crop_size: int | None = _quantity(
        "pixels", "side of the square that training crops are padded to; none without such a crop"
    )
    augmentation: tuple[str, ...] = _quantity("names", "data_augmentation_options, in order")
    num_classes: int = _quantity("classes", "classes without background")
    boxes_kept: int = _quantity(
        "boxes", "ground-truth boxes kept per training image (InputReader.max_number_of_boxes)"
    )
    nms_score_threshold: float | None = _quantity("1", "lowest score that a detection may have")
    nms_iou_threshold: float | None = _quantity("1", "overlap above which NMS drops a detection")
    max_detections_per_class: int | None = _quantity("boxes", "detections kept per class and image")
    max_detections: int | None = _quantity("boxes", "detections kept per image")
    eval_images_step: int = _quantity(
        "images", "one of how many evaluation images is used (sample_1_of_n_examples)"
    )

    def as_dict(self) -> dict[str, Any]:
        """Gives the values by name, in the order of definition."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def train_shards_share(self) -> float | None:
        """Share of the named training shards that is read, 0 to 1."""
        return ShardCount(self.train_shards_read, self.train_shards_named, None, None).share

    @property
    def eval_shards_share(self) -> float | None:
        """Share of the named evaluation shards that is read, 0 to 1."""
        return ShardCount(self.eval_shards_read, self.eval_shards_named, None, None).share


def quantity_definitions() -> dict[str, tuple[str, str]]:
    """Gives (unit, meaning) of every quantity, by name."""
    return {
        item.name: (item.metadata["unit"], item.metadata["meaning"]) for item in fields(Quantities)
    }


def derive_quantities(pipeline: Pipeline, circumstances: Circumstances | None = None) -> Quantities:
    """Gives the quantities of a pipeline; unset fields count as their defaults.

    Never raises for a config that parses: what it does not say is None or NaN.
    """
    known = circumstances or Circumstances()
    proto = pipeline.proto
    train = proto.train_config
    batch = int(train.batch_size)
    steps = int(train.num_steps) if known.num_train_steps is None else known.num_train_steps
    replicas = known.num_replicas or 1
    schedule = read_schedule(proto)
    batchnorm = _batchnorm(pipeline)
    train_patterns = list(proto.train_input_reader.tf_record_input_reader.input_path)
    readers = list(proto.eval_input_reader)
    eval_patterns = list(readers[0].tf_record_input_reader.input_path) if readers else []
    shards = _shards(train_patterns, known)
    eval_shards = _shards(eval_patterns, known)
    train_images = known.train_images or _coco_images(train_patterns, shards)
    height, width = _input_size(pipeline)
    kind = str(train.optimizer.WhichOneof("optimizer") or "")
    optimizer = getattr(train.optimizer, kind) if kind else None
    nms = _final_nms(pipeline)
    decays = bool(schedule.kind and schedule.end_step)
    return Quantities(
        global_batch=batch,
        num_replicas=replicas,
        images_per_replica=batch / replicas,
        batchnorm=batchnorm,
        batchnorm_images={"frozen": None, "sync": float(batch)}.get(batchnorm, batch / replicas),
        num_steps=steps,
        images_seen=batch * steps,
        train_images=train_images,
        epochs=batch * steps / train_images if train_images else None,
        train_shards_read=shards.read,
        train_shards_named=shards.named,
        train_shards_on_disk=shards.on_disk,
        eval_shards_read=eval_shards.read,
        eval_shards_named=eval_shards.named,
        optimizer=kind.removesuffix("_optimizer"),
        lr_schedule=schedule.kind,
        lr_start=schedule.at(0),
        lr_base=schedule.base,
        lr_peak=schedule.peak_within(steps),
        lr_last=schedule.at(steps - 1) if steps else math.nan,
        lr_per_image=schedule.base / batch if batch else math.nan,
        warmup_steps=schedule.warmup_steps,
        warmup_images=schedule.warmup_steps * batch,
        schedule_end=schedule.end_step if decays else None,
        schedule_share=(schedule.end_step or 0) / steps if decays and steps else None,
        momentum=getattr(optimizer, "momentum_optimizer_value", None),
        gradient_clip_norm=float(train.gradient_clipping_by_norm) or None,
        weight_decay=_weight_decay(pipeline),
        ema_decay=(
            float(train.optimizer.moving_average_decay)
            if kind and train.optimizer.use_moving_average
            else None
        ),
        checkpoint_restore=_checkpoint_restore(pipeline),
        input_height=height,
        input_width=width,
        crop_size=_crop_size(pipeline),
        augmentation=tuple(
            str(option.WhichOneof("preprocessing_step"))
            for option in train.data_augmentation_options
        ),
        num_classes=pipeline.num_classes,
        boxes_kept=int(proto.train_input_reader.max_number_of_boxes),
        nms_score_threshold=float(nms.score_threshold) if nms is not None else None,
        nms_iou_threshold=float(nms.iou_threshold) if nms is not None else None,
        max_detections_per_class=int(nms.max_detections_per_class) if nms is not None else None,
        max_detections=int(nms.max_total_detections) if nms is not None else None,
        eval_images_step=int(readers[0].sample_1_of_n_examples) if readers else 1,
    )


def _shards(patterns: list[str], known: Circumstances) -> ShardCount:
    return count_shards(patterns, look_at_disk=known.look_at_disk)


def _coco_images(patterns: list[str], shards: ShardCount) -> int | None:
    """COCO's images by the shards read; file names of the OD API's converters and the zoo's."""
    if not patterns or not all("train2017" in p or "coco_train" in p for p in patterns):
        return None
    share = shards.share
    return None if share is None else round(COCO_TRAIN_IMAGES * share)


def _batchnorm(pipeline: Pipeline) -> str:
    """Whose statistics the backbone normalises with (model_builder, models/*_feature_extractor).

    EfficientNet-BiFPN is an exception: freeze_batchnorm never reaches its backbone. Hourglass is
    another: its layers are Keras's SyncBatchNormalization (models/keras_models/hourglass_network).
    """
    model, extractor = pipeline.model, ""
    if pipeline.meta_architecture in ("faster_rcnn", "ssd", "center_net"):
        extractor = str(descend(model, "feature_extractor").type)
    if pipeline.meta_architecture == "faster_rcnn":
        trained = descend(model, "feature_extractor").batch_norm_trainable
    elif pipeline.meta_architecture == "ssd":
        trained = not descend(model).freeze_batchnorm or "efficientnet" in extractor
    else:
        trained = True
    if not trained:
        return "frozen"
    return "sync" if extractor.startswith("hourglass") else "train"


def _input_size(pipeline: Pipeline) -> tuple[int | None, int | None]:
    resizer = getattr(pipeline.model, "image_resizer", None)
    kind = resizer.WhichOneof("image_resizer_oneof") if resizer is not None else None
    if resizer is not None and kind == "fixed_shape_resizer":
        fixed = resizer.fixed_shape_resizer
        return int(fixed.height), int(fixed.width)
    if resizer is not None and kind == "keep_aspect_ratio_resizer":
        keep = resizer.keep_aspect_ratio_resizer
        # The short side grows to min_dimension unless the long one would pass max_dimension;
        # padding is to the square of max_dimension (core/preprocessor.resize_to_range).
        if keep.pad_to_max_dimension:
            return int(keep.max_dimension), int(keep.max_dimension)
        return int(keep.min_dimension), int(keep.max_dimension)
    return None, None


def _crop_size(pipeline: Pipeline) -> int | None:
    for option in pipeline.proto.train_config.data_augmentation_options:
        if option.WhichOneof("preprocessing_step") == "random_scale_crop_and_pad_to_square":
            return int(option.random_scale_crop_and_pad_to_square.output_size)
    return None


def _weight_decay(pipeline: Pipeline) -> float | None:
    model = pipeline.model
    if not pipeline.proto.train_config.add_regularization_loss:
        return None
    if pipeline.meta_architecture == "faster_rcnn":
        hyperparams = descend(model, "first_stage_box_predictor_conv_hyperparams")
    elif pipeline.meta_architecture == "ssd":
        predictor = descend(model, "box_predictor")
        kind = predictor.WhichOneof("box_predictor_oneof")
        chosen = getattr(predictor, kind) if kind else None
        hyperparams = getattr(chosen, "conv_hyperparams", None)
    else:
        return None
    if hyperparams is None or not hyperparams.regularizer.HasField("l2_regularizer"):
        return None
    return float(hyperparams.regularizer.l2_regularizer.weight)


def _final_nms(pipeline: Pipeline) -> Any:
    if pipeline.meta_architecture == "faster_rcnn":
        return descend(pipeline.model, "second_stage_post_processing.batch_non_max_suppression")
    if pipeline.meta_architecture == "ssd":
        return descend(pipeline.model, "post_processing.batch_non_max_suppression")
    return None


def _checkpoint_restore(pipeline: Pipeline) -> str:
    """What model_lib_v2.load_fine_tune_checkpoint makes of the three checkpoint fields.

    An empty type means classification unless from_detection_checkpoint says detection
    (utils/config_util.update_fine_tune_checkpoint_type).
    """
    train = pipeline.proto.train_config
    if not train.fine_tune_checkpoint:
        return "none"
    kind = str(train.fine_tune_checkpoint_type)
    if not kind:
        kind = "detection" if train.from_detection_checkpoint else "classification"
    version = train.DESCRIPTOR.fields_by_name["fine_tune_checkpoint_version"].enum_type
    if version.values_by_number[train.fine_tune_checkpoint_version].name != "V2":
        return "refused"
    return kind if kind in ("classification", "detection", "full", "fine_tune") else "refused"
