"""Keypoints of records against the reader's num_keypoints: none, fewer, more, and none to read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.embedded import EmbeddedDataset, embedded_dataset
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.source import DataFlags
from odapi_repro.diagnosis.checked_data import check_data
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.outcome import examine_records, subject_of
from odapi_repro.diagnosis.rules import records
from odapi_repro.reference import reference_named

SPEC = ShapesSpec(
    seed=3, train_images=12, val_images=4, train_shards=1, val_shards=1, image_sizes=((96, 128),)
)
BOXES, PEOPLE = "centernet_hourglass104_512", "centernet_hourglass104_512_kpts"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedDataset:
    return embedded_dataset(tmp_path_factory.mktemp("cache"), spec=SPEC)


@pytest.fixture
def folder(clean: EmbeddedDataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean.folder, tmp_path / "copy"))


def keypoints(image: AnnotatedImage, x: int, y: int | None = None, kind: Any = np.float32) -> bytes:
    """The record with so many values in keypoint/x and keypoint/y."""
    return planted.with_features(
        image,
        object__keypoint__x=np.full(x, 0.5).astype(kind),
        object__keypoint__y=np.full(x if y is None else y, 0.5).astype(kind),
        object__keypoint__visibility=np.full(x, 2, np.int64),
    )


def give_all(folder: Path, each: int) -> None:
    for split in ("train", "val"):
        planted.rewrite(
            folder, split, planted.every(1, lambda one: keypoints(one, each * len(one.boxes)))
        )


def found_in(
    folder: Path,
    count: int | None,
    reference: str = PEOPLE,
    *,
    code: str = "REC030",
    crops: bool = True,
) -> list[Finding]:
    subject = None
    if count is not None:
        named = reference_named(reference)

        def edit(proto: Any) -> None:
            proto.train_input_reader.num_keypoints = count
            proto.eval_input_reader[0].num_keypoints = count
            if not crops:
                del proto.train_config.data_augmentation_options[:]

        text = named.pipeline().edited(edit).to_text()
        subject = subject_of(text, "my.config", reference=named)
    checked = check_data(DataFlags(str(folder)), subject, annotations={})
    found = examine_records(checked.subject, checked.facts, rules=records.RULES).findings
    ours = [one for one in found if one.code == code]
    return sorted(ours, key=lambda one: one.found.startswith("evaluation"))


def with_objects(folder: Path, split: str = "train") -> int:
    return sum(bool(len(one.boxes)) for one in planted.images_of(folder, split))


def test_boxes_times_keypoints_values_raise_no_finding(folder: Path) -> None:
    give_all(folder, 3)
    assert found_in(folder, 3) == found_in(folder, None) == []


def test_records_without_keypoints_are_not_blamed_where_none_are_read(folder: Path) -> None:
    assert found_in(folder, None) == found_in(folder, 0, BOXES) == []
    give_all(folder, 3)
    assert found_in(folder, 0, BOXES) == []


def test_a_reader_of_keypoints_that_no_record_holds_is_named(folder: Path) -> None:
    train, evaluation = found_in(folder, 17, BOXES)
    assert (train.cause, train.severity.word) == ("keypoints_not_in_records", "fatal")
    assert train.count == with_objects(folder)
    assert evaluation.count == with_objects(folder, "val")
    assert [(one.field, one.value) for one in train.fix] == [
        ("train_input_reader.num_keypoints", None)
    ]


def test_a_model_of_keypoints_is_not_told_to_do_without(folder: Path) -> None:
    train, _ = found_in(folder, 17)
    assert not train.fix
    assert "--keypoint_annotations" in train.mend


def test_another_number_in_all_records_is_told_with_the_number_that_fits(folder: Path) -> None:
    give_all(folder, 5)
    for count in (17, 4):
        first, *_ = found_in(folder, count)
        assert (first.cause, first.severity.word) == ("keypoint_count_mismatch", "fatal")
        assert first.fix[0].value == 5


@pytest.mark.parametrize(
    ("x", "y", "severity", "word"),
    [
        (1, None, "fatal", "1 in keypoint/x"),
        (17, None, "fatal", "17 in keypoint/x"),
        (0, 17, "fatal", "not as long as each other"),
        (170, None, "critical", "170 in keypoint/x"),
    ],
)
def test_an_image_with_another_number_is_counted(folder, x, y, severity, word) -> None:
    planted.rewrite(
        folder, "train", planted.every(1, lambda one: keypoints(one, 17 * len(one.boxes)))
    )
    chosen = next(
        i for i, one in enumerate(planted.images_of(folder, "train")) if len(one.boxes) > 1
    )

    def edit(number: int, image: AnnotatedImage) -> bytes | None:
        return keypoints(image, x, y) if number == chosen else None

    planted.rewrite(folder, "train", edit)
    (found,) = (one for one in found_in(folder, 17) if "training" in one.found)
    assert (found.cause, found.count) == ("keypoint_count_mismatch", 1)
    assert found.severity.word == severity
    assert word in found.found


def test_keypoints_of_another_kind_are_no_fault_of_a_record_that_none_reads(folder: Path) -> None:
    planted.rewrite(folder, "train", planted.every(1, lambda one: keypoints(one, 2, kind=np.int64)))
    assert found_in(folder, 0, BOXES) == []
    assert found_in(folder, 2)[0].cause == "keypoint_count_mismatch"


def test_without_a_config_images_that_differ_from_the_others_are_named(folder: Path) -> None:
    give_all(folder, 3)
    planted.rewrite(folder, "train", lambda i, one: keypoints(one, 0) if i == 0 else None)
    (found,) = found_in(folder, None)
    assert (found.cause, found.severity.word) == ("keypoint_count_mismatch", "warning")
    assert found.count == 1


def give_values(folder: Path, value: float, seen: list[int], split: str = "train") -> None:
    """Writes three keypoints an object, all at `value`, with these visibilities an object."""

    def edit(image: AnnotatedImage) -> bytes:
        count = len(image.boxes)
        return planted.with_features(
            image,
            object__keypoint__x=np.full(3 * count, value, np.float32),
            object__keypoint__y=np.full(3 * count, value, np.float32),
            object__keypoint__visibility=np.array(seen * count, np.int64),
        )

    planted.rewrite(folder, split, planted.every(1, edit))


def values_in(folder: Path, reference: str = PEOPLE, count: int | None = 3) -> list[Finding]:
    return found_in(folder, count, reference, code="REC031")


def test_keypoints_in_pixels_stop_the_loss_unless_a_crop_drops_them(folder: Path) -> None:
    for split in ("train", "val"):
        give_values(folder, 60.0, [2, 2, 2], split)
    # The reference's training crops; its evaluation does not.
    train, evaluation = values_in(folder)
    assert {one.cause for one in (train, evaluation)} == {"keypoint_values_not_normalized"}
    assert (train.severity.word, evaluation.severity.word) == ("critical", "fatal")
    assert "up to 60" in train.found
    assert train.count == with_objects(folder)
    assert [one.severity.word for one in values_in(folder, count=None)] == ["critical"] * 2


def test_a_training_without_crops_stops_at_keypoints_in_pixels(folder: Path) -> None:
    give_values(folder, 60.0, [2, 2, 2])
    (train,) = found_in(folder, 3, code="REC031", crops=False)
    assert train.severity.word == "fatal"
    assert "1.01" in train.why


def test_keypoints_that_are_not_labelled_may_be_anywhere(folder: Path) -> None:
    for value, seen in ((60.0, [0, 0, 0]), (float("nan"), [2, 2, 2]), (float("nan"), [])):
        give_values(folder, value, seen)
        assert values_in(folder) == []


def test_keypoints_within_the_range_that_is_asserted_or_below_it_pass(folder: Path) -> None:
    for value in (1.0, 1.009, 0.0, -0.5):
        give_values(folder, value, [2, 1, 0])
        assert values_in(folder) == values_in(folder, count=None) == []


def test_keypoints_a_little_outside_are_critical_without_crops(folder: Path) -> None:
    give_values(folder, 1.2, [2, 2, 2])
    (found,) = found_in(folder, 3, code="REC031", crops=False)
    assert (found.severity.word, found.mend) == (
        "critical",
        "give keypoints outside the image 0 in visibility",
    )


def test_a_model_of_boxes_is_not_told_of_values_that_it_does_not_use(folder: Path) -> None:
    give_values(folder, 60.0, [2])
    assert values_in(folder, BOXES) == values_in(folder, count=0) == []


def test_visibility_of_another_length_than_the_keypoints_is_told_as_unread(folder: Path) -> None:
    give_values(folder, 0.5, [2])
    (found,) = values_in(folder)
    assert (found.cause, found.severity.word) == ("keypoint_visibility_unread", "critical")
    assert found.count


def test_keypoints_without_visibility_are_all_labelled(folder: Path) -> None:
    give_values(folder, 0.5, [])
    assert values_in(folder) == []


def test_visibility_that_is_no_integers_stops_the_reader(folder: Path) -> None:
    def edit(image: AnnotatedImage) -> bytes:
        values = np.full(3 * len(image.boxes), 0.5, np.float32)
        return planted.with_features(
            image,
            object__keypoint__x=values,
            object__keypoint__y=values,
            object__keypoint__visibility=values,
        )

    planted.rewrite(folder, "train", planted.every(1, edit))
    (found,) = values_in(folder)
    assert (found.cause, found.severity.word) == ("keypoint_visibility_unread", "fatal")
