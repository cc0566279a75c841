"""What the OD API misses on the supported stacks, patched before anything of it is imported.

Each patch says why it is there, for which TensorFlow versions, and whether the environment still
needs it (`needed`, asked before any patch is applied); the tests fail for a patch that is no longer
needed. Nothing here changes what the OD API computes.

Source: `facts/compat_missing_symbols.csv` of the design, checked on TF 2.15.1 and 2.20.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from odapi_repro.packages import tensorflow_version

OPEN_END = (99, 0)


# Linear sRGB to XYZ, and the white of illuminant D65 for the observer of 2 degrees.
_XYZ_OF_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)


def rgb_to_lab(rgb: Any) -> Any:
    """Gives L* in 0 to 100 and a*, b* of colours.

    Args:
        rgb: float tensor [..., 3], values 0 to 1 with sRGB's gamma.

    Returns:
        A tensor of the same shape and type.

    Source: the constants and thresholds of `tensorflow_io.experimental.color.rgb_to_lab` with its
    defaults (tensorflow_io/python/experimental/color_ops.py), which are those of IEC 61966-2-1
    and CIE 15.
    """
    import tensorflow as tf

    rgb = tf.convert_to_tensor(rgb)
    # Where a branch is not taken its gradient is still computed: the power of 0 would give NaN.
    bright = tf.maximum(rgb, 0.04045)
    linear = tf.where(rgb > 0.04045, ((bright + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = tf.linalg.matvec(tf.constant(_XYZ_OF_RGB, rgb.dtype), linear)
    part = xyz / tf.constant(_WHITE, rgb.dtype)
    light = tf.maximum(part, 0.008856)
    x, y, z = tf.unstack(
        tf.where(part > 0.008856, light ** (1 / 3), 7.787 * part + 16 / 116), axis=-1
    )
    return tf.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@dataclass(frozen=True)
class Patch:
    """One repair of the environment.

    Attributes:
        name: short name, used in provenance and by `doctor`.
        reason: what breaks without it, and where.
        tf_range: first TF version (major, minor) that needs it, and the first that does not.
        needed: whether the environment, as it is now, lacks what the patch provides.
        apply: provides it.
    """

    name: str
    reason: str
    tf_range: tuple[tuple[int, int], tuple[int, int]]
    needed: Callable[[], bool]
    apply: Callable[[], None]


def _version() -> tuple[int, int]:
    version = tensorflow_version()
    if version is None:
        raise ImportError("no TensorFlow is installed", name="tensorflow")
    return version


def set_environment() -> None:
    """Sets what must stand in the environment before TensorFlow is imported.

    From TF 2.16 on `tf.keras` is Keras 3 unless told otherwise; it has no `layers.experimental`,
    no `backend.set_learning_phase` and no legacy optimizers. On 2.15 `keras` is Keras 2 itself,
    and the OD API imports it under that name, so there the switch would mix two packages.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1" if _version() >= (2, 16) else "0"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")


