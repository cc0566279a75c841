"""Record files as an input: found by patterns, named by a manifest, and read by number."""

from __future__ import annotations

import difflib
import glob
import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from odapi_repro.datasets.tfrecord import FRAME_BYTES, read_frames, read_record_at
from odapi_repro.errors import DataError

# --- Record files as an input: found by patterns, and named by a manifest ---


_FRAME = struct.Struct("<QI")


def resolve_patterns(patterns: Sequence[str]) -> tuple[Path, ...]:
    """Gives the files that the globs match (`?????`, `*`, `[0-9]`), sorted, each once.

    Raises:
        DataError: a pattern matches no file; names the nearest files of its folder.
    """
    found: set[Path] = set()
    for pattern in patterns:
        expanded = os.path.expanduser(pattern)
        files = {Path(name) for name in glob.glob(expanded) if os.path.isfile(name)}
        if not files:
            raise _matches_nothing(pattern, Path(expanded))
        found |= files
    if not found:
        raise DataError(
            "no pattern is given",
            expected="at least one glob of record files",
            mend="name record files with --train_records and --eval_records",
        )
    return tuple(sorted(found))


@dataclass(frozen=True)
class RecordFile:
    """A record file.

    Attributes:
        name: without the folder.
        bytes: its size.
        num_examples: its records.
        digest: sha256 of the name and of every record's length and checksum.
    """

    name: str
    bytes: int
    num_examples: int
    digest: str


@dataclass(frozen=True)
class RecordManifest:
    """What a set of record files is, wherever it lies.

    Attributes:
        files: by name.
        digest: sha256 over all files; the same for the same files in another folder.
        num_examples: records in all files.
    """

    files: tuple[RecordFile, ...]
    digest: str
    num_examples: int


def manifest(files: Sequence[str | os.PathLike[str]]) -> RecordManifest:
    """Gives the manifest of `files`, from the checksums that stand beside each record.

    The data itself is skipped, so that COCO's 20 GB need only their 118,287 frames read.

    Raises:
        DataError: a file cannot be read, or is truncated.
    """
    found = sorted((_record_file(Path(file)) for file in files), key=lambda f: (f.name, f.digest))
    return RecordManifest(
        files=tuple(found),
        digest=digest_of(found),
        num_examples=sum(file.num_examples for file in found),
    )


def digest_of(files: Sequence[RecordFile]) -> str:
    """Gives the digest of a manifest whose files are known, in the manifest's order."""
    return hashlib.sha256("\n".join(file.digest for file in files).encode()).hexdigest()


def _matches_nothing(pattern: str, path: Path) -> DataError:
    folder = path.parent
    if "://" in pattern:
        return DataError(
            f"'{pattern}' is not on this machine",
            expected="a glob of files in a local folder",
            mend="copy or mount the files",
        )
    if not folder.is_dir():
        return DataError(
            f"'{pattern}' matches nothing: there is no folder '{folder}'",
            expected="a glob of existing record files",
            mend="correct the folder",
        )
    try:
        names = sorted(
            entry.name for entry in folder.iterdir() if entry.is_file() and entry.name[0] != "."
        )
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.3) or names[:3]
    beside = ", ".join(near) if near else "no files"
    return DataError(
        f"'{pattern}' matches nothing",
        expected=f"a glob of existing record files; '{folder}' holds {beside}",
        mend="correct the pattern ('*' and '?' match any characters)",
    )


def _record_file(path: Path) -> RecordFile:
    digest = hashlib.sha256(f"{path.name}\n".encode(errors="surrogateescape"))
    count = 0
    for length, checksum in read_frames(path):
        digest.update(_FRAME.pack(length, checksum))
        count += 1
    return RecordFile(path.name, path.stat().st_size, count, digest.hexdigest())


# --- Records of several files by number, read from disk one at a time, and some drawn by a seed ---


class RecordAccess:
    """The records of `files`, numbered through in the order of the files.

    Every length is read at once (two short reads a record), data when it is asked for; files may
    be larger than memory.

    Raises:
        DataError: a file cannot be read, is truncated, or a checksum does not hold.
    """

    def __init__(self, files: Sequence[str | os.PathLike[str]]) -> None:
        self._places: list[tuple[str | os.PathLike[str], int]] = []
        for file in files:
            offset = 0
            for length, _ in read_frames(file):
                self._places.append((file, offset))
                offset += length + FRAME_BYTES

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> bytes:
        return read_record_at(*self._places[index])


def sample_records(
    files: Sequence[str | os.PathLike[str]], count: int, seed: int
) -> tuple[bytes, ...]:
    """Gives `count` records of all files, or all there are, in the order of the files.

    Every record is as likely as any other. Only the frames of those not chosen are read.

    Raises:
        DataError: no records at all, a file that cannot be read or is truncated, or a chosen
            record whose checksum does not match.
    """
    records = RecordAccess(files)
    if not len(records):
        raise DataError(
            "there is no record to draw from",
            expected="record files with at least one example",
            mend="name record files that hold images",
            where=", ".join(map(str, files[:3])),
        )
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(records), size=min(count, len(records)), replace=False)
    return tuple(records[i] for i in sorted(chosen.tolist()))
