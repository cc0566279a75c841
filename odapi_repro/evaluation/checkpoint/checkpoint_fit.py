"""Whether a pipeline can be a checkpoint's own: what its weights and its own config say.

A network restored under another box coder or other anchors runs without a word and finds nothing
where it should. So what can be told without TensorFlow is told before TensorFlow starts.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from odapi_repro.diagnosis.filled_fields import FieldValue, filled_fields
from odapi_repro.diagnosis.finished_run import CheckpointIndex, read_index
from odapi_repro.diagnosis.rules.checkpoint.checkpoint_path import archive_of
from odapi_repro.errors import ConfigError, UserError
from odapi_repro.evaluation.checkpoint.named_checkpoint import CheckpointSource
from odapi_repro.evaluation.coco_data import GroundTruth
from odapi_repro.evaluation.coco_data.json_fields import listed
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.training.extensions.proxy_backbone import PROXY_EFFICIENTNET, PROXY_RESNET

# Fields and messages of the model protos that only training reads.
_TRAINING_ONLY = frozenset(
    {
        "regularizer",
        "initializer",
        "regularize_depthwise",
        "class_prediction_bias_init",
        "heatmap_bias_init",
        "use_dropout",
        "dropout_keep_probability",
        "freeze_batchnorm",
        "inplace_batchnorm_update",
        "batch_norm_trainable",
        "decay",
        "train",
        "sync_batch_norm",
        "loss",
        "matcher",
        "similarity_calculator",
        "encode_background_as_zeros",
        "negative_class_weight",
        "normalize_loss_by_num_matches",
        "normalize_loc_loss_by_codesize",
        "use_confidences_as_targets",
        "implicit_example_weight",
        "hard_example_miner",
        "use_matmul_gather_in_matcher",
        "first_stage_minibatch_size",
        "first_stage_positive_balance_fraction",
        "first_stage_localization_loss_weight",
        "first_stage_objectness_loss_weight",
        "second_stage_batch_size",
        "second_stage_balance_fraction",
        "second_stage_localization_loss_weight",
        "second_stage_classification_loss_weight",
        "second_stage_mask_prediction_loss_weight",
        "second_stage_classification_loss",
        "clip_anchors_to_image",
        "use_static_balanced_label_sampler",
        "task_loss_weight",
        "offset_loss_weight",
        "scale_loss_weight",
        "localization_loss",
        "object_center_loss_weight",
        "classification_loss",
        "min_box_overlap_iou",
        "use_labeled_classes",
        "keypoint_weights_for_center",
    }
)
# What may be studied on any checkpoint: it gives other numbers, and the weights mean the same.
_MAY_DIFFER = frozenset(
    {
        "image_resizer",
        "post_processing",
        "second_stage_post_processing",
        "first_stage_nms_score_threshold",
        "first_stage_nms_iou_threshold",
        "first_stage_max_proposals",
        "max_box_predictions",
        "pad_to_multiple",
        "resize_masks",
        "use_matmul_crop_and_resize",
        "use_static_shapes",
        "use_static_shapes_for_eval",
        "use_partitioned_nms_in_first_stage",
        "use_combined_nms_in_first_stage",
        "return_raw_detections_during_predict",
        "output_final_box_features",
        "output_final_box_rpn_features",
    }
)
_CODER = "model.ssd.box_coder.faster_rcnn_box_coder"
_SCALES = ("y_scale", "x_scale", "height_scale", "width_scale")
# The objects that each meta-architecture's `model` holds.
_KINDS = {
    "_box_predictor": "ssd",
    "_first_stage_box_predictor": "faster_rcnn",
    "_prediction_head_dict": "center_net",
}
_BIAS = "/bias/.ATTRIBUTES/VARIABLE_VALUE"
_SSD_CLASS = re.compile(
    r"^model/_box_predictor/_prediction_heads/class_predictions_with_background/"
    r".*_class_predictor_layers/\d+" + _BIAS
)
_SSD_BOX = re.compile(r"^model/_box_predictor/.*_box_encoder_layers/\d+" + _BIAS)
_SECOND_STAGE_CLASS = re.compile(
    r"^model/_mask_rcnn_box_predictor/_class_prediction_head/_class_predictor_layers/\d+" + _BIAS
)
_CENTER = re.compile(r"^model/_prediction_head_dict/object_center/.*" + _BIAS)
_CODE_SIZE = 4


def check_source(source: CheckpointSource, asked: Pipeline) -> tuple[str, ...]:
    """Does all the checks that a source allows and gives what the user should be warned of.

    Raises:
        ConfigError: from `check_decoder` and `check_shapes`.
        DataError: the checkpoint's index cannot be read.
    """
    warnings: tuple[str, ...] = ()
    if source.own_pipeline is not None:
        warnings = check_decoder(load_pipeline(source.own_pipeline), asked)
    elif source.prefix:
        warnings = _of_a_zoo_name(source.prefix, asked)
    if source.prefix:
        check_shapes(read_index(source.prefix), asked)
    return warnings


def check_classes(pipeline: Pipeline, truth: GroundTruth) -> None:
    """Refuses ground truth with objects of classes that the model does not have: they would be
    counted as missed, every one.

    A class that is listed and has no object is not scored, and so may have any id.

    Args:
        pipeline: of the model, which gives the ids 1 to `num_classes`.
        truth: what its detections are to be scored against.

    Raises:
        UserError: there are such objects.
    """
    used = [truth.category_ids[k] for k in sorted(set(truth.categories.tolist()))]
    beyond = [id_ for id_ in used if not 1 <= id_ <= pipeline.num_classes]
    if beyond:
        raise UserError(
            f"{len(beyond)} of the {len(used)} classes with objects are none of the model's "
            f"(id {listed(beyond)})",
            expected=f"ids from 1 to {pipeline.num_classes}, the model's num_classes",
            mend="name the ground truth, or the records and the label map, with the ids that the "
            "checkpoint was trained with",
            where=pipeline.path,
        )


def built_with(source: CheckpointSource, pipeline: Pipeline) -> CheckpointSource:
    """Gives the source with the training extensions that its model is built from.

    A trial's spec names them; where none lies with the checkpoint, the name of the pipeline's
    feature extractor does.
    """
    if source.extensions:
        return source
    extractor: Any = getattr(pipeline.model, "feature_extractor", None)
    if getattr(extractor, "type", "") not in (PROXY_EFFICIENTNET, PROXY_RESNET):
        return source
    return dataclasses.replace(source, extensions=("proxy_backbone",))


def check_decoder(own: Pipeline, asked: Pipeline) -> tuple[str, ...]:
    """Refuses a pipeline that cannot be that of a checkpoint with another pipeline of its own.

    Every field of the model counts that inference reads, defaults filled in: box coder, anchors,
    classes, extractor, levels, heads. Input size and post-processing may differ and are warned of.

    Returns:
        A sentence for each field that differs and may.

    Raises:
        ConfigError: a field that may not, by its path and both values.
    """
    if own.meta_architecture != asked.meta_architecture:
        raise _not_its_own(asked, own, [("model", asked.meta_architecture, own.meta_architecture)])
    left, right = _model_fields(asked), _model_fields(own)
    paths = [*left, *(path for path in right if path not in left)]
    differing = [
        (path, left.get(path), right.get(path))
        for path in paths
        if left.get(path) != right.get(path) and _TRAINING_ONLY.isdisjoint(_names(path))
    ]
    refused = [one for one in differing if _MAY_DIFFER.isdisjoint(_names(one[0]))]
    if refused:
        raise _not_its_own(asked, own, refused)
    return tuple(
        f"{path} is {_shown(here)}, in the checkpoint's own config {_shown(there)}"
        for path, here, there in differing
    )


def check_shapes(index: CheckpointIndex, asked: Pipeline) -> None:
    """Refuses a pipeline of another kind of model, of other classes or anchors than a checkpoint's.

    Told from the objects in the checkpoint and from the biases of its heads: an SSD's class head
    has a number for every anchor of a place and every class, its box head four for every anchor.

    Raises:
        ConfigError: naming the field and what the checkpoint holds.
    """
    objects = set(index.children("model"))
    kind = next((kind for name, kind in _KINDS.items() if name in objects), "")
    asked_kind = asked.meta_architecture
    where = f"{asked.path} against {index.prefix}"
    if kind and asked_kind in _KINDS.values() and kind != asked_kind:
        raise ConfigError(
            f"the pipeline's model is {asked_kind}, the checkpoint's {kind}",
            expected="a checkpoint of this pipeline's architecture",
            mend="name the checkpoint's own pipeline.config",
            where=where,
        )
    if kind == "faster_rcnn":
        masks = bool(index.children("model", "_mask_rcnn_box_predictor", "_third_stage_heads"))
        if asked.predicts_masks and not masks:
            raise ConfigError(
                "model.faster_rcnn.number_of_stages is 3, and the checkpoint has no mask head",
                expected="number_of_stages 2",
                mend="set it, or name a Mask R-CNN's checkpoint",
                where=where,
            )
    classes = _classes(index, asked, kind)
    if classes is not None and classes != asked.num_classes:
        raise ConfigError(
            f"model.{asked_kind}.num_classes is {asked.num_classes}, and the checkpoint's class "
            f"head has {classes}",
            expected=f"num_classes {classes}",
            mend="name the checkpoint's own pipeline.config and the label map it was trained with",
            where=where,
        )


def _classes(index: CheckpointIndex, asked: Pipeline, kind: str) -> int | None:
    """Gives the classes without background of the checkpoint's class head; None if unknown."""
    if kind == "faster_rcnn":
        slots = _lengths(index, _SECOND_STAGE_CLASS)
        return slots[0] - 1 if slots else None
    if kind == "center_net":
        # The last convolution of the head has one filter a class.
        slots = _lengths(index, _CENTER)
        return slots[-1] if slots else None
    if kind != "ssd":
        return None
    boxes, slots = _lengths(index, _SSD_BOX), _lengths(index, _SSD_CLASS)
    if not boxes or not slots or boxes[0] % _CODE_SIZE:
        return None
    anchors = boxes[0] // _CODE_SIZE
    if slots[0] % anchors:
        return None
    model: Any = asked.model
    background = bool(getattr(model, "add_background_class", True))
    return slots[0] // anchors - background


