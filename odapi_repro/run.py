"""`python -m odapi_repro.run`: trains and evaluates the trials of a study, and leaves a table."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from absl import flags

from odapi_repro.command import run_command
from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, POST_HOC_FACTORS, need_training
from odapi_repro.factors.axes import DESIGNS
from odapi_repro.features.ablate.run_study import run_study
from odapi_repro.features.sanity.run_checks import run_sanity
from odapi_repro.features.sweep.run_sweep import run_post_hoc
from odapi_repro.foreign_text import command_line
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.trials.study_flags import define_study_flags, levels_held, levels_named

SUMMARY = "train and evaluate the trials of a study, and leave a table in results/"

FLAGS = flags.FlagValues()
_string = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_integer = functools.partial(flags.DEFINE_integer, flag_values=FLAGS)
_bool = functools.partial(flags.DEFINE_bool, flag_values=FLAGS)
_enum = functools.partial(flags.DEFINE_enum, flag_values=FLAGS)
_multi_string = functools.partial(flags.DEFINE_multi_string, flag_values=FLAGS)
_string(
    "pipeline",
    None,
    "pipeline.config to study (may be given without the flag, too); with factors that need no "
    "training, the checkpoint's own by default",
)
flags.DEFINE_alias("pipeline_config_path", "pipeline", flag_values=FLAGS)
define_study_flags(
    FLAGS,
    checkpoint="prefix of the checkpoint to start from (fills fine_tune_checkpoint); with factors "
    "that need no training, what to measure on, and with --sanity what to start from: a trial's or "
    "training folder, a ckpt-N prefix or an unpacked zoo archive; to measure on, several separated "
    "by commas, oldest first",
)
flags.DEFINE_list(
    "ablate",
    None,
    f"factors to vary: {', '.join(FACTORS)} (trained); or, measured on a finished --checkpoint, "
    f"{', '.join(POST_HOC_FACTORS)}",
    flag_values=FLAGS,
)
_multi_string(
    "levels",
    [],
    "levels of a factor: 2,8,32 with one factor, batch_size=2,8,32 (repeatable) with several; "
    "literal or relative to the reference (1/4)",
)
_multi_string(
    "at",
    [],
    "factor=level at which a factor stands while others are varied, e.g. batch_size=2 (repeatable)",
)
_enum(
    "design",
    DESIGNS[0],
    DESIGNS,
    "one factor at a time from the reference, or every combination",
)
_integer("seeds", 1, "replicates of every cell, seeds 1 to N", lower_bound=1)
_string("name", None, "name of the study; by default pipeline, factors and scale")
_enum("retry", None, ("failed",), "run failed trials again")
_bool("dry_run", False, "print the plan and stop")
_bool(
    "sanity",
    False,
    "tell wrong data from a wrong schedule: a trained --checkpoint at a very low rate, and ten "
    "images learned by heart at the schedule of the pipeline and --at; a verdict with its curves",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    arguments = sys.argv[1:] if argv is None else argv

    def run(positional: list[str]) -> int:
        command = command_line(["python", "-m", "odapi_repro.run", *arguments])
        return _run(positional, command)

    return run_command(run, FLAGS, arguments, name="run", summary=SUMMARY)


def _run(positional: list[str], command: str) -> int:
    if FLAGS.sanity:
        return run_sanity(FLAGS, _pipeline(positional), command, at=levels_held(FLAGS.at))
    factors = list(dict.fromkeys(FLAGS.ablate or ()))
    if need_training(factors, FLAGS.checkpoint):
        return run_study(FLAGS, _pipeline(positional), command)
    levels = levels_named(FLAGS.levels, factors)
    return run_post_hoc(FLAGS, positional, command, levels=levels)


def _pipeline(positional: list[str]) -> Pipeline:
    paths = [*positional, *([FLAGS.pipeline] if FLAGS.pipeline else [])]
    if len(paths) != 1:
        raise UserError(
            f"{len(paths)} pipelines were named" if paths else "no pipeline was named",
            expected="one pipeline.config",
            mend="--pipeline pipelines/effdet_d3.config",
        )
    return load_pipeline(paths[0])


if __name__ == "__main__":
    sys.exit(main())
