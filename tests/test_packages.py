"""A package that is missing, broken or hidden by another is one message and exit 2, never ours."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from odapi_repro.errors import EnvironmentMissing
from odapi_repro.packages import import_problem, other_object_detection
from odapi_repro.trials import environment
from odapi_repro.trials.child_process import python_environment, run_child
from odapi_repro.trials.environment import Probe, collect, lacks
from odapi_repro.trials.executors.local_executor import check_worker_environment

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = str(REPOSITORY / "pipelines" / "effdet_d0.config")
ON_CONFIGS = [
    ["diagnose", CONFIG],
    ["diff", CONFIG],
    ["fix", CONFIG, "--dry_run"],
    ["run", CONFIG, "--ablate=batch_size", "--dry_run"],
    ["run", CONFIG, "--sanity", "--dry_run"],
    ["explain", CONFIG, "--plan"],
    ["evaluate", "--checkpoint=nowhere"],
    ["data", "check", CONFIG],
    ["data", "show", CONFIG],
]


def package(folder: Path, files: dict[str, str]) -> Path:
    """A folder for PYTHONPATH with an `object_detection`, or another package, of these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


OTHERS = {
    "its protos are not compiled": {
        "object_detection/__init__.py": "",
        "object_detection/protos/__init__.py": "",
        "object_detection/protos/pipeline.proto": 'syntax = "proto2";',
    },
    "it has no protos/pipeline_pb2.py": {"object_detection/__init__.py": ""},
    "it has no builders/model_builder.py": {
        "object_detection/__init__.py": "",
        "object_detection/protos/__init__.py": "",
        "object_detection/protos/pipeline_pb2.py": "import nets_of_slim\n",
    },
    "it has no model_lib_v2.py": {
        "object_detection/__init__.py": "",
        "object_detection/protos/__init__.py": "",
        "object_detection/protos/pipeline_pb2.py": "raise TypeError('Descriptors cannot be made')",
        "object_detection/builders/model_builder.py": "",
    },
}


def called(
    argv: list[str], cwd: Path, *, path: Path | None = None, program: bool = False
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as a user types it."""
    start = ["-c", "from odapi_repro.__main__ import main; import sys; sys.exit(main())"]
    command = start if program else ["-m", f"odapi_repro.{argv[0]}"]
    paths = [*([str(path)] if path else []), str(REPOSITORY)]
    return subprocess.run(
        [sys.executable, *command, *(argv if program else argv[1:])],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )


def is_one_message(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("odapi-repro ")
    assert done.stderr.count("  help: ") == 1
    assert "Traceback" not in done.stderr
    assert "an error of this program" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("why", OTHERS)
def test_another_object_detection_on_pythonpath_is_named(tmp_path: Path, why: str) -> None:
    folder = package(tmp_path / "old", OTHERS[why])
    said = is_one_message(called(["diagnose", CONFIG], tmp_path, path=folder))
    first = said.splitlines()[0]
    assert first.startswith("odapi-repro diagnose: another object_detection is first on the path")
    assert why in first
    assert str(folder / "object_detection") in first
    assert "expected: the installed one, " in said
    assert f"help: take {folder} out of PYTHONPATH" in said


@pytest.mark.parametrize("argv", ON_CONFIGS, ids=[" ".join(argv[:2]) for argv in ON_CONFIGS])
def test_every_command_on_configs_says_it(tmp_path: Path, argv: list[str]) -> None:
    folder = package(tmp_path / "old", OTHERS["its protos are not compiled"])
    assert "another object_detection" in is_one_message(called(argv, tmp_path, path=folder))
    assert "another object_detection" in is_one_message(
        called(argv, tmp_path, path=folder, program=True)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_one_in_the_working_folder_is_named_with_the_way_out(tmp_path: Path) -> None:
    package(tmp_path, OTHERS["its protos are not compiled"])
    said = is_one_message(called(["diagnose", CONFIG], tmp_path))
    assert f"help: run the command from another folder than {tmp_path}" in said


def test_a_script_of_that_name_is_one_too(tmp_path: Path) -> None:
    package(tmp_path, {"object_detection.py": "print('my detector')\n"})
    done = called(["diagnose", CONFIG], tmp_path)
    assert done.returncode == 2
    assert f"it is a file: {tmp_path / 'object_detection.py'}" in done.stderr


def test_a_training_is_not_started_with_another_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version would not be the one that the trials note."""
    whole = {
        f"object_detection/{name}": ""
        for name in (
            "__init__.py",
            "protos/pipeline_pb2.py",
            "builders/model_builder.py",
            "model_lib_v2.py",
        )
    }
    spec = importlib_spec(package(tmp_path, whole))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(EnvironmentMissing, match="another object_detection is first on the path:"):
        check_worker_environment()
    # Without an installed one, a checkout that is whole will do.
    monkeypatch.setattr("odapi_repro.packages._installed", lambda: "")
    assert other_object_detection() == ("", "")


def importlib_spec(folder: Path) -> object:
    from importlib.machinery import PathFinder

    return PathFinder.find_spec("object_detection", [str(folder)])


def test_a_worker_says_it_and_the_trial_ends_with_that_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = package(tmp_path / "old", OTHERS["its protos are not compiled"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(REPOSITORY)]))
    worker = [sys.executable, "-m", "odapi_repro.trials.worker", "job.json"]
    end = run_child(worker, tmp_path / "train.log", lambda event: None)
    kind, message = end.failure
    assert kind == "input"
    assert message.startswith("another object_detection is first on the path")
    assert str(folder) in message


