"""One pass over the records: every object, and a fair choice of images."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.embedded import EmbeddedDataset
from odapi_repro.datasets.object_table import Survey, survey_records
from odapi_repro.datasets.records import sample_records
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.errors import DataError


def _survey(files: list[Path], pick: int = 4, seed: int = 0) -> Survey:
    return survey_records(files, SHAPES_LABEL_MAP, pick=pick, seed=seed)


def test_the_table_holds_every_object_of_the_json(
    train_files: list[Path], small: EmbeddedDataset
) -> None:
    coco = json.loads(small.instances_train.read_text(encoding="utf-8"))
    table = _survey(train_files).table
    assert table.num_images == len(coco["images"])
    assert table.num_objects == len(coco["annotations"])
    classes = Counter(one["category_id"] for one in coco["annotations"])
    assert Counter(table.class_ids.tolist()) == classes
    assert int(table.is_crowd.sum()) == sum(one["iscrowd"] for one in coco["annotations"])
    per_image = Counter(one["image_id"] for one in coco["annotations"])
    expected = sorted(per_image[one["id"]] for one in coco["images"])
    assert sorted(table.objects_per_image.tolist()) == expected
    areas = (table.boxes[:, 2:] - table.boxes[:, :2]).prod(axis=1) * (
        table.image_heights * table.image_widths
    )[table.image_index]
    theirs = [one["bbox"][2] * one["bbox"][3] for one in coco["annotations"]]
    np.testing.assert_allclose(np.sort(areas), np.sort(theirs), rtol=1e-3)


def test_picked_records_are_whole_in_order_and_the_seeds_choice(train_files: list[Path]) -> None:
    survey = _survey(train_files, pick=5)
    every = [data for file in train_files for data in read_records(file)]
    assert [every[one.position] for one in survey.picked] == [one.data for one in survey.picked]
    assert [one.position for one in survey.picked] == sorted(one.position for one in survey.picked)
    again, other = _survey(train_files, pick=5), _survey(train_files, pick=5, seed=1)
    assert [one.position for one in again.picked] == [one.position for one in survey.picked]
    assert [one.position for one in other.picked] != [one.position for one in survey.picked]


def test_every_record_is_as_likely_to_be_picked(train_files: list[Path]) -> None:
    picked = Counter(
        one.position for seed in range(300) for one in _survey(train_files[:1], 1, seed).picked
    )
    count = len(list(read_records(train_files[0])))
    assert len(picked) == count
    # Three standard deviations of a binomial.
    expected = 300 / count
    assert max(abs(n - expected) for n in picked.values()) < 3 * np.sqrt(expected)


def test_only_wanted_images_are_picked_and_all_are_counted(train_files: list[Path]) -> None:
    def has_crowd(image: AnnotatedImage) -> bool:
        return bool(image.is_crowd.any())

    survey = survey_records(train_files, SHAPES_LABEL_MAP, pick=99, seed=0, wanted=has_crowd)
    assert survey.picked
    assert all(one.image is not None and has_crowd(one.image) for one in survey.picked)
    assert survey.num_matching == len(survey.picked) < survey.table.num_images == 12


def test_records_that_cannot_be_read_are_told_apart(
    train_files: list[Path], tmp_path: Path
) -> None:
    good = list(read_records(train_files[0]))
    write_records(tmp_path / "mixed.record", [b"\xff\xff\xff", *good, b""])
    survey = _survey([tmp_path / "mixed.record"], pick=99)
    assert survey.table.num_images == len(good)
    assert survey.num_broken == 2
    assert [one.position for one in survey.broken] == [0, len(good) + 1]
    assert "no tf.train.Example" in survey.broken[0].problem


def test_a_wrong_checksum_costs_its_own_record_only(
    train_files: list[Path], tmp_path: Path
) -> None:
    good = list(read_records(train_files[0]))
    data = bytearray(train_files[0].read_bytes())
    data[100] ^= 1
    (tmp_path / "corrupt.record").write_bytes(data)
    survey = _survey([tmp_path / "corrupt.record"], pick=99)
    assert [one.data for one in survey.picked] == good[1:]
    assert [one.position for one in survey.broken] == [0]
    assert "checksum of the" in survey.broken[0].problem
    (tmp_path / "cut.record").write_bytes(data[:-9])
    with pytest.raises(DataError, match="truncated"):
        _survey([tmp_path / "cut.record"])


def test_a_sample_of_records_is_read_without_the_others(train_files: list[Path]) -> None:
    every = [data for file in train_files for data in read_records(file)]
    sample = sample_records(train_files, 5, seed=3)
    places = [every.index(data) for data in sample]
    assert len(set(places)) == 5
    assert places == sorted(places)
    assert sample_records(train_files, 5, seed=3) == sample
    assert sample_records(train_files, 99, seed=0) == tuple(every)


def test_a_sampled_record_is_verified(train_files: list[Path], tmp_path: Path) -> None:
    data = bytearray(train_files[0].read_bytes())
    data[100] ^= 1
    (tmp_path / "corrupt.record").write_bytes(data)
    with pytest.raises(DataError, match="corrupt TFRecord"):
        sample_records([tmp_path / "corrupt.record"], 99, seed=0)
    write_records(tmp_path / "empty.record", [])
    with pytest.raises(DataError, match="no record to draw from"):
        sample_records([tmp_path / "empty.record"], 1, seed=0)
