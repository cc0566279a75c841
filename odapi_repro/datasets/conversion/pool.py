"""Shards made in worker processes, one at a time each."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from odapi_repro.datasets.conversion.journal import is_whole
from odapi_repro.datasets.conversion.shard import make_shard
from odapi_repro.datasets.conversion.shard_task import Recipe, ShardOutcome, ShardTask
from odapi_repro.datasets.workers.worker_pool import WorkerPool, tick

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


class ShardPool(WorkerPool):
    """Makes shards in several processes; in this one for a single worker.

    Leaving it leaves a shard out that is being made.
    """

    def __init__(self, workers: int, say: Callable[[str], None]) -> None:
        super().__init__(workers, __name__, begin=_keep_freed_memory, say=say)

    @property
    def images_done(self) -> int:
        """Images that were written or looked at so far."""
        return self.ticks

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[ShardDone | None]:
        """Gives what became of each job as it is done, and None now and then in between.

        Raises:
            UserError: a shard cannot be written, or a worker was killed.
        """
        for done in self.results(_worked, jobs):
            yield None if done is None else ShardDone(done.task, *done.result)


def _worked(job: Job) -> tuple[ShardOutcome, bool]:
    """Gives what became of the shard, and whether it was there already."""
    folder = Path(job.task.path).parent
    if job.kept is not None and job.kept.file is not None and is_whole(folder, job.kept.file):
        tick(len(job.task.files))
        return job.kept, True
    return make_shard(job.task, job.recipe, tick=tick), False


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
