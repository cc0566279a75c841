"""`python -m odapi_repro.data <command>`: records made, checked and looked at."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from odapi_repro.command import dispatch

SUMMARY = "COCO to records, records checked, and looked at as the model sees them"

COMMANDS = {
    "convert": "COCO json and images to sharded records, a label map and a manifest",
    "check": "what records, label map and pipeline say together, and what is wrong with it",
    "show": "contact sheets, histograms and anchors; also after the pipeline's own augmentation",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatches to one of the commands on data and gives its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return dispatch(arguments, COMMANDS, program="odapi-repro data", module="odapi_repro.data_")


if __name__ == "__main__":
    sys.exit(main())
