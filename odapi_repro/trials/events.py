"""What the worker process tells its parent: one JSON object a line, over a pipe of their own."""

from __future__ import annotations

import json
import os
import time
from typing import Any

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
