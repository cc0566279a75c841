"""How large trials are: the pipeline as it is, or its family shrunk to minutes on two cores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from odapi_repro.errors import UserError
from odapi_repro.pipeline import Pipeline, read_recipe, render_recipe
from odapi_repro.pipeline.recipe import learning_rate_message
from odapi_repro.training.extensions.proxy_backbone import PROXY_EFFICIENTNET, PROXY_RESNET

# --- Each family shrunk to what two cores train in minutes; the numbers were found by measurement
# ---


# object_detection.protos.pipeline_pb2.TrainEvalPipelineConfig; generated protos carry no types.
PipelineProto: TypeAlias = Any


@dataclass(frozen=True)
class ScaleNote:
    """One thing a scale changes.

    Attributes:
        what: the quantity.
        full, here: its value in the pipeline as given, and in the trials.
        kept: whether the relation that matters was kept (a ratio, a share) or had to be clipped.
        why: the relation, or the reason for clipping it.
    """

    what: str
    full: str
    here: str
    kept: bool
    why: str


@dataclass(frozen=True)
class Proxy:
    """How a family is shrunk.

    Attributes:
        name: of the family.
        batch_size, num_steps: of the reference cell.
        base_lr: peak rate at that batch.
        warmup_start_fraction: warm-up start rate over peak rate.
        shrink: edits the model of a proto to the given input size and says what it changed.
        warmup_share: warm-up steps over all steps.
        input_size: side of the square input in pixels.
        extensions: training extensions that the shrunk model needs.
    """

    name: str
    batch_size: int
    num_steps: int
    base_lr: float
    warmup_start_fraction: float
    shrink: Callable[[PipelineProto, int], list[ScaleNote]]
    warmup_share: float = 0.1
    input_size: int = 192
    extensions: tuple[str, ...] = ()


def proxy_for(pipeline: Pipeline) -> Proxy:
    """Gives the proxy of a pipeline's family.

    Raises:
        UserError: a family without one.
    """
    if pipeline.meta_architecture == "faster_rcnn":
        return _FASTER_RCNN
    if pipeline.meta_architecture == "ssd":
        kind = pipeline.proto.model.ssd.feature_extractor.type
        return _EFFICIENTDET if "efficientnet" in kind and "bifpn" in kind else _SSD
    raise UserError(
        f"{pipeline.path} is a {pipeline.meta_architecture} model, which has no proxy",
        expected="an ssd or faster_rcnn pipeline for --scale proxy and smoke",
        mend="run it at --scale full",
    )


def _shrink_resizer(resizer: Any, size: int) -> ScaleNote:
    full = _resizer_text(resizer)
    if resizer.WhichOneof("image_resizer_oneof") == "keep_aspect_ratio_resizer":
        aspect = resizer.keep_aspect_ratio_resizer
        aspect.min_dimension = aspect.max_dimension = size
        aspect.pad_to_max_dimension = True
    else:
        fixed = resizer.fixed_shape_resizer
        fixed.height = fixed.width = size
    return ScaleNote("input size", full, _resizer_text(resizer), False, "seconds a step")


def _resizer_text(resizer: Any) -> str:
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "keep_aspect_ratio_resizer":
        aspect = resizer.keep_aspect_ratio_resizer
        return f"{aspect.min_dimension}/{aspect.max_dimension} px"
    if kind == "fixed_shape_resizer":
        fixed = resizer.fixed_shape_resizer
        return f"{fixed.height}x{fixed.width} px"
    return str(kind)


def _clip(note: str, full: object, here: object, why: str) -> ScaleNote:
    return ScaleNote(note, str(full), str(here), False, why)


def _shrink_efficientdet(proto: PipelineProto, size: int) -> list[ScaleNote]:
    """A ten-block EfficientNet, one BiFPN layer and one head layer, levels 3 to 6."""
    ssd = proto.model.ssd
    extractor, bifpn = ssd.feature_extractor, ssd.feature_extractor.bifpn
    head = ssd.box_predictor.weight_shared_convolutional_box_predictor
    anchors = ssd.anchor_generator.multiscale_anchor_generator
    notes = [
        _shrink_resizer(ssd.image_resizer, size),
        _clip("backbone", extractor.type, "EfficientNet of 10 blocks", "seconds a step"),
        _clip(
            "BiFPN",
            f"{bifpn.num_iterations} x {bifpn.num_filters}, levels "
            f"{bifpn.min_level}-{bifpn.max_level}",
            "1 x 32, levels 3-6",
            "seconds a step; level 7 would be larger than the input",
        ),
        _clip(
            "head",
            f"{head.num_layers_before_predictor} x {head.depth}",
            "1 x 32",
            "seconds a step",
        ),
        _clip(
            "head initialisation, standard deviation",
            f"{head.conv_hyperparams.initializer.random_normal_initializer.stddev:g}",
            "0.1",
            "two factors of 0.01 in a separable convolution take thousands of steps to grow",
        ),
        _clip(
            "batch-norm decay (BiFPN, head)",
            f"{head.conv_hyperparams.batch_norm.decay:g}",
            "0.9",
            "statistics must settle within a few hundred steps",
        ),
    ]
    extractor.type = PROXY_EFFICIENTNET
    extractor.pad_to_multiple = 64
    bifpn.num_iterations, bifpn.num_filters = 1, 32
    bifpn.min_level, bifpn.max_level = 3, 6
    anchors.min_level, anchors.max_level = 3, 6
    head.depth, head.num_layers_before_predictor = 32, 1
    head.conv_hyperparams.initializer.random_normal_initializer.stddev = 0.1
    for hyperparams in (extractor.conv_hyperparams, head.conv_hyperparams):
        hyperparams.batch_norm.decay = 0.9
    notes += shrink_augmentation(proto, size)
    return notes


def _shrink_ssd(proto: PipelineProto, size: int) -> list[ScaleNote]:
    """Any other SSD: its own backbone and head on a small input."""
    return [
        _shrink_resizer(proto.model.ssd.image_resizer, size),
        *shrink_augmentation(proto, size),
    ]


def _shrink_faster_rcnn(proto: PipelineProto, size: int) -> list[ScaleNote]:
    """A ten-layer residual backbone of stride 16, fewer proposals, smaller crops and masks."""
    model = proto.model.faster_rcnn
    notes = [
        _shrink_resizer(model.image_resizer, size),
        _clip("backbone", model.feature_extractor.type, "ResNet-10", "seconds a step"),
        _clip(
            "batch norm",
            "trained" if model.feature_extractor.batch_norm_trainable else "frozen",
            "trained",
            "trials start from random weights, with no statistics to freeze",
        ),
        _clip("proposals", model.first_stage_max_proposals, 32, "seconds a step; fewer objects"),
        _clip(
            "RoIs per image",
            model.second_stage_batch_size,
            16,
            "seconds a step; no more than the proposals they are drawn from",
        ),
        _clip(
            "crop",
            f"{model.initial_crop_size} / {model.maxpool_stride}",
            "7 / 1",
            "seconds a step",
        ),
    ]
    model.feature_extractor.type = PROXY_RESNET
    model.feature_extractor.batch_norm_trainable = True
    model.first_stage_box_predictor_depth = 64
    model.first_stage_max_proposals = 32
    model.second_stage_batch_size = 16
    model.initial_crop_size, model.maxpool_kernel_size, model.maxpool_stride = 7, 1, 1
    if model.number_of_stages == 3:
        head = model.second_stage_box_predictor.mask_rcnn_box_predictor
        notes.append(
            _clip(
                "masks",
                f"{head.mask_height}x{head.mask_width}, "
                f"{head.mask_prediction_num_conv_layers} convolutions",
                "15x15, 2 convolutions of 32",
                "seconds a step",
            )
        )
        head.mask_height = head.mask_width = 15
        head.mask_prediction_num_conv_layers = 2
        head.mask_prediction_conv_depth = 32
    anchors = model.first_stage_anchor_generator.grid_anchor_generator
    anchors.height, anchors.width = 128, 128
    notes.append(
        _clip("anchor base size", "256 px", "128 px", "objects of a small input are small")
    )
    notes += shrink_augmentation(proto, size)
    return notes


def shrink_augmentation(proto: PipelineProto, size: int) -> list[ScaleNote]:
    """Fits the augmentation of a proto to an input of that side, and says what it clipped."""
    notes = []
    for option in proto.train_config.data_augmentation_options:
        if option.WhichOneof("preprocessing_step") == "random_scale_crop_and_pad_to_square":
            jitter = option.random_scale_crop_and_pad_to_square
            notes.append(
                _clip(
                    "scale jitter",
                    f"{jitter.scale_min:.3g} to {jitter.scale_max:.3g}",
                    "0.8 to 1.25",
                    "0.1 to 2.0 needs more images than minutes allow",
                )
            )
            jitter.output_size = size
            jitter.scale_min, jitter.scale_max = 0.8, 1.25
    return notes


_EFFICIENTDET = Proxy(
    name="EfficientDet",
    batch_size=16,
    num_steps=220,
    base_lr=0.2,
    warmup_start_fraction=1 / 80,
    shrink=_shrink_efficientdet,
    extensions=("proxy_backbone",),
)
_SSD = Proxy(
    name="SSD",
    batch_size=8,
    num_steps=300,
    base_lr=0.01,
    warmup_start_fraction=0.1,
    shrink=_shrink_ssd,
)
_FASTER_RCNN = Proxy(
    name="Faster R-CNN",
    batch_size=8,
    num_steps=400,
    base_lr=0.02,
    warmup_start_fraction=0.0,
    shrink=_shrink_faster_rcnn,
    extensions=("proxy_backbone",),
)


# --- How large trials are: the pipeline as it is, or its family shrunk to minutes on two cores ---


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
