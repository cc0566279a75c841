"""A study of real trainings that is killed at random moments ends as an undisturbed one.

Takes about ten minutes on two cores: `python tests/e2e/kill_and_resume.py [FOLDER [KILLS [SEED]]]`.
Every kill is a SIGKILL, of the study, of its training child, or of both. What a trial took
is the only thing that may differ in the tables.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[2]
STUDY = "killed"
TIMED = ("wall_seconds", "train_seconds", "eval_seconds", "images_per_second", "peak_memory_mb")


def command() -> list[str]:
    return [
        *(sys.executable, "-m", "odapi_repro.run"),
        *("--pipeline", str(REPOSITORY / "pipelines" / "effdet_d3.config")),
        *("--ablate", "batch_size", "--levels", "1/2", "--scale", "smoke", "--name", STUDY),
        "--retry=failed",
    ]


def children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except FileNotFoundError:
        return []
    return [int(word) for word in text.split()]


def start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "ab") as log:
        return subprocess.Popen(command(), cwd=folder, stdout=log, stderr=log)


def table(folder: Path) -> pd.DataFrame:
    rows = pd.read_csv(folder / "results" / STUDY / "trials.csv")
    return rows.drop(columns=[name for name in rows if name in TIMED or name.endswith("_seconds")])


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    chance = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    began = time.monotonic()
    if start(folder / "undisturbed").wait() != 0:
        print(f"the undisturbed study failed: see {folder}/undisturbed/log.txt")
        return 1
    took = time.monotonic() - began
    done = 0
    for _ in range(kills):
        study = start(folder / "disturbed")
        moment = chance.uniform(0.05, 0.6) * took
        try:
            study.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            victims = {"parent": [study.pid], "child": children(study.pid)}
            victims["both"] = victims["parent"] + victims["child"]
            whom = chance.choice(sorted(victims))
            for pid in victims[whom]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            study.wait()
            done += 1
            print(f"killed {whom} after {moment:.0f} s", flush=True)
    code = start(folder / "disturbed").wait()
    if code != 0 or not done:
        print(f"exit {code} after {done} kills: see {folder}/disturbed/log.txt")
        return 1
    one, other = table(folder / "undisturbed"), table(folder / "disturbed")
    pd.testing.assert_frame_equal(one, other)
    print(f"{done} kills, {len(one)} trials: the same table, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
