"""From a trained folder to metrics and a results file, with the counts checked against records."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.datasets.ground_truth import coco_ground_truth
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_metrics import coco_metrics
from odapi_repro.evaluation.detection import DetectedImage

__all__ = ["Evaluation", "as_json", "check_against_records", "score_images"]


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one checkpoint.

    Attributes:
        metrics: the 12 box metrics by COCO's names, and the mask metrics under `mask_...`, in
            points; None where there is nothing to score.
        num_images: images scored.
        num_detections: detections scored.
        truncated_images: images of which the OD API's input dropped ground truth beyond
            `max_number_of_boxes`; it is scored here all the same.
        detections: in COCO's results format.
    """

    metrics: Mapping[str, float | None]
    num_images: int
    num_detections: int
    truncated_images: int
    detections: list[dict[str, Any]]

    def write_detections(self, path: Path) -> None:
        """Writes the detections as gzipped JSON, atomically and with the same bytes each time."""
        temporary = path.with_name(path.name + ".tmp")
        with open(temporary, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
            file.write(json.dumps(self.detections).encode())
        os.replace(temporary, path)


def check_against_records(images: Sequence[DetectedImage], ground_truth: Mapping[str, Any]) -> int:
    """Checks that the images evaluated are those of the records; gives the truncated ones.

    The OD API swallows evaluation errors and reports metrics on what it has seen so far
    (`model_lib_v2.eager_eval_loop`), so counts and sizes are compared one by one.

    Raises:
        DataError: another number of images, or an image of another size.
    """
    records = ground_truth["images"]
    if len(images) != len(records):
        raise DataError(
            f"{len(images)} images were evaluated",
            expected=f"the {len(records)} images of the records",
            mend="check train.log: the input skipped records it could not decode",
        )
    counts: dict[Any, int] = {record["id"]: 0 for record in records}
    for annotation in ground_truth["annotations"]:
        counts[annotation["image_id"]] += 1
    truncated = 0
    for image, record in zip(images, records, strict=True):
        if (image.height, image.width) != (record["height"], record["width"]):
            raise DataError(
                f"image {record['id']} was evaluated at {image.width}x{image.height}",
                expected=f"{record['width']}x{record['height']} as in the records",
                mend="check image/height and image/width in the records",
            )
        truncated += image.num_ground_truth < counts[record["id"]]
    return truncated


def score_images(
    images: Sequence[DetectedImage],
    files: Sequence[Path],
    label_map: LabelMap,
    *,
    with_masks: bool,
    sample_1_of_n: int = 1,
) -> Evaluation:
    """Scores what `detect` found against the records' ground truth.

    Args:
        images: in the order of the records.
        files: the eval records.
        label_map: category names and ids.
        with_masks: score instance masks, too.
        sample_1_of_n: as `eval_input_reader.sample_1_of_n_examples`: every n-th image is kept.

    Raises:
        DataError: the images are not those of the records.
    """
    ground_truth = coco_ground_truth(files, label_map, with_masks=with_masks, integer_ids=True)
    if sample_1_of_n > 1:
        kept = ground_truth["images"][::sample_1_of_n]
        ids = {image["id"] for image in kept}
        ground_truth = {
            **ground_truth,
            "images": kept,
            "annotations": [a for a in ground_truth["annotations"] if a["image_id"] in ids],
        }
    truncated = check_against_records(images, ground_truth)
    detections = [
        detection
        for image, record in zip(images, ground_truth["images"], strict=True)
        for detection in image.to_coco(record["id"])
    ]
    metrics = dict(coco_metrics(ground_truth, _boxes_only(detections), "bbox"))
    if with_masks:
        masks = coco_metrics(ground_truth, _masks_only(detections), "segm")
        metrics.update({f"mask_{name}": value for name, value in masks.items()})
    return Evaluation(metrics, len(images), len(detections), truncated, detections)


def _boxes_only(detections: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in d.items() if k != "segmentation"} for d in detections]


def _masks_only(detections: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    # loadRes looks at the first result to see what it holds: with `bbox` there it would take
    # boxes for masks.
    return [{k: v for k, v in d.items() if k != "bbox"} for d in detections]


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Gives everything but the detections, for metrics.json."""
    fields = dataclasses.asdict(dataclasses.replace(evaluation, detections=[]))
    del fields["detections"]
    return fields
