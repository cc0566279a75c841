"""Rules about records: what is planted is named with its exact count; a clean set gives nothing."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted
import pytest

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.census import Tally
from odapi_repro.datasets.census.record_columns import AugmentedBoxes
from odapi_repro.datasets.conversion.manifest import (
    DatasetManifest,
    SplitManifest,
    write_manifest,
)
from odapi_repro.datasets.embedded import EmbeddedDataset, embedded_dataset
from odapi_repro.datasets.records import manifest
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.source import DataFlags
from odapi_repro.diagnosis.checked_data import check_data
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.outcome import examine_records, subject_of
from odapi_repro.diagnosis.rules import records

SIZES = ((96, 128), (112, 128), (128, 128), (128, 96))
SPEC = ShapesSpec(
    seed=3, train_images=40, val_images=16, train_shards=4, val_shards=2, image_sizes=SIZES
)
PETS = Path(__file__).parents[3] / "shared" / "data"
CONFIG = (Path(__file__).parents[2] / "pipelines" / "effdet_d3.config").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedDataset:
    return embedded_dataset(tmp_path_factory.mktemp("cache"), spec=SPEC)


@pytest.fixture
def folder(clean: EmbeddedDataset, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(clean.folder, tmp_path / "copy"))


def findings_of(
    folder: Path, *, annotations: Mapping[str, str] | None = None, config: str = ""
) -> tuple[Finding, ...]:
    subject = subject_of(config, "my.config") if config else None
    named = DataFlags(str(folder))
    checked = check_data(named, subject, annotations=annotations or {})
    return examine_records(checked.subject, checked.facts, rules=records.RULES).findings


@pytest.mark.parametrize("case", planted.CASES, ids=lambda case: case.name)
def test_what_is_planted_is_named_with_its_exact_count(folder: Path, case: planted.Case) -> None:
    annotations = {"train": str(folder / "instances_train.json")} if case.annotated else {}
    count = case.plant(folder)
    found = findings_of(folder, annotations=annotations)
    assert count > 0
    assert {one.count for one in found if one.cause == case.cause} == {count}
    assert {one.cause for one in found} - {case.cause} <= case.also
    assert all(one.found and one.expected and one.why and (one.mend or one.fix) for one in found)


def test_a_clean_set_gives_no_finding(clean: EmbeddedDataset) -> None:
    jsons = {"train": str(clean.instances_train), "eval": str(clean.instances_val)}
    assert findings_of(clean.folder) == ()
    assert findings_of(clean.folder, annotations=jsons) == ()


def test_boxes_beyond_the_most_a_reader_keeps_are_counted(folder: Path) -> None:
    kept = 2
    beyond = sum(max(0, len(one.boxes) - kept) for one in planted.images_of(folder, "train"))
    text = CONFIG.replace(
        "train_input_reader {", f"train_input_reader {{\n  max_number_of_boxes: {kept}"
    )
    found = [one for one in findings_of(folder, config=text) if one.code == "REC014"]
    assert [(one.cause, one.count) for one in found] == [("max_boxes_truncates_gt", beyond)]
    assert found[0].fix[0].field == "train_input_reader.max_number_of_boxes"


def test_objects_beyond_num_classes_are_counted(folder: Path) -> None:
    text = CONFIG.replace("num_classes: 90", "num_classes: 4")
    beyond = sum(int((one.class_ids > 4).sum()) for one in planted.images_of(folder, "train"))
    found = [one for one in findings_of(folder, config=text) if one.code == "REC013"]
    assert [one.count for one in found if one.fields[1].startswith("train")] == [beyond]


def test_records_left_out_by_sampling_are_counted(folder: Path) -> None:
    reader = "train_input_reader {\n  sample_1_of_n_examples: 3"
    text = CONFIG.replace("train_input_reader {", reader)
    (found,) = (one for one in findings_of(folder, config=text) if one.code == "REC002")
    # dataset.shard(3, 0) keeps records 0, 3, ... 39 of 40.
    assert (found.cause, found.count) == ("train_subsampled", 40 - 14)


def test_masks_are_asked_for_where_the_reader_loads_them(folder: Path) -> None:
    reader = "train_input_reader {\n  load_instance_masks: true\n  mask_type: {}"
    planted.rewrite(folder, "train", planted.every(1, lambda one: replace(one, masks_png=())))
    text = CONFIG.replace("train_input_reader {", reader.replace("{}", "PNG_MASKS"))
    (missing,) = (one for one in findings_of(folder, config=text) if one.cause == "masks_missing")
    assert missing.severity.word == "fatal"
    assert "masks_missing" not in {one.cause for one in findings_of(folder, config=CONFIG)}


def test_png_masks_for_a_reader_of_numbers_are_named(folder: Path) -> None:
    text = CONFIG.replace(
        "train_input_reader {", "train_input_reader {\n  load_instance_masks: true"
    )
    (kind,) = (one for one in findings_of(folder, config=text) if one.code == "REC008")
    assert (kind.cause, kind.fix[0].value) == ("mask_type_mismatch", "PNG_MASKS")
    assert kind.count == sum(len(one.boxes) for one in planted.images_of(folder, "train"))


def test_the_severity_of_a_share_is_that_of_the_share(folder: Path) -> None:
    planted.noise("absolute", 0.2)(folder)
    (some,) = findings_of(folder)
    planted.noise("absolute", 1.0)(folder)
    (every,) = findings_of(folder)
    assert (some.severity.word, every.severity.word) == ("critical", "fatal")


@pytest.mark.parametrize(
    ("after", "refused", "causes"),
    [
        (90, 0, set()),
        (45, 0, {"boxes_lost_in_augmentation"}),
        (90, 2, {"input_functions_stop"}),
    ],
)
def test_boxes_lost_in_augmentation_are_told_with_their_number(clean, after, refused, causes):
    checked = check_data(DataFlags(str(clean.folder)), None, annotations={})
    augmented = AugmentedBoxes(
        records=10,
        draws=3,
        boxes_before=100,
        boxes_after=after,
        emptied=Tally(4, ("a",)),
        refused=Tally(refused, ("b",), "Assertion failed"),
    )
    subject = replace(checked.subject, augmented=augmented)
    found = examine_records(subject, checked.facts, rules=records.RULES).findings
    assert {one.cause for one in found} == causes
    assert [one.count for one in found] == ([refused or 100 - after] if causes else [])


def test_files_that_are_not_those_of_the_manifest_are_named(clean, folder) -> None:
    manifest_of(folder)
    assert findings_of(folder) == ()
    first, second, third, _ = planted.files_of(folder, "train")
    first.unlink()
    planted.rewrite(folder, "train", planted.every(1, lambda one: None))
    data = second.read_bytes()
    second.write_bytes(third.read_bytes())
    third.write_bytes(data)
    (folder / "val-extra.tfrecord").write_bytes(b"")
    (found,) = (one for one in findings_of(folder) if one.code == "REC023")
    assert found.count == 4
    assert set(found.examples) == {first.name, second.name, third.name, "val-extra.tfrecord"}


def test_a_split_that_is_not_looked_at_is_there_all_the_same(folder: Path) -> None:
    def of_manifest() -> list[Finding]:
        return [one for one in findings_of(folder) if one.code == "REC023"]

    other = planted.files_of(folder, "val")[1]
    for number, file in enumerate(planted.files_of(folder, "train")[2:]):
        file.rename(folder / f"test-0000{number}-of-00002.tfrecord")
    manifest_of(folder, "train", "val", "test")
    assert of_manifest() == []
    gone, spoilt = planted.files_of(folder, "test")
    gone.unlink()
    spoilt.write_bytes(other.read_bytes())
    (found,) = of_manifest()
    assert set(found.examples) == {gone.name, spoilt.name}


def test_a_label_map_that_is_not_that_of_the_manifest_is_named(folder: Path) -> None:
    manifest_of(folder)
    label_map = folder / "label_map.pbtxt"
    label_map.write_text(label_map.read_text() + "\n")
    (found,) = findings_of(folder)
    assert (found.code, found.count, found.examples) == ("REC023", 1, ("label_map.pbtxt",))
    assert "1 file is not that of the manifest" in found.found
    label_map.rename(folder / "other_label_map.pbtxt")
    assert "it is not there" in findings_of(folder)[0].found


@pytest.mark.parametrize(
    ("count", "train", "evaluation"), [(1, "info", "warning"), (12, "warning", "critical")]
)
def test_the_severity_of_doubled_objects_is_that_of_their_share(folder, count, train, evaluation):
    for split, word in (("train", train), ("val", evaluation)):
        left = count

        def double(image: AnnotatedImage) -> AnnotatedImage:
            nonlocal left
            if not left or not len(image.boxes):
                return image
            left -= 1
            return planted.doubled(image)[0]

        planted.rewrite(folder, split, planted.every(1, double))
        told = {one.found.split(":")[0]: one for one in findings_of(folder)}
        one = told["training" if split == "train" else "evaluation"]
        assert (one.cause, one.count, one.severity.word) == ("boxes_doubled", count, word)


def test_boxes_in_percent_are_called_so_and_never_valid(folder: Path) -> None:
    planted.of_unit(100.0)(folder)
    (found,) = findings_of(folder)
    assert found.severity.word == "fatal"
    assert "valid" not in found.why


def test_boxes_of_a_smaller_original_are_not_called_valid(folder: Path) -> None:
    planted.resized(lambda height, width: (512, 512))(folder)
    (found,) = findings_of(folder)
    assert found.cause == "boxes_already_resized"
    assert "valid" not in found.why
    assert "beyond the image" in found.why


@pytest.mark.parametrize("masks", [True, False])
def test_boxes_of_no_size_are_of_no_resized_image(folder: Path, masks: bool) -> None:
    planted.of_unit(0.001, masks=masks)(folder)
    found = findings_of(folder)
    assert not any("0 x 0" in one.found for one in found)
    assert "critical" in {one.severity.word for one in found}


def manifest_of(folder: Path, *names: str) -> None:
    """A manifest as `data convert` writes it, of the files that are there."""
    splits = {
        split: SplitManifest(
            name=split,
            identity="",
            annotations_name="",
            annotations_sha256="",
            flags={},
            images={},
            annotations={},
            objects={},
            per_class={},
            per_size={},
            subset={},
            has_masks=True,
            keypoints=(),
            files=manifest(planted.files_of(folder, split)).files,
            digest="",
        )
        for split in names or ("train", "val")
    }
    digest = hashlib.sha256((folder / "label_map.pbtxt").read_bytes()).hexdigest()
    write_manifest(DatasetManifest(digest, 6, {}, splits), folder)


def test_the_ten_photographs_are_well_but_few() -> None:
    if not (PETS / "pets_examples.record").exists():
        pytest.skip("the photographs are not beside this checkout")
    named = DataFlags(
        train_records=str(PETS / "pets_examples.record"),
        label_map=str(PETS / "pets_label_map.pbtxt"),
    )
    checked = check_data(named, None, annotations={})
    found = examine_records(checked.subject, checked.facts, rules=records.RULES).findings
    assert {one.cause for one in found} == {"class_imbalance", "classes_without_objects"}
    (split,) = checked.facts.splits
    assert (split.images, split.images_decoded, split.boxes) == (10, 10, 10)


@pytest.mark.parametrize("rule", records.RULES, ids=lambda rule: rule.code)
def test_the_page_of_a_record_rule_has_its_parts(rule: Any) -> None:
    lines = rule.page().splitlines()
    assert lines[0].endswith(".")
    for heading in ("Anti-pattern", "Best practice", "Source"):
        assert heading in lines
    assert rule.code.startswith("REC")
    assert rule.name.startswith("records.")


def test_codes_and_names_of_record_rules_are_unique() -> None:
    for words in ([one.code for one in records.RULES], [one.name for one in records.RULES]):
        assert len(set(words)) == len(words)
