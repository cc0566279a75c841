"""A lock on a file that dies with its holder, and a look at it that takes nothing.

Open file description locks of Linux: they end when the last descriptor is closed, which is when the
process dies, and `F_OFD_GETLK` asks whether one could be taken without taking it. Elsewhere whole
file locks serve, and a look has to take the lock for a moment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from odapi_repro.errors import UserError

__all__ = ["Busy", "is_held", "locked"]

_SETLK: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
_GETLK: Final[int | None] = getattr(fcntl, "F_OFD_GETLK", None)
# struct flock: type, whence, start, length, pid, and the padding to its size.
_FLOCK: Final = "hhqqixxxx"
_TAKEN: Final = frozenset({errno.EAGAIN, errno.EACCES})


class Busy(UserError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock on a file, which is made if need be, for this process.

    Raises:
        Busy: somebody else holds it.
        UserError: the disk knows no file locks, or the file cannot be opened.
    """
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(open(path, "ab"))
        except OSError as error:
            raise _no_locks(path, error) from error
        try:
            if _SETLK is None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                fcntl.fcntl(file, _SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError as error:
            if error.errno in _TAKEN:
                raise Busy(
                    "another process holds this lock",
                    expected="one process at a time",
                    mend="wait for it",
                    where=str(path),
                ) from error
            raise _no_locks(path, error) from error
        yield


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock; nothing is taken, so nobody is kept from taking it."""
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(open(path, "rb"))
        except OSError:
            return False
        try:
            if _GETLK is None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            told = struct.unpack(_FLOCK, fcntl.fcntl(file, _GETLK, asked))
            return bool(told[0] != fcntl.F_UNLCK)
        except OSError as error:
            return error.errno in _TAKEN


def _no_locks(path: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot be locked: {error.strerror or error}",
        expected="a folder that can be written to, on a disk that knows file locks",
        mend="choose another --runs_dir",
        where=str(path),
    )
