"""docs/evaluation.md says of scoring's speed what benchmarks/scoring.jsonl holds, wall and CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

BEGINS = {"scoring": "parsed data in memory", "scoring_from_files": "two JSON files"}


def row_of(line: dict[str, Any]) -> str:
    """The row of the table in docs/evaluation.md that a line of the benchmark makes."""
    cells = [
        f"{line['images']:,}",
        BEGINS[line["benchmark"]],
        f"{line['pycocotools_seconds']:.1f} s ({line['pycocotools_cpu_seconds']:.1f})",
        *(
            f"{line[f'{name}_seconds']:.2f} s ({line[f'{name}_cpu_seconds']:.2f}): "
            f"{line[ratio]:.0f} times ({line[cpu_ratio]:.0f})"
            for name, ratio, cpu_ratio in (
                ("odapi_repro", "ratio", "cpu_ratio"),
                ("hotcoco", "hotcoco_ratio", "hotcoco_cpu_ratio"),
            )
        ),
    ]
    return f"| {' | '.join(cells)} |"


@pytest.fixture(scope="module")
def lines(repository: Path) -> list[dict[str, Any]]:
    text = (repository / "benchmarks" / "scoring.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_every_measured_line_stands_in_the_docs_and_no_other(
    lines: list[dict[str, Any]], repository: Path
) -> None:
    text = (repository / "docs" / "evaluation.md").read_text()
    told = [row for row in text.splitlines() if " times (" in row]
    assert told == [row_of(line) for line in lines]


def test_ratios_are_those_of_the_seconds_they_stand_beside(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        for name, prefix in (("odapi_repro", ""), ("hotcoco", "hotcoco_")):
            for kind in ("", "cpu_"):
                own, peer = line[f"{name}_{kind}seconds"], line[f"pycocotools_{kind}seconds"]
                assert line[f"{prefix}{kind}ratio"] == pytest.approx(peer / own, rel=0.01)


def test_the_numbers_that_were_timed_are_pycocotools_own(lines: list[dict[str, Any]]) -> None:
    assert max(line["largest_difference"] for line in lines) < 1e-9
    assert {line["largest_difference_in_arrays"] for line in lines} == {0.0}
