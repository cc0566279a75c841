"""`odapi-repro <command>`: the same commands as `python -m odapi_repro.<command>`."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence

from odapi_repro.command import EXIT_DONE, EXIT_USAGE, nearest

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
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        listed = "".join(f"  {name:10} {summary}\n" for name, summary in COMMANDS.items())
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(
                f"usage: odapi-repro <command> [flags]\n\n{listed}\n"
                "`odapi-repro <command> --help` lists the flags of a command.\n"
            )
            sys.stdout.flush()
        return EXIT_DONE if arguments else EXIT_USAGE
    name = arguments[0]
    if name not in COMMANDS:
        print(
            f"odapi-repro: unknown command '{name}'\n"
            f"  expected: one of {', '.join(COMMANDS)}\n"
            f"  to mend it: {nearest(name, list(COMMANDS))}see odapi-repro --help",
            file=sys.stderr,
        )
        return EXIT_USAGE
    command = importlib.import_module(f"odapi_repro.{name}")
    exit_code: int = command.main(arguments[1:])
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
