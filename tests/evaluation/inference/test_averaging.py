"""Averaged weights of real checkpoints, of a small Keras model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odapi_repro.errors import DataError, UserError

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def tf() -> Any:
    from odapi_repro.training.compat import set_environment

    set_environment()
    import tensorflow

    return tensorflow


def make_model(tf: Any, seed: int, units: int = 3) -> Any:
    """A batch norm between two dense layers, and a counter beside them that Keras does not know."""

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [
                tf.keras.layers.Dense(units),
                tf.keras.layers.BatchNormalization(),
                tf.keras.layers.Dense(2),
            ]
            self.counter = tf.Variable(seed, dtype=tf.int64)
            self({"x": tf.zeros([1, 4])})

        def __call__(self, inputs: dict[str, Any]) -> Any:
            value = inputs["x"]
            for layer in self.layers:
                value = layer(value)
            return value

    model = Model()
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.dtype.is_floating:
            variable.assign(random.uniform(0.5, 2.0, variable.shape).astype(np.float32))
    return model


@pytest.fixture
def saved(tf: Any, tmp_path: Path) -> tuple[list[Any], list[str]]:
    models = [make_model(tf, seed) for seed in (1, 2, 3)]
    prefixes = [
        tf.train.Checkpoint(model=model).save(str(tmp_path / f"ckpt-{index}"))
        for index, model in enumerate(models)
    ]
    return models, prefixes


def test_every_float_is_the_mean_and_a_counter_is_the_last_ones(tf: Any, saved: Any) -> None:
    from odapi_repro.evaluation.inference.networks import average_checkpoints

    models, prefixes = saved
    model = make_model(tf, 9)
    average_checkpoints(prefixes, model)
    names = set()
    for index, variable in enumerate(model.variables):
        values = [one.variables[index].numpy() for one in models]
        names.add(variable.name)
        if variable.dtype.is_floating:
            expected = np.mean(np.array(values, np.float64), axis=0)
            np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-7)
        else:
            assert variable.numpy() == values[-1] == 3
    # Moving statistics are averaged, not left at one checkpoint's.
    assert any("moving_variance" in name for name in names)


def test_the_average_of_one_checkpoint_is_the_checkpoint(tf: Any, saved: Any) -> None:
    from odapi_repro.evaluation.inference.networks import average_checkpoints

    models, prefixes = saved
    model = make_model(tf, 9)
    average_checkpoints(prefixes[1:2], model)
    inputs = {"x": tf.random.normal([5, 4], seed=1)}
    np.testing.assert_array_equal(model(inputs).numpy(), models[1](inputs).numpy())


def test_checkpoints_of_another_shape_are_refused(tf: Any, saved: Any, tmp_path: Path) -> None:
    from odapi_repro.evaluation.inference.networks import average_checkpoints

    _, prefixes = saved
    wider = tf.train.Checkpoint(model=make_model(tf, 4, units=5)).save(str(tmp_path / "wide"))
    with pytest.raises(DataError, match="does not fit the model"):
        average_checkpoints([prefixes[0], wider], make_model(tf, 9))
    with pytest.raises(UserError, match="no checkpoint"):
        average_checkpoints([], make_model(tf, 9))
