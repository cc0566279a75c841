"""A worker in a process of its own, from both sides of the pipe."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from odapi_repro.ending import EXIT_USAGE
from odapi_repro.errors import UserError
from odapi_repro.files import append_to
from odapi_repro.packages import cwd_is_on_path, import_problem
from odapi_repro.signals import held

# --- What the worker process tells its parent: one JSON object a line, over a pipe of their own ---


# The worker's stdout and stderr belong to TensorFlow and go to train.log.
PROGRESS_FD = "ODAPI_REPRO_PROGRESS_FD"
# The process that the worker must not outlive.
PARENT_PID = "ODAPI_REPRO_PARENT_PID"
# What the names of a worker's folders for temporary files begin with; a killed one leaves its own.
SCRATCH = "scratch-"


class EventWriter:
    """Writes events to the file descriptor named by the environment; silent without one."""

    def __init__(self) -> None:
        descriptor = os.environ.get(PROGRESS_FD)
        self._fd = int(descriptor) if descriptor else None
        self._start = time.monotonic()

    def __call__(self, event: str, **fields: Any) -> None:
        """Writes one event; `elapsed` is seconds since the worker began."""
        if self._fd is None:
            return
        record = {"event": event, "elapsed": time.monotonic() - self._start, **fields}
        data = (json.dumps(record) + "\n").encode()
        while data:
            data = data[os.write(self._fd, data) :]


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Gives the event of a line, or None for one that a kill cut short."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


# --- A worker in a process of its own: started, listened to, and what became of it ---


_CGROUP_EVENTS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
)
_REFUSAL = re.compile(r"^odapi-repro \w+: ", re.MULTILINE)
_OUTCOMES = frozenset({"done", "diverged", "failed"})


@dataclass(frozen=True)
class ChildEnd:
    """How a child ended.

    Attributes:
        outcome: its last word, an event `done`, `diverged` or `failed`; empty without one.
        code: its exit code, below 0 where a signal ended it.
        began_unix: when it was started, in seconds since the epoch.
        wall_seconds: how long it ran.
        killed_for_memory: whether the system killed a process of this control group meanwhile.
        log: where its stdout and stderr went.
    """

    outcome: Mapping[str, Any]
    code: int
    began_unix: float
    wall_seconds: float
    killed_for_memory: bool
    log: Path

    @property
    def failure(self) -> tuple[str, str]:
        """Kind and message of what went wrong; two empty texts for a child that was done.

        Kinds are the worker's own (`input`, `out_of_memory`, `disk_full`, `error`), and
        `interrupted` for a child that was ended from outside.
        """
        if self.outcome.get("event") == "failed":
            return str(self.outcome["kind"]), str(self.outcome["message"])
        if self.outcome:
            return "", ""
        if self.killed_for_memory:
            return "out_of_memory", "the system ended the process for lack of memory"
        if self.code < 0:
            name = signal.Signals(-self.code).name
            return "interrupted", f"the process was ended by {name}"
        told = self._refusal()
        if told:
            return "input", told
        return "error", f"the process ended with code {self.code}, see {self.log.name}"

    def _refusal(self) -> str:
        """Gives the message of a child that could not import what it needs."""
        if self.code != EXIT_USAGE:
            return ""
        with contextlib.suppress(OSError):
            text = self.log.read_text(encoding="utf-8", errors="replace")
            return _REFUSAL.split(text)[-1].strip() if _REFUSAL.search(text) else ""
        return ""


def run_child(
    command: Sequence[str], log: Path, on_event: Callable[[dict[str, Any]], None]
) -> ChildEnd:
    """Runs a worker to its end, in a process group of its own.

    Args:
        command: what to run; it tells its events through the pipe that `events.PROGRESS_FD` names
            and does not outlive this process (`events.PARENT_PID`).
        log: gets its stdout and stderr, after what it holds already.
        on_event: gets each event in turn.

    Raises:
        Exception: from `on_event`, and an interrupt by the user; the child has been killed then.
    """
    began, began_unix = time.monotonic(), time.time()
    kills_before = _oom_kills()
    read_end, write_end = os.pipe()
    events = open(read_end, "rb")  # noqa: SIM115
    told = contextlib.ExitStack()
    told.callback(os.close, write_end)
    process: subprocess.Popen[bytes] | None = None
    outcome: dict[str, Any] = {}
    try:
        with append_to(log) as file, held():
            if file.tell():
                at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began_unix))
                file.write(f"\n===== another attempt, {at} =====\n".encode())
                file.flush()
            # A signal between the child's start and its name here would leave it to itself.
            process = subprocess.Popen(
                list(command),
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                pass_fds=(write_end,),
                env={
                    **python_environment(),
                    PROGRESS_FD: str(write_end),
                    PARENT_PID: str(os.getpid()),
                },
                start_new_session=True,
            )
        told.close()
        for line in events:
            event = parse_event(line)
            if event is None:
                continue
            if event["event"] in _OUTCOMES:
                outcome = event
            on_event(event)
        code = process.wait()
    except BaseException:
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise
    finally:
        events.close()
        told.close()
    return ChildEnd(
        outcome=outcome,
        code=code,
        began_unix=began_unix,
        wall_seconds=time.monotonic() - began,
        killed_for_memory=_oom_kills() > kills_before,
        log=log,
    )


def python_environment() -> dict[str, str]:
    """Gives the environment of a Python that imports what this one does.

    `python -m` puts the working folder first on the path. Where this process does without, as the
    program odapi-repro does, so does its child: an `object_detection` may lie there.
    """
    return {**os.environ, **({} if cwd_is_on_path() else {"PYTHONSAFEPATH": "1"})}


def _oom_kills() -> int:
    """Gives how many processes of this control group were ended for memory; 0 if unknown."""
    for path in _CGROUP_EVENTS:
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdigit():
                return int(value)
    return 0


# --- What every worker process does around its work: die with its parent, clean up, tell its end
# ---


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
