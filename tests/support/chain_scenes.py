"""Scenes of a few boxes, for the chain of recall: what each stage saw of an image, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools import mask as mask_api

from odapi_repro.evaluation.coco_data import (
    Detections,
    GroundTruth,
    detections_of,
    ground_truth_of,
)
from odapi_repro.evaluation.inference.stage_tensors import StageRecorder, Stages
from odapi_repro.evaluation.mask_chain.detector_stages import ChainSettings
from odapi_repro.evaluation.mask_chain.recall_chain import ChainReport, recall_chain

SIDE = 200
"""Of every image, in pixels."""

Box = tuple[float, float, float, float]  # x y width height in pixels
OBJECT: Box = (40, 40, 80, 80)
FAR: Box = (150, 150, 40, 40)
SETTINGS = ChainSettings(max_proposals=2, score_threshold=0.05, nms_iou=0.6)


def shifted(box: Box, iou: float) -> Box:
    """The box moved to the right until it overlaps where it was by `iou`."""
    x, y, width, height = box
    return (x + width * (1 - iou) / (1 + iou), y, width, height)


@dataclass
class Scene:
    """One image: what lies in it, and what the stages made of it.

    Candidates are (box, score, class id, proposal), detections (box, score, class id).
    """

    objects: Sequence[tuple[Box, int]] = ((OBJECT, 1),)
    crowds: Sequence[tuple[Box, int]] = ()
    rpn: Sequence[tuple[Box, float]] = ((OBJECT, 0.9), (FAR, 0.5))
    proposals: Sequence[tuple[Box, float]] = ((OBJECT, 0.9), (FAR, 0.5))
    candidates: Sequence[tuple[Box, float, int, int]] = ((OBJECT, 0.8, 1, 0),)
    detections: Sequence[tuple[Box, float, int]] = ((OBJECT, 0.8, 1),)
    masks: Sequence[np.ndarray] | None = None
    detection_masks: Sequence[np.ndarray] = field(default_factory=tuple)


def chain_of(*scenes: Scene, settings: ChainSettings = SETTINGS) -> ChainReport:
    truth = truth_of(scenes)
    return recall_chain(truth, stages_of(scenes), found_in(scenes, truth), settings)


def truth_of(scenes: Sequence[Scene]) -> GroundTruth:
    annotations = []
    for image, scene in enumerate(scenes):
        both = [(one, 0) for one in scene.objects] + [(one, 1) for one in scene.crowds]
        for index, ((box, category), crowd) in enumerate(both):
            annotation: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": category,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": crowd,
            }
            if scene.masks is not None:
                annotation["segmentation"] = rle(scene.masks[index])
                annotation["area"] = int(scene.masks[index].sum())
            annotations.append(annotation)
    images = [{"id": i, "height": SIDE, "width": SIDE} for i in range(len(scenes))]
    categories = [{"id": 1, "name": "ring"}, {"id": 2, "name": "star"}]
    return ground_truth_of({"images": images, "annotations": annotations, "categories": categories})


def found_in(scenes: Sequence[Scene], truth: GroundTruth) -> Detections:
    results = []
    for image, scene in enumerate(scenes):
        for index, (box, score, category) in enumerate(scene.detections):
            result = {"image_id": image, "category_id": category, "bbox": list(box), "score": score}
            if scene.masks is not None:
                result["segmentation"] = rle(scene.detection_masks[index])
            results.append(result)
    return detections_of(results, truth)


def stages_of(scenes: Sequence[Scene]) -> Stages:
    recorder = StageRecorder()
    for scene in scenes:
        boxes, scores, classes, proposals = _columns(scene.candidates, 4)
        recorder.add(
            {
                "rpn_boxes": _shares(_columns(scene.rpn, 2)[0]),
                "rpn_scores": np.array([_columns(scene.rpn, 2)[1]], np.float32),
                "proposal_boxes": _shares(_columns(scene.proposals, 2)[0]),
                "proposal_scores": np.array([_columns(scene.proposals, 2)[1]], np.float32),
                "candidate_boxes": _shares(boxes),
                "candidate_scores": np.array([scores], np.float32),
                # collect_stages counts classes from 0.
                "candidate_classes": np.array([classes], np.int32) - 1,
                "candidate_proposals": np.array([proposals], np.int32),
            }
        )
    return recorder.stages()


def rle(mask: np.ndarray) -> dict[str, Any]:
    encoded = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}


def filled(box: Box) -> np.ndarray:
    """A mask that fills a box of whole pixels."""
    x, y, width, height = (int(side) for side in box)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(count)]


def _shares(boxes: Sequence[Box]) -> np.ndarray:
    """[1, N, 4] ymin xmin ymax xmax in shares of the image."""
    x, y, width, height = np.array(boxes, np.float64).reshape(-1, 4).T
    return (np.stack([y, x, y + height, x + width], axis=1) / SIDE)[np.newaxis].astype(np.float32)