def _stub_module(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__doc__ = "Stand-in by odapi_repro.training.compat."
    sys.modules[name] = module
    return module


def _tensorflow_io_needed() -> bool:
    return "tensorflow_io" not in sys.modules and importlib.util.find_spec("tensorflow_io") is None


def _apply_tensorflow_io() -> None:
    stub: Any = _stub_module("tensorflow_io")
    color = types.SimpleNamespace(rgb_to_lab=rgb_to_lab)
    stub.experimental = types.SimpleNamespace(color=color)


def _estimator_needed() -> bool:
    import tensorflow.compat.v1 as tf1

    return not hasattr(tf1, "estimator")


def _apply_estimator() -> None:
    import tensorflow.compat.v1 as tf1

    stub: Any = _stub_module("tensorflow.compat.v1.estimator")
    # model_lib and inputs name these in annotations and in functions of the TF1 path only.
    stub.ModeKeys = types.SimpleNamespace(TRAIN="train", EVAL="eval", PREDICT="infer")
    tf1.estimator = stub


_SLIM_CONTROL_FLOW = {
    "case": ("tensorflow.python.ops.control_flow_case", "case"),
    "cond": ("tensorflow.python.ops.cond", "cond"),
    "while_loop": ("tensorflow.python.ops.while_loop", "while_loop"),
}


def _control_flow_needed() -> bool:
    from tensorflow.python.ops import control_flow_ops

    return any(not hasattr(control_flow_ops, name) for name in _SLIM_CONTROL_FLOW)


def _apply_control_flow() -> None:
    from tensorflow.python.ops import control_flow_ops

    for name, (module, attribute) in _SLIM_CONTROL_FLOW.items():
        if not hasattr(control_flow_ops, name):
            value = getattr(importlib.import_module(module), attribute)
            setattr(control_flow_ops, name, value)


def _font_getsize_needed() -> bool:
    from PIL import ImageFont

    return not hasattr(ImageFont.FreeTypeFont, "getsize")


def _apply_font_getsize() -> None:
    from PIL import ImageFont

    def getsize(font: Any, text: str, *args: Any, **kwargs: Any) -> tuple[int, int]:
        left, top, right, bottom = font.getbbox(text, *args, **kwargs)
        return int(right - left), int(bottom - top)

    for font_class in (ImageFont.FreeTypeFont, ImageFont.ImageFont):
        if not hasattr(font_class, "getsize"):
            setattr(font_class, "getsize", getsize)  # noqa: B010


def _resnet() -> tuple[Any, str]:
    """The module in which resnet_v1.py looks, and the name of the one that has what it wants."""
    module = importlib.import_module("keras.applications.resnet")
    keras_2 = "keras" if _version() < (2, 16) else "tf_keras"
    return module, f"{keras_2}.src.applications.resnet"


def _keras_resnet_needed() -> bool:
    return not hasattr(_resnet()[0], "ResNet")


def _apply_keras_resnet() -> None:
    module, keras_2 = _resnet()
    module.ResNet = importlib.import_module(keras_2).ResNet


_NUMPY_ALIASES = {
    "bool": bool,
    "float": float,
    "int": int,
    "NAN": float("nan"),
    "string_": bytes,
}


def _numpy_aliases_needed() -> bool:
    import numpy as np

    return any(name not in vars(np) for name in _NUMPY_ALIASES)


def _apply_numpy_aliases() -> None:
    import numpy as np

    for name, value in _NUMPY_ALIASES.items():
        if name not in vars(np):
            setattr(np, name, value)


PATCHES: tuple[Patch, ...] = (
    Patch(
        name="tensorflow_io",
        reason="meta_architectures/deepmac_meta_arch.py imports tensorflow_io, which has no build "
        "that loads on TF 2.16 and later; DeepMAC takes rgb_to_lab from it, nothing else is used",
        tf_range=((2, 0), OPEN_END),
        needed=_tensorflow_io_needed,
        apply=_apply_tensorflow_io,
    ),
    Patch(
        name="compat_v1_estimator",
        reason="inputs.py and model_lib.py import tensorflow.compat.v1.estimator, which went with "
        "tensorflow-estimator in TF 2.16; the TF2 path never calls it",
        tf_range=((2, 16), OPEN_END),
        needed=_estimator_needed,
        apply=_apply_estimator,
    ),
    Patch(
        name="slim_control_flow",
        reason="tf_slim/data/tfexample_decoder.py calls case, cond and while_loop in "
        "control_flow_ops; TF moved them to modules of their own in 2.13",
        tf_range=((2, 13), OPEN_END),
        needed=_control_flow_needed,
        apply=_apply_control_flow,
    ),
    Patch(
        name="pillow_getsize",
        reason="utils/visualization_utils.py draws labels with FreeTypeFont.getsize, which "
        "Pillow 10 removed; model_main_tf2 draws at every evaluation",
        tf_range=((2, 0), OPEN_END),
        needed=_font_getsize_needed,
        apply=_apply_font_getsize,
    ),
    Patch(
        name="numpy_aliases",
        reason="utils/metrics.py and metrics/coco_evaluation.py use np.bool, np.float and np.NAN, "
        "which NumPy 1.24 and 2.0 removed; the OD API's own tests use np.int and np.string_, too",
        tf_range=((2, 0), OPEN_END),
        needed=_numpy_aliases_needed,
        apply=_apply_numpy_aliases,
    ),
    Patch(
        name="keras_resnet",
        reason="models/keras_models/resnet_v1.py builds ResNet-18 and -34 with ResNet of "
        "keras.applications.resnet, which Keras shows no longer since 2.13; without it CenterNet "
        "with resnet_v1_18_fpn or resnet_v1_34_fpn stops with AttributeError",
        tf_range=((2, 13), OPEN_END),
        needed=_keras_resnet_needed,
        apply=_apply_keras_resnet,
    ),
)


def applicable(patch: Patch, version: tuple[int, int] | None = None) -> bool:
    """Whether the patch is meant for this TensorFlow version (the installed one by default)."""
    first, end = patch.tf_range
    return first <= (version or _version()) < end


def apply_patches() -> tuple[str, ...]:
    """Applies every patch that is needed here and gives the names of those applied.

    Must be called in the child process before `object_detection` is imported.
    """
    set_environment()
    version = _version()
    applied = []
    for patch in PATCHES:
        if applicable(patch, version) and patch.needed():
            patch.apply()
            applied.append(patch.name)
    return tuple(applied)
