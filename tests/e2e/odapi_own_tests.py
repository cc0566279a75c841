"""Runs the OD API's own tests under our patches, and writes what each module gave.

    python tests/e2e/odapi_own_tests.py TABLE.csv [MODULE ...]     # about half an hour on two cores

Each module of the installed `object_detection` named `*_test.py`, but `*_tf1_test.py`, runs in a
process of its own, which is forked after TensorFlow was imported and before it was used. `TABLE.csv`
has the columns `module outcome n test message`: a row with the number of tests that passed, one
with the number that the OD API itself skips (tests of TensorFlow 1), and one for each test with
another outcome: `error`, `failure`; for a module, `not_loaded`, `timeout` or `died`. A table that is
there is gone on with: modules in it are not run again. ODAPI_TESTS_JOBS is how many run at a time.
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
        self.told.setdefault(_name(test), ("error", _line(err[0], err[1])))

    def addFailure(self, test: Any, err: Any) -> None:
        self.told.setdefault(_name(test), ("failure", _line(err[0], err[1])))


def _name(test: Any) -> str:
    # A parametrised test's id goes on with its arguments.
    return ".".join(test.id().split(" ")[0].split(".")[-2:])


def _line(kind: type, error: BaseException) -> str:
    """The last word of an error in one line, without what changes from run to run."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    if said and said[0] == "Graph execution error:":
        # What went wrong stands at the end, before the node's name and a hint.
        said = [line for line in said[::-1] if " " in line and line[0] not in "[(0"]
    told = f"{kind.__name__}: {said[0] if said else ''}"
    return told.replace(sys.prefix, "<env>").replace(tempfile.gettempdir(), "<tmp>")[:160]


def module_names() -> list[str]:
    """Gives the dotted names of the OD API's test modules for TensorFlow 2."""
    spec = importlib.util.find_spec("object_detection")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations)))
    found = [path for path in root.rglob("*_test.py") if not path.name.endswith("_tf1_test.py")]
    return sorted(".".join(path.relative_to(root.parent).with_suffix("").parts) for path in found)


def _run_module(name: str, pipe: Any) -> None:
    """Runs one module's tests in this process and sends its rows."""
    log = os.open(os.devnull, os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    short = name.removeprefix("object_detection.")
    from absl import flags
    from absl.testing import absltest

    flags.FLAGS([name, f"--test_tmpdir={tempfile.mkdtemp(prefix='odapi-')}"])
    del absltest
    try:
        suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(name))
    except Exception as error:
        pipe.send([(short, "not_loaded", 1, "", _line(type(error), error))])
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
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=_run_module, args=(name, sender))
    child.start()
    sender.close()
    short = name.removeprefix("object_detection.")
    try:
        if receiver.poll(MOST_SECONDS):
            rows: list[Row] = receiver.recv()
            return rows
        return [(short, "timeout", 1, "", f"no end after {MOST_SECONDS} seconds")]
    except EOFError:
        child.join()
        return [(short, "died", 1, "", f"exit code {child.exitcode}")]
    finally:
        child.kill()
        child.join()


def main(table: str, *only: str) -> int:
    """Runs what is not in the table yet; ends with 0, since what it found is for the reader."""
    from odapi_repro.training.compat import apply_patches

    path = Path(table)
    there: set[str] = set()
    if path.exists():
        with path.open(encoding="utf-8", newline="") as lines:
            there = {row["module"] for row in csv.DictReader(lines)}
    wanted = [
        name
        for name in module_names()
        if name.removeprefix("object_detection.") not in there
        and (not only or name.removeprefix("object_detection.") in only)
    ]
    apply_patches()
    begun = time.monotonic()
    with path.open("a", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        if not there:
            writer.writerow(COLUMNS)
        with ThreadPoolExecutor(JOBS) as pool:
            for number, rows in enumerate(pool.map(rows_of, wanted), start=1):
                writer.writerows(rows)
                target.flush()
                minutes = (time.monotonic() - begun) / 60
                print(f"{number}/{len(wanted)} {rows[0][0]}, {minutes:.0f} min", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
