"""A folder of files that is made once and kept: whole or not at all, by one maker or by many."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from odapi_repro.errors import DamagedFile, DataError, EnvironmentMissing, UserError
from odapi_repro.files import read_json, write_json

_COMPLETE = "complete.json"
_STALE_SECONDS = 3600.0


def default_cache_root() -> Path:
    """Gives $ODAPI_REPRO_CACHE, $XDG_CACHE_HOME/odapi_repro or ~/.cache/odapi_repro."""
    if named := os.environ.get("ODAPI_REPRO_CACHE"):
        return Path(named).expanduser()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser() / "odapi_repro"
    return Path.home() / ".cache" / "odapi_repro"


def read_whole(folder: Path) -> Mapping[str, Any] | None:
    """Gives what was noted when `folder` was made; None where it is not there, or not whole."""
    try:
        content = read_json(folder / _COMPLETE, mend="")
        sizes = content["files"]
        whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
        return content if whole else None
    except (OSError, DamagedFile, KeyError, AttributeError, TypeError):
        return None


def make_folder(
    folder: Path, write: Callable[[Path], Mapping[str, Any]], *, what: str, size: str
) -> Mapping[str, Any]:
    """Makes `folder` unless it is there whole, and gives what was noted when it was made.

    It is written under a temporary name and renamed when whole, so that a half-made one is never
    used and makers at the same time do not disturb each other. One that lost a file is made again.

    Args:
        folder: where it belongs.
        write: puts the files into the folder it is given; what it gives is noted beside them.
        what: is made, for the message when it cannot be.
        size: how much space it takes.

    Raises:
        DataError: no space, no permission.
    """
    noted = read_whole(folder)
    if noted is not None:
        return noted
    try:
        return _made(folder, write)
    except (OSError, EnvironmentMissing) as error:
        reason = error.found if isinstance(error, UserError) else error.strerror or str(error)
        raise DataError(
            f"{what} cannot be made: {reason}",
            expected=f"{size} of space in a cache folder that can be written",
            mend="free space, or set ODAPI_REPRO_CACHE to a folder on a disk with space",
            where=str(folder),
        ) from error


def _made(folder: Path, write: Callable[[Path], Mapping[str, Any]]) -> Mapping[str, Any]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    with tempfile.TemporaryDirectory(
        prefix=f".{folder.name}.", dir=folder.parent, ignore_cleanup_errors=True
    ) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        noted = dict(write(made))
        sizes = {path.name: path.stat().st_size for path in sorted(made.iterdir())}
        content = {**noted, "files": sizes}
        write_json(made / _COMPLETE, content)
        _move_in(made, folder, Path(scratch) / "damaged")
    return content


def _move_in(made: Path, folder: Path, aside: Path) -> None:
    """Renames `made` to `folder`; where another maker was faster, its folder stays."""
    for _ in range(3):
        try:
            made.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        if read_whole(folder) is not None:
            return
        # A folder of this name that is not whole lost a file after it was made.
        with contextlib.suppress(FileNotFoundError):
            folder.rename(aside)
    raise OSError(errno.EEXIST, "the folder exists and is not whole")


def _remove_stale(folder: Path) -> None:
    """Removes what makers that were killed left behind."""
    for scratch in folder.parent.glob(f".{folder.name}.*"):
        try:
            if time.time() - scratch.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(scratch, ignore_errors=True)
        except FileNotFoundError:
            continue
