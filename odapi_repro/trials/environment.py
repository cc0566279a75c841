"""What this environment has, and what training needs and lacks of it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import odapi_repro
from odapi_repro.packages import installed_version, other_object_detection
from odapi_repro.trials.tensorflow_probe import Probe, cpu_count, memory_bytes, nvidia_gpus

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
