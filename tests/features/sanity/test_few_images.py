"""The ten images of an overfit: the same each time, with objects, whole or not at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_trials import small_data

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.records import manifest
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.errors import DataError
from odapi_repro.features.sanity.sanity_inputs import FEW, few_images
from odapi_repro.trials.groundwork import StudyData


def records(data: StudyData) -> list[bytes]:
    return [one for file in data.train_files for one in read_records(file)]


def with_objects() -> list[bytes]:
    """The training records that an overfit may take, eleven or more."""
    found = []
    for record in records(small_data()):
        image = AnnotatedImage.from_example(record, small_data().label_map)
        if (~image.is_crowd).any():
            found.append(record)
    assert len(found) >= 11
    return found


def with_records(folder: Path, *files: list[bytes]) -> StudyData:
    """A data set of these training records, a file a list."""
    data = small_data()
    paths = []
    for number, content in enumerate(files):
        path = folder / f"train-{number:02}.tfrecord"
        write_records(path, content)
        paths.append(path)
    source = data.source.reading({"train": paths})
    return dataclasses.replace(data, source=source, train=manifest(paths))


def without_objects(record: bytes, *, source_id: str = "empty") -> bytes:
    image = AnnotatedImage.from_example(record, small_data().label_map)
    bare = AnnotatedImage(
        source_id=source_id,
        filename=image.filename,
        height=image.height,
        width=image.width,
        image_format=image.image_format,
        encoded_image=image.encoded_image,
    )
    return bare.to_example()


def as_crowd(record: bytes) -> bytes:
    image = AnnotatedImage.from_example(record, small_data().label_map)
    return dataclasses.replace(image, is_crowd=np.ones(len(image.boxes), bool)).to_example()


def test_ten_training_images_are_trained_on_and_evaluated_on(tmp_path: Path) -> None:
    few = few_images(small_data(), cache=tmp_path)
    assert few.train == few.eval
    assert few.train.num_examples == FEW == 10
    assert set(records(few)) <= set(records(small_data()))
    assert few.label_map == small_data().label_map


def test_the_same_records_give_the_same_ten_and_write_them_once(tmp_path: Path) -> None:
    first = few_images(small_data(), cache=tmp_path)
    (file,) = first.train_files
    written = file.stat().st_mtime_ns
    again = few_images(small_data(), cache=tmp_path)
    assert again.train.digest == first.train.digest
    assert file.stat().st_mtime_ns == written


def test_a_copy_elsewhere_is_the_same_data_to_a_trial(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = few_images(small_data(), cache=tmp_path / "one")
    two = few_images(small_data(), cache=tmp_path / "two")
    assert one.train.digest == two.train.digest


def test_they_come_from_all_parts_of_the_records(tmp_path: Path) -> None:
    all_records = with_objects()
    data = with_records(tmp_path, *[[one] for one in all_records])
    chosen = records(few_images(data, cache=tmp_path))
    positions = [all_records.index(one) for one in chosen]
    assert positions == sorted(positions)
    assert positions[-1] >= len(all_records) * 9 // 10


def test_images_without_objects_and_with_crowds_only_are_passed_over(tmp_path: Path) -> None:
    good = with_objects()
    data = with_records(
        tmp_path, [without_objects(good[0]), *good[:6]], [as_crowd(good[0]), *good[6:]]
    )
    chosen = records(few_images(data, cache=tmp_path))
    assert len(chosen) == 10
    assert set(chosen) <= set(good)


def test_images_with_objects_that_stand_together_are_found(tmp_path: Path) -> None:
    good = with_objects()
    empty = [without_objects(good[0], source_id=f"e{i}") for i in range(40)]
    data = with_records(tmp_path, [*good[:11], *empty])
    assert set(records(few_images(data, cache=tmp_path))) == set(good[:10])


def test_fewer_than_ten_images_with_objects_are_refused_with_their_number(tmp_path: Path) -> None:
    good = with_objects()
    data = with_records(tmp_path, [*good[:4], without_objects(good[0])])
    with pytest.raises(DataError, match="4 of 5 training images"):
        few_images(data, cache=tmp_path)


def test_a_cache_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="ODAPI_REPRO_CACHE"):
        few_images(small_data(), cache=tmp_path / "file")
