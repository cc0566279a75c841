"""The mean of several checkpoints' weights. In the child process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import UserError
from odapi_repro.evaluation.inference.network import restore


def average_checkpoints(prefixes: Sequence[str], model: Any) -> None:
    """Sets the variables of a model to the mean of several checkpoints, with equal weights.

    As stochastic weight averaging does (Izmailov et al. 2018, arXiv:1803.05407, algorithm 1), with
    one difference: batch-norm moving means and variances are averaged like the weights; the paper
    computes them anew by a pass over the training set. Means are taken in float64. What is no
    float (counters) is taken from the last checkpoint.

    Args:
        prefixes: of checkpoints of one architecture (`.../ckpt-7`); at least one.
        model: an OD API model that was built and called, so that its variables exist.

    Raises:
        UserError: no prefix.
        DataError: a variable that a checkpoint lacks or holds in another shape; names both.
    """
    import tensorflow as tf

    if not prefixes:
        raise UserError("no checkpoint to average", expected="at least one prefix")
    # Everything that a checkpoint of the model would hold: `model.variables` misses what Keras
    # does not track.
    nodes = tf.train.TrackableView(model).descendants()
    variables = list({id(node): node for node in nodes if isinstance(node, tf.Variable)}.values())
    floats = [variable for variable in variables if variable.dtype.is_floating]
    sums: list[NDArray[np.float64]] = [np.zeros(variable.shape, np.float64) for variable in floats]
    for prefix in prefixes:
        restore(model, prefix)
        for total, variable in zip(sums, floats, strict=True):
            np.add(total, variable.numpy(), out=total)
    for total, variable in zip(sums, floats, strict=True):
        variable.assign((total / len(prefixes)).astype(variable.dtype.as_numpy_dtype))
