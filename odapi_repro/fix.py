"""`python -m odapi_repro.fix`: writes the config that reaches the reference on your hardware."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from odapi_repro.command import Command
from odapi_repro.diagnosis.mending import GOALS
from odapi_repro.features.fix_config import NEVER, fix_config

SUMMARY = (
    "write the config that reaches the reference on your hardware, each change with its reason"
)
FORMATS = ("text", "json")
FAIL_ON = ("fatal", "critical", "warning", NEVER)
_MOST_STEPS = 2**32 - 1
_MOST_BATCH = 2**31 - 1

_cli = Command("fix", SUMMARY)
FLAGS = _cli.flags
_cli.string(
    "pipeline",
    None,
    "pipeline.config to fix (may be given without the flag, too); - is standard input",
)
_cli.alias("pipeline_config_path", "pipeline")
_cli.string("reference", None, "what to reach; the nearest of the catalogue by default")
_cli.list("keep", [], "what stays as it is, e.g. batch_size,image_size,optimizer")
_cli.enum(
    "goal",
    None,
    GOALS,
    "reproduce: the reference's own training; fine_tune: a short one from its published detector; "
    "by default fine_tune where the config restores a detector",
)
_cli.count("replicas", 1, "replicas that share a batch", upper_bound=_MOST_BATCH)
_cli.count(
    "max_batch",
    None,
    "largest global batch that fits all replicas together; by default the config's own",
    upper_bound=_MOST_BATCH,
)
_cli.count("steps", None, "steps of the run", upper_bound=_MOST_STEPS)
_cli.alias("num_train_steps", "steps")
_cli.number("epochs", None, "passes over the training images, in place of --steps")
_cli.count("train_images", None, "images in the training records", upper_bound=10**12)
_cli.number("images_per_second", None, "images that your hardware trains in a second")
_cli.number("hours", None, "hours that the run may take; needs --images_per_second")
_cli.string(
    "output",
    None,
    "file to write, - for stdout; by default NAME.fixed.config beside the input, stdout "
    "for one from standard input",
)
_cli.boolean("overwrite", False, "write although the file exists")
_cli.boolean("dry_run", False, "tell everything and write nothing")
_cli.boolean("diff", False, "print a unified diff, too")
_cli.enum("format", "text", FORMATS, "how the summary is printed")
_cli.enum(
    "fail_on", NEVER, FAIL_ON, "exit with 1 when the result has a finding at least this severe"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(functools.partial(fix_config, FLAGS), argv)


if __name__ == "__main__":
    sys.exit(main())
