"""Lets tests import `fake_explanation` and `response_surface`, under importlib mode too."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parents[2] / "analysis"):
    sys.path.insert(0, str(folder))
