"""`doctor`: what this environment has and lacks, fit to be pasted into a bug report.

Nothing of TensorFlow is imported in this process; a child imports it, under a time limit, as the
training itself would.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from odapi_repro.command import Command
from odapi_repro.ending import EXIT_DONE, EXIT_FAILED
from odapi_repro.errors import UserError
from odapi_repro.features.environment_page import environment_page
from odapi_repro.page.terminal_page import print_page
from odapi_repro.trials.environment import collect, lacks, probe_tensorflow

SUMMARY = "what this environment has and lacks, fit to be pasted into a bug report"


_cli = Command("doctor", SUMMARY)
FLAGS = _cli.flags
_cli.enum("format", "text", ["text", "json"], "How the report is printed.")
_cli.boolean(
    "devices",
    True,
    "Ask TensorFlow, in a child process, for its devices and whether the OD API imports.",
)
_cli.string("runs_dir", "runs", "Folder that trials are written to.")
_cli.number("timeout_seconds", 180.0, "How long TensorFlow may take to import.", lower_bound=1.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the report; gives 0 when training can run here and 1 when something needed lacks."""
    return _cli.run(_run, argv)


def _run(positional: list[str], command: str) -> int:
    del command
    if positional:
        raise UserError(
            f"an argument that doctor does not take: '{positional[0]}'",
            expected="flags only",
            mend="see odapi-repro doctor --help",
        )
    timeout_seconds: float = FLAGS.timeout_seconds
    probe = (lambda: probe_tensorflow(timeout_seconds)) if FLAGS.devices else None
    report = collect(runs_dir=Path(FLAGS.runs_dir), probe=probe)
    found = lacks(report)
    if FLAGS.format == "json":
        print(json.dumps({**report, "lacks": [asdict(lack) for lack in found]}, indent=2))
    else:
        print_page(environment_page(report, found))
    return EXIT_FAILED if any(lack.needed for lack in found) else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
