"""A runs folder that something has damaged; `tests/e2e/corrupt_runs.py` does many more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_damaged_runs_folder_costs_no_traceback_and_changes_no_table_unsaid() -> None:
    script = Path(__file__).parent / "e2e" / "corrupt_runs.py"
    ended = subprocess.run(
        [sys.executable, str(script), "15", "3"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("15 damages, two commands each")
