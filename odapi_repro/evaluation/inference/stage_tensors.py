"""What each stage of Faster and Mask R-CNN hands to the next, kept image by image.

`collect_stages` takes it out of the network's own tensors, in the child that runs the model;
`StageRecorder` keeps of it what places a lost instance (`evaluation.mask_chain`), and `read_stages`
gives it back without TensorFlow.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError
from odapi_repro.files import replacing
from odapi_repro.pipeline import Pipeline, descend

MAX_RPN_BOXES = 2000
"""Boxes of the RPN kept of an image, those of the highest objectness. All of a proxy's 1,728."""

MAX_CANDIDATES = 1000
"""Second-stage boxes kept of an image before NMS: for every proposal that of its best class, then
the highest scores. All of a proxy's 192 (32 proposals, 6 classes)."""

_FORMAT = 1
Floats = NDArray[np.float32]


class ImageStages(NamedTuple):
    """The stages of one image; boxes are ymin xmin ymax xmax as shares of height and width.

    Attributes:
        rpn_boxes: float32 [R, 4], the anchors' decoded boxes before the RPN's NMS, not clipped to
            the image; by falling objectness.
        rpn_scores: float32 [R], objectness.
        proposal_boxes: float32 [P, 4], after NMS and `first_stage_max_proposals`, by falling
            objectness.
        proposal_scores: float32 [P].
        candidate_boxes: float32 [C, 4], the second stage's boxes before NMS, one of a proposal and
            a class, not clipped.
        candidate_scores: float32 [C], after the score converter.
        candidate_classes: int64 [C], category ids as in detections: 1 is the first class.
        candidate_proposals: int64 [C], the proposal (0 to P) that each was made from.
    """

    rpn_boxes: Floats
    rpn_scores: Floats
    proposal_boxes: Floats
    proposal_scores: Floats
    candidate_boxes: Floats
    candidate_scores: Floats
    candidate_classes: NDArray[np.int64]
    candidate_proposals: NDArray[np.int64]


_KINDS = {
    "rpn": ("rpn_boxes", "rpn_scores"),
    "proposal": ("proposal_boxes", "proposal_scores"),
    "candidate": (
        "candidate_boxes",
        "candidate_scores",
        "candidate_classes",
        "candidate_proposals",
    ),
}


@dataclass(frozen=True, eq=False)
class Stages:
    """The stages of all images, one behind the other.

    Attributes:
        columns: the fields of `ImageStages`, of all images.
        starts: kind (`rpn`, `proposal`, `candidate`) -> int64 [I + 1], where each image begins.
    """

    columns: Mapping[str, NDArray[Any]]
    starts: Mapping[str, NDArray[np.int64]]

    @property
    def num_images(self) -> int:
        """I."""
        return len(self.starts["proposal"]) - 1

    def image(self, index: int) -> ImageStages:
        """Gives the stages of the image at a position, 0 being the first that was evaluated."""
        cut = {
            name: self.columns[name][starts[index] : starts[index + 1]]
            for kind, starts in self.starts.items()
            for name in _KINDS[kind]
        }
        return ImageStages(**cut)


def has_stages(pipeline: Pipeline) -> bool:
    """Whether a pipeline's model has the stages of this module: Faster R-CNN, 2 or 3 of them."""
    return (
        pipeline.meta_architecture == "faster_rcnn"
        and int(descend(pipeline.model, "number_of_stages")) >= 2
    )


def collect_stages(
    model: Any,
    prediction_dict: Mapping[str, Any],
    true_image_shapes: Any,
    *,
    max_rpn_boxes: int = MAX_RPN_BOXES,
    max_candidates: int = MAX_CANDIDATES,
) -> dict[str, Any]:
    """Gives the stages of a batch as tensors, for `StageRecorder.add`; may be compiled.

    Boxes and scores are decoded by the model's own methods, as in `_postprocess_rpn` and
    `_postprocess_box_classifier` of the OD API's faster_rcnn_meta_arch. `predict` drops the
    proposals' objectness, so the RPN is post-processed a second time (its NMS, not its network).

    Args:
        model: a `FasterRCNNMetaArch` of 2 or 3 stages, built with is_training=False.
        prediction_dict: of `model.predict`, before or after `postprocess`.
        true_image_shapes: int32 [batch, 3] as `preprocess` gives them.
        max_rpn_boxes, max_candidates: kept of an image.

    Returns:
        The fields of `ImageStages`, each [batch, most, ...]: padding has score -1, and classes
        begin with 0.
    """
    import tensorflow as tf

    padded = tf.cast(prediction_dict["image_shape"][1:3], tf.float32)
    true = tf.cast(true_image_shapes[:, :2], tf.float32)
    pixels = tf.concat([true, true], axis=1)[:, tf.newaxis, :]
    _, objectness, _, _, rpn_boxes, rpn_scores = model._postprocess_rpn(
        prediction_dict["rpn_box_encodings"],
        prediction_dict["rpn_objectness_predictions_with_background"],
        prediction_dict["anchors"],
        model._image_batch_shape_2d(prediction_dict["image_shape"]),
        true_image_shapes,
    )
    # The RPN's boxes are shares of the padded image, detections of the image inside.
    rpn_boxes *= tf.concat([padded, padded], axis=0) / pixels
    best = tf.math.top_k(rpn_scores[:, :, 1], tf.minimum(tf.shape(rpn_scores)[1], max_rpn_boxes))
    proposals = prediction_dict["proposal_boxes"]
    real = tf.sequence_mask(prediction_dict["num_proposals"], model.max_num_proposals)
    return {
        "rpn_boxes": tf.gather(rpn_boxes, best.indices, batch_dims=1),
        "rpn_scores": best.values,
        "proposal_boxes": proposals / pixels,
        "proposal_scores": tf.where(real, objectness, -1.0),
        **_candidates(tf, model, prediction_dict, real, pixels, max_candidates),
    }


