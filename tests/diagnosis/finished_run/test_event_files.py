"""Event files: scalars of both kinds, images stepped over, damage told and never raised."""

from __future__ import annotations

import math
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_writers import (
    event,
    field,
    image,
    record,
    scalar,
    simple_scalar,
    tf1_image,
    write_events,
)

from odapi_repro.diagnosis.finished_run import Scalar, iterate_scalars
from odapi_repro.diagnosis.finished_run.event_files import merge_restarts, read_event_file

SCALARS = [event(step, 5.0, values=[scalar("Loss/total_loss", step / 8)]) for step in range(1, 6)]


def read(path: Path) -> tuple[list[Scalar], list[str]]:
    damage: list[str] = []
    return list(iterate_scalars(path, damage)), damage


def steps(path: Path) -> list[int]:
    return [one.step for one in read(path)[0]]


def tensor_value(dtype: int, *rest: bytes, shape: bytes = b"") -> bytes:
    return field(1, b"x") + field(8, b"".join([field(1, dtype), field(2, shape), *rest]))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**62),
            st.text("aAP/@.5 ()é世", min_size=1, max_size=20),
            st.floats(width=32),
        ),
        max_size=6,
    )
)
def test_what_was_written_is_read_back(
    scratch: Path, written: list[tuple[int, str, float]]
) -> None:
    path = write_events(
        scratch,
        [event(step, 2.5, values=[scalar(tag, value)]) for step, tag, value in written],
    )
    found, damage = read(path)
    assert damage == []
    assert [(one.step, one.tag, one.wall_time) for one in found] == [
        (step, tag, 2.5) for step, tag, _ in written
    ]
    for one, (_, _, value) in zip(found, written, strict=True):
        assert one.value == value or (math.isnan(one.value) and math.isnan(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (simple_scalar("x", 0.5), 0.5),
        (simple_scalar("x", 0.0), 0.0),
        (tensor_value(1, field(4, struct.pack("<f", 0.5))), 0.5),
        (tensor_value(1, field(5, struct.pack("<f", 0.5))), 0.5),  # packed float_val
        (tensor_value(1, field(5, 0.5, kind="float")), 0.5),  # float_val by itself
        (tensor_value(1), 0.0),  # TensorFlow compresses a zero to nothing
        (tensor_value(2, field(4, struct.pack("<d", 0.1))), 0.1),
        (tensor_value(2, field(6, 0.1, kind="double")), 0.1),
        (tensor_value(3, field(7, -7)), -7.0),
        (tensor_value(9, field(10, 2**40)), 2.0**40),
        (tensor_value(9, field(4, struct.pack("<q", -3))), -3.0),
        (tensor_value(19, field(13, 0x3C00)), 1.0),  # float16
        (tensor_value(19, field(4, struct.pack("<e", 0.25))), 0.25),
        (tensor_value(14, field(13, 0x3F80)), 1.0),  # bfloat16
        (tensor_value(10, field(11, 1)), 1.0),
    ],
)
def test_a_number_is_read_in_every_form_that_tensorflow_writes(
    tmp_path: Path, value: bytes, expected: float
) -> None:
    found, damage = read(write_events(tmp_path, [event(3, values=[value])]))
    assert [one.value for one in found] == [expected]
    assert damage == []


@pytest.mark.parametrize(
    "value",
    [
        image("x", 10),
        tf1_image("x", 10),
        tensor_value(1, field(4, bytes(8)), shape=field(2, field(1, 2))),  # a vector
        tensor_value(1, field(4, bytes(3))),  # no float
        tensor_value(7, field(8, b"text")),
        field(1, b"x"),
    ],
)
def test_what_is_no_number_is_passed_over(tmp_path: Path, value: bytes) -> None:
    found, damage = read(write_events(tmp_path, [event(3, values=[value]), *SCALARS]))
    assert len(found) == len(SCALARS)
    assert damage == []


def test_scalars_beside_large_images_in_one_event_are_read(tmp_path: Path) -> None:
    values = [simple_scalar("a", 1.0), tf1_image("i", 200_000), simple_scalar("b", 2.0)]
    found, damage = read(write_events(tmp_path, [event(7, 3.0, values=values), *SCALARS]))
    assert found[:2] == [Scalar(7, 3.0, "a", 1.0), Scalar(7, 3.0, "b", 2.0)]
    assert len(found) == 2 + len(SCALARS)
    assert damage == []


