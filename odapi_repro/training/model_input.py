"""Model inputs through the OD API's own input functions, in the child process.

`inputs.train_input` decodes, augments, resizes, pads and counts exactly as training has it. The
model's `preprocess`, which it is given, is a resizer and the feature extractor's normalisation
(SSDMetaArch.preprocess and FasterRCNNMetaArch.preprocess: the one before or after the other). Here
it is the resizer alone, built by the OD API: geometry is then exact, and pixels are those of 0 to
255 that the normalisation, an affine map of each channel, is applied to. No network is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from odapi_repro.datasets.model_input import ModelInput, RefusedInput
from odapi_repro.errors import UserError, shortened
from odapi_repro.training.model_input_job import ModelInputJob

_ITERATORS = re.compile(r"^.*Iterator::[\w:]+: ")
_NODES = re.compile(r"\{\{.*?\}\}")


def draw_inputs(job: ModelInputJob) -> Iterator[tuple[int, int, ModelInput | RefusedInput]]:
    """Gives (record, draw, what the model gets or why it gets nothing), draw by draw.

    To be called after the patches and seeds were applied.

    Raises:
        UserError: the input functions cannot be built from this pipeline.
    """
    import tensorflow as tf

    dataset = _dataset(job)
    elements = iter(dataset)
    for draw in range(job.draws):
        for record, source_id in enumerate(job.source_ids):
            try:
                features, labels = next(elements)
            except tf.errors.OpError as error:
                yield record, draw, RefusedInput(source_id, draw, _said_at_record(error))
                continue
            count = job.boxes_in_records[record]
            yield record, draw, _model_input(features, labels, source_id, count)


def _dataset(job: ModelInputJob) -> Any:
    from object_detection import inputs

    from odapi_repro.pipeline import load_pipeline

    proto = load_pipeline(job.pipeline_path).proto
    try:
        return inputs.train_input(
            proto.train_config, proto.train_input_reader, proto.model, model=_Resizer(proto.model)
        )
    # Its builders raise whatever comes: ValueError, KeyError, AssertionError, what tracing finds.
    except Exception as error:
        raise UserError(
            f"the OD API's input functions refuse this pipeline: {_said_at_building(error)}",
            expected="data_augmentation_options, an image_resizer and a train_input_reader that "
            "training would start with",
            mend="correct them in the config; `odapi-repro diagnose` looks for more",
        ) from error


class _Resizer:
    """In the place of a model: its `preprocess` without the normalisation."""

    def __init__(self, model_config: Any) -> None:
        from object_detection.builders import image_resizer_builder
        from object_detection.utils import config_util

        self._resize = image_resizer_builder.build(
            config_util.get_image_resizer_config(model_config)
        )

    def preprocess(self, images: Any) -> Any:
        """float32 [1, h, w, 3] -> float32 [1, H, W, 3] and int32 [1, 3], the size unpadded."""
        from object_detection.utils import shape_utils

        return shape_utils.resize_images_and_return_shapes(images, self._resize)


def _model_input(features: Any, labels: Any, source_id: str, boxes_in_record: int) -> ModelInput:
    image = features["image"].numpy()[0]
    height, width = features["true_image_shape"].numpy()[0, :2].tolist()
    count = int(labels["num_groundtruth_boxes"].numpy()[0])
    classes = labels["groundtruth_classes"].numpy()[0, :count]
    masks = labels.get("groundtruth_instance_masks")
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    return ModelInput(
        source_id=source_id,
        image=np.clip(np.rint(image[..., :3]), 0, 255).astype(np.uint8),
        true_height=height,
        true_width=width,
        boxes=labels["groundtruth_boxes"].numpy()[0, :count],
        # One-hot without the background; all zeros for an id beyond num_classes.
        class_ids=np.where(classes.any(axis=-1), classes.argmax(axis=-1) + 1, 0).astype(np.int64),
        masks=None if masks is None else masks.numpy()[0, :count] > 0.5,
        boxes_in_record=boxes_in_record,
    )


def _said_at_building(error: BaseException) -> str:
    """Gives the last line: tracing puts the code that led there before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[-1] if lines else type(error).__name__)


def _said_at_record(error: Any) -> str:
    """Gives what an op says, without the nodes and iterators that it stood in."""
    first = str(error.message).split("\n", 1)[0]
    text = _NODES.sub("", _ITERATORS.sub("", first)).strip()
    if text.startswith("assertion failed"):
        # inputs.assert_or_prune_invalid_boxes: ymax >= ymin and xmax >= xmin.
        text += " (a box whose maximum lies below its minimum stops training so)"
    return shortened(text or type(error).__name__)
