"""Runs a proof and keeps its last output: `python tests/e2e/proof.py NAME -- COMMAND ...`.

A proof takes too long for every change. What it printed last lies in benchmarks/proofs/NAME.txt,
below a head that says of which revision, when, how long and on what; a proof that fails leaves its
failure there and exits with its code. No path of the machine gets into the file.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "proofs"
FIELDS = ("command", "revision", "date", "seconds", "processor", "exit code")
MOST_LINES = 60


def main(argv: Sequence[str]) -> int:
    """Runs the command after `--`, shows what it prints, keeps it, and gives its exit code."""
    if len(argv) < 3 or argv[1] != "--" or not re.fullmatch(r"[a-z_]+", argv[0]):
        sys.exit("usage: python tests/e2e/proof.py NAME -- COMMAND ...")
    name, command = argv[0], list(argv[2:])
    lines: list[str] = []
    began, today = time.monotonic(), datetime.date.today()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            lines.append(line.rstrip("\n"))
    values = (
        " ".join(command),
        revision(),
        today.isoformat(),
        f"{time.monotonic() - began:.0f}",
        processor(),
        str(process.returncode),
    )
    head = [f"{field}: {value}" for field, value in zip(FIELDS, values, strict=True)]
    shown = lines[-MOST_LINES:]
    if len(lines) > len(shown):
        shown.insert(0, f"... {len(lines) - len(shown)} lines before")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.txt").write_text(without_paths("\n".join([*head, "", *shown]) + "\n"))
    return process.returncode


def revision() -> str:
    """Gives the commit, and whether anything that is tracked differs from it."""
    commit, changed = (
        subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False).stdout
        for args in (
            ("rev-parse", "--short=12", "HEAD"),
            ("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/proofs"),
        )
    )
    return (commit.strip() or "no git") + (", with changes" if changed.strip() else "")


def processor() -> str:
    """Gives the model and the number of its cores."""
    try:
        found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"


def without_paths(text: str) -> str:
    """Puts names in place of the folders of this machine."""
    for folder, name in (
        (str(ROOT), "."),
        (str(ROOT.parent), ".."),
        (sys.prefix, "PREFIX"),
        (tempfile.gettempdir(), "TMP"),
        (str(Path.home()), "HOME"),
    ):
        if folder != "/":
            text = text.replace(folder, name)
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
