"""What this machine and its environment have, and what training needs and lacks of it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import odapi_repro
from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.packages import installed_version, other_object_detection
from odapi_repro.trials.child_process import python_environment

# --- What this machine has, found without TensorFlow ---


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


# --- What TensorFlow, the driver and the machine offer, asked without importing TensorFlow here ---


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


# --- What this environment has, and what training needs and lacks of it ---


SCHEMA = 1
GIB = 2**30
# A checkpoint of the largest pipelines is about 0.5 GB, and a trial keeps several.
LEAST_FREE_BYTES = 2 * GIB

# What is reported, and under which names it may be installed.
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tf-nightly"),
    "keras": ("keras",),
    "tf-keras": ("tf-keras",),
    "tf-models-official": ("tf-models-official", "tf-models-nightly"),
    "tf-object-detection-api": ("tf-object-detection-api", "object-detection"),
    "tf-slim": ("tf-slim",),
    "protobuf": ("protobuf",),
    "numpy": ("numpy",),
    "pycocotools": ("pycocotools",),
    "pandas": ("pandas",),
    "matplotlib": ("matplotlib",),
    "pillow": ("pillow",),
    "scipy": ("scipy",),
    "msgspec": ("msgspec",),
    "google-crc32c": ("google-crc32c",),
    "opencv-python-headless": ("opencv-python-headless", "opencv-python"),
    "lvis": ("lvis",),
    "gin-config": ("gin-config",),
    "pyyaml": ("pyyaml",),
}
# Each is found missing by its own rule, or is no part of one of the two stacks.
_NOT_ALWAYS_NEEDED = frozenset({"keras", "tf-keras"})


@dataclass(frozen=True)
class Stack:
    """A set of versions that the tests run on, and the lock that gives it."""

    name: str
    lock: str
    versions: Mapping[str, str]
    pythons: tuple[tuple[int, int], ...]


STACKS = (
    Stack(
        name="TensorFlow 2.20",
        lock="requirements.lock",
        versions={"tensorflow": "2.20", "tf-keras": "2.20", "tf-models-official": "2.20"},
        pythons=((3, 11), (3, 12), (3, 13)),
    ),
    Stack(
        name="TensorFlow 2.15.1",
        lock="requirements-tf215.lock",
        versions={"tensorflow": "2.15.1", "keras": "2.15", "tf-models-official": "2.15"},
        pythons=((3, 11),),
    ),
)
LOCKS = (*(stack.lock for stack in STACKS), "requirements-light.lock")
_INSTALL = "make setup, or: pip install --no-deps --require-hashes -r requirements.lock"


@dataclass(frozen=True)
class Lack:
    """Something that is not as it should be, and how to mend it.

    Attributes:
        needed: training cannot run without it.
        cause: a word for it, where programs may ask; else empty.
    """

    what: str
    mend: str
    needed: bool = True
    cause: str = ""


def _version_of(name: str) -> str | None:
    return installed_version(*DISTRIBUTIONS.get(name, (name,)))


def cache_folder() -> Path | None:
    """Gives the folder of cached data sets, or None where its module does not import."""
    try:
        from odapi_repro.datasets.made_folder import default_cache_root
    except ImportError:
        return None
    return default_cache_root()


def pins_of(lock: str) -> dict[str, str]:
    """Gives name and version of the pins of a lock that hold on every platform."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)==([^\s;]+) \\$", lock, re.MULTILINE))


def stack_of(versions: Mapping[str, str | None], python: tuple[int, int]) -> Stack | None:
    """Gives the tested stack that these versions are, or None."""
    for stack in STACKS:
        fits = all(
            f"{versions.get(name)}.".startswith(f"{wanted}.")
            for name, wanted in stack.versions.items()
        )
        if fits and python in stack.pythons:
            return stack
    return None


def _lock_report(folder: Path, version_of: Callable[[str], str | None]) -> dict[str, Any]:
    """Gives the lock that the installed versions are nearest to, and where they differ.

    The full locks come first, so that the light one, a part of the default, wins only alone.
    """
    best: dict[str, Any] = {}
    for name in LOCKS:
        path = folder / name
        if not path.is_file():
            continue
        pins = pins_of(path.read_text(encoding="utf-8"))
        differing = {
            package: f"{version_of(package) or 'missing'} instead of {pinned}"
            for package, pinned in pins.items()
            if version_of(package) != pinned
        }
        if not best or len(differing) < len(best["differing"]):
            best = {"name": name, "pins": len(pins), "differing": differing}
    return best


def _shown(path: Path) -> str:
    """Gives a path with the user's home as ~, for privacy in a pasted report."""
    return _without_home(str(path.absolute()))


def _without_home(text: str) -> str:
    home = str(Path.home())
    return text.replace(home, "~") if home != os.sep else text


