"""`python -m odapi_repro.data show`: records as pictures, and as the model gets them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.features.show.run_show import run_show

if TYPE_CHECKING:
    pass


SUMMARY = "contact sheets, histograms and anchors; also after the pipeline's own augmentation"
SPLITS = ("train", "val", "both")

_cli = Command("data show", SUMMARY)
FLAGS = _cli.flags
_cli.string("pipeline", None, "pipeline.config: its augmentation, its input size and its anchors")
_cli.alias("pipeline_config_path", "pipeline")
_cli.data_flags("the records of the config's own readers")
_cli.enum("split", None, SPLITS, "which records; those named, or train")
_cli.integer("images", 24, "images on the contact sheets", lower_bound=1, upper_bound=1000)
_cli.integer("draws", 3, "augmented draws of each; 0: none, no TensorFlow", lower_bound=0)
_cli.list(
    "only",
    [],
    "which images: crowd, empty, small (an object below 32 x 32 pixels), wrong (a box that leaves "
    "the image or has no area, an unknown class), or names of classes; any of those named",
)
_cli.list("source_ids", [], "show these images")
_cli.boolean("masks", True, "tint the masks")
_cli.integer(
    "tile", 320, "side of an image on the sheets, in pixels", lower_bound=96, upper_bound=2048
)
_cli.integer("max_image_pixels", IMAGE_PIXELS, "pixels that an image may have", lower_bound=1)
_cli.integer("boxes_limit", None, "compare at most so many objects with the anchors", lower_bound=1)
_cli.integer("seed", 0, "of the choice of images and of augmentation", lower_bound=0)
_cli.string("output_dir", "data_show", "where pictures, README.md and show.json go")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(functools.partial(run_show, FLAGS), argv)


if __name__ == "__main__":
    sys.exit(main())
