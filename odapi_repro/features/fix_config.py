"""`fix`: from the flags to the config that is written."""

from __future__ import annotations

import difflib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from odapi_repro.diagnosis.config_text import read_config_text
from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.mending import Constraints, kept_factor, mend_config
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

NEVER = "never"


STDOUT = "-"


def fix_config(flags: Any, positional: list[str], command: str) -> int:
    """Does what the flags ask for, and gives the exit code."""
    named = _path(flags, positional)
    constraints = _constraints(flags)
    output = _output(flags, named)
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
    if flags.reference:
        reference = reference_named(flags.reference)
    else:
        reference, why = reference_for(config.text, pipeline)
    circumstances = Circumstances(
        train_images=flags.train_images, num_replicas=constraints.num_replicas
    )
    subject = Subject(config, pipeline, reference, circumstances)
    _check_epochs(flags, subject)
    mended = mend_config(subject, constraints, RULES, start=mended_text.pipeline)
    edited = rewrite_text(mended_text.text, mended.pipeline.proto)
    edited = replace(edited, text=with_reference_named(edited.text, mended.pipeline, reference))
    diff = None
    if flags.diff:
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
    if flags.format == "json":
        print_text(as_json(report), stream)
    else:
        print_page(mended_page(report), stream)
        if diff:
            # A tab is the config's own.
            print_text("\n" + "\t".join(map(shown_lines, diff.split("\t"))), stream)
    if flags.fail_on == NEVER:
        return EXIT_DONE
    limit = Severity[flags.fail_on.upper()]
    failed = any(finding.severity <= limit for finding in mended.findings)
    return EXIT_FAILED if failed else EXIT_DONE


def _print_config(text: str) -> None:
    """Prints the config in UTF-8, which is what the OD API reads, whatever the terminal has."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8"))
    sys.stdout.buffer.flush()


def _path(flags: Any, positional: list[str]) -> str:
    paths = [*positional, *([flags.pipeline] if flags.pipeline else [])]
    if len(paths) != 1:
        raise UserError(
            f"{len(paths)} configs were named" if paths else "no config was named",
            expected="one pipeline.config",
            mend="python -m odapi_repro.fix my.config --reference efficientdet_d3",
        )
    return str(paths[0])


def _constraints(flags: Any) -> Constraints:
    """Gives what the flags ask for; refuses what contradicts itself."""
    keep = frozenset(kept_factor(name) for name in flags.keep if name.strip())
    for flag, factor in (
        ("max_batch", "batch_size"),
        ("steps", "schedule_length"),
        ("epochs", "schedule_length"),
    ):
        if flags[flag].value is not None and factor in keep:
            raise UserError(
                f"--{flag} sets what --keep {factor} keeps",
                expected="one of the two",
                mend=f"leave --{flag} or {factor} out",
            )
    if flags.steps is not None and flags.epochs is not None:
        raise UserError(
            "--steps and --epochs were both given",
            expected="one length of the run",
            mend="leave one of them out",
        )
    for flag in ("epochs", "images_per_second", "hours"):
        value = flags[flag].value
        if value is not None and not 0 < value < float("inf"):
            raise UserError(
                f"--{flag} is {value}", expected="a number above 0", mend=f"e.g. --{flag} 10"
            )
    if flags.hours is not None and flags.images_per_second is None:
        raise UserError(
            "--hours needs a speed",
            expected="--images_per_second beside it",
            mend="the training log has seconds a step: images_per_second is batch / seconds",
        )
    if flags.max_batch is not None and flags.max_batch < flags.replicas:
        raise UserError(
            f"a batch of {flags.max_batch} cannot be shared by {flags.replicas} replicas",
            expected="at least one image a replica: --max_batch is the global batch",
            mend=f"--max_batch {flags.replicas} or more",
        )
    return Constraints(
        keep=keep,
        num_replicas=flags.replicas,
        max_batch=flags.max_batch,
        steps=flags.steps,
        epochs=flags.epochs,
        images_per_second=flags.images_per_second,
        hours=flags.hours,
        goal=flags.goal,
    )


def _check_epochs(flags: Any, subject: Subject) -> None:
    if flags.epochs is not None and subject.quantities.train_images is None:
        raise UserError(
            "--epochs needs the number of training images, which the file names do not show",
            expected="--train_images beside it",
            mend="--train_images N, or --steps in place of --epochs",
        )


def _output(flags: Any, path: str) -> str:
    """Gives where to write: a path, `-`, or nothing; refuses what exists, before any work."""
    if flags.dry_run:
        return ""
    if flags.output == STDOUT or (path == STDIN and not flags.output):
        return STDOUT
    if flags.output and os.path.isdir(flags.output):
        raise UserError(
            f"--output {flags.output} is a folder",
            expected="the name of a file",
            mend=f"--output {os.path.join(flags.output, Path(path).name)}",
        )
    output = str(flags.output) if flags.output else str(Path(path).with_suffix(".fixed.config"))
    if os.path.exists(output) and not flags.overwrite:
        raise UserError(
            f"{output} exists",
            expected="a file that is not there yet",
            mend="--overwrite, or --output with another name",
        )
    return output
