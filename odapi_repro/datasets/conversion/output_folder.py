"""The folder that a conversion writes to, and the journal of the shards that are whole."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.conversion.conversion_request import Bad, ShardOutcome, ShardTask
from odapi_repro.datasets.conversion.image_source import ImageReader
from odapi_repro.datasets.conversion.manifest import (
    MANIFEST_NAME,
    DatasetManifest,
    read_manifest,
    write_manifest,
)
from odapi_repro.datasets.records import RecordFile, manifest
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import DataError
from odapi_repro.files import Busy, append_to, cannot_write, locked, remove_leftovers

# --- The folder that a conversion writes to: one conversion at a time, and nothing of another ---


LABEL_MAP_NAME = "label_map.pbtxt"
_WORK = ".conversion"
_RECORD = re.compile(r"\.tf_?records?\b|\.records?\b|-\d+-of-\d+", re.IGNORECASE)
_OURS = re.compile(r"(?P<split>.+)-\d{5,}-of-\d{5,}\.tfrecord")
_SHOWN = 3


def shard_name(split: str, number: int, shards: int) -> str:
    """Gives the file name of a shard, as datasets.source finds it."""
    return f"{split}-{number:05d}-of-{shards:05d}.tfrecord"


class OutputFolder:
    """A folder that is locked while it is written to; used as a context.

    Attributes:
        path: the folder.
        manifest: of the conversions that are finished in it, None for none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: DatasetManifest | None = None
        self._lock = contextlib.ExitStack()
        self._is_done = False
        self._is_new = False

    def __enter__(self) -> OutputFolder:
        try:
            self._is_new = not self.path.exists()
            (self.path / _WORK).mkdir(parents=True, exist_ok=True)
            self._lock.enter_context(locked(self.path / _WORK / "lock"))
        except Busy as error:
            raise DataError(
                "another conversion is writing to this folder",
                expected="one conversion at a time",
                mend="wait for it, or name another --output_dir",
                where=str(self.path),
            ) from error
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            self.manifest = read_manifest(self.path)
            remove_leftovers(self.path)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def finish(self) -> None:
        """Says that the manifest is written: the work folder is not needed any more."""
        self._is_done = True

    def journal_path(self, split: str, settings: str) -> Path:
        """Gives where the journal of a split's conversion lies."""
        return self.path / _WORK / f"{split}-{settings[:16]}.jsonl"

    def forget(self, splits: Collection[str]) -> None:
        """Removes what earlier conversions of these splits left.

        The manifest goes first, so that nothing half removed is taken for whole.
        """
        if self.manifest is not None:
            left = {
                name: split for name, split in self.manifest.splits.items() if name not in splits
            }
            if left:
                self.manifest = DatasetManifest(
                    self.manifest.label_map_sha256, self.manifest.num_classes,
                    self.manifest.versions, left,
                )  # fmt: skip
                write_manifest(self.manifest, self.path)
            else:
                self.manifest = None
                (self.path / MANIFEST_NAME).unlink()
                (self.path / LABEL_MAP_NAME).unlink(missing_ok=True)
        for split in splits:
            for path in self._journals(split):
                path.unlink()
            for path in self._shards(split):
                path.unlink()

    def check(self, split: str, settings: str, names: Collection[str]) -> None:
        """Looks for what does not belong to the conversion of a split.

        Raises:
            DataError: shards or a journal of another conversion, or records of another program.
        """
        mend = "name another --output_dir, or replace what is there with --overwrite"
        expected = "an empty folder, or one with an interrupted conversion of the same input"
        finished = {} if self.manifest is None else self.manifest.splits
        if split in finished:
            found = _difference(self.manifest, split)
            raise DataError(
                f"the folder already holds a finished conversion of '{split}' from other input "
                f"or with other flags ({found})",
                expected=expected, mend=mend, where=str(self.path),
            )  # fmt: skip
        own = self.journal_path(split, settings)
        others = [path for path in self._journals(split) if path != own]
        if others:
            raise DataError(
                f"an interrupted conversion of '{split}' with other input or flags lies here",
                expected=expected, mend=mend, where=str(self.path),
            )  # fmt: skip
        strange = [
            path.name for path in self._shards(split) if path.name not in names or not own.exists()
        ]
        if strange:
            raise _foreign(self.path, strange, expected, mend)

    def check_others(self, splits: Collection[str]) -> None:
        """Looks for record files that belong to no conversion known here.

        Raises:
            DataError: there are some; `--data FOLDER` would read them with ours.
        """
        finished = set() if self.manifest is None else set(self.manifest.splits)
        strange = []
        for path in sorted(self.path.iterdir()):
            if path.name.startswith(".") or not path.is_file() or not _RECORD.search(path.name):
                continue
            ours = _OURS.fullmatch(path.name)
            split = ours["split"] if ours else ""
            if split in splits or split in finished or any(self._journals(split)):
                continue
            strange.append(path.name)
        if strange:
            raise _foreign(
                self.path, strange,
                "an empty folder: `--data FOLDER` reads all records in it",
                "name another --output_dir, or move them away",
            )  # fmt: skip

    def _journals(self, split: str) -> list[Path]:
        pattern = re.compile(re.escape(split) + r"-[0-9a-f]{16}\.jsonl")
        folder = self.path / _WORK
        return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))

    def _shards(self, split: str) -> list[Path]:
        matches = ((path, _OURS.fullmatch(path.name)) for path in self.path.iterdir())
        return sorted(path for path, match in matches if match and match["split"] == split)

    def _leave(self) -> None:
        """Lets go of the lock; a work folder without a journal is of no use to anybody."""
        with contextlib.suppress(OSError):
            remove_leftovers(self.path)
        self._lock.close()
        work = self.path / _WORK
        if self._is_done or (work.is_dir() and not any(work.glob("*.jsonl"))):
            shutil.rmtree(work, ignore_errors=True)
            if self._is_new and not self._is_done and not any(self.path.iterdir()):
                self.path.rmdir()


def _foreign(folder: Path, names: list[str], expected: str, mend: str) -> DataError:
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return DataError(
        f"the folder holds {len(names)} record file(s) of another conversion: {listed}",
        expected=expected, mend=mend, where=str(folder),
    )  # fmt: skip


def _difference(manifest: DatasetManifest | None, split: str) -> str:
    if manifest is None:
        return ""
    there = manifest.splits[split]
    return f"{there.annotations_name}, {there.images.get('written', 0):,} images"


# --- Which shards are whole: written down as they are, so that an interrupted conversion goes on
# ---


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