def _lengths(index: CheckpointIndex, pattern: re.Pattern[str]) -> list[int]:
    return [
        stored.shape[0]
        for key, stored in index.variables.items()
        if len(stored.shape) == 1 and pattern.match(key)
    ]


def _model_fields(pipeline: Pipeline) -> Mapping[str, FieldValue]:
    return {
        path: value for path, value in filled_fields(pipeline).items() if path.startswith("model.")
    }


def _names(path: str) -> list[str]:
    return re.sub(r"\[[^]]*\]", "", path).split(".")


def _of_a_zoo_name(prefix: str, asked: Pipeline) -> tuple[str, ...]:
    """Warns of a published EfficientDet without its own config under another box coder."""
    archive = archive_of(prefix)
    is_efficientdet = archive is not None and any("efficientnet" in one for one in archive.fits)
    if not is_efficientdet or asked.meta_architecture != "ssd":
        return ()
    fields = filled_fields(asked)
    scales = [fields.get(f"{_CODER}.{name}") for name in _SCALES]
    if all(scale == 1.0 for scale in scales):
        return ()
    shown = ", ".join(_shown(scale) for scale in scales)
    return (
        f"{_CODER} has scales {shown}: the published EfficientDet archives' own configs have 1, 1, "
        "1, 1 where configs/tf2 has 10, 10, 5, 5, and boxes decoded with others are wrong; "
        "evaluate with the archive's own pipeline.config",
    )


def _not_its_own(
    asked: Pipeline, own: Pipeline, differing: list[tuple[str, Any, Any]]
) -> ConfigError:
    most = 4
    shown = "; ".join(
        f"{path} is {_shown(here)}, in its own {_shown(there)}"
        for path, here, there in differing[:most]
    )
    more = f"; and {len(differing) - most} fields more" if len(differing) > most else ""
    return ConfigError(
        f"this pipeline cannot be the checkpoint's: {shown}{more}",
        expected=f"the model of {own.path}",
        mend=f"evaluate with {own.path}",
        where=asked.path,
    )


def _shown(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
