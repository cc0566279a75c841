"""Label maps: read, written, and refused with the place of the fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odapi_repro.datasets.label_map import LabelMap, read_label_map, write_label_map
from odapi_repro.errors import DataError


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "label_map.pbtxt"
    path.write_text(text)
    return path


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.integers(1, 1000), st.text(min_size=1, max_size=10), min_size=1))
def test_what_is_written_is_read(tmp_path: Path, items: dict[int, str]) -> None:
    path = tmp_path / "label_map.pbtxt"
    write_label_map(LabelMap(items, {i: f"shown {i}" for i in list(items)[:1]}), path)
    again = read_label_map(path)
    assert again.items == items
    assert again.num_classes == max(items)
    assert len(again.display_names) == 1


def test_cocos_gaps_count_into_num_classes(tmp_path: Path) -> None:
    path = _write(tmp_path, "item { id: 90 name: 'toothbrush' }\nitem { id: 1 name: 'person' }")
    label_map = read_label_map(path)
    assert label_map.num_classes == 90
    assert label_map.id_of("person") == 1
    assert label_map.id_of("cat") is None
    assert label_map.categories() == [
        {"id": 1, "name": "person"},
        {"id": 90, "name": "toothbrush"},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item { id: 0 name: 'background' }", "has id 0"),
        ("item { id: -2 name: 'a' }", "has id -2"),
        ("item { name: 'a' }", "has id 0"),
        ("item { id: 1 name: 'a' }\nitem { id: 1 name: 'b' }", "id 1 is given twice: 'a' and 'b'"),
        ("item { id: 1 }", "id 1 has no name"),
        ("", "has no items"),
        ("item {\n  id: 1\n  label: 'a'\n}", r"label_map\.pbtxt:3:3"),
        ("item {\n  id: 'one'\n}", r"label_map\.pbtxt:2:7"),
        ("item {\n  id: 1", "does not parse"),
        ("{'a': 1}", r"label_map\.pbtxt:1:1"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_label_map(_write(tmp_path, text))


def test_a_record_is_no_label_map(train_files: list[Path]) -> None:
    with pytest.raises(DataError, match="no text"):
        read_label_map(train_files[0])


def test_a_missing_label_map_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the label map"):
        read_label_map(tmp_path / "none.pbtxt")
