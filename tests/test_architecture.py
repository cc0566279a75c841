"""The house: rooms import from the rooms above them, and TensorFlow stays in the child process."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "odapi_repro"
# Data flows down this list.
ROOMS = (
    "files",
    "pipeline",
    "reference",
    "factors",
    "analysis",
    "datasets",
    "page",
    "diagnosis",
    "training",
    "evaluation",
    "trials",
    "features",
)
# Within a large room it flows down its own list; what lies beside the folders imports any of them.
FOLDERS = {
    "evaluation": (
        "coco_data",
        "checkpoint",
        "inference",
        "scoring",
        "mask_chain",
        "error_analysis",
        "uncertainty",
    ),
}
# Modules beside the folders that import nothing of this room but `coco_data`.
FOR_EVERY_FOLDER = ("post_processing",)
MOST_MODULES = 25
LONGEST_FUNCTION = 82
WITH_TENSORFLOW = (
    "training",
    "evaluation/inference",
    "trials/worker.py",
    "trials/evaluations/evaluation_worker.py",
    "trials/model_inputs/model_inputs_worker.py",
)


@cache
def imported_modules(path: Path) -> frozenset[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return frozenset(names)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_the_rooms_above_it(room: str) -> None:
    below = ROOMS[ROOMS.index(room) + 1 :]
    wrong = [
        (path.name, module)
        for path in (PACKAGE / room).rglob("*.py")
        for module in imported_modules(path)
        if any(module.startswith(f"odapi_repro.{other}") for other in below)
    ]
    assert not wrong


def test_every_room_is_a_package_and_known_here() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert folders == set(ROOMS)
    assert all((PACKAGE / room / "__init__.py").exists() for room in ROOMS)


@pytest.mark.parametrize(
    ("room", "folder"), [(room, folder) for room, folders in FOLDERS.items() for folder in folders]
)
def test_a_folder_of_a_room_imports_only_from_the_folders_above_it(room: str, folder: str) -> None:
    above = FOLDERS[room][: FOLDERS[room].index(folder) + 1]
    allowed = tuple(f"odapi_repro.{room}.{one}" for one in (*above, *FOR_EVERY_FOLDER))
    wrong = [
        (path.name, module)
        for path in (PACKAGE / room / folder).rglob("*.py")
        for module in imported_modules(path)
        if module.startswith(f"odapi_repro.{room}") and not module.startswith(allowed)
    ]
    assert not wrong


@pytest.mark.parametrize("room", FOLDERS)
def test_every_folder_of_a_large_room_is_known_here(room: str) -> None:
    folders = {one.name for one in (PACKAGE / room).iterdir() if (one / "__init__.py").exists()}
    assert folders == set(FOLDERS[room])


def test_no_folder_is_so_full_that_a_reader_loses_his_way() -> None:
    full = {
        str(folder.relative_to(PACKAGE)): count
        for folder in (PACKAGE, *PACKAGE.rglob("*"))
        if folder.is_dir() and (count := len(list(folder.glob("[!_]*.py")))) > MOST_MODULES
    }
    assert not full


def test_no_feature_imports_another() -> None:
    features = PACKAGE / "features"
    wrong = [
        (str(path.relative_to(features)), module)
        for path in features.rglob("*.py")
        for module in imported_modules(path)
        if module.startswith("odapi_repro.features.")
        and module.split(".")[2] != path.relative_to(features).parts[0].removesuffix(".py")
        # What their pages share is no feature.
        and module != "odapi_repro.features.report_sections"
    ]
    assert not wrong


def test_one_module_draws_on_images() -> None:
    drawing = {path.name for path in PACKAGE.rglob("*.py") if "ImageDraw" in path.read_text()}
    assert drawing == {"canvas.py"}


def test_no_function_is_longer_than_a_reader_can_hold() -> None:
    long = [
        (str(path.relative_to(PACKAGE)), node.name, length)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long


def test_tensorflow_is_imported_only_where_the_child_process_runs() -> None:
    elsewhere = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(m == "tensorflow" or m.startswith("tensorflow.") for m in imported_modules(path))
        and not str(path.relative_to(PACKAGE)).startswith(WITH_TENSORFLOW)
    ]
    assert not elsewhere
