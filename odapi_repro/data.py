"""`python -m odapi_repro.data <command>`: records made, checked and looked at."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence

from odapi_repro.command import EXIT_DONE, EXIT_USAGE, nearest

__all__ = ["COMMANDS", "SUMMARY", "main"]

SUMMARY = "COCO to records, records checked, and looked at as the model sees them"

COMMANDS = {
    "convert": "COCO json and images to sharded records, a label map and a manifest",
    "check": "what records, label map and pipeline say together, and what is wrong with it",
    "show": "contact sheets, histograms and anchors; also after the pipeline's own augmentation",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatches to one of the commands on data and gives its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "-help", "help"):
        listed = "".join(f"  {name:10} {summary}\n" for name, summary in COMMANDS.items())
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(
                f"usage: odapi-repro data <command> [flags]\n\n{listed}\n"
                "`odapi-repro data <command> --help` lists the flags of a command.\n"
            )
            sys.stdout.flush()
        return EXIT_DONE if arguments else EXIT_USAGE
    name = arguments[0]
    if name not in COMMANDS:
        print(
            f"odapi-repro data: unknown command '{name}'\n"
            f"  expected: one of {', '.join(COMMANDS)}\n"
            f"  to mend it: {nearest(name, list(COMMANDS))}see odapi-repro data --help",
            file=sys.stderr,
        )
        return EXIT_USAGE
    command = importlib.import_module(f"odapi_repro.data_{name}")
    exit_code: int = command.main(arguments[1:])
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
