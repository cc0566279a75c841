"""`python -m odapi_repro.evaluate`: COCO's metrics with intervals, and where the points went."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.datasets.limits import IMAGE_PIXELS, JSON_BYTES
from odapi_repro.features.evaluate.run_evaluation import run_evaluation

if TYPE_CHECKING:
    pass


SUMMARY = "COCO's metrics of a checkpoint or a results file, with intervals and where points went"
FORMATS = ("text", "json", "markdown")
IOU_TYPES = ("auto", "bbox", "segm", "both")

_cli = Command("evaluate", SUMMARY)
FLAGS = _cli.flags
_cli.string(
    "detections", None, "results file in COCO's format (.json or .json.gz), instead of --checkpoint"
)
_cli.string(
    "checkpoint",
    None,
    "what to evaluate: a training folder, a ckpt-N prefix, an unpacked zoo archive, a SavedModel "
    "or a trial's folder runs/<id>",
)
_cli.string(
    "against",
    None,
    "a second results file or checkpoint, on the same images: differences with paired intervals",
)
_cli.string(
    "pipeline", None, "pipeline.config of the checkpoint; by default the one that lies with it"
)
_cli.alias("pipeline_config_path", "pipeline")
_cli.string("ground_truth", None, "COCO instances file (.json or .json.gz)")
_cli.string("images", None, "folder of the images that --ground_truth names")
_cli.data_flags("the records of the config's own eval_input_reader", trains=False)
_cli.enum("iou_type", "auto", IOU_TYPES, "boxes, masks or both; auto: all that there is")
_cli.enum("engine", "hotcoco", ("hotcoco", "pycocotools"), "what scores; the numbers are the same")
_cli.integer("resamples", 1000, "resamples of the images for the intervals; 0: none", lower_bound=0)
_cli.number("confidence", 0.95, "of the intervals", lower_bound=0.5, upper_bound=0.999)
_cli.integer("seed", 0, "of the resamples", lower_bound=0)
_cli.boolean(
    "stages", True, "of a Faster or Mask R-CNN checkpoint: the stages at which objects are lost"
)
_cli.boolean("per_class", False, "print the table of classes, too")
_cli.enum("format", "text", FORMATS, "what is printed")
_cli.string(
    "name", None, "name of the folder in --results_dir; made of what is evaluated by default"
)
_cli.string("results_dir", "results", "where tables, plots and pictures go")
_cli.boolean("no_report", False, "print only, write nothing to --results_dir")
_cli.integer("pictures", 12, "images on each page of pictures; 0: no pictures", lower_bound=0)
_cli.integer(
    "max_image_pixels", IMAGE_PIXELS, "pixels that an image or a mask may have", lower_bound=1
)
_cli.integer("max_unpacked_bytes", JSON_BYTES, "bytes that a .json.gz may unpack to", lower_bound=1)
_cli.string("runs_dir", "runs", "where detections are kept, so that they are not made again")
_cli.enum("device", "auto", ("auto", "cpu", "gpu"), "where the checkpoint runs")
_cli.integer("batch_size", None, "images in a batch of the checkpoint", lower_bound=1)
_cli.integer("sample_1_of_n_eval_examples", None, "evaluate one image of n", lower_bound=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(functools.partial(run_evaluation, FLAGS), argv)


if __name__ == "__main__":
    sys.exit(main())
