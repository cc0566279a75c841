"""Seconds of a cold `diagnose` process against one in which the OD API reads the same config.

The peer is the least that the OD API's own reading of a config takes:
`object_detection.utils.config_util.get_configs_from_pipeline_file`, in the same interpreter and
environment. It says nothing about the config; it is what every tool pays that goes through it.
A second peer is an interpreter that does no more than read the config with protobuf's own parser:
the floor that nobody who speaks of a config's fields can be below. Processes alternate, and the
first of each, which may write bytecode, is left out. One JSON line, CPU time beside wall time.

    python benchmarks/bench_diagnose.py [RUNS]    # 20 by default
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIG = "pipelines/effdet_d3.config"
MOST_SECONDS = 0.30
LEAST_RATIO = 20.0

_OURS = [sys.executable, "-m", "odapi_repro.diagnose", CONFIG]
_PEER = [
    sys.executable,
    "-c",
    "import sys\n"
    "from object_detection.utils import config_util\n"
    "assert config_util.get_configs_from_pipeline_file(sys.argv[1])['train_config'].num_steps",
    CONFIG,
]
_PROTOBUF = [
    sys.executable,
    "-c",
    "import sys\n"
    "from google.protobuf import text_format\n"
    "from object_detection.protos import pipeline_pb2\n"
    "config = pipeline_pb2.TrainEvalPipelineConfig()\n"
    "text_format.Parse(open(sys.argv[1]).read(), config)\n"
    "assert config.train_config.num_steps",
    CONFIG,
]
_BARE = [sys.executable, "-c", "pass"]


def main(runs: int = 20) -> int:
    """Prints the medians, their ratio and whether the bars are met."""
    commands = {"diagnose": _OURS, "config_util": _PEER, "protobuf": _PROTOBUF, "python": _BARE}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in commands}
    for run in range(runs + 1):
        for name, command in list(commands.items()):
            taken = _seconds(command)
            if taken is None:
                # Without TensorFlow (the light environment) there is no peer.
                del commands[name]
            elif run:
                seconds[name].append(taken[0])
                cpu_seconds[name].append(taken[1])
    medians = {name: statistics.median(taken) for name, taken in seconds.items() if taken}
    if "diagnose" not in medians:
        print(f"bench_diagnose: {' '.join(_OURS)} failed", file=sys.stderr)
        return 1
    line: dict[str, object] = {
        "benchmark": "diagnose",
        "runs": runs,
        **{f"{name}_seconds": round(median, 3) for name, median in medians.items()},
        **{
            f"{name}_cpu_seconds": round(statistics.median(taken), 3)
            for name, taken in cpu_seconds.items()
            if taken
        },
        "times_protobuf": round(medians["diagnose"] / medians["protobuf"], 2),
        "most_seconds": MOST_SECONDS,
    }
    met = medians["diagnose"] <= MOST_SECONDS
    if "config_util" in medians:
        ratio = medians["config_util"] / medians["diagnose"]
        line |= {"ratio": round(ratio, 1), "least_ratio": LEAST_RATIO}
        met = met and ratio >= LEAST_RATIO
    else:
        line["skipped"] = "the peer: TensorFlow or the OD API's config_util does not import here"
    print(json.dumps({**line, "met": met}))
    return 0


def _seconds(command: list[str]) -> tuple[float, float] | None:
    """Gives the wall time and the CPU time of a process, None where it failed."""
    begun, before = time.perf_counter(), os.times()
    # Bytecode is written by the first run and read by the others, as in any installation.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, check=False, env=environment
    )
    taken, after = time.perf_counter() - begun, os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return (taken, cpu) if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
