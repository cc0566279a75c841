"""A worker in a process of its own: started, listened to, and what became of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.ending import EXIT_USAGE
from odapi_repro.files import append_to
from odapi_repro.packages import cwd_is_on_path
from odapi_repro.signals import held
from odapi_repro.trials.events import PARENT_PID, PROGRESS_FD, parse_event

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
