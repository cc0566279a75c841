"""What this machine has, found without TensorFlow."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from odapi_repro.errors import EnvironmentMissing, UserError

MIN_FREE_BYTES = 1_000_000_000


def count_gpus() -> int:
    """Gives the number of NVIDIA GPUs that `CUDA_VISIBLE_DEVICES` leaves visible."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return 0
    if shutil.which("nvidia-smi") is None:
        return 0
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    present = sum(line.startswith("GPU ") for line in listed.splitlines())
    return present if visible is None else min(present, len(visible.split(",")))


def check_disk_space(folder: Path, *, needed_bytes: int = MIN_FREE_BYTES) -> None:
    """Raises `EnvironmentMissing` when the disk of `folder` has less than `needed_bytes` free.

    A folder that does not exist yet stands for its nearest ancestor that does.
    """
    existing = _nearest_existing(folder)
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise EnvironmentMissing(
            f"{free / 1e9:.2f} GB are free on the disk",
            expected=f"at least {needed_bytes / 1e9:.1f} GB for checkpoints, events and detections",
            mend="free some space, or put --runs_dir on another disk",
            where=str(folder),
        )


def check_writable(folder: Path) -> None:
    """Raises `UserError` when `folder` is, or would have to be made below, something else."""
    existing = _nearest_existing(folder)
    if not existing.is_dir():
        raise UserError(
            "this is not a folder",
            expected="a folder to write to, or a name for a new one",
            mend="choose another --runs_dir or --results_dir",
            where=str(existing),
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(
            "this folder cannot be written to",
            expected="a folder with write permission",
            mend="choose another --runs_dir or --results_dir",
            where=str(existing),
        )


def _nearest_existing(folder: Path) -> Path:
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return existing
