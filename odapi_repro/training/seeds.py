"""Seeds that hold: the OD API has none (tensorflow/models #9583, #7230, #7879)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any


def limit_threads() -> None:
    """Sets the threads for `ops_in_fixed_order`; TensorFlow reads them when it is imported.

    One within an op. Between ops the executor runs one at a time whatever there is, but each
    level of nested loops and conditions holds a thread while it waits for the next, and the data
    need one: with two in all, Mask R-CNN was seen to wait for ever.
    """
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    os.environ["TF_NUM_INTEROP_THREADS"] = "16"


@contextlib.contextmanager
def ops_in_fixed_order(wanted: bool) -> Iterator[None]:
    """Runs the ops of every compiled function one after the other, in one order, if wanted.

    `enable_op_determinism` makes each op deterministic, but not the order in which they run, and
    sums were seen to depend on it: of the sum of the losses, whose summands are also reported one
    by one, two orders, two last bits, another training. AddN takes over the buffer of an input
    that nobody else still reads, which would explain it, and so would the variable to which
    Grappler's memory optimizer rewrites it; neither was traced further. So ops get the executor of
    one thread, which takes neither such variables nor conditions that were lowered to Switch and
    Merge, as a replica's thread otherwise does.

    To be entered when TensorFlow is configured: its setters (soft placement, optimizer options)
    forget all that without a word.

    Raises:
        RuntimeError: something inside made TensorFlow forget it.
    """
    if not wanted:
        yield
        return
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
    from tensorflow.python.eager import context
    from tensorflow.python.ops import control_flow_util_v2

    current = context.context()
    before = current.function_call_options
    config = config_pb2.ConfigProto.FromString(before.config_proto_serialized)
    rewriting = config.graph_options.rewrite_options
    rewriting.memory_optimization = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT
    options = context.FunctionCallOptions("SINGLE_THREADED_EXECUTOR", config)
    current.function_call_options = options
    lowers = control_flow_util_v2._DISABLE_LOWER_USING_SWITCH_MERGE
    control_flow_util_v2._DISABLE_LOWER_USING_SWITCH_MERGE = True
    try:
        yield
        if current.function_call_options is not options:
            raise RuntimeError("the single-threaded executor was lost: ops ran in any order")
    finally:
        current.function_call_options = before
        control_flow_util_v2._DISABLE_LOWER_USING_SWITCH_MERGE = lowers


def set_seeds(seed: int, *, deterministic: bool) -> None:
    """Seeds Python, NumPy and TensorFlow and, if asked for, makes every op deterministic.

    `dataset_builder.build` maps with `map_with_legacy_function`, whose function graphs do not
    inherit the global seed: augmentation stays random, and with op determinism TensorFlow refuses
    it ("Random ops require a seed to be set when determinism is enabled"). `Dataset.map` inherits
    the seed and computes the same, so the OD API's own fallback is what it gets.

    With `deterministic`, tf.data also runs maps that draw random numbers one example at a time,
    and the parallel readers, which `dataset_builder.read_dataset` makes sloppy whenever it
    shuffles, keep their order: `enable_op_determinism` does not reach a reader that was told to be
    sloppy.
    The order of ops is `ops_in_fixed_order`'s.
    """
    import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        _keep_reader_order(tf)
        _seed_crops(tf)
    _replace_legacy_map(tf)


def _keep_reader_order(tf: Any) -> None:
    for module in (tf.data.experimental, tf.compat.v1.data.experimental):
        original = module.parallel_interleave

        def in_order(*args: Any, _original: Any = original, **kwargs: Any) -> Any:
            return _original(*args, **{**kwargs, "sloppy": False})

        module.parallel_interleave = in_order


def _seed_crops(tf: Any) -> None:
    """Gives the op behind the OD API's random crops a seed from the global one.

    It is the one random op there that does not take it by itself, so that determinism refuses it
    ("requires 'seed' or 'seed2' to be non-zero").
    """
    from tensorflow.python.framework import random_seed

    original = tf.compat.v1.image.sample_distorted_bounding_box

    def with_seed(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("seed") and not kwargs.get("seed2"):
            kwargs["seed"], kwargs["seed2"] = random_seed.get_seed(None)
        return original(*args, **kwargs)

    tf.compat.v1.image.sample_distorted_bounding_box = with_seed


def _replace_legacy_map(tf: Any) -> None:
    def map_with_seed(
        dataset: Any, map_func: Any, num_parallel_calls: Any = None, deterministic: Any = None
    ) -> Any:
        return dataset.map(map_func, num_parallel_calls, deterministic)

    for dataset_class in (tf.data.Dataset, tf.compat.v1.data.Dataset):
        dataset_class.map_with_legacy_function = map_with_seed
