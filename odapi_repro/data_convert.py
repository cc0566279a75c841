"""`python -m odapi_repro.data convert`: COCO json and images to sharded records."""

from __future__ import annotations

import contextlib
import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.datasets.limits import IMAGE_BYTES, IMAGE_PIXELS
from odapi_repro.datasets.workers.worker_pool import available_cores, start_server
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import UserError
from odapi_repro.foreign_text import shown
from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import duration

if TYPE_CHECKING:
    from odapi_repro.datasets.conversion.conversion_request import ConversionRequest
    from odapi_repro.datasets.conversion.convert import Progress


SUMMARY = "COCO json and images to sharded records, a label map and a manifest"
_MOST_SHARDS = 99_999
_MOST_WORKERS = 1024

_cli = Command("data convert", SUMMARY)
FLAGS = _cli.flags
_cli.string("annotations", None, "COCO instances json of the split")
_cli.string("image_dir", None, "folder or zip archive of its images; an archive is not unpacked")
_cli.string("output_dir", None, "where records, label_map.pbtxt and manifest.json go")
_cli.string("split", "train", "what the records of --annotations are named by")
_cli.integer(
    "shards", 0, "how many files; 0 for one a hundred images, 100 at most",
    lower_bound=0, upper_bound=_MOST_SHARDS,
)  # fmt: skip
_cli.string("keypoint_annotations", None, "json whose annotations of the same ids hold keypoints")
_cli.string("val_annotations", None, "COCO instances json of a second split, named val")
_cli.string("val_image_dir", None, "its images; --image_dir by default")
_cli.integer("val_shards", 0, "its files; as --shards", lower_bound=0, upper_bound=_MOST_SHARDS)
_cli.string("val_keypoint_annotations", None, "its keypoints")
_cli.enum(
    "include_masks", "auto", ("auto", "yes", "no"), "PNG masks; auto: where there are outlines"
)
_cli.string(
    "classes",
    None,
    "names of the classes to keep, parted by commas; all by default; a name "
    "that has a comma in double quotes",
)
_cli.enum("class_ids", "keep", ("keep", "consecutive"), "the json's category ids, or from 1 on")
_cli.enum("empty_images", "keep", ("keep", "drop"), "images without any object (of --classes)")
_cli.number(
    "subset", None, "share of the images of --annotations to take, classes and sizes as in all",
    lower_bound=0.0, upper_bound=1.0)  # fmt: skip
_cli.integer("images", None, "number of images of --annotations to take, likewise", lower_bound=1)
_cli.integer("seed", 0, "of the choice of images", lower_bound=0)
_cli.enum("bad_images", "refuse", ("refuse", "drop"), "images that are missing or do not decode")
_cli.boolean("check_boxes", True, "refuse boxes that are no x, y, width, height in pixels")
_cli.enum(
    "bad_annotations", "refuse", ("refuse", "drop"),
    "annotations of images or categories that the json does not hold",
)  # fmt: skip
_cli.enum(
    "size_mismatch", "refuse", ("refuse", "rescale", "drop"),
    "images of another size than the json says; rescale: annotations go to the file's size",
)  # fmt: skip
_cli.boolean("decode_images", False, "decode each image, not just its header and end")
_cli.integer("max_image_pixels", IMAGE_PIXELS, "pixels that an image may have", lower_bound=1)
_cli.integer(
    "max_unpacked_bytes", IMAGE_BYTES, "bytes that an image file may unpack to", lower_bound=1
)
_cli.integer(
    "workers", None, "processes; one a core by default", lower_bound=1, upper_bound=_MOST_WORKERS
)
_cli.boolean("overwrite", False, "replace an earlier conversion of the same splits")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(_run, argv)


def _run(positional: list[str], command: str) -> int:
    del command
    if positional:
        raise UserError(
            f"'{positional[0]}' is no flag",
            expected="flags only",
            mend="--annotations FILE --image_dir FOLDER --output_dir FOLDER",
        )
    request = _request()
    if request.workers > 1:
        # It imports while this process does; whether there is one is for the pool to say.
        with contextlib.suppress(OSError):
            start_server("odapi_repro.datasets.conversion.convert")
    from odapi_repro.datasets.conversion.conversion_page import conversion_text
    from odapi_repro.datasets.conversion.convert import convert

    started = time.monotonic()
    progress = _ProgressLine()
    try:
        conversion = convert(request, say=progress.say, progress=progress)
    finally:
        progress.end()
    sys.stdout.write(conversion_text(conversion, request, time.monotonic() - started))
    sys.stdout.flush()
    return EXIT_DONE


