"""What TensorFlow, the driver and the machine offer, asked without importing TensorFlow here."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.trials.child import python_environment


@dataclass(frozen=True)
class Probe:
    """What a child process that imports TensorFlow answered.

    Attributes:
        answers: what the child got to, by name; empty when it did not get to anything.
        error: why it stopped early, empty when it did not.
    """

    answers: Mapping[str, Any]
    error: str = ""


_PROBE_MARK = "odapi-doctor:"
_PROBE = f"""
import json
def say(**answers):
    print("{_PROBE_MARK}" + json.dumps(answers), flush=True)
try:
    from odapi_repro.training import compat
except ImportError as error:
    compat = None
    say(compat_error=str(error))
if compat:
    compat.set_environment()
import tensorflow as tf
build = tf.sysconfig.get_build_info()
devices = []
for device in tf.config.list_physical_devices():
    details = tf.config.experimental.get_device_details(device)
    devices.append(dict(name=device.name, kind=device.device_type,
                        model=str(details.get("device_name", ""))))
say(tensorflow=tf.__version__, devices=devices, cuda=build.get("cuda_version", ""),
    cudnn=build.get("cudnn_version", ""))
if compat:
    say(patches=[
        dict(name=patch.name, reason=patch.reason,
             applies=bool(compat.applicable(patch) and patch.needed()))
        for patch in compat.PATCHES
    ])
    compat.apply_patches()
from object_detection import model_lib_v2
say(object_detection="imports")
"""


def probe_tensorflow(timeout_seconds: float) -> Probe:
    """Imports TensorFlow and the OD API's training module in a child and gives what it said."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
            env=python_environment(),
        )
    except subprocess.TimeoutExpired as expired:
        # Bytes even with text=True, where the system's own way of waiting gives bytes.
        output: object = expired.stdout
        text = output.decode(errors="replace") if isinstance(output, bytes) else str(output or "")
        return Probe(_answers(text), f"no answer after {timeout_seconds:g} s")
    if child.returncode == 0:
        return Probe(_answers(child.stdout))
    last_line = (child.stderr.strip().splitlines() or ["no output"])[-1]
    return Probe(_answers(child.stdout), f"exit code {child.returncode}: {last_line}")


def _answers(output: str) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith(_PROBE_MARK):
            answers.update(json.loads(line.removeprefix(_PROBE_MARK)))
    return answers


def nvidia_gpus() -> list[dict[str, str]]:
    """Gives name, memory and driver of each GPU that nvidia-smi lists; none without it."""
    keys = ("name", "memory.total", "driver_version")
    query = ["nvidia-smi", f"--query-gpu={','.join(keys)}", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in listed.stdout.splitlines()]
    named = ("name", "memory", "driver")
    return [dict(zip(named, row, strict=True)) for row in rows if len(row) == len(named)]


def memory_bytes() -> int | None:
    """Gives the memory this process may use: the machine's, or its container's when less."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return memory


def cpu_count() -> int:
    """Gives the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