def _candidates(
    tf: Any, model: Any, prediction_dict: Mapping[str, Any], real: Any, pixels: Any, most: int
) -> dict[str, Any]:
    """The second stage's boxes and scores, the `most` candidates of each image."""
    encodings = prediction_dict["refined_box_encodings"]
    num_proposals, num_classes = model.max_num_proposals, model.num_classes
    per_class = encodings.shape[1]  # 1 where the classes share their boxes
    boxes = model._batch_decode_boxes(
        tf.reshape(encodings, [-1, num_proposals, per_class, 4]), prediction_dict["proposal_boxes"]
    )
    logits = tf.reshape(
        prediction_dict["class_predictions_with_background"], [-1, num_proposals, num_classes + 1]
    )
    scores = model._second_stage_score_conversion_fn(logits)[:, :, 1:]
    scores = tf.where(real[:, :, tf.newaxis], scores, -1.0)
    # Scores are at most 1: with 2 added the best class of every proposal comes before all others.
    is_best = (
        tf.one_hot(tf.argmax(scores, axis=2), num_classes) * tf.cast(real, tf.float32)[..., None]
    )
    flat = tf.reshape(scores, [-1, num_proposals * num_classes])
    rank = flat + 2.0 * tf.reshape(is_best, [-1, num_proposals * num_classes])
    chosen = tf.math.top_k(rank, min(most, num_proposals * num_classes)).indices
    proposals, classes = chosen // num_classes, chosen % num_classes
    rows = proposals * per_class + (classes if per_class > 1 else 0)
    flat_boxes = tf.reshape(boxes, [-1, num_proposals * per_class, 4])
    return {
        "candidate_boxes": tf.gather(flat_boxes, rows, batch_dims=1) / pixels,
        "candidate_scores": tf.gather(flat, chosen, batch_dims=1),
        "candidate_classes": classes,
        "candidate_proposals": proposals,
    }


class StageRecorder:
    """Keeps the stages of batches in the order in which they come.

    At most 73 KiB an image at 300 proposals and the default limits, 360 MiB for 5,000 images.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[NDArray[Any]]] = {
            name: [] for names in _KINDS.values() for name in names
        }

    def add(self, batch: Mapping[str, Any]) -> None:
        """Adds a batch of `collect_stages`, as arrays or eager tensors."""
        arrays = {name: np.asarray(batch[name]) for name in self._columns}
        for kind, names in _KINDS.items():
            for index, scores in enumerate(arrays[f"{kind}_scores"]):
                kept = scores >= 0
                for name in names:
                    column = arrays[name][index][kept]
                    if name == "candidate_classes":
                        column = column + 1
                    whole = column.dtype.kind in "iu"
                    self._columns[name].append(column.astype(np.int32 if whole else np.float32))

    def stages(self) -> Stages:
        """Gives what was added so far."""
        starts = {}
        for kind, names in _KINDS.items():
            sizes = [len(column) for column in self._columns[names[0]]]
            starts[kind] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return Stages(
            columns={name: _joined(name, parts) for name, parts in self._columns.items()},
            starts=starts,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes what was added as a compressed npz; the file appears whole or not at all."""
        stages = self.stages()
        arrays: dict[str, Any] = {
            "format": np.int64(_FORMAT),
            **stages.columns,
            **{f"{kind}_starts": starts for kind, starts in stages.starts.items()},
        }
        with replacing(path) as file:
            np.savez_compressed(file, **arrays)


def _joined(name: str, parts: list[NDArray[Any]]) -> NDArray[Any]:
    if parts:
        return np.concatenate(parts)
    if name.endswith("_boxes"):
        return np.empty((0, 4), np.float32)
    return np.empty(0, np.float32 if name.endswith("_scores") else np.int32)


def read_stages(path: str | os.PathLike[str]) -> Stages:
    """Reads what `StageRecorder.save` wrote.

    Raises:
        DataError: missing, damaged, or of a newer format.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if int(file["format"]) > _FORMAT:
                raise DataError(
                    f"stages of format {int(file['format'])}",
                    expected=f"format {_FORMAT} or older",
                    mend="read them with the version that wrote them, or evaluate again",
                    where=str(path),
                )
            return Stages(
                columns={name: file[name] for names in _KINDS.values() for name in names},
                starts={kind: file[f"{kind}_starts"] for kind in _KINDS},
            )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"the stages do not read: {error}",
            expected="a stages.npz of an evaluation of Faster or Mask R-CNN",
            mend="evaluate again",
            where=str(path),
        ) from error
