"""sRGB to CIE L*a*b*, as DeepMAC's colour consistency loss asks tensorflow_io for it."""

from __future__ import annotations

from typing import Any

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
