from __future__ import annotations

import importlib
import itertools
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools

import odapi_repro

LOCKS = {
    "default": "requirements.lock",
    "tf215": "requirements-tf215.lock",
    "light": "requirements-light.lock",
    "dev": "requirements-dev.lock",
}
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)( ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
INDEX_HOSTS = (("pypi", "org"), ("pythonhosted", "org"), ("anaconda", "org"), ("npmjs", "org"))
INDEX_OPTIONS = ("index-url", "extra-index-url", "find-links", "trusted-host")


def pins(repository: Path, lock: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in (repository / LOCKS[lock]).read_text(encoding="utf-8").splitlines():
        if match := PIN.match(line):
            found.setdefault(match[1], set()).add(match[2])
    return found


@pytest.fixture(scope="module")
def metadata(repository):
    """The arguments that setup.py calls setuptools with."""
    arguments = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **given: arguments.update(given))
        patch.chdir(repository)
        runpy.run_path(str(repository / "setup.py"))
    return arguments


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_a_pin_a_hash_or_a_comment(repository, lock):
    lines = (repository / LOCKS[lock]).read_text(encoding="utf-8").splitlines()
    strange = [
        line
        for line in lines
        if not (PIN.match(line) or HASH.match(line) or line.strip().startswith("#"))
    ]
    assert strange == []
    for line, following in itertools.pairwise(lines):
        assert not PIN.match(line) or HASH.match(following), f"no hash after {line}"


def test_no_file_names_a_package_index(repository):
    git = shutil.which("git")
    if git is None or not (repository / ".git").exists():
        pytest.skip("not a git checkout")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    hosts = "|".join(r"\.".join(host) for host in INDEX_HOSTS)
    pattern = re.compile(rf"{hosts}|https?://\S*/simple\b")
    naming = []
    for name in filter(None, listed.stdout.split("\0")):
        path = repository / name
        if path.is_file() and pattern.search(path.read_text(encoding="utf-8", errors="replace")):
            naming.append(name)
    assert naming == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_carries_an_index_option(repository, lock):
    text = (repository / LOCKS[lock]).read_text(encoding="utf-8")
    assert not [option for option in INDEX_OPTIONS if f"--{option}" in text]


@pytest.mark.parametrize(
    ("lock", "other"),
    [("dev", "default"), ("dev", "tf215"), ("dev", "light"), ("light", "default")],
)
def test_locks_that_are_installed_together_agree_on_shared_pins(repository, lock, other):
    first, second = pins(repository, lock), pins(repository, other)
    differing = {n for n in first.keys() & second.keys() if not first[n] <= second[n]}
    assert differing == set()


def test_the_locks_hold_the_two_tested_stacks(repository):
    default, tf215 = pins(repository, "default"), pins(repository, "tf215")
    assert (default["tensorflow"], tf215["tensorflow"]) == ({"2.20.0"}, {"2.15.1"})
    assert default["tf-object-detection-api"] == tf215["tf-object-detection-api"] == {"0.1"}


def test_the_light_lock_has_no_tensorflow_and_no_keras(repository):
    heavy = [name for name in pins(repository, "light") if re.match("tensorflow|keras|tf-k", name)]
    assert heavy == []


@pytest.mark.parametrize("lock", ["default", "tf215", "light"])
def test_the_locks_leave_out_what_training_never_imports(repository, lock):
    unwanted = {"apache-beam", "avro-python3", "sacrebleu", "tensorflow-io", "opencv-python"}
    assert unwanted.isdisjoint(pins(repository, lock))


def test_setup_py_takes_the_version_from_the_package(metadata):
    assert metadata["version"] == odapi_repro.__version__


def test_the_console_script_resolves(metadata):
    (script,) = metadata["entry_points"]["console_scripts"]
    name, _, target = script.partition(" = ")
    module, _, function = target.partition(":")
    assert name == "odapi-repro"
    assert callable(getattr(importlib.import_module(module), function))


def test_every_folder_with_modules_is_a_package_that_is_shipped(metadata, repository):
    folders = {
        ".".join(path.parent.relative_to(repository).parts)
        for path in (repository / "odapi_repro").rglob("*.py")
    }
    assert folders == set(metadata["packages"])


def test_install_requires_admits_what_the_locks_pin(metadata, repository):
    requirements = pytest.importorskip("packaging.requirements")
    for lock in ("default", "tf215", "light"):
        pinned = pins(repository, lock)
        for line in metadata["install_requires"]:
            requirement = requirements.Requirement(line)
            assert any(v in requirement.specifier for v in pinned[requirement.name]), (lock, line)


def test_this_python_is_one_that_the_package_admits(metadata):
    specifiers = pytest.importorskip("packaging.specifiers")
    running = ".".join(map(str, sys.version_info[:3]))
    assert running in specifiers.SpecifierSet(metadata["python_requires"])


def test_module_and_console_help_are_exit_0(repository):
    command = [sys.executable, "-m", "odapi_repro", "--help"]
    child = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert child.returncode == 0
    assert "usage: odapi-repro <command>" in child.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_setup_says_which_python_it_expects(repository):
    command = ["make", "--no-print-directory", "setup", "PYTHON=no-such-python"]
    child = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert child.returncode == 2
    assert "found no no-such-python; expected Python 3.11 to 3.13" in child.stderr
    assert "help: make setup PYTHON=python3.12" in child.stderr
