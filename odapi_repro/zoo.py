"""`zoo`: the reference pipelines, what was reported for them, and published effect sizes.

TensorFlow is never imported, and the OD API's protos only to show one reference in quantities.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from odapi_repro.command import Command
from odapi_repro.features.zoo_pages import (
    show_zoo,
)
from odapi_repro.reference import REFERENCES

SUMMARY = "the reference pipelines, their reported numbers and published effect sizes"
FORMATS = ("text", "json", "markdown", "csv")


_cli = Command("zoo", SUMMARY)
FLAGS = _cli.flags
_cli.enum("format", "text", FORMATS, "How it is printed.")
_cli.boolean("config", False, "Print the pipeline.config of the reference.")
_cli.enum(
    "family",
    None,
    list(dict.fromkeys(reference.family for reference in REFERENCES.values())),
    "List the references of this family only.",
)
_cli.boolean(
    "effects",
    False,
    "List published effect sizes; after it the name of a factor, for its figures and sources.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the list, one reference, its config, or effects; gives the exit code."""
    return _cli.run(functools.partial(show_zoo, FLAGS), argv)


if __name__ == "__main__":
    sys.exit(main())
