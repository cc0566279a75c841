"""The house: rooms import from the rooms above them, and TensorFlow stays in the child process."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "odapi_repro"
# Data flows down this list.
ROOMS = (
    "pipeline",
    "reference",
    "factors",
    "analysis",
    "datasets",
    "diagnosis",
    "study",
    "training",
    "evaluation",
    "execution",
    "reporting",
)
WITH_TENSORFLOW = (
    "training",
    "evaluation",
    "execution/worker.py",
    "execution/evaluation_worker.py",
)


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


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


def test_tensorflow_is_imported_only_where_the_child_process_runs() -> None:
    elsewhere = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(m == "tensorflow" or m.startswith("tensorflow.") for m in imported_modules(path))
        and not str(path.relative_to(PACKAGE)).startswith(WITH_TENSORFLOW)
    ]
    assert not elsewhere
