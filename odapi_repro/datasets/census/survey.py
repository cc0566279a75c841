"""All records of a split on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from odapi_repro.datasets.census.record_columns import NO_NAME, BoxColumns, Tally, concatenated
from odapi_repro.datasets.census.record_portion import Portion, Stretch, empty_portion, read_portion
from odapi_repro.datasets.census.split_census import FileFacts, SplitCensus
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.datasets.record_files import Inventory
from odapi_repro.datasets.tfrecord import read_frames
from odapi_repro.datasets.workers.worker_pool import WorkerPool
from odapi_repro.errors import DataError

_READER = "odapi_repro.datasets.census.record_portion"
_FRAME = 16  # bytes of a record beside its data
# A stretch is work for a second or so; a file of 20 GB is shared out as well as 100 of 200 MB.
_STRETCH_BYTES = 32 * 2**20
_STRETCH_RECORDS = 500
# Below this, starting processes takes longer than the reading.
_ALONE_BYTES = 64 * 2**20

Progress = Callable[[int, int], None]


def take_census(
    split: str,
    inventory: Inventory,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda message: None,
    max_pixels: int = IMAGE_PIXELS,
) -> SplitCensus:
    """Reads every record of a split, once, and gives what is there.

    Faults are counted and never raised: a file that cannot be read, or only up to some byte,
    records that are none, images that do not decode.

    Args:
        split: `train` or `eval`.
        inventory: its files.
        workers: processes; small sets are read in this one.
        progress: called with records read and records there are.
        say: told why there are no processes.
        max_pixels: pixels that an image may have; one that has more counts as not decodable.

    Raises:
        DataError: a worker was killed.
    """
    files, stretches = _shared_out(inventory.files)
    stretches = [replace(one, max_pixels=max_pixels) for one in stretches]
    total = sum(file.records for file in files)
    if sum(file.bytes for file in files) < _ALONE_BYTES:
        workers = 1
    portions = [empty_portion()] * max(1, len(stretches))
    read = 0
    with WorkerPool(min(workers, len(stretches)), _READER, say=say) as pool:
        for done in pool.results(read_portion, stretches):
            if done is not None:
                portions[done.place] = done.result
                read += len(done.task.frames)
                if progress is not None:
                    progress(read, total)
    return _merged(split, inventory, files, portions)


def _shared_out(paths: Sequence[Path]) -> tuple[tuple[FileFacts, ...], list[Stretch]]:
    """Frames every file, which needs two short reads a record, and cuts it into stretches."""
    files, stretches = [], []
    for position, path in enumerate(paths):
        frames: list[tuple[int, int]] = []
        first = offset = begin = 0
        records = 0
        fault = ""
        try:
            for frame in read_frames(path):
                frames.append(frame)
                records += 1
                offset += frame[0] + _FRAME
                if offset - begin >= _STRETCH_BYTES or len(frames) >= _STRETCH_RECORDS:
                    stretches.append(Stretch(path, position, first, begin, tuple(frames)))
                    frames, first, begin = [], records, offset
        except DataError as error:
            fault = error.found
        if frames:
            stretches.append(Stretch(path, position, first, begin, tuple(frames)))
        size = path.stat().st_size if path.exists() else 0
        files.append(FileFacts(path, size, records, fault))
    return tuple(files), stretches


def _merged(
    split: str, inventory: Inventory, files: tuple[FileFacts, ...], portions: Sequence[Portion]
) -> SplitCensus:
    vocabulary: dict[str, int] = {}
    faults: dict[str, Tally] = {}
    boxes: list[BoxColumns] = []
    before = 0
    for portion in portions:
        ids = [vocabulary.setdefault(name, len(vocabulary)) for name in portion.vocabulary]
        names = np.array([*ids, NO_NAME], np.int32)[portion.boxes.name]
        boxes.append(replace(portion.boxes, image=portion.boxes.image + before, name=names))
        before += len(portion.images)
        for kind, tally in portion.faults.items():
            faults[kind] = faults.get(kind, Tally()) + tally
    return SplitCensus(
        split=split,
        inventory=inventory,
        files=files,
        images=concatenated([portion.images for portion in portions]),
        boxes=concatenated(boxes),
        vocabulary=tuple(vocabulary),
        faults=faults,
    )
