"""The model of a pass and the post-processing of a variant, as protos; no TensorFlow."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

from odapi_repro.command import nearest
from odapi_repro.errors import UserError
from odapi_repro.evaluation.inference.evaluation_job import Pass, Variant
from odapi_repro.evaluation.inference.stage_tensors import has_stages
from odapi_repro.pipeline import Pipeline, set_field

_POST_PROCESSING = {
    "ssd": "post_processing",
    "center_net": "post_processing",
    "faster_rcnn": "second_stage_post_processing",
}
# The size that each resizer's fields give; the others take the image's own.
_SIZES = {
    "fixed_shape_resizer": ("height", "width"),
    "keep_aspect_ratio_resizer": ("min_dimension", "max_dimension"),
    "conditional_shape_resizer": ("size_threshold",),
}
# Images in a batch, by their pixels: memory grows with them, and beyond a few speed does not.
_MOST_IMAGES = 16
_MOST_PIXELS = 8 * 640 * 640
_UNKNOWN_PIXELS = 1024 * 1024
# An image below 129 px is refused by EfficientNet's extractor.
_LEAST_EFFICIENTNET = 129
_HOURGLASS_STRIDE = 128
_CENTER_NET_STRIDE = 32


def check_passes(pipeline: pipeline_pb2.TrainEvalPipelineConfig, passes: tuple[Pass, ...]) -> None:
    """Builds every pass's model proto and every variant's post-processing, and drops them.

    Raises:
        UserError: from `model_of_pass` and `post_processing_of`.
    """
    for one in passes:
        model = model_of_pass(pipeline, one)
        if one.stages and not has_stages(Pipeline(pipeline, "")):
            raise UserError(
                f"pass '{one.name}' asks for the stages of a {model.WhichOneof('model')}",
                expected="a faster_rcnn with number_of_stages 2 or 3",
            )
        for variant in one.variants:
            post_processing_of(model, variant)


def check_saved_model_passes(folder: str, passes: tuple[Pass, ...]) -> None:
    """Refuses what only a model that is built can do.

    Raises:
        UserError: a pass that is not the plain one.
    """
    for one in passes:
        asked = {
            "checkpoints": one.checkpoints,
            "fields": one.fields,
            "flip": one.flip,
            "scale": one.scale != 1.0,
            "stages": one.stages,
            "variants": len(one.variants) > 1 or one.variants[0].fields,
        }
        wanted = [name for name, is_asked in asked.items() if is_asked]
        if wanted:
            raise UserError(
                f"pass '{one.name}' asks a SavedModel for {', '.join(wanted)}",
                expected="the plain pass: a SavedModel's graph is as it was exported",
                mend="evaluate the checkpoint it was exported from",
                where=folder,
            )


def default_batch_size(model: Any) -> int:
    """Gives the images of a batch for a `DetectionModel` whose user asks for no number.

    A function of the model alone, because the last bits of a convolution depend on the batch it is
    computed in: so a trial's evaluation gives the same bits on every machine of its kind.
    """
    resizer = getattr(model, str(model.WhichOneof("model"))).image_resizer
    kind = str(resizer.WhichOneof("image_resizer_oneof"))
    message = getattr(resizer, kind)
    pixels = _UNKNOWN_PIXELS
    if kind == "fixed_shape_resizer":
        pixels = message.height * message.width
    elif kind == "keep_aspect_ratio_resizer":
        shorter = message.max_dimension if message.pad_to_max_dimension else message.min_dimension
        pixels = message.max_dimension * shorter
    return max(1, min(_MOST_IMAGES, _MOST_PIXELS // max(1, pixels)))


def model_of_pass(pipeline: pipeline_pb2.TrainEvalPipelineConfig, one: Pass) -> Any:
    """Gives the `DetectionModel` of a pass: its fields set, its image resizer scaled.

    Raises:
        UserError: a field that the model has not, a value that it does not take, or a scale that
            cannot be applied.
    """
    edited = pipeline_pb2.TrainEvalPipelineConfig()
    edited.CopyFrom(pipeline)
    for path, value in one.fields.items():
        _set(edited, path, value, f"pass '{one.name}'")
    if one.scale != 1.0:
        _scale_resizer(edited.model, one)
    return edited.model


def post_processing_of(model: Any, variant: Variant) -> Any:
    """Gives the `PostProcessing` proto of a variant; None for a model that has none.

    Raises:
        UserError: fields of another kind of model, of a proposal network alone, or values that
            `post_processing_builder.build` refuses.
    """
    kind = str(model.WhichOneof("model"))
    name = _POST_PROCESSING.get(kind)
    edited = pipeline_pb2.TrainEvalPipelineConfig()
    edited.model.CopyFrom(model)
    what = f"variant '{variant.name}'"
    for path, value in variant.fields.items():
        _set(edited, path, value, what)
    if name is None:
        return None
    message = getattr(edited.model, kind)
    if variant.fields and kind == "faster_rcnn" and message.number_of_stages == 1:
        raise UserError(
            f"{what} sets the second stage of a model with number_of_stages 1",
            expected="a model with 2 or 3 stages, or a pass that sets first_stage_... fields",
        )
    if kind == "center_net" and not message.HasField(name):
        return None
    processing = getattr(message, name)
    _check_nms(processing.batch_non_max_suppression, what)
    return processing


def _check_nms(nms: Any, what: str) -> None:
    """Refuses what `post_processing_builder._build_non_max_suppressor` refuses."""
    if not 0.0 <= nms.iou_threshold <= 1.0:
        raise UserError(f"{what}: iou_threshold {nms.iou_threshold:g}", expected="0 to 1")
    if nms.max_detections_per_class > nms.max_total_detections:
        raise UserError(
            f"{what}: max_detections_per_class {nms.max_detections_per_class} is above "
            f"max_total_detections {nms.max_total_detections}",
            expected="no more per class than in total",
            mend="set both",
        )
    if nms.soft_nms_sigma < 0.0:
        raise UserError(f"{what}: soft_nms_sigma {nms.soft_nms_sigma:g}", expected="0 or more")


def _set(edited: Any, path: str, value: object, what: str) -> None:
    kind = edited.model.WhichOneof("model")
    if not path.startswith(f"model.{kind}."):
        raise UserError(
            f"{what} sets {path}",
            expected=f"a field of this pipeline's model, model.{kind}....",
        )
    try:
        set_field(edited, path, value)
    except KeyError as error:
        raise UserError(
            f"{what} sets {path}: there is no {error}",
            expected="a field of the OD API's protos",
            mend=nearest(path.rsplit(".", 1)[-1], _field_names(edited, path)),
        ) from error
    except (ValueError, TypeError, IndexError) as error:
        raise UserError(
            f"{what} sets {path} to {value!r}: {error}", expected="a value of the field's type"
        ) from error


def _field_names(message: Message, path: str) -> list[str]:
    """Gives the names of the fields beside the last one of a path, as far as the path exists."""
    descriptor = message.DESCRIPTOR
    for name in path.split(".")[:-1]:
        field = descriptor.fields_by_name.get(name.partition("[")[0])
        if field is None or field.message_type is None:
            break
        descriptor = field.message_type
    return [field.name for field in descriptor.fields]


def _scale_resizer(model: Any, one: Pass) -> None:
    """Multiplies the resizer's sizes and rounds them to what the model takes, in place."""
    message = getattr(model, str(model.WhichOneof("model")))
    kind = message.image_resizer.WhichOneof("image_resizer_oneof")
    if kind not in _SIZES:
        raise UserError(
            f"pass '{one.name}' has scale {one.scale:g}, and the pipeline's {kind} sets no size",
            expected=f"one of {', '.join(_SIZES)}",
        )
    resizer = getattr(message.image_resizer, kind)
    unit, least = _unit_and_least(model)
    before = [int(getattr(resizer, name)) for name in _SIZES[kind]]
    after = [max(least, round(size * one.scale / unit) * unit) for size in before]
    if before == after:
        raise UserError(
            f"pass '{one.name}': at scale {one.scale:g} an input of {before[0]} px stays as it is",
            expected=f"a scale that moves it by {unit} px or more, the least this model takes",
            mend=f"try {(before[0] + unit) / before[0]:.3g}",
        )
    for name, size in zip(_SIZES[kind], after, strict=True):
        setattr(resizer, name, size)


def _unit_and_least(model: Any) -> tuple[int, int]:
    """Gives what an input's side must be a multiple of, and the least it may be.

    A pyramid is added up from its coarsest level by doubling, so the input must divide by that
    level's stride; `pad_to_multiple` pads beyond what the boxes are relative to
    (models/ssd_efficientnet_bifpn_feature_extractor.py).
    """
    kind = model.WhichOneof("model")
    extractor = getattr(model, kind).feature_extractor
    unit, least = 1, 1
    if kind == "center_net":
        unit = _HOURGLASS_STRIDE if "hourglass" in extractor.type else _CENTER_NET_STRIDE
    elif kind == "ssd":
        unit = max(1, extractor.pad_to_multiple)
        for pyramid in ("fpn", "bifpn"):
            if extractor.HasField(pyramid):
                unit = max(unit, 2 ** getattr(extractor, pyramid).max_level)
    if "efficientnet" in extractor.type:
        least = -(-_LEAST_EFFICIENTNET // unit) * unit
    return unit, max(unit, least)