def test_images_cost_no_memory(tmp_path: Path) -> None:
    path = write_events(tmp_path, [event(1, values=[image("i", 30 << 20)]), *SCALARS])
    tracemalloc.start()
    found = steps(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [1, 2, 3, 4, 5]
    assert peak < 1 << 20


@settings(deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_gives_what_is_whole_and_no_damage(
    scratch: Path, data: st.DataObject
) -> None:
    path = write_events(scratch, SCALARS)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    found, damage = read(path)
    assert [one.step for one in found] == list(range(1, len(found) + 1))
    assert damage == []


@settings(deadline=None)
@given(st.data())
def test_one_changed_byte_costs_one_record_at_most_and_is_told(
    scratch: Path, data: st.DataObject
) -> None:
    path = write_events(scratch, SCALARS)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found, damage = read(path)
    assert len(found) >= len(SCALARS) - 1
    assert damage


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(scratch: Path, junk: bytes) -> None:
    path = write_events(scratch, [])
    path.write_bytes(junk + record(junk) + record(SCALARS[0]))
    found, _ = read(path)
    assert [one.step for one in found][-1:] in ([1], [])


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=1, max_size=200))
def test_a_long_record_of_any_bytes_is_walked_without_an_error(scratch: Path, junk: bytes) -> None:
    long = junk + field(5, junk) + field(9, bytes(70_000)) + junk
    path = write_events(scratch, [long, *SCALARS])
    assert steps(path)[-5:] == [1, 2, 3, 4, 5]


def test_a_long_record_of_countless_fields_is_given_up(tmp_path: Path) -> None:
    found, damage = read(write_events(tmp_path, [field(9, 0) * 200_000, *SCALARS]))
    assert len(found) == len(SCALARS)
    assert "too many fields" in damage[0]


def test_a_stretch_of_zeros_is_skipped_and_told(tmp_path: Path) -> None:
    path = write_events(tmp_path, SCALARS[:2])
    later = b"".join(record(data) for data in SCALARS[2:])
    path.write_bytes(path.read_bytes() + bytes(100_000) + later)
    found, damage = read(path)
    assert [one.step for one in found] == [1, 2, 3, 4, 5]
    assert len(damage) == 1
    assert path.name in damage[0]


def test_many_damages_are_counted_and_not_listed(tmp_path: Path) -> None:
    path = write_events(tmp_path, [b"\xff\xff"] * 1000)
    _, damage = read(path)
    assert len(damage) < 20
    assert "992 more" in damage[-1]


def test_an_unreadable_file_is_a_damage(tmp_path: Path) -> None:
    assert read(tmp_path / "gone.tfevents.1") == ([], ["gone.tfevents.1: cannot be read "
                                                       "(No such file or directory)"])  # fmt: skip


def test_a_restart_replaces_the_steps_that_it_trains_again(tmp_path: Path) -> None:
    def part(started: int, steps: range, value: float) -> Path:
        return write_events(
            tmp_path, [event(s, values=[scalar("x", value)]) for s in steps], started=started
        )

    paths = [part(30, range(300, 501, 100), 3.0), part(10, range(100, 901, 100), 1.0)]
    paths.append(part(20, range(0), 2.0))
    scalars, restarts = merge_restarts([read_event_file(path) for path in paths])
    assert [(one.step, one.value) for one in scalars] == [
        (100, 1.0), (200, 1.0), (300, 3.0), (400, 3.0), (500, 3.0),
    ]  # fmt: skip
    assert [one.step for one in restarts] == [300]


def test_two_starts_in_one_second_are_ordered_by_what_they_logged(tmp_path: Path) -> None:
    first = write_events(tmp_path / "b", [event(100, 5.0, values=[scalar("x", 1.0)])], started=1)
    second = write_events(tmp_path / "a", [event(100, 9.0, values=[scalar("x", 2.0)])], started=1)
    scalars, _ = merge_restarts([read_event_file(second), read_event_file(first)])
    assert [one.value for one in scalars] == [2.0]


@pytest.mark.parametrize("keep", [lambda tag: tag == "b", lambda tag: False])
def test_only_the_tags_asked_for_are_kept(tmp_path: Path, keep: Callable[[str], bool]) -> None:
    values = [simple_scalar("a", 1.0), simple_scalar("b", 2.0)]
    kept = read_event_file(write_events(tmp_path, [event(1, values=values)]), keep)
    assert [one.tag for one in kept.scalars] == [tag for tag in "ab" if keep(tag)]
