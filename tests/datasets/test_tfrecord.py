"""TFRecords: the published checksum, round trips, and damage that is always named."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odapi_repro.datasets.tfrecord import (
    count_records,
    masked_crc32c,
    read_records,
    write_records,
)
from odapi_repro.errors import DataError

_ONE_FILE = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_checksum_is_that_of_rfc_3720() -> None:
    # RFC 3720, B.4: 32 bytes of zeros have crc32c 8a9136aa; leveldb's mask rotates and adds.
    crc = 0x8A9136AA
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc32c(bytes(32)) == masked


def test_a_record_has_the_published_layout(tmp_path: Path) -> None:
    path = tmp_path / "one.tfrecord"
    write_records(path, [b"abc"])
    length = struct.pack("<Q", 3)
    assert path.read_bytes() == b"".join(
        [
            length,
            struct.pack("<I", masked_crc32c(length)),
            b"abc",
            struct.pack("<I", masked_crc32c(b"abc")),
        ]
    )


@_ONE_FILE
@given(records=st.lists(st.binary(max_size=200), max_size=8))
def test_what_is_written_is_read(tmp_path: Path, records: list[bytes]) -> None:
    path = tmp_path / "round.tfrecord"
    assert write_records(path, records) == len(records)
    assert list(read_records(path)) == records
    assert count_records(path) == len(records)


def _three_records(path: Path) -> bytes:
    write_records(path, [b"first" * 10, b"", b"third" * 30])
    return path.read_bytes()


@_ONE_FILE
@given(data=st.data())
def test_any_changed_byte_is_a_data_error(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "changed.tfrecord"
    content = bytearray(_three_records(path))
    offset = data.draw(st.integers(0, len(content) - 1))
    content[offset] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"changed\.tfrecord.* at byte \d+"):
        list(read_records(path))


@_ONE_FILE
@given(data=st.data())
def test_a_cut_file_is_a_data_error_unless_cut_between_records(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "cut.tfrecord"
    content = _three_records(path)
    boundaries = (0, 66, 82, len(content))
    kept = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:kept])
    if kept in boundaries:
        assert len(list(read_records(path))) == count_records(path) == boundaries.index(kept)
        return
    for reader in (read_records, count_records):
        with pytest.raises(DataError, match=r"cut\.tfrecord: truncated TFRecord"):
            list(reader(path)) if reader is read_records else reader(path)


def test_a_text_file_is_no_tfrecord(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text('{"images": []}' * 10)
    with pytest.raises(DataError, match="checksum of the length at byte 0"):
        count_records(path)


def test_a_gzip_archive_is_told_as_one(tmp_path: Path) -> None:
    path = tmp_path / "train.record.gz"
    write_records(path, [b"abc"])
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match="packed with gzip"):
        list(read_records(path))


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        count_records(tmp_path / "none.tfrecord")


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kept.tfrecord"
    write_records(path, [b"old"])

    def broken() -> object:
        yield b"new"
        raise RuntimeError("the source of the records broke")

    with pytest.raises(RuntimeError):
        write_records(path, broken())  # type: ignore[arg-type]
    assert list(read_records(path)) == [b"old"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.tensorflow
def test_tensorflow_reads_our_records(train_files: list[Path]) -> None:
    tf = pytest.importorskip("tensorflow")
    theirs = [r.numpy() for r in tf.data.TFRecordDataset([str(f) for f in train_files])]
    assert theirs == [r for file in train_files for r in read_records(file)]
