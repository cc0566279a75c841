"""Runs the OD API's own tests under our patches, and writes what each module gave.

    python tests/e2e/odapi_own_tests.py TABLE.csv [MODULE ...]     # about half an hour on two cores

Each module of the installed `object_detection` named `*_test.py`, but `*_tf1_test.py`, runs in a
process of its own, which is forked after TensorFlow was imported and before it was used. The table
has the columns `module outcome n test message`: a row with the number of tests that passed, one
with the number that the OD API itself skips (tests of TensorFlow 1), and one for each test with
another outcome: `error`, `failure`; for a module, `not_loaded` or `died`. A table that has not all
modules is gone on with; one that has them is made again. ODAPI_TESTS_JOBS: how many at a time.
"""

from __future__ import annotations

import csv
import importlib
import multiprocessing
import os
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

COLUMNS = ("module", "outcome", "n", "test", "message")
MOST_SECONDS = 2400
JOBS = int(os.environ.get("ODAPI_TESTS_JOBS", "2"))
Row = tuple[str, str, int, str, str]


class _Outcomes(unittest.TestResult):
    """Collects outcomes; a test of which several subtests fail is told once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0
        self.told: dict[str, tuple[str, str]] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.passed += 1

    def addError(self, test: Any, err: Any) -> None:
        self.told.setdefault(_name(test), ("error", one_line(err[1])))

    def addFailure(self, test: Any, err: Any) -> None:
        self.told.setdefault(_name(test), ("failure", one_line(err[1])))


def _name(test: Any) -> str:
    # A parametrised test's id goes on with its arguments.
    return ".".join(test.id().split(" ")[0].split(".")[-2:])


def one_line(error: BaseException) -> str:
    """Gives what an error says in one line, without what changes from run to run."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    if said and said[0] in ("Graph execution error:", "in user code:"):
        # What went wrong stands at the end, before the node's name and a hint.
        said = [line for line in said[::-1] if " " in line and line[0] not in "[(0"]
    kind = f"{type(error).__name__}: "
    told = kind + (said[0].removeprefix(kind) if said else "")
    return told.replace(sys.prefix, "<env>").replace(tempfile.gettempdir(), "<tmp>")[:160]


def module_names() -> list[str]:
    """Gives the dotted names of the OD API's test modules for TensorFlow 2."""
    spec = importlib.util.find_spec("object_detection")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations)))
    found = [path for path in root.rglob("*_test.py") if not path.name.endswith("_tf1_test.py")]
    return sorted(".".join(path.relative_to(root.parent).with_suffix("").parts) for path in found)


def in_a_fork(work: Callable[..., None], what: Any, *, most_seconds: int) -> Any:
    """Gives what `work(what, pipe)` sends from a forked process; None when it dies or is too slow.

    Its output goes nowhere.
    """
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=_silently, args=(work, what, sender))
    child.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(most_seconds) else None
    except EOFError:
        return None
    finally:
        child.kill()
        child.join()


def _silently(work: Callable[..., None], what: Any, pipe: Any) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    work(what, pipe)


def _run_module(name: str, pipe: Any) -> None:
    """Runs one module's tests in this process and sends its rows."""
    from absl import flags
    from absl.testing import absltest

    flags.FLAGS([name, f"--test_tmpdir={tempfile.mkdtemp(prefix='odapi-')}"])
    # Imported for its flags.
    del absltest
    short = name.removeprefix("object_detection.")
    try:
        suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(name))
    except Exception as error:
        pipe.send([(short, "not_loaded", 1, "", one_line(error))])
        return
    outcomes = _Outcomes()
    suite.run(outcomes)
    rows: list[Row] = [(short, "passed", outcomes.passed, "", "")]
    if outcomes.skipped:
        rows.append((short, "skipped", len(outcomes.skipped), "", ""))
    rows.extend((short, kind, 1, test, said) for test, (kind, said) in outcomes.told.items())
    pipe.send(rows)


def rows_of(name: str) -> list[Row]:
    """Gives what one module's tests gave, run in a process of their own."""
    rows: list[Row] | None = in_a_fork(_run_module, name, most_seconds=MOST_SECONDS)
    short = name.removeprefix("object_detection.")
    return rows or [(short, "died", 1, "", f"no end in {MOST_SECONDS} seconds, or a crash")]


def _rows_there(path: Path) -> dict[str, list[dict[str, str]]]:
    """Gives the rows of a table by module; nothing without a table."""
    there: dict[str, list[dict[str, str]]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                there.setdefault(row["module"], []).append(row)
    return there


def _write(path: Path, there: dict[str, list[dict[str, str]]]) -> None:
    beside = path.with_suffix(".partial")
    with beside.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for module in sorted(there):
            writer.writerows(there[module])
    beside.replace(path)


def main(table: str, *only: str) -> int:
    """Runs what is not in the table yet; ends with 0, since what it found is for the reader."""
    from odapi_repro.training.compat import apply_patches

    path = Path(table)
    there = _rows_there(path)
    names = {name.removeprefix("object_detection."): name for name in module_names()}
    wanted = [short for short in names if (short in only if only else short not in there)]
    if not wanted:
        there, wanted = {}, list(names)
    apply_patches()
    begun = time.monotonic()
    with ThreadPoolExecutor(JOBS) as pool:
        outcomes = pool.map(rows_of, (names[short] for short in wanted))
        for number, (short, rows) in enumerate(zip(wanted, outcomes, strict=True), start=1):
            there[short] = [dict(zip(COLUMNS, map(str, row), strict=True)) for row in rows]
            _write(path, there)
            minutes = (time.monotonic() - begun) / 60
            print(f"{number}/{len(wanted)} {short}, {minutes:.0f} min", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
