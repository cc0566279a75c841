"""`odapi-repro <command>`: the same commands as `python -m odapi_repro.<command>`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from odapi_repro.command import dispatch

COMMANDS = {
    "diagnose": "what a config or a finished run really does, and which deviations hurt",
    "diff": "two configs compared in quantities and fields, factor by factor",
    "fix": "write the config that reaches the reference on your hardware, with reasons",
    "run": "train and evaluate the trials of a study, and leave a table in results/",
    "explain": "share the gap between a config and its reference among the deviations",
    "evaluate": "a checkpoint or a results file scored as COCO scores it, and where points went",
    "data": "COCO to records, records checked, and looked at as the model sees them",
    "zoo": "the reference pipelines, their reported numbers and published effect sizes",
    "doctor": "what this environment has and lacks, fit to be pasted into a bug report",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatches to one command and gives its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return dispatch(arguments, COMMANDS, program="odapi-repro", module="odapi_repro.")


if __name__ == "__main__":
    sys.exit(main())
