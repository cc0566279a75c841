"""The config of tensorflow/models #10530: EfficientDet-D3 as its poster changed it."""

from __future__ import annotations

from typing import Any

from odapi_repro.pipeline import Pipeline
from odapi_repro.reference import reference_named

REFERENCE = reference_named("efficientdet_d3")


def edited(**fields: Any) -> Pipeline:
    """Gives the reference with fields of `train_config` or of its cosine changed."""

    def edit(proto: Any) -> None:
        train = proto.train_config
        cosine = train.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
        for name, value in fields.items():
            setattr(train if hasattr(train, name) else cosine, name, value)

    return REFERENCE.pipeline().edited(edit)


def issue_10530() -> Pipeline:
    """Gives the user's pipeline: the fields named in the issue, the rest as in the reference."""

    def edit(proto: Any) -> None:
        train = proto.train_config
        train.batch_size, train.num_steps, train.use_bfloat16 = 2, 600_000, False
        train.fine_tune_checkpoint = "efficientnet_b3/ckpt-0"
        cosine = train.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
        cosine.learning_rate_base, cosine.total_steps = 0.01, 600_000
        for reader, name in (
            (proto.train_input_reader, "coco_train.record-00000-of-00100"),
            (proto.eval_input_reader[0], "coco_val.record-00000-of-00050"),
        ):
            reader.tf_record_input_reader.input_path[:] = [f"COCO/{name}"]
            reader.label_map_path = "data/label_map.txt"

    return REFERENCE.pipeline().edited(edit)
