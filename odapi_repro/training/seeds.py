"""Seeds that hold: the OD API has none (tensorflow/models #9583, #7230, #7879)."""

from __future__ import annotations

from typing import Any

__all__ = ["set_seeds"]


def set_seeds(seed: int, *, deterministic: bool) -> None:
    """Seeds Python, NumPy and TensorFlow and, if asked for, makes every op deterministic.

    `dataset_builder.build` maps with `map_with_legacy_function`, whose function graphs do not
    inherit the global seed: augmentation stays random, and with op determinism TensorFlow refuses
    it ("Random ops require a seed to be set when determinism is enabled"). `Dataset.map` inherits
    the seed and computes the same, so the OD API's own fallback is what it gets.

    With `deterministic`, tf.data also keeps the order of its parallel readers and runs maps that
    draw random numbers one example at a time.
    """
    import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    _replace_legacy_map(tf)


def _replace_legacy_map(tf: Any) -> None:
    def map_with_seed(
        dataset: Any, map_func: Any, num_parallel_calls: Any = None, deterministic: Any = None
    ) -> Any:
        return dataset.map(map_func, num_parallel_calls, deterministic)

    for dataset_class in (tf.data.Dataset, tf.compat.v1.data.Dataset):
        dataset_class.map_with_legacy_function = map_with_seed
