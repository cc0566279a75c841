"""The server that worker processes are forked from: it imports once for all of them.

Forking this process itself would be as fast and is not safe, as numpy has threads; spawning
workers would import numpy and all of ours in each.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
from multiprocessing.context import ForkServerContext

__all__ = ["default_workers", "worker_context"]

_PRELOADED = "odapi_repro.datasets.conversion.pool"


def default_workers() -> int:
    """Gives the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_context() -> ForkServerContext:
    """Starts the server, which then imports while the caller goes on, and gives its context."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    multiprocessing.forkserver.ensure_running()
    return context
