"""Processes that make shards: started early, told one shard at a time, gone when the parent is."""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.datasets.conversion.journal import is_whole
from odapi_repro.datasets.conversion.processes import worker_context
from odapi_repro.datasets.conversion.shard import make_shard
from odapi_repro.datasets.conversion.shard_task import Recipe, ShardOutcome, ShardTask
from odapi_repro.errors import DataError

__all__ = ["Job", "ShardDone", "ShardPool"]

_TICK_IMAGES = 16
_POLL_SECONDS = 0.2
_KEPT_BYTES = 256 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@dataclass(frozen=True)
class Job:
    """A shard to make, or to keep when it is still what the journal says.

    Attributes:
        split: the split's name.
        task: the shard.
        recipe: how shards of the split are made.
        kept: the journal's entry of it.
    """

    split: str
    task: ShardTask
    recipe: Recipe
    kept: ShardOutcome | None


@dataclass(frozen=True)
class ShardDone:
    """A job that is done.

    Attributes:
        job: the job.
        outcome: what became of it.
        is_kept: whether the shard was whole already.
    """

    job: Job
    outcome: ShardOutcome
    is_kept: bool


class _Stopped(Exception):
    """The parent wants the worker to leave its shard unfinished."""


class ShardPool:
    """Makes shards in several processes; in this one for a single worker.

    The server they come from is started at once, so that it imports while the caller reads the
    json. Used as a context; leaving it ends them, a shard that is being made is left out.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None
        self._done: Any = None
        self._stop: Any = None
        self._images_here = 0

    def __enter__(self) -> ShardPool:
        if self._workers > 1:
            context = worker_context()
            self._done = context.Value("q", 0)
            self._stop = context.Event()
            self._executor = ProcessPoolExecutor(
                self._workers,
                mp_context=context,
                initializer=_begin,
                initargs=(self._done, self._stop),
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._stop.set()
            self._executor.shutdown(wait=True, cancel_futures=True)

    @property
    def images_done(self) -> int:
        """Images that were written or looked at so far."""
        return int(self._done.value) if self._done is not None else self._images_here

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[ShardDone | None]:
        """Gives what became of each job as it is done, and None now and then in between.

        Few jobs are taken from `jobs` ahead of time, so that they need not all be in memory.

        Raises:
            DataError: a shard cannot be written, or a worker was killed.
        """
        if self._executor is None:
            for job in jobs:
                yield ShardDone(job, *_worked(job, self._tick_here))
            return
        waiting: dict[Future[tuple[ShardOutcome, bool]], Job] = {}
        left = iter(jobs)
        is_over = False
        try:
            while waiting or not is_over:
                while not is_over and len(waiting) < 2 * self._workers:
                    following = next(left, None)
                    if following is None:
                        is_over = True
                    else:
                        waiting[self._executor.submit(_work, following)] = following
                done, _ = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    yield ShardDone(waiting.pop(future), *future.result())
                if not done:
                    yield None
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process was killed",
                expected="memory for all workers (about 100 MB each) and what else runs here",
                mend="call the command again, whole shards are kept; with fewer --workers if "
                "memory was short",
            ) from error

    def _tick_here(self, images: int) -> None:
        self._images_here += images


def _worked(job: Job, tick: Any) -> tuple[ShardOutcome, bool]:
    """Gives what became of the shard, and whether it was there already."""
    folder = Path(job.task.path).parent
    if job.kept is not None and job.kept.file is not None and is_whole(folder, job.kept.file):
        tick(len(job.task.files))
        return job.kept, True
    return make_shard(job.task, job.recipe, tick=tick), False


_worker: dict[str, Any] = {}


def _begin(done: Any, stop: Any) -> None:
    """Prepares a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    _worker["done"], _worker["stop"], _worker["images"] = done, stop, 0
    _keep_freed_memory()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=functools.partial(_end_with, parent), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _keep_freed_memory() -> None:
    """Has glibc keep what is freed: each image would else cost the page faults of fresh memory.

    Measured: reading and copying a 130 kB image takes half the time. Another libc goes without.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)


def _work(job: Job) -> tuple[ShardOutcome, bool]:
    return _worked(job, _tick)


def _tick(images: int) -> None:
    _worker["images"] += images
    if _worker["images"] >= _TICK_IMAGES:
        if _worker["stop"].is_set():
            raise _Stopped
        with _worker["done"].get_lock():
            _worker["done"].value += _worker["images"]
        _worker["images"] = 0
