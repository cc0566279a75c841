"""`python -m odapi_repro.explain`: shares the gap to a reference among a config's deviations."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from odapi_repro.analysis.trial_table import BOX_METRICS, MASK_METRICS
from odapi_repro.command import Command
from odapi_repro.features.explain.explanation import AUTO, EXPLAINING_DESIGNS
from odapi_repro.features.explain.run_explanation import explain
from odapi_repro.trials.study_flags import define_study_flags

SUMMARY = "share the gap between a config and its reference among the deviations, with intervals"


_cli = Command("explain", SUMMARY)
FLAGS = _cli.flags
_cli.string("pipeline", None, "your pipeline.config (may be given without the flag, too)")
_cli.alias("pipeline_config_path", "pipeline")
_cli.string(
    "reference",
    None,
    "what it is compared with: a catalogue entry or a pipeline.config; by default the nearest "
    "entry",
)
_cli.enum(
    "design",
    AUTO,
    EXPLAINING_DESIGNS,
    "which combinations of deviations are trained; auto: Shapley values for up to 4 deviations, "
    "else one at a time from both ends",
)
_cli.count("seeds", 2, "replicates of every cell; a path or a bisection decides by a third of them")
_cli.count("first_seed", 1, "the first of the seeds")
_cli.strings(
    "group",
    [],
    "factors that move together as one deviation, joined by + (repeatable); `none`: each alone; by "
    "default a warm-up that only follows the schedule moves with it",
)
_cli.list("hold", [], "factors that stay at the reference's level in all trials")
_cli.enum("metric", "AP", (*BOX_METRICS, *MASK_METRICS), "what is shared out")
_cli.number("margin", 0.5, "points within which an effect is called equivalent to none")
_cli.count("orders", 8, "pairs of orders of sampled_shapley")
_cli.count("resolution", 4, "of a fractional factorial, at least", upper_bound=5)
_cli.boolean("race", False, "add replicates where an effect is not decided yet")
_cli.string("budget", None, "most to spend, e.g. 12h, 90min or 40trials; it bounds the race, too")
_cli.number("cost_per_hour", None, "what an hour costs, for the plan")
_cli.number("sd", None, "standard deviation between replicates in points, for the plan")
_cli.number("user_ap", None, "the number that you got, in points: for the parts of the gap")
_cli.number(
    "checkpoint_ap", None, "what the published checkpoint scored in your evaluation, in points"
)
_cli.count("user_steps", None, "--num_train_steps of your training, where it was given")
_cli.count("user_replicas", None, "replicas that shared your batch")
_cli.string("name", None, "name of the study; by default config, reference, design and scale")
_cli.boolean("plan", False, "print the plan with its price, and stop")
_cli.alias("dry_run", "plan")
_cli.string("from", None, "a study's folder in results/: report it again, training nothing")
_cli.enum("format", "text", ("text", "json"), "how the result is printed")
_cli.enum("retry", None, ("failed",), "run failed trials again")
define_study_flags(
    _cli,
    checkpoint="prefix of the checkpoint that all trials start from (fills fine_tune_checkpoint)",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(functools.partial(explain, FLAGS), argv)


if __name__ == "__main__":
    sys.exit(main())
