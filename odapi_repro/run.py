"""`python -m odapi_repro.run`: trains and evaluates the trials of a study, and leaves a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from odapi_repro.command import Command
from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, POST_HOC_FACTORS, need_training
from odapi_repro.factors.axes import DESIGNS
from odapi_repro.features.ablate.run_study import run_study
from odapi_repro.features.sanity.run_sanity import run_sanity
from odapi_repro.features.sweep.run_sweep import run_post_hoc
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.trials.study_flags import define_study_flags, levels_held, levels_named

SUMMARY = "train and evaluate the trials of a study, and leave a table in results/"

_cli = Command("run", SUMMARY)
FLAGS = _cli.flags
_cli.string(
    "pipeline",
    None,
    "pipeline.config to study (may be given without the flag, too); with factors that need no "
    "training, the checkpoint's own by default",
)
_cli.alias("pipeline_config_path", "pipeline")
define_study_flags(
    _cli,
    checkpoint="prefix of the checkpoint to start from (fills fine_tune_checkpoint); with factors "
    "that need no training, what to measure on, and with --sanity what to start from: a trial's or "
    "training folder, a ckpt-N prefix or an unpacked zoo archive; to measure on, several separated "
    "by commas, oldest first",
    unnamed="the embedded shapes; with --sanity or factors that need no training the config's own "
    "records",
)
_cli.list(
    "ablate",
    None,
    f"factors to vary: {', '.join(FACTORS)} (trained); or, measured on a finished --checkpoint, "
    f"{', '.join(POST_HOC_FACTORS)}",
)
_cli.strings(
    "levels",
    [],
    "levels of a factor: 2,8,32 with one factor, batch_size=2,8,32 (repeatable) with several; "
    "literal or relative to the reference (1/4)",
)
_cli.strings(
    "at",
    [],
    "factor=level at which a factor stands while others are varied, e.g. batch_size=2 (repeatable)",
)
_cli.enum(
    "design",
    DESIGNS[0],
    DESIGNS,
    "one factor at a time from the reference, or every combination",
)
_cli.integer("seeds", 1, "replicates of every cell, seeds 1 to N", lower_bound=1)
_cli.string("name", None, "name of the study; by default pipeline, factors and scale")
_cli.enum("retry", None, ("failed",), "run failed trials again")
_cli.boolean("dry_run", False, "print the plan and stop")
_cli.boolean(
    "sanity",
    False,
    "tell wrong data from a wrong schedule: a trained --checkpoint at a very low rate, and ten "
    "images learned by heart at the schedule of the pipeline and --at; a verdict with its curves",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(_run, argv)


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
