"""The stand-in for tensorflow_io's colours gives CIE L*a*b*."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.tensorflow


def test_colours_are_those_of_opencv() -> None:
    import cv2
    import numpy as np

    from odapi_repro.training.compat import rgb_to_lab

    rgb = np.random.default_rng(0).uniform(size=(2, 40, 30, 3)).astype(np.float32)
    rgb[0, 0] *= 0.01
    wanted = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2LAB) for image in rgb])
    # OpenCV interpolates in a table: 0.32 apart at most, 0.07 on average.
    assert np.abs(rgb_to_lab(rgb).numpy() - wanted).max() < 0.4


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [((0, 0, 0), (0, 0, 0)), ((1, 1, 1), (100, 0, 0)), ((1, 0, 0), (53.24, 80.09, 67.2))],
)
def test_black_white_and_red_are_where_cie_has_them(
    rgb: tuple[float, ...], lab: tuple[float, ...]
) -> None:
    import numpy as np

    from odapi_repro.training.compat import rgb_to_lab

    assert rgb_to_lab(np.array(rgb, np.float64)).numpy() == pytest.approx(lab, abs=0.02)


def test_black_has_a_finite_gradient() -> None:
    import tensorflow as tf

    from odapi_repro.training.compat import rgb_to_lab

    black = tf.zeros([1, 3])
    with tf.GradientTape() as tape:
        tape.watch(black)
        lab = rgb_to_lab(black)
    assert bool(tf.reduce_all(tf.math.is_finite(tape.gradient(lab, black))))
