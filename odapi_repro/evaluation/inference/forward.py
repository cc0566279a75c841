"""From images to raw detections: decoding, batches, and the compiled forward pass.

The compiled function from preprocessed images to detections: one forward, many post-processings.

A network's forward pass is the same whatever the score threshold or the NMS, so it is computed once
for all variants of a pass. In Mask R-CNN the third stage takes the boxes that are left after NMS,
so only stages one and two are shared (meta_architectures/faster_rcnn_meta_arch.py).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError, UserError
from odapi_repro.evaluation.inference.evaluation_job import EvaluationJob, Pass, Variant
from odapi_repro.evaluation.inference.model_edits import post_processing_of

# --- Images into a network: decoded and resized in parallel, in order, in batches of equal shape
# ---


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


# --- The compiled function from preprocessed images to detections: one forward, many post-
# processings ---


STAGES = "stages"
IS_COMPLETE = "is_complete"
_KEYS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
_MASKS = "detection_masks"

Forward = Callable[[Any, Any], dict[str, dict[str, Any]]]


# Anchors whose best class is looked at; more pairs of anchor and class than that come along.
MOST_ANCHORS = 2048

Suppress = Callable[..., tuple[Any, ...]]


def can_be_narrowed(processing: Any) -> bool:
    """Whether a `PostProcessing` proto asks for plain NMS class by class."""
    nms = processing.batch_non_max_suppression
    return not (
        # It lowers scores, so the order of candidates changes on the way.
        nms.soft_nms_sigma > 0
        or nms.use_class_agnostic_nms
        or nms.use_combined_nms
        or nms.use_partitioned_nms
        or nms.use_static_shapes
    )


def narrowed(suppress: Suppress, processing: Any, on_complete: Callable[[Any], None]) -> Suppress:
    """Gives an NMS function that leaves out candidates with low scores.

    Args:
        suppress: of `post_processing_builder.build`, for a proto that can be narrowed.
        processing: the `PostProcessing` proto.
        on_complete: gets a bool tensor [batch]: whether the detections of each image are those of
            `suppress` itself, to the last bit; not called where there are few anchors anyway.
    """
    import tensorflow as tf

    nms = processing.batch_non_max_suppression

    def suppress_best(boxes: Any, scores: Any, **options: Any) -> tuple[Any, ...]:
        anchors = scores.shape[1]
        if anchors is not None and anchors <= MOST_ANCHORS:
            return suppress(boxes, scores, **options)
        best = tf.reduce_max(scores, axis=2)
        rank = tf.minimum(MOST_ANCHORS, tf.shape(best)[1]) - 1
        least = tf.raw_ops.NthElement(input=best, n=rank, reverse=True)
        # All of equal scores stay, so that ties are broken as ever.
        is_kept = scores >= least[:, tf.newaxis, tf.newaxis]
        nothing = tf.constant(nms.score_threshold - 1.0, scores.dtype)
        found = suppress(boxes, tf.where(is_kept, scores, nothing), **options)
        loses = tf.reduce_any(~is_kept & (scores > nms.score_threshold), axis=[1, 2])
        most = min(nms.max_total_detections, nms.max_detections_per_class * scores.shape[2])
        on_complete(~loses | (found[-1] >= most))
        return found

    return suppress_best


def variant_key(variant: Variant) -> str:
    """Gives the name under which `compile_forward` has a variant's detections."""
    return f"variant/{variant.name}"


def compile_forward(
    model: Any,
    model_config: Any,
    one: Pass,
    *,
    size: tuple[int, int] | None,
    channels: int,
    with_masks: bool,
    narrow: bool = True,
) -> Forward:
    """Traces the function of a pass, which makes the model's variables, and gives it.

    It takes images float32 [B, H, W, C] and true shapes int32 [B, 3] as `model.preprocess` gives
    them, and gives, for each `variant_key`: `detection_boxes` float32 [B, N, 4] as shares of
    the true image, `detection_scores` [B, N], `detection_classes` int32 [B, N] from 0,
    `num_detections` int32 [B] and with masks `detection_masks` [B, N, h, w] relative to the boxes;
    under `stages` what `stages.collect_stages` gives, for a pass that asks. In a flipped pass all
    of it but the stages is mirrored back.

    With `narrow`, NMS leaves candidates out, see `narrowed_nms`, and where it does a variant has
    `is_complete` bool [B]: a batch in which it does not hold must be computed without `narrow`.

    AutoGraph is kept away: the OD API is graph code from before it, and converting it is half of
    the tracing. The batch has no fixed size, so that per-image loops are loops in the graph, too.

    Raises:
        UserError: from the variants' post-processing.
    """
    import tensorflow as tf

    processings = [post_processing_of(model_config, variant) for variant in one.variants]
    height, width = size or (None, None)

    def forward(images: Any, true_shapes: Any) -> dict[str, dict[str, Any]]:
        # By its name Keras takes the graph of a `wrap_function` for code of TensorFlow 1.
        tf.compat.v1.get_default_graph().name = "forward"
        if one.flip:
            images = tf.reverse_sequence(images, true_shapes[:, 1], seq_axis=2, batch_axis=0)
        predictions = _shared_predictions(model, images, true_shapes)
        found = {}
        for variant, processing in zip(one.variants, processings, strict=True):
            complete: list[Any] = []
            with _post_processing(model, processing, variant, complete.append if narrow else None):
                detections = _detections(model, predictions, true_shapes)
            edge = _right_edge(tf, model_config, processing, images, true_shapes)
            outputs = _outputs(tf, detections, one.flip, edge, with_masks)
            if complete:
                outputs[IS_COMPLETE] = complete[0]
            found[variant_key(variant)] = outputs
        if one.stages:
            from odapi_repro.evaluation.inference.stage_tensors import collect_stages

            found[STAGES] = collect_stages(model, dict(predictions), true_shapes)
        return found

    # `tf.function` would trace a second time, because the first makes the variables.
    traced: Forward = tf.compat.v1.wrap_function(
        tf.autograph.experimental.do_not_convert(forward),
        [
            tf.TensorSpec([None, height, width, channels], tf.float32),
            tf.TensorSpec([None, 3], tf.int32),
        ],
    )
    return traced


