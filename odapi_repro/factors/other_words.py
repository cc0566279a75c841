"""What people call a factor that has another name here, and what no factor varies."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

# Factor -> other names of it: of configs, of other training programs, of papers.
_ALSO_CALLED = {
    "learning_rate": "lr base_lr lr0 learning_rate_base initial_learning_rate peak_lr rate",
    "schedule_length": "epochs epoch steps num_steps num_train_steps total_steps iterations iters "
    "max_iter schedule horizon lr_schedule training_length duration",
    "batch_size": "batch bs batchsize global_batch global_batch_size train_batch_size images",
    "warmup": "warmup_steps warm_up warmup_length warmup_epochs",
    "sync_replicas": "replicas gpus num_gpus num_replicas sync_bn syncbn workers",
    "augmentation": "aug augs augment augmentations data_augmentation data_augmentation_options",
    "train_fraction": "data_fraction fraction dataset_size data_size num_images subset train_size",
    "train_shards": "shards num_shards",
    "label_noise": "noise labels wrong_labels annotations",
    "duplicate_share": "duplicates duplicate copies",
    "rois_per_image": "roi rois num_rois second_stage_batch_size",
    "proposals": "first_stage_max_proposals num_proposals max_proposals",
    "nms_iou": "nms iou nms_threshold iou_threshold nms_iou_threshold",
    "rpn_nms_iou": "rpn rpn_nms rpn_nms_threshold first_stage_nms_iou_threshold",
    "score_threshold": "conf confidence score threshold conf_threshold min_score",
    "detections_per_image": "max_detections max_dets maxdets max_total_detections detections",
    "flip_testing": "tta flip test_time_augmentation",
    "multi_scale_testing": "multi_scale multiscale test_scales",
    "fusion": "ensemble wbf weighted_boxes_fusion",
    "swa": "weight_averaging stochastic_weight_averaging average_checkpoints",
    "mask_size": "mask masks mask_resolution",
    "crop_size": "crop roi_crop initial_crop_size",
}
_MEANT = {word: factor for factor, words in _ALSO_CALLED.items() for word in words.split()}

# What no factor varies -> its names.
_INPUT_SIZE = "the input size"
_UNVARIED = {
    _INPUT_SIZE: "image_size img_size imgsz input_size input_resolution resolution size "
    "image_resizer image_resolution input_shape",
    "the anchors": "anchors anchor anchor_scale anchor_scales anchor_generator aspect_ratios",
    "batch norm": "bn batch_norm batchnorm freeze_bn freeze_batchnorm",
    "the optimizer": "optimizer optim momentum adam sgd weight_decay wd l2 regularization",
    "gradient clipping": "clipping gradient_clipping clip grad_clip",
    "the loss": "loss losses loss_weights focal_loss alpha gamma loss_function",
    "the architecture": "backbone model architecture feature_extractor fpn neck depth width",
    "dropout": "dropout use_dropout",
    "the moving average of weights": "ema moving_average use_moving_average",
    "the checkpoint to start from": "checkpoint fine_tune_checkpoint pretrained weights init",
    "the classes": "classes num_classes class_weights",
}
_NO_FACTOR = {word: what for what, words in _UNVARIED.items() for word in words.split()}
_ALIKE = 0.67


def factor_hint(name: str, known: Sequence[str]) -> str:
    """Gives what to tell somebody who typed `name`, which is none of the `known` factors.

    `did you mean 'x'?` where x, another word for it or the misspelling of either was typed; how to
    study what no factor varies; an empty text where nothing is near.
    """
    meant = {**_NO_FACTOR, **{word: x for word, x in _MEANT.items() if x in known}}
    meant = {_plain(word): x for word, x in [*meant.items(), *((x, x) for x in known)]}
    near = difflib.get_close_matches(_plain(name), meant, n=1, cutoff=_ALIKE)
    if not near:
        return ""
    found = meant[near[0]]
    if found in known:
        return f"did you mean '{found}'?"
    tested = "multi_scale_testing"
    sizes = f" ({tested} gives a finished --checkpoint other sizes)" if tested in known else ""
    return (
        f"no factor varies {found}{sizes if found == _INPUT_SIZE else ''}: train a copy of the "
        "config that differs there, as it is, with --pipeline COPY --ablate batch_size "
        "--levels 1x"
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())