def test_a_child_imports_from_the_working_folder_only_where_its_parent_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(REPOSITORY)])
    assert python_environment()["PYTHONSAFEPATH"] == "1"
    monkeypatch.setattr(sys, "path", ["", str(REPOSITORY)])
    assert "PYTHONSAFEPATH" not in python_environment()


def test_the_doctor_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "its protos are not compiled"
    monkeypatch.setattr(environment, "other_object_detection", lambda: ("/old/research/od", why))
    error = "exit code 1: ImportError: cannot import name 'model_lib_v2'"
    report = collect(runs_dir=Path("runs"), probe=lambda: Probe({"devices": []}, error), gpus=list)
    found = [one for one in lacks(report) if one.cause == "other_object_detection_on_path"]
    assert len(found) == 1
    assert found[0].needed
    assert "/old/research/od" in found[0].what
    assert not any("could not be imported" in one.what for one in lacks(report))
    assert json.loads(json.dumps(report["object_detection"])) == {
        "other": "/old/research/od",
        "lacks": why,
    }


MISSING = [
    (["diagnose", CONFIG], "absl", "absl-py"),
    (["diagnose", CONFIG], "google/protobuf", "protobuf"),
    (["diff", CONFIG], "object_detection", "tf-object-detection-api"),
    (["data", "check", "--data=embedded"], "numpy", "numpy"),
    (["explain", CONFIG, "--plan"], "pandas", "pandas"),
    (["data", "show", "--data=embedded"], "PIL", "pillow"),
    (["zoo"], "absl", "absl-py"),
]
HIDE = """
import sys
from importlib.abc import MetaPathFinder
HIDDEN = {name!r}
class Hide(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == HIDDEN or name.startswith(HIDDEN + '.'):
            raise {error}
sys.meta_path.insert(0, Hide())
"""


@pytest.mark.parametrize("error", ["missing", "broken"])
@pytest.mark.parametrize(
    ("argv", "name", "distribution"), MISSING, ids=[f"{one[1]} {one[0][0]}" for one in MISSING]
)
def test_a_missing_or_broken_package_is_named(
    tmp_path: Path, argv: list[str], name: str, distribution: str, error: str
) -> None:
    dotted = name.replace("/", ".")
    raised = {
        "missing": 'ModuleNotFoundError(f"No module named {name!r}", name=name)',
        "broken": "ImportError('libcudart.so.12: cannot open shared object file', name=name)",
    }[error]
    text = HIDE.format(name=dotted, error=raised)
    folder = package(tmp_path / "site", {"sitecustomize.py": text})
    done = called(argv, tmp_path, path=folder)
    said = is_one_message(done)
    state = "is not installed" if error == "missing" else "cannot be imported"
    assert f"the package {distribution} {state}: " in said
    assert "requirements.lock" in said


def test_the_program_is_not_called_by_the_name_of_its_package(tmp_path: Path) -> None:
    error = 'ModuleNotFoundError(f"No module named {name!r}", name=name)'
    text = HIDE.format(name="absl", error=error)
    folder = package(tmp_path / "site", {"sitecustomize.py": text})
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run(
        [sys.executable, "-m", "odapi_repro", "zoo"],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("odapi-repro command: the package absl-py is not installed")


def test_a_package_whose_import_fails_in_its_own_way_is_named(tmp_path: Path) -> None:
    text = "raise RuntimeError('built for NumPy 1')\n"
    folder = package(tmp_path / "site", {"google_crc32c/__init__.py": text})
    said = is_one_message(called(["data", "check", "--data=embedded"], tmp_path, path=folder))
    assert "the package google-crc32c cannot be imported: RuntimeError: built for NumPy 1" in said


def test_a_mistake_of_ours_is_still_ours() -> None:
    with pytest.raises(ImportError) as missing:
        importlib.import_module("odapi_repro.no_such_module")
    assert import_problem(missing.value) is None
    with pytest.raises(KeyError) as other:
        {}["key"]
    assert import_problem(other.value) is None
