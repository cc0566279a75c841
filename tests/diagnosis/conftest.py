"""Lets tests import `fake_diagnosis` and `columns_of_boxes`, under pytest's importlib mode too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
