"""What the tests of this folder share: `run_writers` to import, and a folder for properties."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of the module's properties, which write over each other."""
    return tmp_path_factory.mktemp("scratch")
