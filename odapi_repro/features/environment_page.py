"""The page of an environment: whether training can run here, what is there, what lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from odapi_repro.page.blocks import Facts, Headline, Note, Page
from odapi_repro.trials.environment import GIB, Lack


def environment_page(report: Mapping[str, Any], found: Sequence[Lack]) -> Page:
    """Gives the page; what lacks comes before what is there."""
    memory = report["memory_bytes"]
    size = f"{memory / GIB:.1f} GiB" if memory else "unknown"
    rows = (
        ("odapi_repro", report["odapi_repro"]),
        ("python", report["python"]),
        ("os", report["os"]),
        ("cpu", f"{report['cpu_count']} cores, {size} memory"),
        *((name, version or "not installed") for name, version in report["packages"].items()),
        ("stack", f"{report['stack']}, tested" if report["stack"] else "not a tested one"),
        ("lock", _lock_line(report["lock"])),
        *_tensorflow_rows(report["tensorflow"]),
        *(
            ("gpu driver", f"{gpu['name']}, {gpu['memory']}, driver {gpu['driver']}")
            for gpu in report["gpus"]
        ),
        *(
            (f"disk, {name}", f"{disk['free_bytes'] / GIB:.1f} GiB free for {disk['path']}")
            for name, disk in report["disk"].items()
        ),
    )
    lacks = [
        Note("error" if one.needed else "note", one.what, (("help", one.mend),)) for one in found
    ]
    return Page("Environment", (Headline(_verdict(report, found)), *lacks, Facts(rows)))


def _verdict(report: Mapping[str, Any], found: Sequence[Lack]) -> str:
    if any(lack.needed for lack in found):
        return "training cannot run here"
    if not report["tensorflow"]["asked"]:
        return "nothing that training needs is missing; whether it imports was not tested"
    return "training can run here"


def _lock_line(lock: Mapping[str, Any]) -> str:
    if not lock:
        return "no lock file here to compare with"
    if not lock["differing"]:
        return f"{lock['name']}, all {lock['pins']} pins"
    few = 5
    few_of_them = [f"{name} {how}" for name, how in list(lock["differing"].items())[:few]]
    more = len(lock["differing"]) - few
    rest = f" and {more} more" if more > 0 else ""
    return f"nearest is {lock['name']}; differs in {', '.join(few_of_them)}{rest}"


def _tensorflow_rows(tensorflow: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not tensorflow["asked"]:
        return [("devices", "not asked")]
    cuda = tensorflow.get("cuda")
    build = f"CUDA {cuda}, cuDNN {tensorflow.get('cudnn')}" if cuda else "without CUDA"
    rows = [
        ("device", f"{device['name']} {device['model']}".rstrip())
        for device in tensorflow.get("devices", ())
    ]
    if "devices" in tensorflow:
        rows.append(("built", build))
    if "patches" in tensorflow:
        names = [patch["name"] for patch in tensorflow["patches"] if patch["applies"]]
        rows.append(("patches", ", ".join(names) or "none needed"))
    elif "compat_error" in tensorflow:
        rows.append(("patches", f"unknown ({tensorflow['compat_error']})"))
    rows.append(("OD API", tensorflow.get("object_detection", "does not import")))
    return rows
