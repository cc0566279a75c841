"""`data convert`: from the flags to records."""

from __future__ import annotations

import contextlib
import csv
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odapi_repro.datasets.workers.worker_pool import available_cores, start_server
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import UserError
from odapi_repro.foreign_text import shown
from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import duration

if TYPE_CHECKING:
    from odapi_repro.datasets.conversion.conversion_request import ConversionRequest
    from odapi_repro.datasets.conversion.convert import Progress


def convert_data(flags: Any, positional: list[str], command: str) -> int:
    """Does what the flags ask for, and gives the exit code."""
    del command
    if positional:
        raise UserError(
            f"'{positional[0]}' is not a flag",
            expected="flags only",
            mend="--annotations FILE --image_dir FOLDER --output_dir FOLDER",
        )
    request = _request(flags)
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


def _request(flags: Any) -> ConversionRequest:
    """Gives what the flags ask for, after the checks that need no file."""
    for name in ("annotations", "image_dir", "output_dir"):
        if not flags[name].value:
            raise UserError(
                f"--{name} is missing",
                expected="--annotations FILE.json --image_dir FOLDER_OR_ZIP --output_dir FOLDER",
                mend=f"add --{name}",
            )
    if flags.subset is not None and flags.images is not None:
        raise UserError(
            "--subset and --images are both given",
            expected="a share or a number of images",
            mend="leave one out",
        )
    if flags.subset is not None and not flags.subset > 0:
        raise UserError(
            f"--subset {flags.subset:g}", expected="a share above 0", mend="--subset 0.01"
        )
    name = flags.split
    if not name or not name.replace("_", "").replace("-", "").isalnum() or name[0] in "-_":
        raise UserError(
            f"--split '{name}'",
            expected="letters, digits, - and _: it becomes part of file names",
            mend="--split train or --split val",
        )
    if name == "val" and flags.val_annotations:
        raise UserError(
            "--split val and --val_annotations are both given",
            expected="one json for each split",
            mend="leave --split out: --annotations is train then",
        )
    for flag in ("val_image_dir", "val_shards", "val_keypoint_annotations"):
        if flags[flag].value and not flags.val_annotations:
            raise UserError(
                f"--{flag} is given without --val_annotations",
                expected="a json for it",
                mend="add --val_annotations",
            )
    from odapi_repro.datasets.conversion.conversion_request import ConversionRequest, SplitRequest

    splits = [
        SplitRequest(
            name=name,
            annotations=_path(flags.annotations),
            image_dir=_path(flags.image_dir),
            shards=flags.shards,
            keypoint_annotations=_optional(flags.keypoint_annotations),
            subset=flags.subset,
            images=flags.images,
        )
    ]
    if flags.val_annotations:
        splits.append(
            SplitRequest(
                name="val",
                annotations=_path(flags.val_annotations),
                image_dir=_path(flags.val_image_dir or flags.image_dir),
                shards=flags.val_shards,
                keypoint_annotations=_optional(flags.val_keypoint_annotations),
            )
        )
    return ConversionRequest(
        splits=tuple(splits),
        output_dir=_path(flags.output_dir),
        include_masks=flags.include_masks,
        classes=_class_names(flags.classes or ""),
        class_ids=flags.class_ids,
        empty_images=flags.empty_images,
        bad_images=flags.bad_images,
        check_boxes=flags.check_boxes,
        bad_annotations=flags.bad_annotations,
        size_mismatch=flags.size_mismatch,
        decode_images=flags.decode_images,
        max_image_pixels=flags.max_image_pixels,
        max_unpacked_bytes=flags.max_unpacked_bytes,
        seed=flags.seed,
        workers=flags.workers or available_cores(),
        overwrite=flags.overwrite,
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