def _request() -> ConversionRequest:
    """Gives what the flags ask for, after the checks that need no file."""
    for name in ("annotations", "image_dir", "output_dir"):
        if not FLAGS[name].value:
            raise UserError(
                f"--{name} is missing",
                expected="--annotations FILE.json --image_dir FOLDER_OR_ZIP --output_dir FOLDER",
                mend=f"add --{name}",
            )
    if FLAGS.subset is not None and FLAGS.images is not None:
        raise UserError(
            "--subset and --images are both given",
            expected="a share or a number of images",
            mend="leave one out",
        )
    if FLAGS.subset is not None and not FLAGS.subset > 0:
        raise UserError(
            f"--subset {FLAGS.subset:g}", expected="a share above 0", mend="--subset 0.01"
        )
    name = FLAGS.split
    if not name or not name.replace("_", "").replace("-", "").isalnum() or name[0] in "-_":
        raise UserError(
            f"--split '{name}'",
            expected="letters, digits, - and _: it becomes part of file names",
            mend="--split train or --split val",
        )
    if name == "val" and FLAGS.val_annotations:
        raise UserError(
            "--split val and --val_annotations are both given",
            expected="one json for each split",
            mend="leave --split out: --annotations is train then",
        )
    for flag in ("val_image_dir", "val_shards", "val_keypoint_annotations"):
        if FLAGS[flag].value and not FLAGS.val_annotations:
            raise UserError(
                f"--{flag} is given without --val_annotations",
                expected="a json for it",
                mend="add --val_annotations",
            )
    from odapi_repro.datasets.conversion.conversion_request import ConversionRequest, SplitRequest

    splits = [
        SplitRequest(
            name=name,
            annotations=_path(FLAGS.annotations),
            image_dir=_path(FLAGS.image_dir),
            shards=FLAGS.shards,
            keypoint_annotations=_optional(FLAGS.keypoint_annotations),
            subset=FLAGS.subset,
            images=FLAGS.images,
        )
    ]
    if FLAGS.val_annotations:
        splits.append(
            SplitRequest(
                name="val",
                annotations=_path(FLAGS.val_annotations),
                image_dir=_path(FLAGS.val_image_dir or FLAGS.image_dir),
                shards=FLAGS.val_shards,
                keypoint_annotations=_optional(FLAGS.val_keypoint_annotations),
            )
        )
    return ConversionRequest(
        splits=tuple(splits),
        output_dir=_path(FLAGS.output_dir),
        include_masks=FLAGS.include_masks,
        classes=_class_names(FLAGS.classes or ""),
        class_ids=FLAGS.class_ids,
        empty_images=FLAGS.empty_images,
        bad_images=FLAGS.bad_images,
        check_boxes=FLAGS.check_boxes,
        bad_annotations=FLAGS.bad_annotations,
        size_mismatch=FLAGS.size_mismatch,
        decode_images=FLAGS.decode_images,
        max_image_pixels=FLAGS.max_image_pixels,
        max_unpacked_bytes=FLAGS.max_unpacked_bytes,
        seed=FLAGS.seed,
        workers=FLAGS.workers or available_cores(),
        overwrite=FLAGS.overwrite,
    )


def _class_names(text: str) -> tuple[str, ...]:
    """Gives the names of a list parted by commas, in which quotes keep a comma (RFC 4180)."""
    try:
        (names,) = csv.reader([text], skipinitialspace=True, strict=True)
    except csv.Error as error:
        raise UserError(
            f"--classes {text}: {error}",
            expected="names parted by commas; one that has a comma stands in double quotes",
            mend="""--classes 'person,"horse, wild"'""",
        ) from error
    return tuple(dict.fromkeys(one.strip() for one in names if one.strip()))


def _path(name: str) -> Path:
    return Path(name).expanduser()


def _optional(name: str | None) -> Path | None:
    return _path(name) if name else None


_LEAST_SECONDS = 0.5
"""Before that a rate would say nothing."""


class _ProgressLine:
    """Tells on stderr how far it is."""

    def __init__(self) -> None:
        self._line = LiveLine(quiet_seconds=10.0)
        self._started = 0.0

    def say(self, message: str) -> None:
        self._line.end()
        print(shown(message), file=sys.stderr, flush=True)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if not self._started:
            self._started = now
            self._line.count_from_now()
        if now - self._started < _LEAST_SECONDS:
            return
        rate = progress.images_done / (now - self._started)
        line = f"{progress.images_done:,} of {progress.images:,} images"
        if rate:
            left = (progress.images - progress.images_done) / rate
            line += f", {rate:,.0f}/s, {duration(left)} left"
        self._line.update(line)

    def end(self) -> None:
        self._line.end()


if __name__ == "__main__":
    sys.exit(main())
