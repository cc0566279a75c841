"""How a command ends: its exit codes, and one message for whatever kept it from being done."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import Final, TextIO

from odapi_repro.errors import UserError
from odapi_repro.foreign_text import shown, shown_lines
from odapi_repro.signals import raised_as_exceptions, signal_of

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERNAL: Final = 70
"""EX_SOFTWARE of sysexits.h."""

_REPORT = (
    "the project's issue tracker, with this message, the command and what "
    "`odapi-repro doctor` prints"
)
_MENDS: Final = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space of your quota",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close some of the programs that hold files open",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOMEM: "free some memory, or raise its limit (ulimit -v)",
    errno.EAGAIN: "raise the limit on processes (ulimit -u), or end some",
    errno.ELOOP: "remove the link that leads to itself",
    errno.ENOENT: "name a file or folder that exists; a working folder may have been removed",
    errno.EACCES: "ask for permission, or name another file or folder",
    errno.EPERM: "ask for permission, or name another file or folder",
    errno.EROFS: "name a folder on a disk that can be written to",
}
_NO_ROOM_TO_LOAD: Final = ("failed to map segment", "annot allocate memory")
"""What the loader says of a shared library that finds no room in memory."""


def guard_imports(name: str) -> None:
    """Tells in one message why a command's modules cannot be imported, until `guarded` runs.

    For `python -m`, which imports them before anything of ours is called.
    """

    def hook(_: object, error: BaseException, __: object) -> None:
        if isinstance(error, SystemError):
            # What an import that found no memory raises, now and then.
            error = MemoryError()
        code = 130 if isinstance(error, KeyboardInterrupt) else _code_of(error, name)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
        # An exception hook cannot choose the code otherwise.
        os._exit(code)

    sys.excepthook = hook


def guarded(run: Callable[[], int], *, name: str) -> int:
    """Runs a command and gives its exit code; no exception leaves it.

    A user's error, the system's refusal (a file, memory, a limit) and too deep a nesting are 2, a
    signal is 128 and its number, an error of this program 70. What was printed is on its way when
    this returns: a stdout that takes no more is a system's refusal, too.

    Args:
        run: gives the code of a command that got to its end.
        name: of the command, for messages.
    """
    try:
        with raised_as_exceptions():
            _open_standard_streams()
            code = run()
            sys.stdout.flush()
            return code
    except BrokenPipeError as error:
        if not _reader_has_gone():
            return _code_of(error, name)
        # The reader of our output (head, a pager) has gone; nothing is left to say.
        _to_nowhere(sys.stdout)
        return EXIT_DONE
    except KeyboardInterrupt as error:
        signum = signal_of(error)
        _tell(f"odapi-repro {name}: ended by {signum.name}")
        return 128 + signum
    except BaseException as error:
        return _code_of(error, name)
    finally:
        try:
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            _to_nowhere(sys.stderr)


def _code_of(error: BaseException, name: str) -> int:
    """Tells what went wrong and gives the exit code for it."""
    problem = _problem_of(error)
    if problem is not None:
        if isinstance(error, OSError) and _stdout_is_stuck():
            _to_nowhere(sys.stdout)
        _tell(f"odapi-repro {name}: {problem}")
        ended = _signal_before(error)
        return EXIT_USAGE if ended is None else 128 + signal_of(ended)
    if isinstance(error, SystemExit):
        if isinstance(error.code, int):
            return error.code
        if error.code is not None:
            _tell(f"odapi-repro {name}: {error.code}")
        return EXIT_DONE if error.code is None else EXIT_FAILED
    _tell(
        f"odapi-repro {name}: an error of this program: {type(error).__name__}: {error}\n"
        f"  where: {_where(error)}\n"
        f"  to report it: {_REPORT}"
    )
    return EXIT_INTERNAL


def _signal_before(error: BaseException) -> KeyboardInterrupt | None:
    """Gives the signal that was ending the command when it came to this error."""
    before = error.__context__
    while before is not None and not isinstance(before, KeyboardInterrupt):
        before = before.__context__
    return before


def say(text: str, *, file: TextIO | None = None) -> None:
    """Prints what a command says beside its work, which goes on where nobody reads it any more.

    Args:
        text: a plan, for example.
        file: stdout by default.
    """
    stream = sys.stdout if file is None else file
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _to_nowhere(stream)


def _problem_of(error: BaseException) -> UserError | None:
    """Gives an exception as a user's error, None for an error of this program."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError):
        return UserError(
            "no memory was left",
            expected="memory for what was asked",
            mend="free some memory, raise its limit (ulimit -v), or ask for less at once",
        )
    if isinstance(error, RecursionError):
        return UserError(
            "the input is nested too deep",
            expected="a file as people or programs write it",
            mend="look at the file: something nests in it hundreds of times",
        )
    if isinstance(error, UnicodeEncodeError):
        return UserError(
            f"{error.object[error.start : error.end]!r} cannot be encoded as {error.encoding}",
            expected="text that the system can name files with and a terminal can show",
            mend="set PYTHONIOENCODING=utf-8 and a UTF-8 locale, or give another name",
        )
    if isinstance(error, OSError):
        where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        return UserError(
            f"the system says: {error.strerror or error}",
            expected="files, folders and limits that let the command work",
            mend=_MENDS.get(error.errno or 0, "mend what the system names"),
            where=where,
        )
    if isinstance(error, ImportError) and any(text in str(error) for text in _NO_ROOM_TO_LOAD):
        return _problem_of(MemoryError())
    if isinstance(error, Exception):
        # Importing it takes time, which only an error may cost.
        from odapi_repro.packages import import_problem

        return import_problem(error)
    return None


def _tell(message: str) -> None:
    """Prints a message; a stderr that is closed or full has nobody to tell."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(shown_lines(message), file=sys.stderr, flush=True)


def _where(error: BaseException) -> str:
    """Gives where an error came from: a file with the whole traceback, or its last line."""
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="odapi-repro-error-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(text)
        return file.name
    except OSError:
        frames = traceback.extract_tb(error.__traceback__)
        last = frames[-1] if frames else None
        return shown(f"{last.filename}:{last.lineno}" if last else "unknown")


def _open_standard_streams() -> None:
    """Refuses a closed stdout; what a stream's encoding lacks is written as escapes.

    A closed stderr becomes one that nobody reads: `print` would take stdout for it.

    Raises:
        UserError: stdout is closed, and the next file to be opened would be taken for it.
    """
    if sys.stdout is None:
        raise UserError(
            "stdout is closed",
            expected="a terminal, a file or a pipe to print to",
            mend="redirect it to /dev/null if nobody is to read it",
        )
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(OSError, ValueError):
                reconfigure(errors="backslashreplace")


def _reader_has_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    import select

    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return False


def _stdout_is_stuck() -> bool:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        return True
    return False


def _to_nowhere(stream: TextIO) -> None:
    """Drops what a stream still holds, which the interpreter would else try to write at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
