"""`python -m odapi_repro.diff`: two configs compared in what they amount to, factor by factor."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.features.diff_configs import diff_configs

if TYPE_CHECKING:
    pass


SUMMARY = "two configs compared in quantities and fields, factor by factor; no TensorFlow"
FORMATS = ("text", "json", "markdown")
# What the protos can hold, and more than anybody has.
_MOST_STEPS = 2**32 - 1
_MOST_IMAGES = 10**12
_MOST_REPLICAS = 10**6

_cli = Command("diff", SUMMARY)
FLAGS = _cli.flags
_cli.string(
    "pipeline",
    None,
    "first config (also without the flag); a file, - for stdin, or a name of the catalogue",
)
_cli.alias("pipeline_config_path", "pipeline")
_cli.string("reference", None, "second config by its name in the catalogue; by default the nearest")
_cli.enum("format", "text", FORMATS, "how to print it")
_cli.count(
    "num_train_steps",
    None,
    "steps of the runs as given to model_main_tf2: overrides num_steps, not the schedule",
    upper_bound=_MOST_STEPS,
)
_cli.count(
    "train_images", None, "images in the training records of the files", upper_bound=_MOST_IMAGES
)
_cli.count("replicas", None, "replicas that share a batch of the files", upper_bound=_MOST_REPLICAS)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code: 0 whether or not the two differ."""
    return _cli.run(functools.partial(diff_configs, FLAGS), argv)


if __name__ == "__main__":
    sys.exit(main())
