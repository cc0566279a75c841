"""`python -m odapi_repro.explain`: shares the gap to a reference among a config's deviations."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from absl import flags

from odapi_repro.analysis.trials import BOX_METRICS, MASK_METRICS
from odapi_repro.command import run_command
from odapi_repro.features.explain.design_choice import AUTO, EXPLAINING_DESIGNS
from odapi_repro.features.explain.run_explanation import explain
from odapi_repro.foreign_text import command_line
from odapi_repro.trials.study_flags import define_study_flags

SUMMARY = "share the gap between a config and its reference among the deviations, with intervals"


FLAGS = flags.FlagValues()
_string = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_integer = functools.partial(flags.DEFINE_integer, flag_values=FLAGS, lower_bound=1)
_float = functools.partial(flags.DEFINE_float, flag_values=FLAGS)
_bool = functools.partial(flags.DEFINE_bool, flag_values=FLAGS)
_enum = functools.partial(flags.DEFINE_enum, flag_values=FLAGS)
_string("pipeline", None, "your pipeline.config (may be given without the flag, too)")
flags.DEFINE_alias("pipeline_config_path", "pipeline", flag_values=FLAGS)
_string(
    "reference",
    None,
    "what it is compared with: a catalogue entry or a pipeline.config; by default the nearest "
    "entry",
)
_enum(
    "design",
    AUTO,
    EXPLAINING_DESIGNS,
    "which combinations of deviations are trained; auto: Shapley values for up to 4 deviations, "
    "else one at a time from both ends",
)
_integer("seeds", 2, "replicates of every cell; a path or a bisection decides by a third of them")
_integer("first_seed", 1, "the first of the seeds")
flags.DEFINE_multi_string(
    "group",
    [],
    "factors that move together as one deviation, joined by + (repeatable); `none`: each alone; by "
    "default a warm-up that only follows the schedule moves with it",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "hold", [], "factors that stay at the reference's level in all trials", flag_values=FLAGS
)
_enum("metric", "AP", (*BOX_METRICS, *MASK_METRICS), "what is shared out")
_float("margin", 0.5, "points within which an effect is called equivalent to none")
_integer("orders", 8, "pairs of orders of sampled_shapley")
_integer("resolution", 4, "of a fractional factorial, at least", upper_bound=5)
_bool("race", False, "add replicates where an effect is not decided yet")
_string("budget", None, "most to spend, e.g. 12h, 90min or 40trials; it bounds the race, too")
_float("cost_per_hour", None, "what an hour costs, for the plan")
_float("sd", None, "standard deviation between replicates in points, for the plan")
_float("user_ap", None, "the number that you got, in points: for the parts of the gap")
_float("checkpoint_ap", None, "what the published checkpoint scored in your evaluation, in points")
_integer("user_steps", None, "--num_train_steps of your training, where it was given")
_integer("user_replicas", None, "replicas that shared your batch")
_string("name", None, "name of the study; by default config, reference, design and scale")
_bool("plan", False, "print the plan with its price, and stop")
flags.DEFINE_alias("dry_run", "plan", flag_values=FLAGS)
_string("from", None, "a study's folder in results/: report it again, training nothing")
_enum("format", "text", ("text", "json"), "how the result is printed")
_enum("retry", None, ("failed",), "run failed trials again")
define_study_flags(
    FLAGS,
    checkpoint="prefix of the checkpoint that all trials start from (fills fine_tune_checkpoint)",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    arguments = sys.argv[1:] if argv is None else argv

    def run(positional: list[str]) -> int:
        command = command_line(["python", "-m", "odapi_repro.explain", *arguments])
        return explain(FLAGS, positional, command)

    return run_command(run, FLAGS, arguments, name="explain", summary=SUMMARY)


if __name__ == "__main__":
    sys.exit(main())
