"""Share of a study's wall time that is neither training steps nor evaluation, as a JSON line.

Reads the trials in the runs folder named as the first argument (`runs`, as `make demo` leaves it).
Start-up is import and tracing; evaluation is inference and scoring after its own tracing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(runs_dir: Path) -> int:
    """Prints one line for all succeeded trials together."""
    totals: dict[str, float] = {}
    trials = 0
    for path in sorted(runs_dir.glob("*/provenance.json")):
        provenance = json.loads(path.read_text(encoding="utf-8"))
        timings = provenance.get("timings")
        if not timings or "train_seconds" not in timings:
            continue
        trials += 1
        totals["wall_seconds"] = totals.get("wall_seconds", 0.0) + provenance["wall_seconds"]
        for name, seconds in timings.items():
            totals[name] = totals.get(name, 0.0) + seconds
    if not trials:
        print(
            json.dumps({"benchmark": "overhead", "skipped": f"no trial in {runs_dir}: make demo"})
        )
        return 0
    useful = totals["train_seconds"] + totals["eval_seconds"]
    line = {
        "benchmark": "overhead",
        "trials": trials,
        "share_neither_training_nor_evaluation": round(1 - useful / totals["wall_seconds"], 4),
        **{name: round(seconds, 1) for name, seconds in totals.items()},
    }
    print(json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs")))
