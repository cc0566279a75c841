"""Image files found and read in folders and zip archives."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from odapi_repro.datasets.conversion.image_source import ImageReader, locate_images
from odapi_repro.errors import DataError


def archive(path: Path, names: list[str], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name in names:
            file.writestr(name, f"bytes of {name} " * 20)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_entries_are_read_as_zipfile_reads_them(tmp_path: Path, method: int) -> None:
    place = archive(tmp_path / "a.zip", ["train2017/1.jpg", "train2017/sub/ä.jpg"], method)
    reader = ImageReader()
    for name in ("train2017/1.jpg", "1.jpg", "sub/ä.jpg", "ä.jpg"):
        (found,) = locate_images(place, [name])
        assert found is not None
        with zipfile.ZipFile(place) as file:
            (whole,) = [one for one in file.namelist() if one.endswith(name)]
            assert reader.read(found) == file.read(whole)
    reader.close()


def test_a_name_that_two_entries_end_in_names_neither(tmp_path: Path) -> None:
    place = archive(tmp_path / "a.zip", ["train/1.jpg", "val/1.jpg"])
    assert locate_images(place, ["1.jpg"]) == (None,)
    assert locate_images(place, ["val/1.jpg"])[0] is not None


@pytest.mark.parametrize("name", ["../1.jpg", "sub/../../1.jpg", "/etc/hostname"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "1.jpg").write_bytes(b"outside")
    with pytest.raises(DataError, match="leads out of the folder"):
        locate_images(tmp_path / "images", [name])


def test_a_whole_path_within_the_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "1..jpg").write_bytes(b"inside")
    for name in ("1..jpg", str(tmp_path / "1..jpg")):
        assert locate_images(tmp_path, [name]) != (None,)


def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    place = archive(tmp_path / "a.zip", ["1.jpg", "2.jpg"])
    place.write_bytes(place.read_bytes()[:-30])
    with pytest.raises(DataError, match="cut short or damaged"):
        locate_images(place, ["1.jpg"])


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    place.write_bytes(b"something else")
    with pytest.raises(DataError, match="not a zip archive"):
        locate_images(place, ["1.jpg"])


def test_an_entry_that_was_damaged_is_not_given(tmp_path: Path) -> None:
    place = archive(tmp_path / "a.zip", ["1.jpg"])
    (found,) = locate_images(place, ["1.jpg"])
    assert found is not None
    data = bytearray(place.read_bytes())
    data[found.offset + 50] ^= 1
    place.write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        ImageReader().read(found)


def test_files_are_found_in_sub_folders_and_missing_ones_are_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"one")
    found = locate_images(tmp_path, ["a/1.jpg", "b/1.jpg", "1.jpg", "a/1.jpg"])
    assert [one is not None for one in found] == [True, False, False, True]
    assert found[0] is not None
    assert ImageReader().read(found[0]) == b"one"
    assert found[0].version == os.stat(tmp_path / "a" / "1.jpg").st_mtime_ns


def test_a_file_that_changed_since_it_was_listed_is_not_given(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"one")
    (found,) = locate_images(tmp_path, ["1.jpg"])
    assert found is not None
    (tmp_path / "1.jpg").write_bytes(b"other")
    with pytest.raises(ValueError, match="5 bytes"):
        ImageReader().read(found)
