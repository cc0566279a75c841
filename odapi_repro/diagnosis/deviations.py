"""How two pipelines differ, grouped by the factor that could be varied to close the difference."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from odapi_repro.diagnosis.filled_fields import FieldValue, filled_fields, inert_paths
from odapi_repro.pipeline import (
    Circumstances,
    Pipeline,
    Quantities,
    derive_quantities,
    flatten_fields,
    quantity_definitions,
)

# --- Which factor each field and each quantity belongs to, and in which order factors are shown ---


#: The factor of a field that the table does not know.
OTHER = "other"

_READERS = "(train|eval)_input_reader"
_LR = "optimizer.*learning_rate."

# (factor, regular expressions of dotted paths without indices). The first that is found decides,
# so that what is special stands before what is general.
_FIELDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("quantization", ("^graph_rewriter",)),
    (
        "keypoints",
        (
            r"keypoint_(estimation_task|label_map_path|type_weight|depth)",
            r"\.num_keypoints$",
            r"load_keypoint|use_keypoint|coco_keypoint_metrics",
            r"keypoint_weights_for_center|predict_keypoints",
            r"densepose_estimation|load_dense_pose",
        ),
    ),
    (
        "masks",
        (
            r"mask_(estimation_task|head_config|height|width|prediction|type|loss)",
            r"load_instance_masks|predict_instance_masks|masks_are_class_agnostic|resize_masks",
            r"eval_instance_masks|convolve_then_upsample_masks|deepmac|masks$",
        ),
    ),
    ("visualisation", (r"^eval_config\.(num_visualizations|max_num_boxes|keypoint_edge)",)),
    ("visualisation", (r"^eval_config\.(min_score_threshold|visualiz|skip_scores|skip_labels)",)),
    ("visualisation", (r"^eval_config\.(groundtruth_box_vis|keep_image_id_for_vis|save_graph)",)),
    (
        "classes",
        (
            r"\.num_classes$",
            rf"^{_READERS}\.(label_map_path|use_display_name|expand_labels|load_multiclass)",
            r"merge_multiple_label_boxes|use_multiclass_scores|add_background_class",
            r"encode_background_as_zeros|explicit_background_class|use_confidences_as_targets",
            r"use_labeled_classes",
        ),
    ),
    (
        "train_shards",
        (
            r"^train_input_reader\.(tf_record_input_reader|external_input_reader)",
            r"^train_input_reader\.(sample_1_of_n|sample_from_datasets|input_type|frame_index)",
        ),
    ),
    ("gt_boxes_per_image", (r"max_number_of_boxes|unpad_groundtruth_tensors",)),
    ("names", (rf"^{_READERS}\.name$", r"^eval_config\.(export_path|eval_master)")),
    ("ema", (r"use_moving_average|moving_average_decay",)),
    ("evaluation", (r"^eval_(config|input_reader)\.?",)),
    ("input_pipeline", (r"^train_input_reader", r"^train_config\.(retain_original|.*queue_)")),
    ("checkpoint", (r"^train_config\.(fine_tune_checkpoint|from_detection|load_all_detection)",)),
    (
        "checkpoint",
        (r"run_fine_tune_checkpoint_dummy", r"^train_config\.(update_train|freeze_var)"),
    ),
    ("schedule_length", (r"^train_config\.num_steps$",)),
    ("batch_size", (r"^train_config\.batch_size$",)),
    ("sync_replicas", (r"^train_config\.(sync_replicas|replicas_to|startup_delay)",)),
    ("base_lr", (rf"{_LR}.*(learning_rate_base|initial_learning_rate|t_learning_rate\.learning)",)),
    ("warmup", (rf"{_LR}.*(warmup|burnin)",)),
    ("lr_schedule", (_LR,)),
    ("optimizer", (r"^train_config\.(optimizer|bias_grad_multiplier)",)),
    ("gradient_clipping", (r"gradient_clipping",)),
    ("bfloat16", (r"use_bfloat16",)),
    ("weight_decay", (r"\.regularizer|override_base_feature|add_regularization|regularize_depth",)),
    ("batch_norm", (r"batch_norm|batchnorm|group_norm",)),
    ("augmentation", (r"data_augmentation_options",)),
    ("run_keeping", (r"^train_config\.(keep_checkpoint|summarize_gradients)",)),
    ("image_size", (r"\.image_resizer|\.pad_to_multiple$",)),
    ("anchors", (r"anchor_generator|clip_anchors_to_image",)),
    ("anchor_matching", (r"\.matcher(\.|$)|similarity_calculator|min_box_overlap_iou",)),
    ("anchor_matching", (r"use_matmul_gather_in_matcher",)),
    ("box_coder", (r"\.box_coder|box_code_size|box_encodings_clip_range",)),
    ("score_threshold", (r"post_processing.*\.score_threshold$",)),
    ("detections_per_image", (r"max_detections_per_class|max_total_det|max_box_predictions",)),
    ("score_conversion", (r"score_converter|logit_scale|calibration|apply_sigmoid_to_scores",)),
    ("nms", (r"post_processing|peak_max_pool|output_final_box|return_raw_detections",)),
    ("hard_example_mining", (r"hard_example_miner|random_example_sampler",)),
    ("loss_weights", (r"loss_weight|\.(localization|classification)_weight$|normalize_lo",)),
    ("loss_weights", (r"negative_class_weight|implicit_example|equalization|negative_sampl",)),
    ("loss_function", (r"classification_loss|localization_loss|bias_init",)),
    ("proposals", (r"first_stage_(max_proposals|nms|minibatch|positive)|nms_in_first_stage",)),
    ("rois_per_image", (r"second_stage_(batch_size|balance)|static_balanced_label",)),
    ("implementation", (r"use_static_shapes|use_matmul|output_prediction_dict|heatmap_sparse",)),
    ("initialization", (r"\.initializer",)),
    ("stages", (r"number_of_stages",)),
    (
        "backbone",
        (
            r"feature_extractor|box_predictor|hyperparams|head_params|context_config",
            r"initial_crop_size|maxpool_|atrous_rate|use_depthwise|experimental_model",
        ),
    ),
    ("tasks", (r"track_estimation|temporal_offset",)),
)

_QUANTITIES = {
    "batch_size": ("global_batch", "images_per_replica"),
    "sync_replicas": ("num_replicas",),
    "batch_norm": ("batchnorm", "batchnorm_images"),
    "schedule_length": ("num_steps", "images_seen", "epochs"),
    "train_shards": (
        "train_images",
        "train_shards_read",
        "train_shards_named",
        "train_shards_on_disk",
    ),
    "evaluation": ("eval_shards_read", "eval_shards_named", "eval_images_step"),
    "optimizer": ("optimizer", "momentum"),
    "lr_schedule": ("lr_schedule", "lr_last", "schedule_end", "schedule_share"),
    "base_lr": ("lr_base", "lr_peak", "lr_per_image"),
    "warmup": ("lr_start", "warmup_steps", "warmup_images"),
    "gradient_clipping": ("gradient_clip_norm",),
    "weight_decay": ("weight_decay",),
    "ema": ("ema_decay",),
    "checkpoint": ("checkpoint_restore",),
    "image_size": ("input_height", "input_width", "crop_size"),
    "augmentation": ("augmentation",),
    "classes": ("num_classes",),
    "gt_boxes_per_image": ("boxes_kept",),
    "score_threshold": ("nms_score_threshold",),
    "nms": ("nms_iou_threshold",),
    "detections_per_image": ("max_detections_per_class", "max_detections"),
}

#: Factors in the order in which a reader wants them: what is known to cost most first.
FACTOR_ORDER = (
    "train_shards",
    "stages",
    "checkpoint",
    "batch_size",
    "sync_replicas",
    "base_lr",
    "schedule_length",
    "lr_schedule",
    "warmup",
    "optimizer",
    "gradient_clipping",
    "batch_norm",
    "loss_function",
    "image_size",
    "backbone",
    "augmentation",
    "anchors",
    "anchor_matching",
    "box_coder",
    "loss_weights",
    "hard_example_mining",
    "proposals",
    "rois_per_image",
    "gt_boxes_per_image",
    "weight_decay",
    "ema",
    "bfloat16",
    "initialization",
    "masks",
    "keypoints",
    "tasks",
    "classes",
    "score_threshold",
    "detections_per_image",
    "nms",
    "score_conversion",
    "evaluation",
    "quantization",
    "implementation",
    "input_pipeline",
    "visualisation",
    "run_keeping",
    "names",
    OTHER,
)

_INDEX = re.compile(r"\[[^\]]*\]")
_COMPILED = tuple((factor, re.compile("|".join(alike))) for factor, alike in _FIELDS)
_BY_QUANTITY = {name: factor for factor, names in _QUANTITIES.items() for name in names}


@cache
def factor_of_field(path: str) -> str:
    """Gives the factor that a dotted path belongs to, `other` where the table knows none."""
    plain = _INDEX.sub("", path)
    return next((factor for factor, known in _COMPILED if known.search(plain)), OTHER)


def factor_of_quantity(name: str) -> str:
    """Gives the factor of a quantity, `other` where the table knows none."""
    return _BY_QUANTITY.get(name, OTHER)


# --- How two pipelines differ, grouped by the factor that could be varied to close the difference
# ---


# What stands in no config. Where only one side says how many replicas there are, these differ
# by what was not said.
_PER_REPLICA = ("num_replicas", "images_per_replica", "batchnorm_images")

# The field of this name is a list that is told as a whole, with parameters.
_TOLD_BY_FIELDS = ("augmentation",)
_NO_RATE = 1e-6


class QuantityDifference(NamedTuple):
    """A quantity that differs; None on a side where the notion does not apply or is not known."""

    name: str
    unit: str
    a: object
    b: object


class FieldDifference(NamedTuple):
    """A field that differs; None on a side that does not read it.

    `inert` says why the field has no effect under model_main_tf2, None for one that has.
    """

    path: str
    a: FieldValue | None
    b: FieldValue | None
    inert: str | None


@dataclass(frozen=True)
class Deviation:
    """All that differs in one factor.

    Attributes:
        factor: a name of `field_factors.FACTOR_ORDER`.
        quantities: what differs in what the configs amount to.
        fields: what differs in the configs, defaults filled in.
    """

    factor: str
    quantities: tuple[QuantityDifference, ...]
    fields: tuple[FieldDifference, ...]

    @property
    def is_inert(self) -> bool:
        """Whether nothing of it has any effect."""
        return not self.quantities and all(field.inert is not None for field in self.fields)


def find_deviations(
    a: Pipeline,
    b: Pipeline,
    *,
    a_circumstances: Circumstances | None = None,
    b_circumstances: Circumstances | None = None,
) -> tuple[Deviation, ...]:
    """Gives the deviations of two pipelines, factors in `FACTOR_ORDER`.

    An unset field is equal to its default, a list is compared as a whole, and floats are equal
    within what float32 rounds. No file is looked at. Never raises for pipelines that parse.
    """
    fields = _field_differences(a, b)
    quantities = _quantity_differences(a, b, a_circumstances, b_circumstances)
    by_factor: dict[str, tuple[list[QuantityDifference], list[FieldDifference]]]
    by_factor = defaultdict(lambda: ([], []))
    for quantity in quantities:
        by_factor[factor_of_quantity(quantity.name)][0].append(quantity)
    for field in fields:
        by_factor[factor_of_field(field.path)][1].append(field)
    return tuple(
        Deviation(factor, tuple(by_factor[factor][0]), tuple(by_factor[factor][1]))
        for factor in sorted(by_factor, key=FACTOR_ORDER.index)
    )


def _field_differences(a: Pipeline, b: Pipeline) -> list[FieldDifference]:
    left, right = filled_fields(a), filled_fields(b)
    sides = (a, b)
    inert = [inert_paths(side) for side in sides]
    written = [{_INDEX.sub("", path) for path in flatten_fields(side.proto)} for side in sides]
    plain = written[0] | written[1]
    paths = [*left, *(path for path in right if path not in left)]
    differing = [path for path in paths if not _same(left.get(path), right.get(path))]
    # Of a message that one side does not have, the defaults are told only where nothing else is.
    one_sided = {path for path in differing if path not in left or path not in right}
    told = {_parent(path) for path in differing if _INDEX.sub("", path) in plain}
    return [
        FieldDifference(path, left.get(path), right.get(path), _inert_reason(path, inert, written))
        for path in differing
        if path not in one_sided or _INDEX.sub("", path) in plain or _parent(path) not in told
    ]


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _quantity_differences(
    a: Pipeline,
    b: Pipeline,
    a_known: Circumstances | None,
    b_known: Circumstances | None,
) -> list[QuantityDifference]:
    # What a disk holds is no property of a config, and would differ from machine to machine.
    known = [replace(one or Circumstances(), look_at_disk=False) for one in (a_known, b_known)]
    left, right = derive_quantities(a, known[0]), derive_quantities(b, known[1])
    skipped: tuple[str, ...] = _TOLD_BY_FIELDS
    if (known[0].num_replicas is None) != (known[1].num_replicas is None):
        skipped += _PER_REPLICA if _alike_per_batch(left, right) else ("num_replicas",)
    ours, theirs = left.as_dict(), right.as_dict()
    return [
        QuantityDifference(name, unit, ours[name], theirs[name])
        for name, (unit, _) in quantity_definitions().items()
        if name not in skipped
        and not _same(ours[name], theirs[name])
        and not (name == "lr_last" and _is_nothing(ours[name]) and _is_nothing(theirs[name]))
    ]


def _is_nothing(rate: object) -> bool:
    """Whether a learning rate is what a cosine leaves at its end: digits, and no step."""
    return isinstance(rate, float) and abs(rate) < _NO_RATE


def _alike_per_batch(left: Quantities, right: Quantities) -> bool:
    return left.global_batch == right.global_batch and left.batchnorm == right.batchnorm


def _inert_reason(
    path: str, inert: Sequence[Mapping[str, str]], written: Sequence[AbstractSet[str]]
) -> str | None:
    """Gives why a field has no effect, if it has none on any side that sets it."""
    reasons = [_reason(path, one) for one in inert]
    plain = _INDEX.sub("", path)
    if any(
        reason is None and plain in fields for reason, fields in zip(reasons, written, strict=True)
    ):
        return None
    return next((reason for reason in reasons if reason is not None), None)


def _reason(path: str, inert: Mapping[str, str]) -> str | None:
    """Gives the reason of a field, or of the innermost message around it that has one."""
    while path:
        if path in inert:
            return inert[path]
        path = _parent(path)
    return None


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-30)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
