"""`python -m odapi_repro.diagnose`: what a config really does, and which deviations hurt."""

from __future__ import annotations

from odapi_repro.startup import loaded

# isort: split
import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.features.diagnose_configs import NEVER, diagnose_configs

if TYPE_CHECKING:
    pass

loaded()


SUMMARY = "what a config or a finished run really does, and which deviations hurt; no TensorFlow"
FORMATS = ("text", "json", "markdown", "sarif")
FAIL_ON = ("fatal", "critical", "warning", "info", NEVER)
# What the protos can hold, and more than anybody has.
_MOST_STEPS = 2**32 - 1
_MOST_IMAGES = 10**12
_MOST_REPLICAS = 10**6

_cli = Command("diagnose", SUMMARY)
FLAGS = _cli.flags
_cli.string(
    "pipeline",
    None,
    "pipeline.config to diagnose (also without the flag, and several); - is standard input",
)
_cli.alias("pipeline_config_path", "pipeline")
_cli.string("reference", None, "what to compare with; the nearest of the catalogue by default")
_cli.enum("format", "text", FORMATS, "how to print it")
_cli.enum("fail_on", NEVER, FAIL_ON, "exit with 1 when a finding is at least this severe")
_cli.count(
    "num_train_steps",
    None,
    "steps of the run as given to model_main_tf2: overrides num_steps, not the schedule",
    upper_bound=_MOST_STEPS,
)
_cli.count("train_images", None, "images in the training records", upper_bound=_MOST_IMAGES)
_cli.count("replicas", None, "replicas that share a batch", upper_bound=_MOST_REPLICAS)
_cli.count("checkpoint_every_n", 1000, "as given to model_main_tf2", upper_bound=_MOST_STEPS)
_cli.string(
    "run", None, "model_dir of a training: its losses, rates, evaluations and checkpoints too"
)
_cli.boolean(
    "check_data",
    False,
    "read every record that the config names, too, and rank what is wrong with it among the "
    "findings; `data check` shows more",
)
_cli.string(
    "explain",
    None,
    "a rule's code, its name, a cause, `all` or `quantities`: print the page, and what the rule "
    "found if a config is given",
)
_cli.string(
    "plot", None, "FILE.png or FILE.svg: the learning rate over images seen, beside the reference's"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(functools.partial(diagnose_configs, FLAGS), argv)


if __name__ == "__main__":
    sys.exit(main())
