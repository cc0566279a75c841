"""Shortens the time until the first step, for trials of minutes."""

from __future__ import annotations

# `_dist_train_step` loops over a tensor and needs the conversion; the rest of the OD API is graph
# code from before AutoGraph (tf.cond, tf.while_loop, map_fn) and is only copied by it.
_CONVERTED = ("object_detection.model_lib_v2",)
_NOT_CONVERTED = ("object_detection", "tf_slim", "official")


def skip_autograph_in_od_api() -> bool:
    """Keeps AutoGraph from converting the OD API's own modules; gives whether it could.

    AutoGraph rewrites every function that is called while a graph is traced: on two cores, half of
    the 85 s until the first step of an EfficientDet. Code that did need the conversion would fail
    with "Using a symbolic tf.Tensor as a Python bool".

    The random numbers are others, though from the same generators: TensorFlow derives the seed of
    an op from the number of ops before it in its graph. So whether this is done follows from the
    trial's spec (trials with the proxies' backbones), never from how it is run. At full scale,
    where a minute is nothing, graphs are traced as the OD API does it.
    """
    try:
        from tensorflow.python.autograph.core import config
    except ImportError:
        return False
    config.CONVERSION_RULES = (
        *(config.Convert(name) for name in _CONVERTED),
        *(config.DoNotConvert(name) for name in _NOT_CONVERTED),
        *config.CONVERSION_RULES,
    )
    return True
