"""What is kept stays whole: commands at once take nothing away, damage is seen and mended."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.trials.evaluations.checkpoint_evaluation import EvaluationStore

SPEC = {"flip": False}


def add(store: EvaluationStore) -> Path:
    """Adds an evaluation as a finished pass does."""
    with store.work_folder() as work:
        files = {name: work / name for name in ("found.json.gz", "images.json", "evaluate.log")}
        files["found.json.gz"].write_bytes(gzip.compress(b"[]"))
        files["images.json"].write_text('{"heights": [], "widths": []}')
        files["evaluate.log"].write_text("log")
        return store.add(
            SPEC, files["found.json.gz"], files["images.json"], {}, files["evaluate.log"]
        )


def test_a_command_that_starts_while_another_keeps_a_pass_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile

    def slow(*paths: Any) -> object:
        with EvaluationStore(tmp_path).work_folder():
            return copy(*paths)

    monkeypatch.setattr(shutil, "copyfile", slow)
    store = EvaluationStore(tmp_path)
    assert add(store) == store.find(SPEC)
    assert not list(store.folder.glob(".work-*"))


def test_a_work_folder_is_not_seen_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp
    others: list[threading.Thread] = []

    def start() -> None:
        with EvaluationStore(tmp_path).work_folder():
            pass

    def made(*args: Any, **kwargs: Any) -> str:
        folder = make(*args, **kwargs)
        if not others:
            others.append(threading.Thread(target=start))
            others[0].start()
            others[0].join(timeout=0.3)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", made)
    with EvaluationStore(tmp_path).work_folder() as folder:
        others[0].join()
        assert folder.is_dir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "detections cut short": lambda folder: os.truncate(folder / "detections.json.gz", 15),
    "detections empty": lambda folder: (folder / "detections.json.gz").write_bytes(b""),
    "detections missing": lambda folder: (folder / "detections.json.gz").unlink(),
    "provenance empty": lambda folder: (folder / "provenance.json").write_bytes(b""),
    "provenance missing": lambda folder: (folder / "provenance.json").unlink(),
    "provenance a list": lambda folder: (folder / "provenance.json").write_text("[]"),
    "sizes empty": lambda folder: (folder / "images.json").write_bytes(b""),
    "sizes of something else": lambda folder: (folder / "images.json").write_text("{}"),
    "another's": lambda folder: (folder / "evaluation.json").write_text("{}"),
    "all files gone": lambda folder: [file.unlink() for file in folder.iterdir()],
    "a file": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_evaluation_is_not_there_and_set_aside_by_the_next(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    store = EvaluationStore(tmp_path)
    folder = add(store)
    # Twice: what was set aside before gives way.
    for _ in range(2):
        damage(folder)
        assert store.find(SPEC) is None
        assert add(store) == store.find(SPEC) == folder
        assert (store.folder / f"damaged-{folder.name}").exists()


def test_of_two_that_finish_the_same_the_first_one_s_is_kept(tmp_path: Path) -> None:
    store = EvaluationStore(tmp_path)
    first = add(store)
    number = (first / "evaluation.json").stat().st_ino
    assert add(store) == first
    assert (first / "evaluation.json").stat().st_ino == number


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, EnvironmentMissing, "[Nn]o space left"),
        (errno.EROFS, UserError, "cannot be (kept here|written)"),
    ],
)
def test_what_the_disk_refuses_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[UserError],
    message: str,
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(kind, match=message):
        add(EvaluationStore(tmp_path))
