"""From detections on disk to metrics, with images and ground truth checked against records."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import GroundTruth, read_detections
from odapi_repro.evaluation.scoring.metrics import score


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one checkpoint, as metrics.json has them.

    Attributes:
        metrics: the 12 box metrics by COCO's names, and the mask metrics under `mask_...`, in
            points; None where there is nothing to score.
        num_images: images scored.
        num_detections: detections scored.
        truncated_images: images of which the OD API's input drops ground truth beyond
            `max_number_of_boxes`; it is scored here all the same.
    """

    metrics: Mapping[str, float | None]
    num_images: int
    num_detections: int
    truncated_images: int


def check_image_sizes(path: str | os.PathLike[str], truth: GroundTruth) -> None:
    """Checks that the images that were evaluated are those of the ground truth.

    The OD API swallows evaluation errors and reports metrics on what it has seen so far
    (`model_lib_v2.eager_eval_loop`), so counts and sizes are compared one by one.

    Args:
        path: the images.json of a job.
        truth: of the same images, in the same order; a height or width of 0 is not known.

    Raises:
        DataError: another number of images, or an image of another size.
    """
    with_image_sizes(path, truth)


def with_image_sizes(path: str | os.PathLike[str], truth: GroundTruth) -> GroundTruth:
    """Gives a ground truth with the sizes of the images as they were decoded.

    Args:
        path: the images.json of a job.
        truth: of the same images, in the same order; a height or width of 0 is not known.

    Raises:
        DataError: from `check_image_sizes`.
    """
    sizes = json.loads(Path(path).read_text(encoding="utf-8"))
    heights = np.array(sizes["heights"], np.int64)
    widths = np.array(sizes["widths"], np.int64)
    if len(heights) != truth.num_images:
        raise DataError(
            f"{len(heights)} images were evaluated",
            expected=f"the {truth.num_images} images of the ground truth",
            mend="name the images that the ground truth describes",
        )
    other_height = (heights != truth.heights) & (truth.heights > 0)
    other_width = (widths != truth.widths) & (truth.widths > 0)
    wrong = np.flatnonzero(other_height | other_width)
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"image {truth.image_ids[first]} has {widths[first]}x{heights[first]} pixels",
            expected=f"{truth.widths[first] or '?'}x{truth.heights[first] or '?'} as the ground "
            "truth says",
            mend="check image/width and image/height in the records, or width and height in the "
            "json",
        )
    return dataclasses.replace(truth, heights=heights, widths=widths)


def truncated_images(truth: GroundTruth, max_number_of_boxes: int) -> int:
    """Gives the images with more ground truth than the OD API's input keeps.

    Args:
        truth: what is scored.
        max_number_of_boxes: of the `eval_input_reader`; the OD API pads and clips to it
            (`inputs.pad_input_data_to_static_shapes`).
    """
    counts = np.bincount(truth.images, minlength=truth.num_images)
    return int((counts > max_number_of_boxes).sum())


def score_results(
    results: str | os.PathLike[str],
    truth: GroundTruth,
    *,
    with_masks: bool,
    max_number_of_boxes: int,
) -> Evaluation:
    """Scores a file of results that inference wrote.

    Args:
        results: in COCO's format.
        truth: what it is scored against.
        with_masks: score instance masks, too.
        max_number_of_boxes: of the `eval_input_reader`.
    """
    detections = read_detections(results, truth)
    metrics = dict(score(truth, detections).metrics)
    if with_masks:
        masks = score(truth, detections, "segm").metrics
        metrics.update({f"mask_{name}": value for name, value in masks.items()})
    return Evaluation(
        metrics=metrics,
        num_images=truth.num_images,
        num_detections=detections.num,
        truncated_images=truncated_images(truth, max_number_of_boxes),
    )
