"""What published effects are sorted by, and what nobody published a usable number for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EFFECT_FACTORS = (
    "data_fraction",
    "schedule_length",
    "checkpoint",
    "freezing",
    "batch_size_lr_scaled",
    "batch_size_lr_kept",
    "gradient_accumulation",
    "batch_norm",
    "learning_rate",
    "warmup",
    "weight_decay",
    "lr_schedule",
    "optimizer",
    "recipe",
    "gradient_clipping",
    "ema",
    "swa",
    "scale_jitter",
    "augmentation_policy",
    "image_size",
    "test_image_size",
    "backbone",
    "loss_function",
    "hard_example_mining",
    "label_smoothing",
    "box_loss",
    "loss_weights",
    "anchors",
    "anchor_matching",
    "proposals",
    "rois_per_image",
    "max_detections",
    "score_threshold",
    "nms",
    "test_time_augmentation",
    "box_voting",
    "ensemble",
    "crowd",
    "label_noise",
    "precision",
    "evaluation_protocol",
    "implementation",
    "run_to_run",
    "reproduction_gap",
)

UNKNOWN_EFFECTS: Mapping[str, str] = MappingProxyType(
    {
        "warmup": "no usable published number on COCO, for its presence or length; measure it",
        "learning_rate": "no sweep at a fixed batch on COCO was found; measure it",
        "weight_decay": "no number for SGD between 4e-5 and 5e-4 was found; measure it",
        "gradient_clipping": "no usable published number on COCO; measure it",
        "gradient_accumulation": "called nearly identical, but without a number; measure it",
        "head_lr_ratio": "no usable published number; measure it",
        "lr_plateau": "no controlled comparison of a plateau rule was found; measure it",
        "bfloat16": "only half precision was compared, not bfloat16; measure it",
        "rois_per_image": "never changed alone in what was found; measure it",
        "detections_per_image": "no comparison of 100 and 300 on COCO: its metrics stop at 100",
        "nms_iou": "the IoU of hard NMS was never changed alone; measure it",
        "class_weighting": "published on LVIS only, not on plain COCO; measure it",
        "eval_sampling": "no number for a sampled or sharded evaluation; measure it",
        "annotation_errors": "synthetic noise only, no relabelled COCO; measure it",
        "batchnorm_images": "no sweep of images per replica for one-stage models; measure it",
    }
)
