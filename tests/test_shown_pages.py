"""What the documents show as printed is what is printed of the committed results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from odapi_repro.features.sanity.sanity_page import sanity_page
from odapi_repro.features.sanity.sanity_record import SANITY_FILE
from odapi_repro.page.terminal_page import Terminal, terminal_page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("*-sanity-*")), ids=lambda one: one.name)
def test_the_page_on_sanity_shows_the_committed_runs(folder: Path) -> None:
    page = terminal_page(sanity_page(SANITY_FILE.read(folder)), Terminal(width=100))
    assert f"```\n{page.strip()}\n```\n" in (ROOT / "docs" / "sanity.md").read_text("utf-8")


def test_the_first_page_shows_rows_of_the_committed_study() -> None:
    shown = (ROOT / "README.md").read_text("utf-8").split("\nLevels\n")[1].split("```")[0]
    page = (RESULTS / "effdet_d3-batch_size-proxy" / "README.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    cells = [row for row in rows if row and row[0] in ("16 (reference)", "4", "2")]
    levels = re.findall(r"^  (16 \(reference\)|4|2)  +(.*)$", shown, re.M)
    assert len(cells) == 3
    assert len(levels) == 6, "three levels in a table that is cut in two"
    for level, rest in levels:
        (row,) = (row for row in cells if row[0] == level)
        assert "  ".join(rest.split()) in "  ".join(row[1:])
