"""Runs a trained checkpoint over the eval records, in the child process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.errors import DataError

__all__ = ["DetectedImage", "detect", "latest_checkpoint"]


@dataclass(frozen=True)
class DetectedImage:
    """What the model found in one image, in the pixels of the original image.

    Attributes:
        height, width: of the original image.
        num_ground_truth: boxes of the image that the OD API's eval input holds.
        boxes: float32 [N, 4], ymin xmin ymax xmax.
        scores: float32 [N].
        class_ids: int64 [N], 1 being the first class of the label map.
        masks: run-length encoded as COCO has it, one of each box; None for a box detector. (As
            pixels, the masks of val2017 would be 150 GB.)
    """

    height: int
    width: int
    num_ground_truth: int
    boxes: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]
    class_ids: np.ndarray[Any, Any]
    masks: list[dict[str, Any]] | None

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """Gives the detections in COCO's results format."""
        results = []
        for index, (box, score, class_id) in enumerate(
            zip(self.boxes.tolist(), self.scores.tolist(), self.class_ids.tolist(), strict=True)
        ):
            ymin, xmin, ymax, xmax = box
            result = {
                "image_id": image_id,
                "category_id": class_id,
                "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                "score": score,
            }
            if self.masks is not None:
                result["segmentation"] = self.masks[index]
            results.append(result)
        return results


def detect(
    pipeline_path: str, checkpoint: str, on_images: Callable[[int], None]
) -> list[DetectedImage]:
    """Gives the detections of every eval image, in the order of the records.

    The model, the input and the way from network output to original pixels are the OD API's own
    (`eval_input`, `postprocess`, `prepare_eval_dict`). Three things differ from
    `eager_eval_loop`: records are read by one reader, in order and to the last, so that detections
    can be matched to them; losses are not computed; and an exception is not swallowed.

    Args:
        pipeline_path: a pipeline.config whose paths exist.
        checkpoint: a `ckpt-N` prefix that `train_loop` wrote.
        on_images: gets the number of images done, after each batch.

    Raises:
        DataError: the checkpoint does not hold every variable of the model.
    """
    import tensorflow as tf
    from object_detection import inputs, model_lib_v2
    from object_detection.utils import config_util

    configs = config_util.get_configs_from_pipeline_file(pipeline_path)
    reader = configs["eval_input_configs"][0]
    # tf.io.gfile.glob promises no order; the records are matched to detections by position.
    files = resolve_patterns(list(reader.tf_record_input_reader.input_path))
    reader.tf_record_input_reader.input_path[:] = [str(file) for file in files]
    reader.shuffle = False
    reader.num_readers = 1
    reader.num_epochs = 1
    # By default the images of an incomplete last batch are dropped, at evaluation, too.
    reader.drop_remainder = False
    tf.keras.backend.clear_session()
    model = model_lib_v2.MODEL_BUILD_UTIL_MAP["detection_model_fn_base"](
        model_config=configs["model"], is_training=False
    )
    dataset = inputs.eval_input(
        eval_config=configs["eval_config"],
        eval_input_config=reader,
        model_config=configs["model"],
        model=model,
    )
    tf.keras.backend.set_learning_phase(False)

    def compute(features: Any, labels: Any) -> Any:
        predictions = model.predict(
            features["image"], features["true_image_shape"], **model.get_side_inputs(features)
        )
        detections = model.postprocess(predictions, features["true_image_shape"])
        # `prepare_eval_dict` converts the classes of the labels in place.
        return model_lib_v2.prepare_eval_dict(detections, dict(labels), features)[0]

    compiled = tf.function(compute, reduce_retracing=True)
    images: list[DetectedImage] = []
    restored = False
    for features, labels in dataset:
        if not restored:
            # Variables exist only after the model has been called once.
            model.predict(features["image"], features["true_image_shape"])
            _restore(tf, model, checkpoint)
            restored = True
        result = compiled(features, labels)
        images.extend(_unbatch(result))
        on_images(len(images))
    return images


def _restore(tf: Any, model: Any, checkpoint: str) -> None:
    status = tf.train.Checkpoint(model=model).restore(checkpoint)
    try:
        status.assert_existing_objects_matched()
    except AssertionError as error:
        raise DataError(
            f"the checkpoint does not hold the whole model: {str(error).splitlines()[0]}",
            expected="a checkpoint of this pipeline's architecture",
            mend="evaluate it with the pipeline.config that trained it",
            where=checkpoint,
        ) from error
    status.expect_partial()


def _unbatch(result: Any) -> Sequence[DetectedImage]:
    shapes = result["original_image_spatial_shape"].numpy()
    counts = result["num_detections"].numpy()
    boxes, scores = result["detection_boxes"].numpy(), result["detection_scores"].numpy()
    classes = result["detection_classes"].numpy()
    truths = result["num_groundtruth_boxes"].numpy()
    masks = result["detection_masks"].numpy() if "detection_masks" in result else None
    images = []
    for index, (height, width) in enumerate(shapes.tolist()):
        count = int(counts[index])
        images.append(
            DetectedImage(
                height=height,
                width=width,
                num_ground_truth=int(truths[index]),
                boxes=boxes[index, :count],
                scores=scores[index, :count],
                class_ids=classes[index, :count].astype(np.int64),
                masks=(
                    None
                    if masks is None
                    else [_rle(mask) for mask in masks[index, :count, :height, :width]]
                ),
            )
        )
    return images


def _rle(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    from pycocotools import mask as mask_api

    encoded = mask_api.encode(np.asfortranarray(mask))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}


def latest_checkpoint(model_dir: str | Path) -> str:
    """Gives the prefix of the newest checkpoint that `train_loop` wrote into a folder.

    Raises:
        DataError: there is none.
    """
    import tensorflow as tf

    found = tf.train.latest_checkpoint(str(model_dir))
    if not found:
        raise DataError(
            "no checkpoint", expected="ckpt-N files as model_main_tf2 writes", where=str(model_dir)
        )
    return str(found)
