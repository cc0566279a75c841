"""Lets tests import `fake_trials`, under pytest's importlib mode too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "diagnosis" / "finished_run"))
