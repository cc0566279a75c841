"""NMS on the candidates that can make a difference, with a word on whether they were enough.

A single-stage detector has tens of thousands of anchors, all of them above the usual score
threshold of 1e-8 for every class, and NMS goes through them class by class until each class has its
hundred boxes; then all but the hundred best of all classes are thrown away. NMS takes candidates by
falling score, so those that come after the last box that is kept decide nothing: leaving them out
gives the same boxes. How many are needed is not known before, so it is checked after.

Why the check is right (`core/post_processing.multiclass_non_max_suppression`): left out is what
scores less than some number, in all classes alike. So of each class the boxes that are kept are the
first of those that would be kept, in the same places; the window is applied to them after NMS, box
by box; and what follows (sorting by score, ties by place; the frame of the coordinates) depends on
no other box. The detections can differ only by boxes that score less than all that are there, so
they are the same where there is no room for any: `max_total_detections` are there, or
`max_detections_per_class` of each class. Boxes lost to the window are not counted, so a class that
had its boxes before may seem to have room: such an image is only computed again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
