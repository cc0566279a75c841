"""Worker processes: started from a server that imports once, and gone when their parent is.

Forking this process itself would be as fast and is not safe, as numpy has threads; spawning
workers would import numpy and all of ours in each.

Ctrl-C and a closed terminal reach every process of a terminal. The server and its workers leave
them to the parent, which tells its workers to stop. SIGTERM they take: the executor sends it to
those that are left when one was killed.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any, Final, Generic, Self, TypeVar

from odapi_repro.errors import DataError
from odapi_repro.signals import held

_LEFT_TO_THE_PARENT: Final = (signal.SIGINT, signal.SIGHUP)
_NO_PROCESS: Final = (OSError, EOFError, RuntimeError, ImportError)
"""What the system's refusal of a process comes as: a limit, no semaphores (/dev/shm is missing or
cannot be written to), a server that died of it, a thread that cannot be started."""
_QUIET: Final = "odapi_repro.datasets.workers.quiet_server"
_POLL_SECONDS: Final = 0.2
_SIGNAL_SECONDS: Final = 1.0

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def available_cores() -> int:
    """Gives the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_server(preload: str) -> ForkServerContext:
    """Starts the server, which then imports while the caller goes on, and gives its context.

    Args:
        preload: the module that has the workers' function.

    Raises:
        OSError: the system has no process for it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_QUIET, preload])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_THE_PARENT)
    try:
        # Starting the tracker lifts the mask of SIGINT, which it ignores by itself.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_THE_PARENT)
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@dataclass(frozen=True)
class Done(Generic[_Task, _Result]):
    """A task that is done: its place among the tasks, from 0, and what became of it."""

    place: int
    task: _Task
    result: _Result


class WorkerPool:
    """Does tasks in several processes; in this one where one is asked for, or none can be had.

    Used as a context; leaving it ends the processes, and a task that is being done is left at its
    next `tick`.

    Args:
        workers: processes.
        preload: the module that has the workers' function.
        begin: called in each worker before its first task.
        say: told why there are no processes.
    """

    def __init__(
        self,
        workers: int,
        preload: str,
        *,
        begin: Callable[[], None] | None = None,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._workers = workers
        self._preload = preload
        self._begin = begin
        self._say = say
        self._executor: ProcessPoolExecutor | None = None
        self._not_ours: set[BaseProcess] = set()
        self._here = _Shared([0], [0])
        self._shared = self._here

    def __enter__(self) -> Self:
        _use(self._here, 0)
        if self._workers > 1:
            try:
                self._start()
            except _NO_PROCESS as error:
                self._go_on_alone(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def ticks(self) -> int:
        """The sum of what `tick` was called with so far, in all processes."""
        return sum(self._shared.ticks) + (self._shared is not self._here) * self._here.ticks[0]

    def results(
        self, work: Callable[[_Task], _Result], tasks: Iterable[_Task]
    ) -> Iterator[Done[_Task, _Result] | None]:
        """Gives what became of each task as it is done, and None now and then in between.

        Few tasks are taken ahead of time, so that they need not all be in memory.

        Raises:
            DataError: a worker was killed.
        """
        left = enumerate(tasks)
        waiting: dict[Future[_Result], tuple[int, _Task]] = {}
        following = next(left, None)
        alone = self._executor is None
        try:
            while not alone and (waiting or following is not None):
                while following is not None and len(waiting) < 2 * self._workers:
                    future = self._submitted(work, following[1])
                    alone = future is None
                    if future is None:
                        break
                    waiting[future] = following
                    following = next(left, None)
                if alone:
                    break
                done, _ = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield Done(*waiting.pop(future), result)
                if not done:
                    yield None
        except BrokenProcessPool as error:
            # Whoever ends all processes may come to this one last.
            time.sleep(_SIGNAL_SECONDS)
            raise DataError(
                "a worker process was killed",
                expected="memory for all workers (about 100 MB each) and what else runs here",
                mend="call the command again, what was finished is kept; with fewer --workers if "
                "memory was short",
            ) from error
        rest = [] if following is None else [following]
        for place, task in itertools.chain(waiting.values(), rest, left):
            yield Done(place, task, work(task))

    def _start(self) -> None:
        self._not_ours = set(multiprocessing.active_children())
        context = start_server(self._preload)
        self._shared = _Shared(context.RawArray("q", self._workers), context.RawArray("b", 1))
        self._executor = ProcessPoolExecutor(
            self._workers,
            mp_context=context,
            initializer=_begin_worker,
            initargs=(self._shared, context.Value("q", 0), self._begin),
        )

    def _submitted(self, work: Callable[[_Task], _Result], task: _Task) -> Future[_Result] | None:
        """Gives a task to a worker; None, and no more workers, where none can be started."""
        if self._executor is None:
            return None
        try:
            # It may start a process.
            with held():
                return self._executor.submit(work, task)
        except BrokenProcessPool:
            raise
        except _NO_PROCESS as error:
            self._go_on_alone(error)
            return None

    def _go_on_alone(self, error: BaseException) -> None:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self._say(f"no worker processes are available ({reason}); continuing without")
        self._end()
        self._executor = None

    def _end(self) -> None:
        if self._executor is not None:
            self._shared.stop[0] = 1
            try:
                self._executor.shutdown(wait=True, cancel_futures=True)
            except RuntimeError:
                # Its thread could not be started, and nobody else ends its processes.
                for process in set(multiprocessing.active_children()) - self._not_ours:
                    process.terminate()
                    process.join()


@dataclass(frozen=True)
class _Shared:
    """What processes tell each other, without a lock: one that is killed would keep it for ever.

    Attributes:
        ticks: by worker.
        stop: of one item, not 0 when the parent wants them to stop.
    """

    ticks: MutableSequence[int]
    stop: MutableSequence[int]


class _Stopped(Exception):
    """The parent wants the worker to leave its task unfinished."""


_own: dict[str, Any] = {"shared": _Shared([0], [0]), "number": 0}


def tick(count: int) -> None:
    """Counts work done, for `WorkerPool.ticks`; ends the task if nobody waits for it any more."""
    shared: _Shared = _own["shared"]
    if shared.stop[0]:
        raise _Stopped
    shared.ticks[_own["number"]] += count


def _use(shared: _Shared, number: int) -> None:
    _own["shared"], _own["number"] = shared, number


def _begin_worker(shared: _Shared, started: Any, begin: Callable[[], None] | None) -> None:
    """Prepares a worker process."""
    for signum in _LEFT_TO_THE_PARENT:
        signal.signal(signum, signal.SIG_IGN)
    with started.get_lock():
        number = started.value
        started.value += 1
    _use(shared, number)
    with contextlib.suppress(RuntimeError):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
