"""What every worker process does around its work: die with its parent, clean up, tell its end."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from odapi_repro.errors import UserError
from odapi_repro.packages import import_problem
from odapi_repro.trials.events import PARENT_PID, SCRATCH, EventWriter

_PR_SET_PDEATHSIG = 1
_DISK_FULL = re.compile(r"No space left on device|ENOSPC|Disk quota exceeded")


def die_with_parent() -> None:
    """Asks Linux to kill this process when its parent dies; elsewhere a broken pipe ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # It may have died before the line above.
        parent = os.environ.get(PARENT_PID)
        if parent and os.getppid() != int(parent):
            os._exit(1)


def work_and_exit(
    work: Callable[[], None],
    emit: EventWriter,
    folder: Path,
    *,
    outcome_of: Callable[[BaseException], dict[str, Any] | None] = lambda error: None,
) -> NoReturn:
    """Does the work, tells how it failed if it did, and ends the process.

    The exit code is 0 even then: the event `failed` (kind, message) says all. Temporary files go
    into a folder of their own that is removed: AutoGraph leaves one for every function that it
    converts, and the end below skips its cleaning.

    Args:
        work: tells its own success.
        emit: where events go.
        folder: exists; holds the temporary folder while it lasts.
        outcome_of: gives the event of an exception that is an outcome and no failure, else None.
    """
    scratch = folder / f"{SCRATCH}{os.getpid()}"
    try:
        scratch.mkdir()
        tempfile.tempdir = str(scratch)
        work()
    except BaseException as error:
        outcome = outcome_of(error)
        if outcome is not None:
            emit(**outcome)
        elif isinstance(error, UserError):
            emit("failed", kind="input", message=str(error))
        elif isinstance(error, MemoryError):
            emit("failed", kind="out_of_memory", message="the host ran out of memory")
        elif isinstance(error, Exception) and (problem := import_problem(error)) is not None:
            emit("failed", kind="input", message=str(problem))
            traceback.print_exc()
        else:
            # First the event: on a full disk the log cannot be written.
            emit("failed", kind=_kind(error), message=_first_lines(error))
            traceback.print_exc()
    shutil.rmtree(scratch, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow's threads may outlive the interpreter's end and abort it; all is written.
    os._exit(0)


def peak_memory_mib(tf: Any, device: str) -> float:
    """Gives peak memory of the first device, or of the process on CPU (ru_maxrss is in KiB)."""
    if device == "gpu":
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _kind(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if _DISK_FULL.search(text):
        return "disk_full"
    if "ResourceExhausted" in text or "OOM when allocating" in text:
        return "out_of_memory"
    return "error"


def _first_lines(error: BaseException, count: int = 6) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    shown = lines if len(lines) <= count else [*lines[:2], "...", *lines[-(count - 3) :]]
    return "\n".join([f"{type(error).__name__}: {shown[0] if shown else ''}", *shown[1:]])
