"""Lets tests import helpers of their own and of their neighbours, under importlib mode too."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
for folder in (TESTS / "execution", TESTS / "study", TESTS / "diagnosis" / "finished_run"):
    sys.path.insert(0, str(folder))
