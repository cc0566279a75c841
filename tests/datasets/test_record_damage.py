"""Damage on purpose: exactly the share asked for, of exactly the kind, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.embedded import EmbeddedDataset
from odapi_repro.datasets.example import parse_example
from odapi_repro.datasets.label_map import LabelMap, read_label_map
from odapi_repro.datasets.record_damage import (
    EditCounts,
    EditedRecords,
    make_edited_records,
    write_edited_records,
)
from odapi_repro.datasets.record_ground_truth import decode_mask
from odapi_repro.datasets.records import manifest
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import DataError
from odapi_repro.pipeline.recipe import LABEL_NOISE_KINDS, LabelNoise, RecordEdits


def read(files: list[Path]) -> dict[str, AnnotatedImage]:
    return {image.source_id: image for image in read_all(files)}


def read_all(files: list[Path]) -> list[AnnotatedImage]:
    return [
        AnnotatedImage.from_example(data, SHAPES_LABEL_MAP)
        for file in files
        for data in read_records(file)
    ]


def written(folder: Path) -> list[Path]:
    return sorted(folder.glob("train-*.tfrecord"))


def edit(files: list[Path], folder: Path, edits: RecordEdits, seed: int = 1) -> EditCounts:
    folder.mkdir(exist_ok=True)
    return write_edited_records(files, folder, 2, SHAPES_LABEL_MAP, edits, seed)


def with_noise(
    files: list[Path], folder: Path, kind: str, share: float
) -> tuple[EditCounts, dict[str, AnnotatedImage], dict[str, AnnotatedImage]]:
    counts = edit(files, folder, RecordEdits(label_noise=LabelNoise(kind, share)))
    return counts, read(files), read(written(folder))


def moved(before: AnnotatedImage, after: AnnotatedImage) -> np.ndarray:
    return ~np.isclose(before.boxes, after.boxes, atol=1e-6).all(axis=1)


@pytest.mark.parametrize("kind", ["shifted", "scaled"])
def test_exactly_the_share_of_boxes_moves_and_stays_a_box_of_its_image(
    train_files: list[Path], tmp_path: Path, kind: str
) -> None:
    counts, before, after = with_noise(train_files, tmp_path, kind, 0.3)
    total = sum(len(image.boxes) for image in before.values())
    wrong = {key: moved(before[key], after[key]) for key in before}
    assert sum(mask.sum() for mask in wrong.values()) == counts.noisy_objects == round(0.3 * total)
    assert sum(mask.any() for mask in wrong.values()) == counts.noisy_images
    for key, mask in wrong.items():
        wrong_boxes = after[key].boxes[mask]
        assert ((wrong_boxes >= 0) & (wrong_boxes <= 1)).all()
        assert (wrong_boxes[:, :2] < wrong_boxes[:, 2:]).all()
        assert (after[key].class_ids == before[key].class_ids).all()
        assert after[key].masks_png == before[key].masks_png


def test_a_shift_is_a_quarter_to_a_half_of_each_side(
    train_files: list[Path], tmp_path: Path
) -> None:
    _, before, after = with_noise(train_files, tmp_path, "shifted", 1.0)
    inside = 0
    for key, image in before.items():
        sides = image.boxes[:, 2:] - image.boxes[:, :2]
        whole = np.isclose(after[key].boxes[:, 2:] - after[key].boxes[:, :2], sides, atol=1e-5)
        offset = np.abs(after[key].boxes[:, :2] - image.boxes[:, :2]) / sides
        unclipped = whole.all(axis=1)
        inside += int(unclipped.sum())
        assert (offset[unclipped] > 0.249).all()
        assert (offset[unclipped] < 0.501).all()
    assert inside > 5


def test_a_scaled_box_has_at_most_half_or_at_least_a_fifth_more_area(
    train_files: list[Path], tmp_path: Path
) -> None:
    _, before, after = with_noise(train_files, tmp_path, "scaled", 1.0)
    ratios = np.concatenate([areas(after[key]) / areas(before[key]) for key in before])
    assert ((ratios < 0.5) | (ratios > 1.199)).all()
    assert (ratios < 0.5).any()
    assert (ratios > 1.199).any()


def areas(image: AnnotatedImage) -> np.ndarray:
    return np.prod(image.boxes[:, 2:] - image.boxes[:, :2], axis=1)


def test_dropped_objects_are_gone_from_every_list(train_files: list[Path], tmp_path: Path) -> None:
    counts, before, after = with_noise(train_files, tmp_path, "dropped", 0.4)
    total = sum(len(image.boxes) for image in before.values())
    assert counts.noisy_objects == round(0.4 * total)
    assert counts.objects == sum(len(i.boxes) for i in after.values()) == total - round(0.4 * total)
    for key, image in after.items():
        # from_example refuses lists of other lengths; what is left is what was there.
        assert set(map(tuple, image.boxes.tolist())) <= set(map(tuple, before[key].boxes.tolist()))
        assert set(image.masks_png) <= set(before[key].masks_png)
        assert image.encoded_image == before[key].encoded_image


def test_all_objects_dropped_leave_images_that_are_read_as_empty(
    train_files: list[Path], tmp_path: Path
) -> None:
    counts, before, after = with_noise(train_files, tmp_path, "dropped", 1.0)
    assert counts.objects == 0
    assert len(after) == len(before)
    assert all(len(image.boxes) == 0 for image in after.values())


def test_swapped_classes_are_others_in_name_and_number(
    train_files: list[Path], tmp_path: Path
) -> None:
    counts, before, after = with_noise(train_files, tmp_path, "swapped", 0.5)
    changed = 0
    for key, image in after.items():
        assert [SHAPES_LABEL_MAP.items[i] for i in image.class_ids.tolist()] == list(
            image.class_names
        )
        changed += int((image.class_ids != before[key].class_ids).sum())
        assert not moved(before[key], image).any()
    assert changed == counts.noisy_objects
    # The number in the record, which the OD API reads where there is no name, says the same.
    data = next(read_records(written(tmp_path)[0]))
    image = AnnotatedImage.from_example(data)
    assert image.class_ids.tolist() == after[image.source_id].class_ids.tolist()


def test_absolute_boxes_are_in_pixels_for_exactly_the_share_of_images(
    train_files: list[Path], tmp_path: Path
) -> None:
    counts, before, after = with_noise(train_files, tmp_path, "absolute", 0.5)
    with_objects = [key for key, image in before.items() if len(image.boxes)]
    wrong = [key for key in with_objects if moved(before[key], after[key]).any()]
    assert len(wrong) == counts.noisy_images == round(0.5 * len(with_objects))
    for key in wrong:
        sides = np.array([after[key].height, after[key].width] * 2)
        assert after[key].boxes == pytest.approx(before[key].boxes * sides, abs=1e-3)


def test_shuffled_images_have_the_objects_of_another_with_masks_of_their_own_size(
    train_files: list[Path], tmp_path: Path
) -> None:
    counts, before, after = with_noise(train_files, tmp_path, "shuffled", 1.0)
    with_objects = {key for key, image in before.items() if len(image.boxes)}
    given = Counter(tuple(map(tuple, before[key].boxes.tolist())) for key in with_objects)
    got = Counter(tuple(map(tuple, after[key].boxes.tolist())) for key in with_objects)
    assert got == given
    assert counts.noisy_images == len(with_objects)
    for key in with_objects:
        assert after[key].boxes.tolist() != before[key].boxes.tolist()
        assert after[key].encoded_image == before[key].encoded_image
        for mask in after[key].masks_png:
            shape = decode_mask(mask, where="").shape
            assert shape == (after[key].height, after[key].width)


def test_a_fraction_keeps_that_many_images_as_they_are(
    train_files: list[Path], tmp_path: Path
) -> None:
    before = {data for file in train_files for data in read_records(file)}
    few, more = tmp_path / "few", tmp_path / "more"
    assert edit(train_files, few, RecordEdits(train_fraction=0.25)).records == 3
    assert edit(train_files, more, RecordEdits(train_fraction=0.5)).records == 6
    kept_few = {data for file in written(few) for data in read_records(file)}
    kept_more = {data for file in written(more) for data in read_records(file)}
    assert kept_few < kept_more < before
    assert edit(train_files, few, RecordEdits(train_fraction=0.01)).records == 1


def test_duplicates_take_the_place_of_others(train_files: list[Path], tmp_path: Path) -> None:
    counts = edit(train_files, tmp_path, RecordEdits(duplicate_share=0.75))
    images = read_all(written(tmp_path))
    assert counts.records == len(images) == 12
    assert counts.copies == 9
    assert len({image.source_id for image in images}) == 3
    # Spread evenly over what is left.
    assert sorted(Counter(image.source_id for image in images).values()) == [4, 4, 4]


def test_edits_are_made_in_order_fraction_then_noise_then_copies(
    train_files: list[Path], tmp_path: Path
) -> None:
    edits = RecordEdits(0.5, LabelNoise("swapped", 1.0), 0.5)
    counts = edit(train_files, tmp_path, edits)
    images = read_all(written(tmp_path))
    assert (counts.source_records, counts.records, counts.copies) == (12, 6, 3)
    by_id: dict[str, list[AnnotatedImage]] = {}
    for image in images:
        by_id.setdefault(image.source_id, []).append(image)
    # Copies of one image carry the same wrong classes.
    assert all(
        other.class_names == copies[0].class_names for copies in by_id.values() for other in copies
    )
    assert counts.objects == sum(len(image.boxes) for image in images)


@pytest.mark.parametrize("kind", LABEL_NOISE_KINDS)
def test_a_seed_decides_the_bytes(train_files: list[Path], tmp_path: Path, kind: str) -> None:
    edits = RecordEdits(label_noise=LabelNoise(kind, 0.5))
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        edit(train_files, tmp_path / name, edits, seed)
        contents.append([path.read_bytes() for path in written(tmp_path / name)])
    assert contents[0] == contents[1] != contents[2]


def test_what_nobody_damaged_keeps_its_bytes(train_files: list[Path], tmp_path: Path) -> None:
    before = {data for file in train_files for data in read_records(file)}
    counts = edit(train_files, tmp_path, RecordEdits(label_noise=LabelNoise("shifted", 0.1)))
    after = {data for file in written(tmp_path) for data in read_records(file)}
    assert len(before - after) == counts.noisy_images


def test_features_that_we_know_nothing_of_are_kept(train_files: list[Path], tmp_path: Path) -> None:
    edit(train_files, tmp_path, RecordEdits(label_noise=LabelNoise("dropped", 0.5)))
    example = parse_example(next(read_records(written(tmp_path)[0])))
    original = parse_example(next(read_records(train_files[0])))
    assert set(example) == set(original)
    assert example.text("image/key/sha256") == original.text("image/key/sha256")


def records_of(made: EmbeddedDataset, root: Path, edits: RecordEdits, seed: int) -> EditedRecords:
    files = tuple(sorted(made.folder.glob("train-*.tfrecord")))
    label_map = read_label_map(made.label_map_path)
    return EditedRecords(files, manifest(files), label_map, edits, seed, root)


def test_edited_records_are_named_before_they_are_made_and_made_once(
    small: EmbeddedDataset, tmp_path: Path
) -> None:
    edits = RecordEdits(label_noise=LabelNoise("dropped", 0.25))
    records = records_of(small, tmp_path, edits, 1)
    named = records.train_files
    assert not records.folder.exists()
    counts = make_edited_records(records)
    assert sorted(records.folder.glob("*.tfrecord")) == list(named)
    stamp = named[0].stat().st_mtime_ns
    assert make_edited_records(records) == counts
    assert named[0].stat().st_mtime_ns == stamp
    named[0].write_bytes(b"cut")
    assert make_edited_records(records) == counts
    assert len(read(list(named))) == 12


def test_few_records_make_few_files(small: EmbeddedDataset, tmp_path: Path) -> None:
    records = records_of(small, tmp_path, RecordEdits(train_fraction=0.1), 1)
    make_edited_records(records)
    assert [path.name for path in records.train_files] == ["train-00000-of-00001.tfrecord"]


def test_the_digest_tells_edits_seeds_and_sources_apart(
    small: EmbeddedDataset, tmp_path: Path
) -> None:
    digests = {
        records_of(small, tmp_path, edits, seed).digest
        for edits in (RecordEdits(0.5), RecordEdits(0.25), RecordEdits(duplicate_share=0.5))
        for seed in (1, 2)
    }
    assert len(digests) == 6
    elsewhere = records_of(small, tmp_path / "x", RecordEdits(0.5), 1)
    assert elsewhere.digest in digests


def test_an_exchange_of_one_image_is_refused(train_files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="falls on no object") as caught:
        edit(
            train_files,
            tmp_path,
            RecordEdits(train_fraction=0.01, label_noise=LabelNoise("shuffled", 1.0)),
        )
    assert "two images" in caught.value.expected


def test_a_cache_that_cannot_be_written_is_told(small: EmbeddedDataset, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(DataError, match="cannot be made") as caught:
        make_edited_records(records_of(small, blocked, RecordEdits(0.5), 1))
    assert "ODAPI_REPRO_CACHE" in caught.value.mend


def test_a_label_map_of_other_names_is_not_needed_but_for_swapping(
    train_files: list[Path], tmp_path: Path
) -> None:
    other = LabelMap({1: "cat", 2: "dog"})
    edits = RecordEdits(label_noise=LabelNoise("shifted", 0.5))
    counts = write_edited_records(train_files, tmp_path, 1, other, edits, 1)
    assert counts.noisy_objects
