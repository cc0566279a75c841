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

from absl import flags

from odapi_repro.command import run_command
from odapi_repro.ending import EXIT_DONE, EXIT_FAILED
from odapi_repro.errors import UserError
from odapi_repro.features.environment_page import environment_page
from odapi_repro.page.terminal_page import print_page
from odapi_repro.trials.environment import collect, lacks
from odapi_repro.trials.tensorflow_probe import probe_tensorflow

SUMMARY = "what this environment has and lacks, fit to be pasted into a bug report"


def _define_flags() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_enum(
        "format", "text", ["text", "json"], "How the report is printed.", flag_values=values
    )
    flags.DEFINE_bool(
        "devices",
        True,
        "Ask TensorFlow, in a child process, for its devices and whether the OD API imports.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "runs_dir", "runs", "Folder that trials are written to.", flag_values=values
    )
    flags.DEFINE_float(
        "timeout_seconds",
        180.0,
        "How long TensorFlow may take to import.",
        lower_bound=1.0,
        flag_values=values,
    )
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the report; gives 0 when training can run here and 1 when something needed lacks."""
    values = _define_flags()

    def command(positional: list[str]) -> int:
        if positional:
            raise UserError(
                f"an argument that doctor does not take: '{positional[0]}'",
                expected="flags only",
                mend="see odapi-repro doctor --help",
            )
        timeout_seconds: float = values.timeout_seconds
        probe = (lambda: probe_tensorflow(timeout_seconds)) if values.devices else None
        report = collect(runs_dir=Path(values.runs_dir), probe=probe)
        found = lacks(report)
        if values.format == "json":
            print(json.dumps({**report, "lacks": [asdict(lack) for lack in found]}, indent=2))
        else:
            print_page(environment_page(report, found))
        return EXIT_FAILED if any(lack.needed for lack in found) else EXIT_DONE

    return run_command(
        command, values, sys.argv[1:] if argv is None else argv, name="doctor", summary=SUMMARY
    )


if __name__ == "__main__":
    sys.exit(main())
