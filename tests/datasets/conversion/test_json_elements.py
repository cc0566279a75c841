"""The elements of large JSON files, against json.loads."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.datasets.conversion.json_elements import JsonReader
from odapi_repro.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
ELEMENTS = st.lists(
    st.dictionaries(st.sampled_from(["id", "cut", "name", 'a"b', "{"]), VALUES, max_size=4),
    max_size=5,
)


def read(path: Path, window: int = 1 << 20) -> tuple[dict[str, list[Any]], JsonReader]:
    """Gives the elements with what was cut out put back from the file."""
    reader = JsonReader(path, {"first": (), "second": ("cut",)}, window_bytes=window)
    raw = path.read_bytes()
    found: dict[str, list[Any]] = {}
    for elements in reader.elements():
        for number, item in enumerate(elements.items):
            whole = dict(item)
            if elements.cuts and (start := int(elements.cuts["cut"].starts[number])) >= 0:
                end = start + int(elements.cuts["cut"].lengths[number])
                assert whole["cut"] == 0
                whole["cut"] = json.loads(raw[start:end])
            found.setdefault(elements.key, []).append(whole)
    return found, reader


@settings(max_examples=25, deadline=None)
@given(
    first=ELEMENTS,
    second=ELEMENTS,
    other=VALUES,
    window=st.sampled_from([1, 7, 64, 1 << 20]),
    indent=st.sampled_from([None, 0, 2]),
    is_ascii=st.booleans(),
)
def test_elements_are_those_of_json_loads_whatever_the_window(
    first: list[Any], second: list[Any], other: Any, window: int, indent: int | None, is_ascii: bool
) -> None:
    content = {"before": other, "second": second, "{\\": other, "first": first, "after": other}
    text = json.dumps(content, indent=indent, ensure_ascii=is_ascii)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.json"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return  # a lone surrogate, which is no UTF-8
        found, reader = read(path, window)
        assert found.get("first", []) == first
        assert found.get("second", []) == second
        assert reader.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("window", [3, 1 << 20])
def test_every_shortened_file_is_called_cut_short_or_no_json(tmp_path: Path, window: int) -> None:
    text = '{"x": {"y": [1]}, "first": [{"id": 1}, {"id": "a]}"}], "second": [{"cut": [[1]]}]}'
    path = tmp_path / "file.json"
    for length in range(1, len(text)):
        path.write_text(text[:length])
        with pytest.raises(DataError, match="cut short"):
            read(path, window)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", "the JSON is a list, not an object"),
        ('[{"image_id": 1, "score": 0.5}]', "list of detections with scores"),
        ("", "the file is empty"),
        ("<html>", "markup"),
        ("PK\x03\x04", "a zip archive"),
        ('{"first": {"id": 1}}', "'first' is an object, not a list of objects"),
        ('{"first": [{"id": 1}, 5]}', "element 1 of 'first' is of type int"),
        ('{"first": [{"id": 1} {"id": 2}]}', "no JSON"),
        ('{"first": [{"id": 1},]}', "no JSON"),
        ('{"first": [{"id": x}]}', "element 0 of 'first'"),
        ('{"first": []} {"first": []}', "more than one JSON value"),
        ('{"first": []}}', "more than one JSON value"),
    ],
)
def test_what_is_no_coco_file_is_named(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(DataError, match=found):
        read(path)


def test_a_broken_element_is_named_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"first": [\n {"id": 1},\n {"id": oops}]}')
    with pytest.raises(DataError, match=r"file\.json:3:9: .*element 1 of 'first'"):
        read(path)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b'\xef\xbb\xbf{"second": [{"cut": [1, 2]}]}')
    assert read(path)[0] == {"second": [{"cut": [1, 2]}]}
