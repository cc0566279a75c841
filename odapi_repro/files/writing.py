"""One way to write a file, whole or not at all, and a lock that dies with its holder.

On Linux these are open file description locks: they end when the last descriptor is closed, which
is when the process dies, and `F_OFD_GETLK` asks whether one could be taken without taking it.
Elsewhere whole file locks serve, and a look has to take the lock for a moment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import re
import stat
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from odapi_repro.errors import EnvironmentMissing, UserError

# --- One way to write a file: whole or not at all ---


NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""A full disk, a spent quota, a limit on the size of a file."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOG = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_STANDARD = re.compile(r"/dev/(?:std(out|err)|fd/(\d+))")
_BESIDE = re.compile(r"\..+\.[0-9a-f]{12}\.tmp", re.DOTALL)
_BUFFER_BYTES = 1 << 20


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Gives a file to write that takes the place of `path` once the block has ended well.

    It is made beside `path` under a name that nobody can know before, and is on the disk before
    it is renamed. A link at `path` is replaced, never written through. A new file has the mode
    that the umask leaves, one that is replaced keeps its own. A device or a pipe, /dev/stdout for
    one, is written to: it has nothing to lose, and a file must not take its place.

    Raises:
        EnvironmentMissing: no space left; what was at `path` is still there.
        UserError: it cannot be written for another reason; the same holds.
    """
    path = Path(path)
    stream = _stream_at(path)
    if stream is not None:
        raw = _Raw(stream, path)
        with raw, io.BufferedWriter(raw, _BUFFER_BYTES) as file:
            yield file
        return
    beside = path.with_name(f".{path.name[:40]}.{os.urandom(6).hex()}.tmp")
    made: _Raw | None = None
    try:
        with _refusals(path):
            made = _Raw(os.open(beside, _NEW_FILE, 0o666), path)
            _keep_mode(path, made.fileno())
        file = io.BufferedWriter(made, _BUFFER_BYTES)
        yield file
        with _refusals(path):
            file.flush()
            os.fsync(made.fileno())
            file.close()
            os.replace(beside, path)
        _sync_folder(path.parent)
    finally:
        if made is not None:
            with contextlib.suppress(OSError):
                # Before `file`, which would try to write what it holds.
                made.close()
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Writes a file, text as UTF-8 with its line ends as they are; see `replacing`."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return Path(path)


def append_to(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a log, or a file to lock, to be added to; it is made if need be, never through a link.

    Raises:
        UserError: it cannot be written.
    """
    path = Path(path)
    with _refusals(path):
        file = open(os.open(path, _LOG, 0o666), "ab")  # noqa: SIM115
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
        raise OSError(errno.EINVAL, "it is no file")


def remove_leftovers(folder: Path) -> None:
    """Removes what writers that were killed left in a folder; nobody may be writing to it now."""
    for path in folder.glob(".*.tmp"):
        if _BESIDE.fullmatch(path.name):
            path.unlink(missing_ok=True)


def put_in_place(made: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Renames a finished file or folder of the same disk, with its content on the disk before.

    Raises:
        OSError: from the system.
    """
    made = Path(made)
    sync_files([made] if made.is_file() else made.rglob("*"))
    os.replace(made, path)
    _sync_folder(Path(path).parent)


def sync_files(paths: Iterable[Path]) -> None:
    """Waits until what these files hold is on the disk; not every file system can."""
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            os.fsync(file.fileno())


def cannot_write(path: str | os.PathLike[str], error: OSError) -> UserError:
    """Gives the error to raise for a file or folder that the system does not let be written."""
    if error.errno in NO_SPACE:
        too_big = error.errno == errno.EFBIG
        return EnvironmentMissing(
            "the file would be larger than this process may write"
            if too_big
            else f"cannot be written: {os.strerror(error.errno)}",
            expected="room for the file",
            mend=("raise the limit (ulimit -f)" if too_big else "free some space")
            + " and give the same command again; what was finished is kept",
            where=str(path),
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return EnvironmentMissing(
            f"cannot be opened: {os.strerror(error.errno)}",
            expected="a limit that leaves a dozen files to a command",
            mend="raise the limit on open files (ulimit -n)",
            where=str(path),
        )
    in_the_way = error.errno in (errno.EEXIST, errno.ENOTDIR)
    return UserError(
        "something that is no folder, or a link that leads nowhere, is in the way"
        if in_the_way
        else f"cannot be written: {error.strerror or error}",
        expected="a place in a folder that exists and may be written to",
        mend="fix the folder, or name another one",
        where=str(path),
    )


class _Raw(io.FileIO):
    """A file being written whose refusals name the one that it will be."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(descriptor, "wb")
        self._path = path

    def write(self, data: Any, /) -> int:
        with _refusals(self._path):
            return super().write(data)


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def _stream_at(path: Path) -> int | None:
    """Opens what is written to and never replaced: a device, a pipe that somebody reads.

    Nothing is cut off of a file that stdout leads to: it is written to where it stands.
    """
    standard = _STANDARD.fullmatch(str(path))
    try:
        if standard is not None:
            names = {"out": 1, "err": 2}
            return os.dup(names.get(standard[1]) or int(standard[2]))
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            return None
        # A pipe without a reader is refused; one that waits for it would wait for ever.
        stream = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    os.set_blocking(stream, True)
    return stream


def _keep_mode(path: Path, descriptor: int) -> None:
    """Gives a file the mode, and as far as may be the owner, of the one that it replaces."""
    with contextlib.suppress(OSError):
        before = path.lstat()
        if not stat.S_ISREG(before.st_mode):
            return
        if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            with contextlib.suppress(OSError):
                os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _sync_folder(folder: Path) -> None:
    """Puts a rename on the disk; not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# --- A lock on a file that dies with its holder, and a look at it that takes nothing ---


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
