"""Model inputs through the OD API's own input functions: the job, and the child that does it.

`inputs.train_input` decodes, augments, resizes, pads and counts exactly as training has it. The
model's `preprocess`, which it is given, is a resizer and the feature extractor's normalisation
(SSDMetaArch.preprocess and FasterRCNNMetaArch.preprocess: the one before or after the other). Here
it is the resizer alone, built by the OD API: geometry is then exact, and pixels are those of 0 to
255 that the normalisation, an affine map of each channel, is applied to. No network is built.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odapi_repro.datasets.annotations import ModelInput, RefusedInput
from odapi_repro.errors import UserError, shortened
from odapi_repro.files import replacing, write_json

# --- What the child that draws model inputs is told, and the files in which it leaves them ---


@dataclass(frozen=True)
class ModelInputJob:
    """Draws of the records of one file.

    Attributes:
        pipeline_path: a pipeline.config whose train_input_reader reads that file in order, with
            batch size 1.
        folder: where the inputs go, one file each.
        source_ids: of the records, in their order.
        boxes_in_records: objects in each of them.
        draws: passes over the file.
        seed: of the augmentation.
    """

    pipeline_path: str
    folder: str
    source_ids: tuple[str, ...]
    boxes_in_records: tuple[int, ...]
    draws: int
    seed: int


def write_input_job(job: ModelInputJob, path: Path) -> None:
    """Writes the job as JSON."""
    write_json(path, dataclasses.asdict(job))


def read_input_job(path: Path) -> ModelInputJob:
    """Reads a job that `write_input_job` wrote."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["source_ids"] = tuple(fields["source_ids"])
    fields["boxes_in_records"] = tuple(fields["boxes_in_records"])
    return ModelInputJob(**fields)


def write_input(one: ModelInput, path: Path) -> None:
    """Writes one input; masks take a bit a pixel."""
    arrays: dict[str, Any] = {
        "image": one.image,
        "true_size": np.array([one.true_height, one.true_width]),
        "boxes": one.boxes,
        "class_ids": one.class_ids,
        "boxes_in_record": np.array(one.boxes_in_record),
        "source_id": np.frombuffer(one.source_id.encode(), np.uint8),
    }
    if one.masks is not None:
        arrays["masks"] = np.packbits(one.masks, axis=-1)
    with replacing(path) as file:
        np.savez(file, **arrays)


def read_input(path: Path) -> ModelInput:
    """Reads an input that `write_input` wrote."""
    with np.load(path, allow_pickle=False) as held:
        image = held["image"]
        masks = None
        if "masks" in held:
            masks = np.unpackbits(held["masks"], axis=-1, count=image.shape[1]).astype(np.bool_)
        height, width = held["true_size"].tolist()
        return ModelInput(
            source_id=held["source_id"].tobytes().decode(),
            image=image,
            true_height=height,
            true_width=width,
            boxes=held["boxes"],
            class_ids=held["class_ids"],
            masks=masks,
            boxes_in_record=int(held["boxes_in_record"]),
        )


# --- Model inputs through the OD API's own input functions, in the child process ---


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