def _disk(folder: Path) -> dict[str, Any]:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return {"path": _shown(folder), "free_bytes": shutil.disk_usage(existing).free}


def collect(
    *,
    runs_dir: Path,
    probe: Callable[[], Probe] | None,
    version_of: Callable[[str], str | None] = _version_of,
    gpus: Callable[[], list[dict[str, str]]] = nvidia_gpus,
    lock_folder: Path | None = None,
) -> dict[str, Any]:
    """Gives the report, as `--format json` prints it but for `lacks`.

    Args:
        runs_dir: the folder that trials are written to; need not exist.
        probe: asks a child process about TensorFlow; None leaves devices and patches out.
        version_of: gives the version of an installed distribution, or None.
        gpus: gives the GPUs that the driver knows.
        lock_folder: where the locks lie; the checkout by default.
    """
    other, why = other_object_detection()
    versions = {name: version_of(name) for name in DISTRIBUTIONS}
    stack = stack_of(versions, (sys.version_info.major, sys.version_info.minor))
    asked = probe is not None and versions["tensorflow"] is not None
    answer = probe() if probe is not None and asked else Probe({})
    folders = {"current": Path.cwd(), "cache": cache_folder(), "runs": runs_dir}
    return {
        "schema": SCHEMA,
        "odapi_repro": odapi_repro.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "os": platform.platform(),
        "cpu_count": cpu_count(),
        "memory_bytes": memory_bytes(),
        "packages": versions,
        "stack": stack.name if stack else None,
        "lock": _lock_report(
            lock_folder or Path(odapi_repro.__file__).resolve().parents[1], version_of
        ),
        "object_detection": {"other": _without_home(other), "lacks": why},
        "tensorflow": {"asked": asked, **answer.answers, "error": _without_home(answer.error)},
        "gpus": gpus(),
        "disk": {name: _disk(path) for name, path in folders.items() if path is not None},
    }


def lacks(report: Mapping[str, Any]) -> list[Lack]:
    """Gives what is missing from a report, what training needs first."""
    found = [*_object_detection_lacks(report), *_package_lacks(report), *_tensorflow_lacks(report)]
    runs = report["disk"]["runs"]
    if runs["free_bytes"] < LEAST_FREE_BYTES:
        found.append(
            Lack(
                f"{runs['free_bytes'] / GIB:.1f} GiB free for {runs['path']}, which may not hold"
                f" the checkpoints of a trial ({LEAST_FREE_BYTES / GIB:g} GiB)",
                "free some space, or name a folder on another disk with --runs_dir",
            )
        )
    return sorted(found, key=lambda lack: not lack.needed)


def _object_detection_lacks(report: Mapping[str, Any]) -> list[Lack]:
    found = report["object_detection"]
    if not found["other"]:
        return []
    why = f", and {found['lacks']}" if found["lacks"] else ""
    return [
        Lack(
            f"another object_detection is first on the path{why}: {found['other']}",
            "take the folder that it lies in out of PYTHONPATH, or work in another folder",
            cause="other_object_detection_on_path",
        )
    ]


def _package_lacks(report: Mapping[str, Any]) -> list[Lack]:
    versions = report["packages"]
    missing = [n for n, v in versions.items() if v is None and n not in _NOT_ALWAYS_NEEDED]
    tensorflow = versions["tensorflow"]
    if tensorflow is not None:
        legacy = _minor(tensorflow) < (2, 16)
        if versions["tf-keras"] is None and not legacy:
            missing.append("tf-keras")
    found = []
    if missing:
        found.append(Lack(f"not installed: {', '.join(missing)}", _INSTALL))
    elif report["stack"] is None:
        tested = " or ".join(stack.name for stack in STACKS)
        found.append(
            Lack(f"an untested set of versions (tested: {tested})", _INSTALL, needed=False)
        )
    return found


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _tensorflow_lacks(report: Mapping[str, Any]) -> list[Lack]:
    tensorflow = report["tensorflow"]
    if not tensorflow["asked"]:
        return []
    found = []
    stage = "the OD API" if "devices" in tensorflow else "TensorFlow"
    hidden = stage == "the OD API" and report["object_detection"]["other"]
    if tensorflow["error"] and not hidden:
        found.append(
            Lack(
                f"{stage} could not be imported ({tensorflow['error']})",
                f"{_INSTALL}; on a slow disk, give more --timeout_seconds",
            )
        )
    seen = any(device["kind"] == "GPU" for device in tensorflow.get("devices", ()))
    if report["gpus"] and "devices" in tensorflow and not seen:
        found.append(
            Lack(
                "the driver lists a GPU that TensorFlow does not see; it will train on the CPU",
                f'pip install "tensorflow[and-cuda]=={report["packages"]["tensorflow"]}"',
                needed=False,
            )
        )
    return found
