"""Which shards are whole: written down as they are, so that an interrupted conversion goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.conversion.image_source import ImageReader
from odapi_repro.datasets.conversion.shard_task import Bad, ShardOutcome, ShardTask
from odapi_repro.datasets.records import RecordFile, manifest
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import DataError
from odapi_repro.files import append_to


class Journal:
    """A file of one line a shard: what it was made of, what it is, and what became of its images.

    A line that was cut short by a crash is passed over: its shard is made again. Nothing is forced
    to the disk, as whoever goes by an entry looks at all of the shard first (`is_whole`).

    Args:
        path: the file; made on the first entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, ShardOutcome] = {}
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError:
            lines = []
        self._ends_whole = not lines or not lines[-1]
        for line in lines:
            try:
                outcome = _outcome(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
            if outcome.file is not None:
                self._entries[outcome.file.name] = outcome

    def begin(self) -> None:
        """Makes the file: whole shards in the folder belong to it from now on.

        Raises:
            UserError: it cannot be written.
        """
        self._append(b"")

    def entry_of(self, task: ShardTask) -> ShardOutcome | None:
        """Gives the entry of a shard that was made of the same input, None where there is none.

        A shard that lacks bad images or has rescaled ones is made again: that was a flag's choice.
        """
        outcome = self._entries.get(Path(task.path).name)
        if outcome is None or outcome.inputs != task.inputs or outcome.bad or outcome.rescaled:
            return None
        return outcome

    def add(self, outcome: ShardOutcome) -> None:
        """Writes an entry down.

        Raises:
            UserError: it cannot be written.
        """
        line = json.dumps(dataclasses.asdict(outcome), sort_keys=True).encode() + b"\n"
        self._append(line if self._ends_whole else b"\n" + line)
        self._ends_whole = True

    def _append(self, data: bytes) -> None:
        with append_to(self._path) as file:
            file.write(data)


def is_whole(folder: Path, file: RecordFile) -> bool:
    """Whether a shard is what was written: its size, its digest, and every record's checksum."""
    path = folder / file.name
    try:
        if path.stat().st_size != file.bytes or manifest([path]).files[0] != file:
            return False
        return sum(1 for _ in read_records(path)) == file.num_examples
    except (OSError, DataError):
        return False


def changed_images(task: ShardTask) -> tuple[str, ...]:
    """Gives the names of images that are no longer the bytes that their shard holds.

    Those are read that were written, moved or touched since the shard was; an image that has no
    record was left out of the shard, and is passed over.

    Raises:
        DataError: the shard is damaged.
    """
    path = Path(task.path)
    written = path.stat().st_mtime_ns
    newer = {
        source: file
        for source, file in zip(task.source_ids, task.files, strict=True)
        if file.changed >= written
    }
    changed: list[str] = []
    if not newer:
        return ()
    reader = ImageReader()
    try:
        for data in read_records(path):
            image = AnnotatedImage.from_example(data)
            file = newer.get(image.source_id)
            if file is None:
                continue
            try:
                is_same = reader.read(file) == image.encoded_image
            except (OSError, ValueError):
                is_same = False
            if not is_same:
                changed.append(file.name)
    finally:
        reader.close()
    return tuple(changed)


def _outcome(content: dict[str, Any]) -> ShardOutcome:
    file = content["file"]
    return ShardOutcome(
        inputs=content["inputs"],
        file=RecordFile(**file) if file else None,
        bad=tuple(Bad(**one) for one in content["bad"]),
        rescaled=tuple((number, factor) for number, factor in content["rescaled"]),
        counts=content["counts"],
    )
