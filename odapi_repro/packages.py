"""Packages of others that are missing, broken, or hidden by another folder of their name."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from importlib import metadata
from types import FrameType
from typing import Final

from odapi_repro.errors import EnvironmentMissing, shortened

_OD_API: Final = ("tf-object-detection-api", "object-detection")
_NEEDED: Final = ("protos/pipeline_pb2.py", "builders/model_builder.py", "model_lib_v2.py")
"""Of these the OD API for TensorFlow 1 lacks the last, and a checkout as it is cloned the first."""
_DISTRIBUTIONS: Final = {
    "absl": "absl-py",
    "cv2": "opencv-python-headless",
    "google.protobuf": "protobuf",
    "google_crc32c": "google-crc32c",
    "object_detection": "tf-object-detection-api",
    "official": "tf-models-official",
    "PIL": "pillow",
    "tf_keras": "tf-keras",
    "tf_slim": "tf-slim",
    "yaml": "pyyaml",
}
_MEND: Final = (
    "make setup, or pip install --no-deps -r requirements.lock; then see odapi-repro doctor"
)


def installed_version(*names: str) -> str | None:
    """Gives the version of the first of these distributions that is installed; None without one.

    Nothing is imported.
    """
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def tensorflow_version() -> tuple[int, int] | None:
    """Gives (major, minor) of the installed TensorFlow, which is not imported; None without one."""
    version = installed_version("tensorflow", "tensorflow-cpu", "tf-nightly")
    if version is None:
        return None
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def import_problem(error: BaseException) -> EnvironmentMissing | None:
    """Gives an exception as what is wrong with a package of others; None where nothing is.

    A package that is missing, one whose import fails by whatever exception, and anything that goes
    wrong while another `object_detection` is first on the path.
    """
    what = f"{type(error).__name__}: {shortened(' '.join(str(error).split()))}"
    other = object_detection_problem(f" ({what})")
    name = _imported(error)
    frames = [str(one.f_globals.get("__name__")) for one, _ in _walk(error)]
    if other is not None and (
        name is None or any(f"{one}.".startswith("object_detection.") for one in (name, *frames))
    ):
        return other
    if name is None:
        return None
    top = "google.protobuf" if name.startswith("google.protobuf") else name.partition(".")[0]
    distribution = _DISTRIBUTIONS.get(top, top)
    if isinstance(error, ModuleNotFoundError) and error.name in (name, top, "google"):
        found = f"the package {distribution} is not installed: {what}"
    else:
        found = f"the package {distribution} cannot be imported: {what}"
    return EnvironmentMissing(found, expected="the packages of requirements.lock", mend=_MEND)


def object_detection_problem(detail: str = "") -> EnvironmentMissing | None:
    """Gives what is wrong with the `object_detection` that is first on the path, or None.

    Args:
        detail: what came of it, for the message.
    """
    path, why = other_object_detection()
    if not path:
        return None
    installed = _installed()
    folder = os.path.dirname(path)
    if folder == os.path.realpath(os.getcwd()):
        mend = f"run the command from another folder than {folder}"
    elif folder in map(os.path.realpath, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        mend = f"take {folder} out of PYTHONPATH"
    else:
        mend = f"take {folder} off Python's path"
    if not installed:
        mend += f"; {_MEND}"
    return EnvironmentMissing(
        f"another object_detection is first on the path{why and f', and {why}'}: {path}{detail}",
        expected=f"the installed one, {installed}"
        if installed
        else "the OD API for TensorFlow 2, its protos compiled",
        mend=mend,
    )


def other_object_detection() -> tuple[str, str]:
    """Gives the path of an `object_detection` that is not the OD API to be used, and what it lacks.

    It is another than the installed distribution, or, without one, lacks what is needed: a checkout
    of models/research on PYTHONPATH that is whole will do. Two empty texts where all is well or
    there is none.
    """
    try:
        spec = importlib.util.find_spec("object_detection")
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return "", ""
    places = list(spec.submodule_search_locations or ())
    path = os.path.realpath(places[0] if places else str(spec.origin))
    why = _what_lacks(path)
    installed = _installed()
    return ("", "") if path == installed or not (installed or why) else (path, why)


def _what_lacks(path: str) -> str:
    if os.path.isfile(path):
        return "it is a file"
    if not os.path.isfile(os.path.join(path, _NEEDED[0])) and os.path.isfile(
        os.path.join(path, "protos", "pipeline.proto")
    ):
        return "its protos are not compiled"
    lacks = [file for file in _NEEDED if not os.path.isfile(os.path.join(path, file))]
    return f"it has no {lacks[0]}" if lacks else ""


def _installed() -> str:
    """Gives the folder of the installed OD API, empty where no distribution says one."""
    for name in _OD_API:
        try:
            found = metadata.distribution(name).locate_file("object_detection")
        except metadata.PackageNotFoundError:
            continue
        if os.path.isdir(str(found)):
            return os.path.realpath(str(found))
    return ""


def _imported(error: BaseException) -> str | None:
    """Gives the module of others whose import raised, None where no import did."""
    ours = f"{__package__}."
    if isinstance(error, ImportError) and error.name and not f"{error.name}.".startswith(ours):
        return error.name
    previous_is_ours = False
    for frame, _ in _walk(error):
        name = str(frame.f_globals.get("__name__", ""))
        is_ours = f"{name}.".startswith(ours) or name == "__main__"
        if previous_is_ours and not is_ours and frame.f_code.co_name == "<module>":
            return name
        previous_is_ours = is_ours or (previous_is_ours and name.startswith("importlib"))
    return None


def _walk(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    return traceback.walk_tb(error.__traceback__)


def cwd_is_on_path() -> bool:
    """Whether this process imports from its working folder, as `python -m` does."""
    here = os.getcwd()
    return any(os.path.realpath(entry or here) == os.path.realpath(here) for entry in sys.path)
