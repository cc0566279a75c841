"""What the proto cannot express: one module each, off unless the trial's spec names it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from odapi_repro.command import nearest
from odapi_repro.errors import UserError

__all__ = ["EXTENSIONS", "enable_extensions"]

EXTENSIONS = ("proxy_backbone", "fresh_step")


def enable_extensions(names: Sequence[str]) -> None:
    """Switches on the named extensions, in the child process, after the compat patches.

    Raises:
        UserError: no extension of that name.
    """
    for name in names:
        if name not in EXTENSIONS:
            raise UserError(
                f"unknown training extension '{name}'",
                expected=f"one of {', '.join(EXTENSIONS)}",
                mend=nearest(name, EXTENSIONS) + "see docs/architecture.md",
            )
        importlib.import_module(f"odapi_repro.training.extensions.{name}").enable()
