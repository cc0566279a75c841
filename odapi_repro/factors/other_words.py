"""What somebody meant who typed the name of no factor."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

# What no factor varies, until one has one of its names -> its names.
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
_ALIKE = 0.67


def hint_of(name: str, known: Mapping[str, str]) -> str:
    """Gives what to tell somebody who typed `name`, which is none of the `known` factors.

    `did you mean 'x'?` where x, another word for it or the misspelling of either was typed; how to
    study what no factor varies; an empty text where nothing is near.

    Args:
        known: factor -> what else it is called.
    """
    meant: dict[str, str] = {}
    for what, words in (*_UNVARIED.items(), *known.items()):
        names = [what, *words.split()]
        factor = next((one for one in names if one in known), what)
        meant.update(dict.fromkeys(map(_plain, names), factor))
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
