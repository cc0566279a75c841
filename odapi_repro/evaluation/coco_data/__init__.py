"""COCO data sets and results: as columns, and their readers, which refuse what cannot be scored."""

from odapi_repro.evaluation.coco_data.box_oddities import (
    box_oddities,
    misread_truth,
    odd_areas,
)
from odapi_repro.evaluation.coco_data.coco_columns import Detections, GroundTruth, Segmentation
from odapi_repro.evaluation.coco_data.ground_truth import ground_truth_of, read_ground_truth
from odapi_repro.evaluation.coco_data.results_file import (
    ResultsFile,
    detections_of,
    read_detections,
)
from odapi_repro.evaluation.coco_data.run_lengths import (
    check_all_masked,
    compressed_masks,
    mask_areas,
)

__all__ = [
    "Detections",
    "GroundTruth",
    "ResultsFile",
    "Segmentation",
    "box_oddities",
    "check_all_masked",
    "compressed_masks",
    "detections_of",
    "ground_truth_of",
    "mask_areas",
    "misread_truth",
    "odd_areas",
    "read_detections",
    "read_ground_truth",
]
