"""A lock on a file that dies with its holder, and a look at it that takes nothing.

On Linux these are open file description locks: they end when the last descriptor is closed, which
is when the process dies, and `F_OFD_GETLK` asks whether one could be taken without taking it.
Elsewhere whole file locks serve, and a look has to take the lock for a moment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from odapi_repro.errors import UserError
from odapi_repro.files.writing import append_to

# macOS has locks of this name, too, with another layout.
_IS_LINUX: Final = sys.platform == "linux"
# struct flock of Linux: type, whence, start, length, pid, and the padding to its size.
_FLOCK: Final = "hhqqixxxx"
_TAKEN: Final = frozenset({errno.EAGAIN, errno.EACCES})


class Busy(UserError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds the lock on a file, which is made if need be, for this process.

    Args:
        path: of the file; its content is left alone.
        wait: whether to wait for whoever holds it.

    Raises:
        Busy: somebody else holds it.
        UserError: the disk knows no file locks, or the file cannot be opened.
    """
    with append_to(path) as file:
        try:
            _take(file.fileno(), wait=wait)
        except OSError as error:
            if error.errno in _TAKEN:
                raise Busy(
                    "another process holds this lock",
                    expected="one process at a time",
                    mend="wait for it",
                    where=str(path),
                ) from error
            raise UserError(
                f"cannot be locked: {error.strerror or error}",
                expected="a folder on a disk that knows file locks",
                mend="choose a folder on another disk",
                where=str(path),
            ) from error
        yield


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock, as far as is known; nobody is kept from taking it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _is_taken(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)


def _take(descriptor: int, *, wait: bool) -> None:
    if not _IS_LINUX:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    fcntl.fcntl(descriptor, command, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


def _is_taken(descriptor: int) -> bool:
    if not _IS_LINUX:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    told = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    return bool(told[0] != fcntl.F_UNLCK)
