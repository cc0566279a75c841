"""`python -m odapi_repro.fix`: writes the config that reaches the reference on your hardware."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from odapi_repro.command import Command
from odapi_repro.diagnosis.config_text import read_config_text
from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.mending import GOALS, Constraints, kept_factor, mend_config
from odapi_repro.diagnosis.mending.mending_page import Report, as_json, cost_of, mended_page
from odapi_repro.diagnosis.mending.text_mending import mend_text, text_changes
from odapi_repro.diagnosis.rules import RULES
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.ending import EXIT_DONE, EXIT_FAILED
from odapi_repro.errors import ConfigError, UserError
from odapi_repro.files import write_whole
from odapi_repro.foreign_text import shown, shown_lines
from odapi_repro.page.terminal_page import print_page, print_text
from odapi_repro.pipeline import Circumstances
from odapi_repro.pipeline.edit_text import rewrite_text
from odapi_repro.pipeline.parse import STDIN, read_config_argument
from odapi_repro.pipeline.text_tree import lost_comments
from odapi_repro.reference import reference_for, reference_named, with_reference_named

SUMMARY = (
    "write the config that reaches the reference on your hardware, each change with its reason"
)
FORMATS = ("text", "json")
NEVER = "never"
FAIL_ON = ("fatal", "critical", "warning", NEVER)
STDOUT = "-"
_MOST_STEPS = 2**32 - 1
_MOST_BATCH = 2**31 - 1

_cli = Command("fix", SUMMARY)
FLAGS = _cli.flags
_cli.string(
    "pipeline",
    None,
    "pipeline.config to mend (may be given without the flag, too); - is standard input",
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
    return _cli.run(_run, argv)


def _run(positional: list[str], command: str) -> int:
    named = _path(positional)
    constraints = _constraints()
    output = _output(named)
    path, text = read_config_argument(named, lenient=True)
    config, pipeline = read_config_text(text, path, thorough=True)
    mended_text = mend_text(config)
    if not pipeline.meta_architecture:
        raise ConfigError(
            "it describes no model" if config.text.strip() else "the file is empty",
            expected="a pipeline.config with a model, whatever is wrong with it otherwise",
            mend="start from one of the references: python -m odapi_repro.zoo",
            where=path,
        )
    why = ""
    if FLAGS.reference:
        reference = reference_named(FLAGS.reference)
    else:
        reference, why = reference_for(config.text, pipeline)
    circumstances = Circumstances(
        train_images=FLAGS.train_images, num_replicas=constraints.num_replicas
    )
    subject = Subject(config, pipeline, reference, circumstances)
    _check_epochs(subject)
    mended = mend_config(subject, constraints, RULES, start=mended_text.pipeline)
    edited = rewrite_text(mended_text.text, mended.pipeline.proto)
    edited = replace(edited, text=with_reference_named(edited.text, mended.pipeline, reference))
    diff = None
    if FLAGS.diff:
        name = path if output in ("", STDOUT) else output
        diff = "".join(
            line if line.endswith("\n") else line + "\n"
            for line in difflib.unified_diff(
                config.text.splitlines(keepends=True),
                edited.text.splitlines(keepends=True),
                shown(path),
                shown(name),
            )
        )
    if output == STDOUT:
        _print_config(edited.text)
    elif output:
        write_whole(output, edited.text)
    report = Report(
        path=path,
        output=output,
        mended=mended,
        cost=cost_of(mended, constraints),
        reference_why=why,
        text_changes=text_changes(config, mended_text, mended.before),
        layout_lost=edited.why,
        lost_comments=lost_comments(config.text, edited.text),
        command=command,
        diff=diff,
    )
    stream = sys.stderr if output == STDOUT else sys.stdout
    if FLAGS.format == "json":
        print_text(as_json(report), stream)
    else:
        print_page(mended_page(report), stream)
        if diff:
            # A tab is the config's own.
            print_text("\n" + "\t".join(map(shown_lines, diff.split("\t"))), stream)
    if FLAGS.fail_on == NEVER:
        return EXIT_DONE
    limit = Severity[FLAGS.fail_on.upper()]
    failed = any(finding.severity <= limit for finding in mended.findings)
    return EXIT_FAILED if failed else EXIT_DONE


def _print_config(text: str) -> None:
    """Prints the config in UTF-8, which is what the OD API reads, whatever the terminal has."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8"))
    sys.stdout.buffer.flush()