def _shared_predictions(model: Any, images: Any, true_shapes: Any) -> dict[str, Any]:
    """Gives the predictions before any final NMS, which a third stage would hold."""
    if not _has_third_stage(model):
        predictions: dict[str, Any] = model.predict(images, true_shapes)
        return predictions
    with _attributes(model, _number_of_stages=2):
        predictions = model.predict(images, true_shapes)
    return predictions


def _detections(model: Any, shared: dict[str, Any], true_shapes: Any) -> dict[str, Any]:
    # Both add to what they are given.
    predictions = dict(shared)
    if _has_third_stage(model):
        predictions = model._predict_third_stage(predictions, true_shapes)
    detections: dict[str, Any] = model.postprocess(predictions, true_shapes)
    return detections


def _has_third_stage(model: Any) -> bool:
    return getattr(model, "_number_of_stages", 0) == 3


@contextlib.contextmanager
def _post_processing(
    model: Any, processing: Any, variant: Variant, on_complete: Callable[[Any], None] | None
) -> Iterator[None]:
    """Gives the model the NMS and the score conversion of a variant while it is traced."""
    if processing is None:
        yield
        return
    from object_detection.builders import post_processing_builder

    try:
        suppress, convert = post_processing_builder.build(processing)
    except ValueError as error:
        raise UserError(
            f"variant '{variant.name}': {error}",
            expected="values that the OD API's post_processing_builder takes",
        ) from error
    if on_complete is not None and can_be_narrowed(processing):
        suppress = narrowed(suppress, processing, on_complete)
    if hasattr(model, "_second_stage_nms_fn"):
        changes = {"_second_stage_nms_fn": suppress, "_second_stage_score_conversion_fn": convert}
    elif hasattr(model, "_score_conversion_fn"):
        changes = {"_non_max_suppression_fn": suppress, "_score_conversion_fn": convert}
    else:  # CenterNet's scores are probabilities already.
        changes = {"_non_max_suppression_fn": suppress}
    with _attributes(model, **changes):
        yield


@contextlib.contextmanager
def _attributes(model: Any, **changes: Any) -> Iterator[None]:
    before = {name: getattr(model, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(model, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(model, name, value)


def _right_edge(tf: Any, model_config: Any, processing: Any, images: Any, true_shapes: Any) -> Any:
    """Gives x of the true image's right edge in the frame of the boxes: float32 [B, 1].

    Boxes are relative to the true image, but for an SSD that is told not to change their frame:
    there they stay relative to the padded input (post_processing.multiclass_non_max_suppression).
    """
    kept = model_config.WhichOneof("model") == "ssd" and not (
        processing.batch_non_max_suppression.change_coordinate_frame
    )
    widths = tf.cast(true_shapes[:, 1:2], tf.float32)
    return widths / tf.cast(tf.shape(images)[2], tf.float32) if kept else tf.ones_like(widths)


def _outputs(
    tf: Any, detections: dict[str, Any], flip: bool, edge: Any, with_masks: bool
) -> dict[str, Any]:
    boxes, scores, classes, count = (detections.get(key) for key in _KEYS)
    if classes is None:  # a class-agnostic model, as prepare_eval_dict takes it
        classes = tf.zeros_like(scores)
    if flip:
        ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=2)
        boxes = tf.stack([ymin, edge - xmax, ymax, edge - xmin], axis=2)
    found = {
        "detection_boxes": boxes,
        "detection_scores": scores,
        "detection_classes": tf.cast(classes, tf.int32),
        "num_detections": tf.cast(count, tf.int32),
    }
    if with_masks and _MASKS in detections:
        masks = detections[_MASKS]
        found[_MASKS] = tf.reverse(masks, axis=[3]) if flip else masks
    return found
