"""Imported by the server that workers are forked from, and by nobody else.

A server that a limit ends (no further process, no further file) would print a traceback. Its parent
sees that it is gone, goes on without and says so.
"""

from __future__ import annotations

import sys

__all__: list[str] = []

sys.excepthook = lambda *_: None
