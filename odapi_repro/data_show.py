"""`python -m odapi_repro.data show`: records as pictures, and as the model gets them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import ConfigError, UserError

if TYPE_CHECKING:
    from odapi_repro.datasets.source import DataSource
    from odapi_repro.pipeline import Pipeline


SUMMARY = "contact sheets, histograms and anchors; also after the pipeline's own augmentation"
SPLITS = ("train", "val", "both")
_SHOWN_AS = {"train": "train", "eval": "val"}

_cli = Command("data show", SUMMARY)
FLAGS = _cli.flags
_cli.string("pipeline", None, "pipeline.config: its augmentation, its input size and its anchors")
_cli.alias("pipeline_config_path", "pipeline")
_cli.data_flags("the records of the config's own readers")
_cli.enum("split", None, SPLITS, "which records; those named, or train")
_cli.integer("images", 24, "images on the contact sheets", lower_bound=1, upper_bound=1000)
_cli.integer("draws", 3, "augmented draws of each; 0: none, no TensorFlow", lower_bound=0)
_cli.list(
    "only",
    [],
    "which images: crowd, empty, small (an object below 32 x 32 pixels), wrong (a box that leaves "
    "the image or has no area, an unknown class), or names of classes; any of those named",
)
_cli.list("source_ids", [], "show these images")
_cli.boolean("masks", True, "tint the masks")
_cli.integer(
    "tile", 320, "side of an image on the sheets, in pixels", lower_bound=96, upper_bound=2048
)
_cli.integer("max_image_pixels", IMAGE_PIXELS, "pixels that an image may have", lower_bound=1)
_cli.integer("boxes_limit", None, "compare at most so many objects with the anchors", lower_bound=1)
_cli.integer("seed", 0, "of the choice of images and of augmentation", lower_bound=0)
_cli.string("output_dir", "data_show", "where pictures, README.md and show.json go")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(_run, argv)


def _run(positional: list[str], command: str) -> int:
    from odapi_repro.datasets.label_map import read_label_map
    from odapi_repro.features.show.show_inputs import image_filter
    from odapi_repro.features.show.show_page import check_output, show_results
    from odapi_repro.features.show.show_pictures import Look
    from odapi_repro.features.show.show_report import ShowReport
    from odapi_repro.features.show.show_split import Showing, show_split
    from odapi_repro.page.live_line import LiveLine
    from odapi_repro.page.terminal_page import Terminal, print_page

    pipeline = _pipeline(positional)
    folder = Path(FLAGS.output_dir).expanduser()
    check_output(folder)
    shown = _source(pipeline)
    label_map = read_label_map(shown.label_map_path)
    progress = LiveLine()
    progress.count_from_now()
    showing = Showing(
        pipeline=pipeline,
        label_map_path=shown.label_map_path,
        look=Look(label_map, FLAGS.tile, FLAGS.masks, FLAGS.max_image_pixels),
        is_wanted=image_filter(FLAGS.only, FLAGS.source_ids, label_map),
        asked=_asked(),
        none_is_good=FLAGS.only == ["wrong"] and not FLAGS.source_ids,
        source_ids=tuple(FLAGS.source_ids),
        images=max(FLAGS.images, len(FLAGS.source_ids)),
        draws=FLAGS.draws,
        seed=FLAGS.seed,
        boxes_limit=FLAGS.boxes_limit,
        progress=progress,
    )
    try:
        splits = [
            show_split(_SHOWN_AS[split], inventory.files, showing)
            for split, inventory in shown.inventories.items()
        ]
    finally:
        progress.end()
    report = ShowReport(
        command=command,
        data=shown.name,
        label_map=shown.label_map_path.name,
        pipeline=pipeline.path if pipeline else "",
        model=_model(pipeline),
        resized=_resized(pipeline),
        only=_asked(),
        seed=FLAGS.seed,
        splits=tuple(split.report for split in splits),
    )
    results = show_results(report, {one.report.split: one.drawings for one in splits}, folder)
    names = ", ".join(path.name for path in results.write(folder))
    print_page(results.page)
    print("\n".join(["", *Terminal.of(sys.stdout).wrapped(f"{folder}/: {names}")]))
    for split in splits:
        if split.failure is not None:
            raise split.failure
    return EXIT_DONE


def _source(pipeline: Pipeline | None) -> DataSource:
    """The records of the splits that --split or the globs name, or of training."""
    from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP
    from odapi_repro.datasets.source import MADE_ONCE, DataFlags, resolve_data
    from odapi_repro.ending import say
    from odapi_repro.features.show.show_inputs import image_filter

    flags = DataFlags.of(FLAGS)
    asked = [split for split, name in _SHOWN_AS.items() if FLAGS.split in (name, "both")]
    named = "both" if len(flags.splits) > 1 else "".join(_SHOWN_AS[one] for one in flags.splits)

    def before_embedded(reason: str) -> None:
        image_filter(FLAGS.only, FLAGS.source_ids, SHAPES_LABEL_MAP)
        say(f"data: {MADE_ONCE}", file=sys.stderr)

    return resolve_data(
        flags,
        pipeline,
        splits=asked or flags.splits or ("train",),
        before_embedded=before_embedded,
        otherwise=f"--split {named}" if named else "",
        command="python -m odapi_repro.data show ",
    )


def _pipeline(positional: Sequence[str]) -> Pipeline | None:
    named = [*positional, *([FLAGS.pipeline] if FLAGS.pipeline else [])]
    if len(named) > 1:
        raise UserError(
            f"{len(named)} configs were named: {', '.join(named)}",
            expected="one pipeline.config, or none",
            mend="call the command once for each, with another --output_dir",
        )
    if not named:
        return None
    from odapi_repro.pipeline import load_pipeline

    return load_pipeline(named[0])


def _asked() -> str:
    """What the images have to be, in words; empty for any."""
    parts = [" or ".join(FLAGS.only)] if FLAGS.only else []
    if FLAGS.source_ids:
        parts.append(f"source ids {', '.join(FLAGS.source_ids)}")
    return ", ".join(parts)


def _model(pipeline: Pipeline | None) -> str:
    if pipeline is None:
        return ""
    extractor = getattr(pipeline.model, "feature_extractor", None)
    return f"{pipeline.meta_architecture} {getattr(extractor, 'type', '')}".strip()


def _resized(pipeline: Pipeline | None) -> str:
    if pipeline is None:
        return ""
    from odapi_repro.pipeline.anchors import read_resizer

    try:
        return read_resizer(pipeline).described
    except ConfigError as error:
        return f"not resized: {error.in_a_line}"


if __name__ == "__main__":
    sys.exit(main())
