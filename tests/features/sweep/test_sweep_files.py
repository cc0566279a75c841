"""What a sweep has written and is damaged since: refused with a message, or scored again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from odapi_repro.errors import StudyMismatch
from odapi_repro.features.sweep.sweep_plan import CellResult, CellStore
from odapi_repro.features.sweep.sweep_record import SWEEP_FILE, SweepRecord

RECORD = SweepRecord(
    foundation={"version": 2},
    reference="a",
    axes={"nms": ["0.5", "0.6"]},
    cells={"a": {}, "b": {"nms": "0.6"}},
    passes={"plain": "ckpt-1"},
    variants={"plain": ["plain"]},
    seconds={"plain": 1.5},
    design="one_factor_at_a_time",
)
RESULT = CellResult(
    metrics={"AP": 25.0, "AP_large": None},
    num_detections=7,
    reference="a",
    resamples=20,
    differences={"AP": (1.0, 0.5, 0.0, 2.0, None)},
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    SWEEP_FILE.write(tmp_path, vars(RECORD))
    assert SweepRecord.read(tmp_path) == RECORD
    assert SweepRecord.read(tmp_path / "other") is None


WHOLE = json.loads(
    json.dumps(
        {"version": 1, **{name: getattr(RECORD, name) for name in RECORD.__dataclass_fields__}}
    )
)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"version": 1}',
        json.dumps({**WHOLE, "version": "1"}),
        json.dumps({**WHOLE, "more": 1}),
        json.dumps({**WHOLE, "axes": {"nms": "0.5"}}),
        json.dumps({**WHOLE, "axes": {"nms": []}}),
        json.dumps({**WHOLE, "cells": {"a": None}}),
        json.dumps({**WHOLE, "reference": "c"}),
        json.dumps({**WHOLE, "design": None}),
    ],
)
def test_a_damaged_record_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(StudyMismatch, match=r"sweep.json cannot be read(.|\n)*delete the file"):
        SweepRecord.read(tmp_path)


def test_a_cell_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    assert store.read("a") is None
    store.write("a", RESULT)
    assert store.read("a") == RESULT


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in vars(RESULT).items() if key != name}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"metrics": {}}',
        *(json.dumps(without(name)) for name in vars(RESULT)),
        json.dumps({**vars(RESULT), "differences": {"AP": [1.0]}}),
        json.dumps({**vars(RESULT), "differences": {"AP": 1.0}}),
        json.dumps({**vars(RESULT), "metrics": {"AP": "25"}}),
        json.dumps({**vars(RESULT), "more": 1}),
    ],
)
def test_a_damaged_cell_is_scored_again(tmp_path: Path, content: str) -> None:
    store = CellStore(tmp_path)
    store.write("a", RESULT)
    (tmp_path / "evaluations" / "cells" / "a.json").write_text(content)
    assert store.read("a") is None
