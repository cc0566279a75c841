"""`python -m odapi_repro.diff`: two configs compared in what they amount to, factor by factor."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import UserError
from odapi_repro.page.blocks import Facts, Headline, Page, code
from odapi_repro.page.terminal_page import print_pages, print_text
from odapi_repro.pipeline import Circumstances, Pipeline, load_pipeline, parse_pipeline
from odapi_repro.pipeline.parse import STDIN, read_config_argument
from odapi_repro.reference import Reference, nearest_reference, reference_named

if TYPE_CHECKING:
    from odapi_repro.diagnosis.deviations import Deviation


SUMMARY = "two configs compared in quantities and fields, factor by factor; no TensorFlow"
SCHEMA = 1
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
    "steps of the files where model_main_tf2 is told so: overrides num_steps, not the schedule",
    upper_bound=_MOST_STEPS,
)
_cli.count(
    "train_images", None, "images in the training records of the files", upper_bound=_MOST_IMAGES
)
_cli.count("replicas", None, "replicas that share a batch of the files", upper_bound=_MOST_REPLICAS)


@dataclass(frozen=True)
class _Side:
    """One of the two: a file, or an entry of the catalogue.

    Attributes:
        name: as it was given.
        about: what else is to be said of it; empty for a file.
        pipeline: the config.
        circumstances: what it does not say: the flags for a file, the catalogue's for an entry.
    """

    name: str
    about: str
    pipeline: Pipeline
    circumstances: Circumstances


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code: 0 whether or not the two differ."""
    return _cli.run(_run, argv)


def _run(positional: list[str], command: str) -> int:
    del command
    a, b = _sides(positional)
    # Only a comparison needs the rest; a wrong name is answered before it is imported.
    from odapi_repro.diagnosis.deviations import find_deviations

    deviations = find_deviations(
        a.pipeline,
        b.pipeline,
        a_circumstances=a.circumstances,
        b_circumstances=b.circumstances,
    )
    _print(a, b, deviations)
    return EXIT_DONE


def _sides(positional: list[str]) -> tuple[_Side, _Side]:
    names = [*([FLAGS.pipeline] if FLAGS.pipeline else []), *positional]
    if FLAGS.reference and len(names) == 1:
        first = _side(names[0])
        return first, _of_catalogue(reference_named(FLAGS.reference), FLAGS.reference)
    if FLAGS.reference or len(names) not in (1, 2):
        given = [*names, *([f"--reference {FLAGS.reference}"] if FLAGS.reference else [])]
        raise UserError(
            f"{len(given)} configs were named: {', '.join(given)}"
            if given
            else "no config was named",
            expected="two configs, or one and what to compare it with",
            mend="python -m odapi_repro.diff my.config --reference efficientdet_d3",
        )
    if names == [STDIN, STDIN]:
        raise UserError(
            "standard input is named twice",
            expected="- once: it can be read once",
            mend="name a file, or a reference, beside it",
        )
    first = _side(names[0])
    if len(names) == 2:
        return first, _side(names[1])
    nearest, why = nearest_reference(first.pipeline)
    return first, _of_catalogue(nearest, nearest.name, f"inferred: {why}")


def _side(name: str) -> _Side:
    """Gives a file that is here, or else the catalogue's entry of that name."""
    known = Circumstances(
        num_train_steps=FLAGS.num_train_steps,
        train_images=FLAGS.train_images,
        num_replicas=FLAGS.replicas,
        look_at_disk=False,
    )
    if name == STDIN:
        path, text = read_config_argument(name)
        return _Side(path, "", parse_pipeline(text, path), known)
    if os.path.exists(name) or os.path.dirname(name) or name.endswith((".config", ".pbtxt")):
        return _Side(name, "", load_pipeline(name), known)
    try:
        return _of_catalogue(reference_named(name), name)
    except UserError as error:
        raise UserError(
            f"'{name}' is no file here, and no reference",
            expected="the path of a pipeline.config, or a name of the catalogue",
            mend=error.mend,
        ) from error


def _of_catalogue(reference: Reference, name: str, why: str = "") -> _Side:
    numbers: dict[str, list[str]] = {}
    for reported in reference.reported:
        numbers.setdefault(reported.metric, []).append(f"{reported.value:g}")
    shown = ", ".join(
        f"{' or '.join(dict.fromkeys(values))} {metric}" for metric, values in numbers.items()
    )
    told = [f"reported: {shown or 'no number'}", why]
    if name != reference.name:
        told.insert(0, reference.name)
    own = Circumstances(num_replicas=reference.num_replicas, look_at_disk=False)
    return _Side(name, "; ".join(filter(None, told)), reference.pipeline(), own)


def _print(a: _Side, b: _Side, deviations: Sequence[Deviation]) -> None:
    from odapi_repro.diagnosis import deviation_tables as tables

    if FLAGS.format == "json":
        content = {
            "schema": SCHEMA,
            "a": {"name": a.name, "about": a.about or None},
            "b": {"name": b.name, "about": b.about or None},
            "deviations": tables.deviations_json(deviations),
        }
        print_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        return
    sides = tuple((mark, _told(side)) for mark, side in (("a", a), ("b", b)))
    page = Page(
        f"{a.name} and {b.name}",
        (
            Headline(tables.summary(deviations)),
            Facts(sides),
            *tables.deviation_tables(deviations),
        ),
    )
    print_pages([page], FLAGS.format)


def _told(side: _Side) -> str:
    return code(side.name) + (f" ({side.about})" if side.about else "")


if __name__ == "__main__":
    sys.exit(main())
