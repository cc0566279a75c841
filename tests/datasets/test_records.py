"""Patterns and manifests of record files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from odapi_repro.datasets.records import manifest, resolve_patterns
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.errors import DataError


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        write_records(folder / name, [name.encode()])


def test_question_marks_match_as_in_the_od_api(tmp_path: Path) -> None:
    names = [f"train.record-{i:05d}-of-00003" for i in range(3)]
    _touch(tmp_path, *names, "val.record-00000-of-00001")
    pattern = str(tmp_path / "train.record-?????-of-00003")
    assert [path.name for path in resolve_patterns([pattern])] == names
    assert len(resolve_patterns([pattern, str(tmp_path / "*"), pattern])) == 4


def test_a_pattern_without_files_names_the_nearest(tmp_path: Path) -> None:
    _touch(tmp_path, "train.record", "val.record", "notes.txt")
    with pytest.raises(
        DataError, match=r"trian\.record' matches nothing(.|\n)*holds train\.record"
    ):
        resolve_patterns([str(tmp_path / "train.record"), str(tmp_path / "trian.record")])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("nowhere/x*", "there is no folder"), ("gs://bucket/train*", "not on this machine")],
)
def test_patterns_beyond_reach_are_said_so(pattern: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        resolve_patterns([pattern])


def test_a_folder_is_no_file_and_no_pattern_is_an_error(tmp_path: Path) -> None:
    for patterns in ([], [str(tmp_path)]):
        with pytest.raises(DataError):
            resolve_patterns(patterns)


def test_a_manifest_ignores_the_folder_and_the_order(
    train_files: list[Path], tmp_path: Path
) -> None:
    copies = [Path(shutil.copy(path, tmp_path / path.name)) for path in train_files]
    ours = manifest(train_files)
    assert manifest(copies[::-1]) == ours
    assert ours.num_examples == 12
    assert [file.name for file in ours.files] == [path.name for path in train_files]
    assert ours.files[0].bytes == train_files[0].stat().st_size


def test_a_manifest_tells_names_contents_and_subsets_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "a.record", "b.record")
    both = manifest([tmp_path / "a.record", tmp_path / "b.record"])
    one = manifest([tmp_path / "a.record"])
    write_records(tmp_path / "a.record", [b"A.record"])
    changed = manifest([tmp_path / "a.record"])
    (tmp_path / "a.record").rename(tmp_path / "c.record")
    renamed = manifest([tmp_path / "c.record"])
    assert len({m.digest for m in (both, one, changed, renamed)}) == 4


def test_a_record_changed_in_the_middle_of_a_large_file_changes_the_manifest(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.record"
    records = [bytes([index]) * 50_000 for index in range(9)]
    write_records(path, records)
    before = manifest([path])
    records[4] = b"x" * 50_000
    write_records(path, records)
    assert manifest([path]).files[0].bytes == before.files[0].bytes
    assert manifest([path]).digest != before.digest


def test_a_truncated_file_has_no_manifest(train_files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.record"
    path.write_bytes(train_files[0].read_bytes()[:-5])
    with pytest.raises(DataError, match="truncated"):
        manifest([path])
