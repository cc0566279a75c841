"""How many shards the patterns of a reader read, by their names and on disk."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.pipeline import ShardCount, count_shards


def read(*patterns: str) -> tuple[int | None, int | None]:
    found = count_shards(patterns, look_at_disk=False)
    return found.read, found.named


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("data/train2017-?????-of-00256.tfrecord", (256, 256)),
        ("data/train2017-*-of-00256.tfrecord", (256, 256)),
        ("COCO/coco_train.record-00000-of-00100", (1, 100)),
        ("gs://bucket/train-0000?-of-00100", (10, 100)),
        ("train-000[0-4]?-of-00100", (50, 100)),
        ("train-000[!0]?-of-00100", (90, 100)),
        ("train-7-of-10", (1, 10)),  # fewer digits than the total has
        ("train-00100-of-00100", (0, 100)),  # shards count from 0
        ("shapes-2017-00003-of-00010.record", (1, 10)),
        ("train-??-of-00100", (0, 100)),  # names have five digits
        ("train.record", (None, None)),
        ("train-*.record", (None, None)),
        ("train-*-of-*", (None, None)),
        ("train-?????-of-999999999999", (None, None)),
        ("", (None, None)),
    ],
)
def test_one_pattern(pattern: str, expected: tuple[int | None, int | None]) -> None:
    assert read(pattern) == expected


def test_patterns_add_up_and_a_shard_counts_once() -> None:
    assert read("train-0000?-of-00100", "train-00005-of-00100", "train-00050-of-00100") == (11, 100)


def test_two_data_sets_are_two_totals() -> None:
    assert read("a-?????-of-00010", "b-?????-of-00002") == (12, 12)


def test_a_pattern_without_a_total_leaves_nothing_to_say() -> None:
    assert read("a-?????-of-00010", "b.record") == (None, None)


def test_the_share_is_read_over_named() -> None:
    assert count_shards(["t-00000-of-00100"], look_at_disk=False).share == 0.01
    assert ShardCount(None, None, None, None).share is None
    assert ShardCount(0, 0, None, None).share is None


def test_a_list_of_a_thousand_shards_is_read_at_once() -> None:
    patterns = [f"train-{index:05d}-of-01000" for index in range(1000)]
    assert read(*patterns) == (1000, 1000)


def test_files_are_counted_where_their_folder_is_here(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"train-{index:05d}-of-00004").touch()
    (tmp_path / "train-00000-of-00004.index").mkdir()
    one = count_shards([str(tmp_path / "train-00000-of-00004")])
    assert (one.read, one.named, one.files, one.on_disk) == (1, 4, 1, 4)
    missing = count_shards([str(tmp_path / "val-?????-of-00002")])
    assert (missing.read, missing.named, missing.files, missing.on_disk) == (2, 2, 0, 0)


def test_files_of_another_total_are_beside_it(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"train-{index:05d}-of-00003").touch()
    count = count_shards([str(tmp_path / "train-?????-of-00256")])
    assert (count.files, count.on_disk) == (0, 3)


def test_a_folder_that_is_not_here_tells_nothing(tmp_path: Path) -> None:
    for pattern in (str(tmp_path / "elsewhere" / "train"), "gs://bucket/train-00000-of-00001"):
        count = count_shards([pattern])
        assert (count.files, count.on_disk) == (None, None)


def test_the_disk_is_left_alone_when_asked(tmp_path: Path) -> None:
    (tmp_path / "train.record").touch()
    count = count_shards([str(tmp_path / "train.record")], look_at_disk=False)
    assert (count.files, count.on_disk) == (None, None)


INDICES = st.text(alphabet="0123456789?*[]!-", min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(index=INDICES, total=st.integers(0, 300))
def test_wildcards_match_as_a_shell_does(index: str, total: int) -> None:
    count = count_shards([f"data/train-{index}-of-{total:05d}"], look_at_disk=False)
    assert count.read is None or count.named == total
    if count.read is not None and not index.isdigit() and "-" not in index:
        names = [f"{number:05d}" for number in range(total)]
        assert count.read == sum(fnmatchcase(name, index) for name in names)


@settings(max_examples=300, deadline=None)
@given(patterns=st.lists(st.text(max_size=40), max_size=4))
def test_any_text_is_counted_or_not_but_never_raises(patterns: list[str]) -> None:
    count = count_shards(patterns)
    assert (count.read is None) == (count.named is None)
