"""What `--checkpoint` names, and whether a pipeline can be its own; no TensorFlow."""

from odapi_repro.evaluation.checkpoint.checkpoint_fit import (
    built_with,
    check_classes,
    check_decoder,
    check_shapes,
    check_source,
)
from odapi_repro.evaluation.checkpoint.named_checkpoint import (
    CheckpointSource,
    checkpoint_digest,
    find_checkpoint,
)

__all__ = [
    "CheckpointSource",
    "built_with",
    "check_classes",
    "check_decoder",
    "check_shapes",
    "check_source",
    "checkpoint_digest",
    "find_checkpoint",
]
