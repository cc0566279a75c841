"""The server that worker processes are forked from: it imports once for all of them.

Forking this process itself would be as fast and is not safe, as numpy has threads; spawning
workers would import numpy and all of ours in each.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal
from multiprocessing import resource_tracker
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
    # Ctrl-C goes to all processes of the terminal: the server and its workers, which inherit the
    # mask, leave it to this one. The tracker's own start would lift the mask.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context