def _path(positional: list[str]) -> str:
    paths = [*positional, *([FLAGS.pipeline] if FLAGS.pipeline else [])]
    if len(paths) != 1:
        raise UserError(
            f"{len(paths)} configs were named" if paths else "no config was named",
            expected="one pipeline.config",
            mend="python -m odapi_repro.fix my.config --reference efficientdet_d3",
        )
    return str(paths[0])


def _constraints() -> Constraints:
    """Gives what the flags ask for; refuses what contradicts itself."""
    keep = frozenset(kept_factor(name) for name in FLAGS.keep if name.strip())
    for flag, factor in (
        ("max_batch", "batch_size"),
        ("steps", "schedule_length"),
        ("epochs", "schedule_length"),
    ):
        if FLAGS[flag].value is not None and factor in keep:
            raise UserError(
                f"--{flag} sets what --keep {factor} keeps",
                expected="one of the two",
                mend=f"leave --{flag} or {factor} out",
            )
    if FLAGS.steps is not None and FLAGS.epochs is not None:
        raise UserError(
            "--steps and --epochs were both given",
            expected="one length of the run",
            mend="leave one of them out",
        )
    for flag in ("epochs", "images_per_second", "hours"):
        value = FLAGS[flag].value
        if value is not None and not 0 < value < float("inf"):
            raise UserError(
                f"--{flag} is {value}", expected="a number above 0", mend=f"e.g. --{flag} 10"
            )
    if FLAGS.hours is not None and FLAGS.images_per_second is None:
        raise UserError(
            "--hours says nothing without a speed",
            expected="--images_per_second beside it",
            mend="the training log has seconds a step: images_per_second is batch / seconds",
        )
    if FLAGS.max_batch is not None and FLAGS.max_batch < FLAGS.replicas:
        raise UserError(
            f"a batch of {FLAGS.max_batch} cannot be shared by {FLAGS.replicas} replicas",
            expected="at least one image a replica: --max_batch is the global batch",
            mend=f"--max_batch {FLAGS.replicas} or more",
        )
    return Constraints(
        keep=keep,
        num_replicas=FLAGS.replicas,
        max_batch=FLAGS.max_batch,
        steps=FLAGS.steps,
        epochs=FLAGS.epochs,
        images_per_second=FLAGS.images_per_second,
        hours=FLAGS.hours,
        goal=FLAGS.goal,
    )


def _check_epochs(subject: Subject) -> None:
    if FLAGS.epochs is not None and subject.quantities.train_images is None:
        raise UserError(
            "--epochs needs the number of training images, which the file names do not tell",
            expected="--train_images beside it",
            mend="--train_images N, or --steps in place of --epochs",
        )


def _output(path: str) -> str:
    """Gives where to write: a path, `-`, or nothing; refuses what exists, before any work."""
    if FLAGS.dry_run:
        return ""
    if FLAGS.output == STDOUT or (path == STDIN and not FLAGS.output):
        return STDOUT
    if FLAGS.output and os.path.isdir(FLAGS.output):
        raise UserError(
            f"--output {FLAGS.output} is a folder",
            expected="the name of a file",
            mend=f"--output {os.path.join(FLAGS.output, Path(path).name)}",
        )
    output = str(FLAGS.output) if FLAGS.output else str(Path(path).with_suffix(".fixed.config"))
    if os.path.exists(output) and not FLAGS.overwrite:
        raise UserError(
            f"{output} exists",
            expected="a file that is not there yet",
            mend="--overwrite, or --output with another name",
        )
    return output


if __name__ == "__main__":
    sys.exit(main())
