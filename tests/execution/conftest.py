"""Lets tests import `fake_trials` and `issue_10530`, under pytest's importlib mode too."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "study"):
    sys.path.insert(0, str(folder))
