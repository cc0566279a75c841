"""What no config mends, and what mends it instead."""

from __future__ import annotations

from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.mending.changes import NotMendable
from odapi_repro.diagnosis.mending.constraints import FINE_TUNE, Constraints
from odapi_repro.reference import Reference

_BACKBONES = "research/object_detection/g3doc/tf2_classification_zoo.md of tensorflow/models"
_OTHER_CONFIG = "start from a config of the TF2 zoo: python -m odapi_repro.zoo lists them"
_WHAT_TO_DO = {
    "placeholder_path": "fill in the paths of your records, label map and checkpoint",
    "eval_input_not_configured": "name records to evaluate on, and their label map, in "
    "eval_input_reader",
    "train_input_not_configured": "name your records and label map in train_input_reader",
    "input_pattern_matches_nothing": "name records that exist",
    "input_not_a_record": "make TFRecord files: python -m odapi_repro.data convert takes COCO json",
    "partial_shards": "bring the missing shards to this disk",
    "train_eq_eval": "hold some images out: evaluate on records that training does not read",
    "eval_train_overlap": "take the images that training reads out of the evaluation's records",
    "dataset_too_small": "collect more images",
    "label_map_malformed": "write the label map anew: one item { id name } a class, ids from 1",
    "label_id_offset": "write the records anew, with ids from 1",
    "label_name_mismatch": "write the records anew, with the label map's names",
    "boxes_not_normalized": "write the records anew, with boxes as shares of the image",
    "crowd_trained_as_positive": "leave crowd regions out of the training records",
    "ckpt_in_model_dir": "train into another --model_dir than the checkpoint's folder",
    "tf1_only_model": _OTHER_CONFIG,
    "feature_extractor_unknown": _OTHER_CONFIG,
    "model_missing": _OTHER_CONFIG,
    "backbone_changed": "name the reference of your own model: --reference",
}
_TINY_BATCH = (
    "{why}; more replicas do not help, as each takes its own statistics, and the OD API does not "
    "accumulate gradients. What helps: memory for 4 images or more a replica, a smaller input, "
)
_NOT_FROZEN = {
    "efficientdet": "the EfficientNet backbone's batch norm cannot be frozen by a config",
    "centernet": "CenterNet's batch norm cannot be frozen by a config",
}
_UNNORMALISED = "frozen, batch norm would leave the FPN and heads, which are random, unnormalised"
_OTHER_MODEL = "or a model whose batch norm can be frozen (Faster R-CNN, a fine-tuned SSD ResNet)"


def not_mendable(
    finding: Finding, constraints: Constraints, reference: Reference, goal: str
) -> NotMendable:
    """Gives what the user has to do about a finding that is left."""
    kept = constraints.kept_factor_of(finding.fields)
    if kept is not None:
        todo = f"it was kept: leave '{kept}' out of --keep"
    elif constraints.steps is not None and "train_config.num_steps" in finding.fields:
        todo = f"--steps {constraints.steps} was asked for; it takes {finding.expected}"
    elif finding.cause == "tiny_batch_batchnorm":
        todo = _TINY_BATCH.format(why=_NOT_FROZEN.get(reference.family, _UNNORMALISED))
        todo += ("" if goal == FINE_TUNE else f"fine-tuning (--goal {FINE_TUNE}), ") + _OTHER_MODEL
    elif finding.cause == "ckpt_from_other_architecture" and goal == FINE_TUNE:
        todo = (
            f"download a checkpoint of this model: {reference.archive or 'the TF2 zoo lists them'}"
        )
    elif finding.cause in ("ckpt_from_other_architecture", "trained_from_scratch"):
        todo = f"do as the reference: it {_lowered(reference.source.start)} ({_BACKBONES})"
    else:
        todo = _WHAT_TO_DO.get(finding.cause, f"needed: {finding.expected}")
    return NotMendable(finding.cause, finding.code, finding.severity, finding.found, todo)


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")
