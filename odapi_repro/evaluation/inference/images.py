"""Images into a network: decoded and resized in parallel, in order, in batches of equal shape."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError
from odapi_repro.evaluation.inference.job import EvaluationJob

# How far behind the newest image the first of an incomplete batch may stay, in batches: memory is
# bounded by it where nearly every image has a shape of its own.
_MOST_WAITING = 16
_PREFETCHED = 2
_READ_BYTES = 8 << 20


@dataclass(frozen=True)
class Batch:
    """Images of one shape on their way through a network.

    Attributes:
        positions: of the images among those evaluated, from 0.
        images: float32 tensor [B, H, W, C] as `model.preprocess` gives them.
        true_shapes: int32 tensor [B, 3]: height, width and channels without padding.
        sizes: int64 [B, 2], height and width of the images as they were decoded.
    """

    positions: tuple[int, ...]
    images: Any
    true_shapes: Any
    sizes: NDArray[np.int64]


def encoded_images(job: EvaluationJob) -> Any:
    """Gives a `tf.data.Dataset` of the encoded images of a job, in order, each n-th of them.

    Every n-th as dataset_builder.build has it, by `shard`. Of a record only `image/encoded` is
    read, which is what the OD API decodes (data_decoders/tf_example_decoder.py).
    """
    import tensorflow as tf

    if job.image_files:
        dataset = tf.data.Dataset.from_tensor_slices(list(job.image_files))
        return dataset.shard(job.sample_1_of_n, 0).map(tf.io.read_file)
    features = {"image/encoded": tf.io.FixedLenFeature((), tf.string)}
    dataset = tf.data.TFRecordDataset(list(job.record_files), buffer_size=_READ_BYTES)
    return dataset.shard(job.sample_1_of_n, 0).map(
        lambda record: tf.io.parse_single_example(record, features)["image/encoded"]
    )


def decode(encoded: Any) -> Any:
    """Gives an encoded image as a uint8 tensor [height, width, 3].

    A JPEG by `decode_jpeg`, anything else by `decode_image`, as tf_slim's `Image` handler does:
    the two may use other inverse transforms.
    """
    import tensorflow as tf

    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def batches(job: EvaluationJob, model: Any, static_size: tuple[int, int] | None) -> Iterator[Batch]:
    """Gives the images of a job as a model takes them; within a batch in order.

    Args:
        job: names the images and the batch size.
        model: its `preprocess` normalises and resizes, as `inputs.transform_input_data` has it.
        static_size: height and width of every input where the resizer fixes them. Without it,
            images of equal shape are put together, and batches come out of order.

    Raises:
        DataError: an image that does not decode, or a record without one.
    """
    import tensorflow as tf

    def prepare(encoded: Any) -> tuple[Any, Any, Any]:
        decoded = decode(encoded)
        images, true_shapes = model.preprocess(tf.cast(decoded, tf.float32)[tf.newaxis])
        image = images[0]
        if static_size is not None:
            image.set_shape([*static_size, image.shape[2]])
        return image, true_shapes[0], tf.shape(decoded)[:2]

    options = tf.data.Options()
    options.deterministic = True
    dataset = encoded_images(job).with_options(options)
    dataset = dataset.map(
        tf.autograph.experimental.do_not_convert(prepare),
        num_parallel_calls=os.cpu_count() or 1,
        deterministic=True,
    )
    if static_size is not None:
        found = _static(dataset.batch(job.batch_size).prefetch(_PREFETCHED))
    else:
        found = _by_shape(tf, dataset.prefetch(_PREFETCHED * job.batch_size), job.batch_size)
    try:
        yield from found
    except tf.errors.InvalidArgumentError as error:
        raise DataError(
            f"{_first_unreadable(tf, job)} cannot be read: {error.message.splitlines()[0]}",
            expected="JPEG, PNG, GIF or BMP images, in records under image/encoded",
            mend="write the record again, or leave the image out",
            where=(*job.record_files, *job.image_files)[0],
        ) from error


def _static(dataset: Any) -> Iterator[Batch]:
    position = 0
    for images, true_shapes, sizes in dataset:
        decoded = sizes.numpy().astype(np.int64)
        end = position + len(decoded)
        yield Batch(tuple(range(position, end)), images, true_shapes, decoded)
        position = end


def _by_shape(tf: Any, dataset: Any, batch_size: int) -> Iterator[Batch]:
    waiting: dict[tuple[int, ...], list[tuple[int, Any, Any, Any]]] = {}
    for position, (image, true_shape, size) in enumerate(dataset):
        shape = tuple(image.shape)
        group = waiting.setdefault(shape, [])
        group.append((position, image, true_shape, size))
        if len(group) == batch_size:
            yield _stacked(tf, waiting.pop(shape))
        oldest = min(waiting, key=lambda key: waiting[key][0][0], default=None)
        if oldest is not None:
            behind = position - waiting[oldest][0][0]
            if behind >= _MOST_WAITING * batch_size:
                yield _stacked(tf, waiting.pop(oldest))
    for group in waiting.values():
        yield _stacked(tf, group)


def _stacked(tf: Any, group: list[tuple[int, Any, Any, Any]]) -> Batch:
    positions, images, true_shapes, sizes = zip(*group, strict=True)
    return Batch(
        positions,
        tf.stack(images),
        tf.stack(true_shapes),
        np.array([size.numpy() for size in sizes], np.int64).reshape(-1, 2),
    )


def _first_unreadable(tf: Any, job: EvaluationJob) -> str:
    """Names the first image of a job that does not decode."""
    position = 0
    with contextlib.suppress(tf.errors.InvalidArgumentError):
        for encoded in encoded_images(job):
            decode(encoded)
            position += 1
    number = position * job.sample_1_of_n
    return job.image_files[number] if job.image_files else f"the image of record {number}, from 0,"
