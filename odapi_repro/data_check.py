"""`python -m odapi_repro.data check`: what is in records, and what is wrong with it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.features.check_records import NEVER, check_records

if TYPE_CHECKING:
    pass


SUMMARY = "every record read once: what is there, and what is wrong with it, counted"
FORMATS = ("text", "json", "markdown", "sarif")
FAIL_ON = ("fatal", "critical", "warning", "info", NEVER)

_cli = Command("data check", SUMMARY)
FLAGS = _cli.flags
_cli.string("pipeline", None, "pipeline.config that is to read the records (also without the flag)")
_cli.alias("pipeline_config_path", "pipeline")
_cli.data_flags(
    "the records that the config names; a folder, record files, globs and a label map are "
    "recognised without a flag, too"
)
_cli.string("annotations", "", "COCO json that the training records were made from: box by box")
_cli.string("eval_annotations", "", "the same for the evaluation records")
_cli.integer(
    "augmented_images",
    100,
    "with a config: images sent through its own augmentation, which needs TensorFlow; 0: none",
    lower_bound=0,
)
_cli.integer("seed", 0, "of the choice of these images, and of augmentation", lower_bound=0)
_cli.integer("workers", None, "processes; as many as there are cores by default", lower_bound=1)
_cli.integer("max_image_pixels", IMAGE_PIXELS, "pixels that an image may have", lower_bound=1)
_cli.enum("format", "text", FORMATS, "how to print it")
_cli.enum("fail_on", NEVER, FAIL_ON, "exit with 1 when a finding is at least this severe")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(functools.partial(check_records, FLAGS), argv)


if __name__ == "__main__":
    sys.exit(main())
