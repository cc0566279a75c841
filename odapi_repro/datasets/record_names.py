"""What the name of a record file says: whether it is one, its split, its place among shards."""

from __future__ import annotations

import re
from pathlib import Path

from odapi_repro.errors import DataError

SHARD = re.compile(r"(?P<stem>.*)-(?P<index>\d+)-of-(?P<total>\d+)(?P<suffix>.*)")
"""A shard's name: `stem`, `index`, `total`, `suffix`."""

_RECORD = re.compile(r"\.tf_?records?\b|\.records?\b|-\d+-of-\d+", re.IGNORECASE)
_SPLITS = {
    "train": re.compile(r"(?<![a-z])train", re.IGNORECASE),
    "val": re.compile(r"(?<![a-z])e?val", re.IGNORECASE),
}


def is_record_name(name: str) -> bool:
    """Whether a name is one that record files have."""
    return _RECORD.search(name) is not None


def record_names(folder: Path) -> list[str]:
    """Gives the names of the record files in a folder, sorted; hidden files are none.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as error:
        raise DataError(
            f"cannot list the folder: {error.strerror or error}",
            expected="a folder of record files",
            mend="name a folder that can be read",
            where=str(folder),
        ) from error
    return [name for name in names if is_record_name(name) and not name.startswith(".")]


def split_of(name: str) -> str:
    """Gives `train` or `val` (also for `eval`) by a file's name, an empty text for neither."""
    return next((split for split, pattern in _SPLITS.items() if pattern.search(name)), "")
