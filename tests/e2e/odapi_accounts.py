"""Why each of the OD API's own tests that does not pass does not, and the page that says so.

    python tests/e2e/odapi_accounts.py     # prints tables of docs/compatibility.md

An account covers the rows of `benchmarks/proofs/odapi_tests_*.csv` of one module whose test and
message fit its patterns. `tests/test_odapi_proof.py` holds that every row has one account, that
every account has rows, and that the page is what this prints.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PROOFS = Path(__file__).resolve().parents[2] / "benchmarks" / "proofs"
STACKS = ("2.20", "2.15")
BEGIN = "<!-- made by tests/e2e/odapi_accounts.py -->"
END = "<!-- end -->"

ABSTRACT = "the module is the abstract half of two: its subclass in {} passes"
NO_DATA = "the file that the test reads is not in the package: {}"
LEFT_OUT = "a tool that makes data sets imports {}, which the locks leave out"


@dataclass(frozen=True)
class Account:
    """Why some tests of one module do not pass.

    Attributes:
        module: dotted, without `object_detection.`.
        whose: `the test's`, `the package's`, `left out` or `TensorFlow's`.
        why: what was found, and how that is known.
        test: a pattern that the test's name has; all when empty.
        message: a pattern that the message has; all when empty.
    """

    module: str
    whose: str
    why: str
    test: str = ""
    message: str = ""

    def covers(self, row: dict[str, str]) -> bool:
        """Whether this row of a table is one that the account is about."""
        return (
            row["module"] == self.module
            and bool(re.search(self.test, row["test"]))
            and bool(re.search(self.message, row["message"]))
        )


ACCOUNTS: tuple[Account, ...] = ()


def rows_of(stack: str) -> list[dict[str, str]]:
    """Gives the rows of a stack's table of tests."""
    with (PROOFS / f"odapi_tests_tf{stack}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def faulty(stack: str) -> list[dict[str, str]]:
    """Gives the rows of tests and modules that do not pass."""
    return [row for row in rows_of(stack) if row["outcome"] not in ("passed", "skipped")]


def models_of(stack: str) -> list[dict[str, str]]:
    """Gives the rows of a stack's table of models."""
    with (PROOFS / f"models_tf{stack}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _counts(stack: str) -> list[str]:
    counts: Counter[str] = Counter()
    for row in rows_of(stack):
        counts[row["outcome"]] += int(row["n"])
    modules = len({row["module"] for row in rows_of(stack)})
    run = sum(counts[kind] for kind in ("passed", "skipped", "error", "failure"))
    names = ("passed", "skipped", "error", "failure", "not_loaded", "died")
    return [stack, str(modules), str(run), *(str(counts[name]) for name in names)]


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page() -> str:
    """Gives the counts of each stack, the accounts with their numbers of tests, and the models."""
    heads = "modules,tests run,passed,skipped by the OD API,errors,failures,not loaded,died"
    parts = [_table(("TensorFlow", *heads.split(",")), [_counts(stack) for stack in STACKS])]
    rows = []
    for account in ACCOUNTS:
        numbers = [str(sum(map(account.covers, faulty(stack)))) for stack in STACKS]
        only = f" ({account.test})" if account.test else ""
        rows.append([f"`{account.module}`{only}", *numbers, account.whose, account.why])
    head = ("module (tests)", *(f"on {stack}" for stack in STACKS), "whose", "why")
    parts.append(_table(head, rows))
    for stack in STACKS:
        models = models_of(stack)
        stops = [row for row in models if row["outcome"] == "stops"]
        named = ", ".join(f"`{row['feature_extractor']}`" for row in stops)
        parts.append(
            f"TensorFlow {stack}: {len(models) - len(stops)} of {len(models)} feature extractors "
            f"are built and run once under the patches; {named} stop."
        )
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page() + "\n")
