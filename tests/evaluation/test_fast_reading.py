"""The fast way to read boxes comes to what the careful one does, bit by bit, or leaves it to it."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import (
    detections_of,
    ground_truth_of,
    read_detections,
    results_file,
)
from odapi_repro.evaluation.coco_data.coco_columns import Detections, GroundTruth
from odapi_repro.evaluation.coco_data.results_file import plain_boxes
from odapi_repro.evaluation.evaluation_subject import Subject


def truth(*ids: int | str) -> GroundTruth:
    images = [{"id": id_, "height": 60, "width": 80, "file_name": f"{id_}.jpg"} for id_ in ids]
    classes = [{"id": id_, "name": f"class {id_}"} for id_ in (1, 3)]
    return ground_truth_of({"images": images, "annotations": [], "categories": classes})


TRUTH = truth(1, 7)


def one(**changed: Any) -> dict[str, Any]:
    return {"image_id": 7, "category_id": 3, "bbox": [1.5, 2, 3, 4], "score": 0.5, **changed}


def carefully(data: bytes, of: GroundTruth) -> Detections | str:
    try:
        return detections_of(json.loads(data.decode("utf-8-sig")), of, "x")
    except DataError as error:
        return str(error)


def fast_way(data: bytes, of: GroundTruth = TRUTH) -> Detections | None:
    """In one piece; in pieces of a detection or so the same comes of it."""
    whole, pieces = (plain_boxes(io.BytesIO(data), chunk) for chunk in (1 << 20, 90))
    if whole is None or pieces is None:
        assert whole is pieces
        return None
    found, again = whole.detections(of, "x"), pieces.detections(of, "x")
    if found is not None and again is not None:
        assert found.boxes.tobytes() == again.boxes.tobytes()
        assert found.scores.tobytes() == again.scores.tobytes()
        assert found.images.tolist() == again.images.tolist()
    else:
        assert found is again
    return found


def assert_alike(data: bytes, of: GroundTruth = TRUTH) -> bool:
    """Whether the fast way took it; both ways give the same, if so."""
    fast = fast_way(data, of)
    if fast is None:
        return False
    slow = carefully(data, of)
    assert isinstance(slow, Detections), slow
    for name in ("images", "categories", "boxes", "scores"):
        ours, theirs = getattr(fast, name), getattr(slow, name)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes()
    assert (fast.masks, fast.areas, fast.where) == (slow.masks, slow.areas, slow.where)
    return True


@pytest.mark.parametrize(
    "rows",
    [
        [one()],
        [one(), one(image_id=1, score=1, bbox=[0, 0, 0, 0])],
        [one(caption=["what", {"else": [1, None, True]}], id=5)],
        [one(bbox=[-0.0, -3, 1e-320, 5e-324], score=-1e308)],
        [one(bbox=[2**53 + 1, 2**64 + 3, 0.1, 10**25], score=2**63 + 1)],
        [one(score=1e-400), one(note="\u540d \U0001f600")],
    ],
)
def test_boxes_are_read_fast_and_alike(rows: list[dict[str, Any]]) -> None:
    assert assert_alike(json.dumps(rows).encode())
    assert assert_alike(json.dumps(rows, ensure_ascii=False, indent=1).encode())


def test_ids_that_are_no_plain_whole_numbers_are_left_to_the_careful_way() -> None:
    rows = [one(image_id="a"), one(image_id="7")]
    assert fast_way(json.dumps(rows).encode(), truth("7", "a")) is None
    for id_ in (7.5, 2**53, 2**53 + 1, 2**64, -(2**53)):
        data = json.dumps([one(), one(image_id=id_)]).encode()
        assert fast_way(data, truth(7, 2**53)) is None
    assert assert_alike(json.dumps([one(image_id=7.0), one(category_id=3.0)]).encode())


def test_of_a_key_that_is_given_twice_the_last_counts() -> None:
    text = json.dumps([one()]).replace('"score": 0.5', '"score": 0.5, "score": 0.25')
    assert assert_alike(text.encode())
    escaped = json.dumps([one()]).replace('"score": 0.5', '"sc\\u006fre": 0.125')
    assert assert_alike(escaped.encode())


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        json.dumps([one(segmentation=[])]),
        json.dumps([one(), one(segmentation={"size": [60, 80], "counts": "x"})]),
        json.dumps([one()]).replace('"score"', '"segment\\u0061tion": "", "score"'),
        json.dumps([one(segments_info=[])]),
        json.dumps([one(image_id=8)]),
        json.dumps([one(image_id="7")]),
        json.dumps([one(image_id=True)]),
        json.dumps([one(category_id=2)]),
        json.dumps([one(bbox=[1, 2, 3])]),
        json.dumps([one(bbox=[1, 2, 3, -1e-9])]),
        json.dumps([one(bbox=None)]),
        json.dumps([one(bbox=[])]),
        json.dumps([one(bbox=[1, 2, True, 3])]),
        json.dumps([one(score="0.5")]),
        json.dumps([one(score=float("nan"))]),
        json.dumps([one(score=float("inf"))]),
        json.dumps([one()]).replace("0.5", "1e400"),
        json.dumps([one()]).replace("0.5", "9" * 400),
        json.dumps([{"image_id": 7, "category_id": 3, "score": 1}]),
        json.dumps([one(), 3]),
        json.dumps({"annotations": [one()]}),
        json.dumps([one()])[:-1],
        json.dumps([one()]) + "[]",
        "\ufeff" + json.dumps([one()]),
        json.dumps([one(deep=[])]).replace("[]", "[" * 100_000 + "]" * 100_000),
    ],
)
def test_all_else_is_left_to_the_careful_way(text: str) -> None:
    assert fast_way(text.encode()) is None


@pytest.mark.parametrize("note", ["}, {", '"}, {"', '\\"}, {', [{}, {"a": 1}], "\\", "}] , [{"])
def test_what_looks_like_the_end_of_a_detection_ends_none(note: Any) -> None:
    rows = [one(note=note), one(image_id=1, note=note), one(score=0.25)]
    assert detections_of(rows, TRUTH).num == 3
    data = json.dumps(rows).encode()
    assert assert_alike(data) or plain_boxes(io.BytesIO(data)) is not None


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"score": True}, "'score' is True in 1 of 2"),
        ({"bbox": [1, 2, True, 3]}, "True"),
        ({"image_id": True}, "1 image is not in the ground truth"),
        ({"category_id": True}, "1 class is not in the ground truth"),
    ],
)
def test_a_truth_value_is_no_number_whatever_its_neighbours_are(
    changed: dict[str, Any], found: str
) -> None:
    told = carefully(json.dumps([one(), one(**changed)]).encode(), TRUTH)
    assert isinstance(told, str)
    assert found in told


def test_what_is_no_utf_8_is_left_to_the_careful_way() -> None:
    assert fast_way(json.dumps([one(note="N")]).encode().replace(b"N", b"\xe9")) is None


def test_a_file_that_the_fast_way_leaves_is_read_or_refused_as_before(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("\ufeff" + json.dumps([one()]), encoding="utf-8")
    assert read_detections(path, TRUTH).num == 1
    path.write_text(json.dumps([one(), one(score=float("nan"))]))
    with pytest.raises(DataError, match="'score' is nan in 1 of 2 detections, first at index 1"):
        read_detections(path, TRUTH)


def test_evaluate_reads_boxes_the_fast_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("parsed the careful way")

    monkeypatch.setattr(results_file, "parsed_json", refused)
    path = tmp_path / "results.json"
    path.write_text(json.dumps([one(), one()]))
    subject = Subject.of(str(path))
    assert not subject.has_masks(None)
    assert subject.results.detections(TRUTH).num == 2
    path.write_text(json.dumps([one(segmentation=[])]))
    with pytest.raises(AssertionError):
        Subject.of(str(path)).has_masks(None)


@pytest.mark.parametrize(
    ("rows", "has_masks"),
    [([], False), ([one()], False), ([one(segmentation=[])], True), ([3], False)],
)
def test_a_file_has_masks_where_its_first_detection_has_one(
    tmp_path: Path, rows: list[Any], has_masks: bool
) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows))
    assert Subject.of(str(path)).has_masks(None) == has_masks


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_float_that_is_written_is_read_to_its_bits(patterns: list[int]) -> None:
    floats = np.array([struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in patterns])
    floats = floats[np.isfinite(floats)]
    rows = [one(score=value, bbox=[value, 0, abs(value), 1]) for value in floats.tolist()]
    assert assert_alike(json.dumps(rows).encode()) or not rows
