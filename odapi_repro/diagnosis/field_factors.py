"""Which factor each field and each quantity belongs to, and in which order factors are shown."""

from __future__ import annotations

import re
from functools import cache

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
