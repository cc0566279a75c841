"""Data sources: what the flags name, and one clear message for each way to name it wrongly."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

import odapi_repro.datasets.source as source_module
from odapi_repro.datasets.embedded import EmbeddedDataset
from odapi_repro.datasets.source import DataFlags, DataSource, resolve_data
from odapi_repro.errors import DataError
from odapi_repro.pipeline import Pipeline, parse_pipeline

_PETS = Path(__file__).parents[3] / "shared" / "data"
_LABEL_MAP = "item { id: 1 name: 'a' }"


def resolved(data: Path | str = "", *splits: str, **flags: str) -> DataSource:
    """The source of these flags, whole, for both splits or for some."""
    return resolve_data(DataFlags(str(data), **flags), splits=splits or ("train", "eval"))


def names(source: DataSource, split: str) -> list[str]:
    return [file.name for file in source.files(split)]


@pytest.fixture
def folder(tmp_path: Path, train_files: list[Path], small: EmbeddedDataset) -> Path:
    """A folder as create_coco_tf_record.py leaves it."""
    for i in range(3):
        shutil.copy(train_files[i], tmp_path / f"coco_train.record-{i:05d}-of-00003")
    shutil.copy(train_files[3], tmp_path / "coco_val.record-00000-of-00001")
    shutil.copy(small.label_map_path, tmp_path / "shapes_label_map.pbtxt")
    (tmp_path / "training_notes.txt").write_text("")
    return tmp_path


def test_a_folder_of_shards_becomes_the_files_of_two_splits(folder: Path) -> None:
    source = resolved(folder)
    assert names(source, "train") == [f"coco_train.record-{i:05d}-of-00003" for i in range(3)]
    assert source.files("eval") == (folder / "coco_val.record-00000-of-00001",)
    assert source.label_map == folder / "shapes_label_map.pbtxt"
    assert source.name == folder.name


def test_single_files_are_named_as_they_are(tmp_path: Path, folder: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    shard = folder / "coco_val.record-00000-of-00001"
    for name in ("train.tfrecord", "eval.record"):
        shutil.copy(shard, plain / name)
    source = resolved(plain, label_map=str(folder / "shapes_label_map.pbtxt"))
    assert source.files("train") == (plain / "train.tfrecord",)
    assert source.files("eval") == (plain / "eval.record",)


def test_embedded_is_the_embedded_set(
    small: EmbeddedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "embedded_dataset", lambda: small)
    source = resolved("embedded")
    assert source.name == "embedded"
    assert source.files("train") == tuple(sorted(small.folder.glob("train-*")))
    assert source.label_map == small.label_map_path
    with pytest.raises(DataError, match="--label_map is given with --data embedded"):
        resolved("embedded", label_map=str(small.label_map_path))


def test_globs_go_before_the_folder_which_gives_the_label_map(folder: Path) -> None:
    val = str(folder / "*val*")
    (folder / "coco_train.record-00001-of-00003").unlink()
    source = resolved(folder, train_records=val, eval_records=val)
    assert source.files("train") == source.files("eval") == tuple(folder.glob("coco_val*"))
    assert source.label_map_path.name == "shapes_label_map.pbtxt"
    assert source.name == f"{folder.name}/coco_val"


def test_missing_shards_are_the_users_own_decision(folder: Path) -> None:
    (folder / "coco_train.record-00001-of-00003").unlink()
    with pytest.raises(DataError, match=r"2 of 3 shards(.|\n)*number 1(.|\n)*--train_records"):
        resolved(folder)


@pytest.mark.parametrize("there", ["", "coco_train.record-00001-of-00003"])
def test_to_evaluate_no_training_records_are_needed(folder: Path, there: str) -> None:
    for path in folder.glob("coco_train*"):
        if path.name != there:
            path.unlink()
    source = resolved(folder, "eval")
    assert source.files("eval") == (folder / "coco_val.record-00000-of-00001",)
    assert source.label_map == folder / "shapes_label_map.pbtxt"
    assert source.name == folder.name
    with pytest.raises(DataError, match=r"named train\*|of 3 shards"):
        resolved(folder)


def test_to_evaluate_the_validation_records_are_those_of_the_whole_source(
    folder: Path, small: EmbeddedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "embedded_dataset", lambda: small)
    for data in (folder, "embedded"):
        alone, whole = resolved(data, "eval"), resolved(data)
        assert (alone.name, alone.files("eval"), alone.label_map) == (
            whole.name,
            whole.files("eval"),
            whole.label_map,
        )
        assert set(alone.inventories) == {"eval"}


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("coco_val*", r"no record file is named val\* \(there: coco_train"),
        ("coco_*", "holds no record file"),
        ("*.pbtxt", "no label map is named or found"),
    ],
)
def test_to_evaluate_what_lacks_is_named_and_nothing_of_training_is_asked_for(
    folder: Path, removed: str, message: str
) -> None:
    for path in folder.glob(removed):
        path.unlink()
    with pytest.raises(DataError, match=message) as caught:
        resolved(folder, "eval")
    assert "--train_records" not in str(caught.value)


def test_training_files_are_never_proposed_to_evaluate_on(folder: Path) -> None:
    for path in folder.glob("coco_val*"):
        path.unlink()
    with pytest.raises(DataError) as caught:
        resolved(folder)
    assert f"--train_records '{folder}/coco_train" in str(caught.value)
    assert "--eval_records 'GLOB'" in str(caught.value)
    with pytest.raises(DataError, match="--eval_records 'GLOB'"):
        resolved(folder, "eval")


@pytest.mark.parametrize(
    ("removed", "added", "message"),
    [
        ("coco_val*", "", r"named val\* \(there: coco_train"),
        ("coco_*", "", "holds no record file"),
        ("*.pbtxt", "", "no label map is named or found"),
        ("", "other_label_map.pbtxt", "several label maps are there: other_label_map.pbtxt, sha"),
    ],
)
def test_a_folder_that_lacks_something_is_said_so(
    folder: Path, removed: str, added: str, message: str
) -> None:
    for path in folder.glob(removed) if removed else ():
        path.unlink()
    if added:
        (folder / added).write_text(_LABEL_MAP)
    with pytest.raises(DataError, match=message):
        resolved(folder)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "no records were named"),
        ({"data": "embeded"}, "did you mean 'embedded'"),
        ({"data": "no/such/folder"}, "does not exist"),
        ({"data": __file__}, "is a file"),
        ({"train_records": "a*"}, "--train_records is given without --eval_records"),
        ({"eval_records": "a*"}, "--eval_records is given without --train_records"),
        ({"train_records": "no_such*", "eval_records": "b"}, "'no_such\\*' matches nothing"),
    ],
)
def test_wrong_flags_are_one_message_each(flags: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        resolve_data(DataFlags(**flags))


@pytest.mark.skipif(not _PETS.is_dir(), reason="the ten photographs are not here")
def test_ten_real_photographs() -> None:
    with pytest.raises(DataError, match=r"--train_records(.|\n)*--eval_records"):
        resolved(_PETS)
    record = str(_PETS / "pets_examples.record")
    source = resolved(_PETS, train_records=record, eval_records=record)
    assert source.label_map_path.name == "pets_label_map.pbtxt"
    from odapi_repro.datasets.record_check import check_records
    from odapi_repro.datasets.record_ground_truth import coco_ground_truth
    from odapi_repro.trials.groundwork import StudyData

    data = StudyData.of(source)
    assert not data.has_masks
    label_map, files = data.label_map, data.train_files
    summary = check_records(files, label_map, num_classes=37, needs_masks=False)
    assert (label_map.num_classes, summary.images, summary.boxes) == (37, 10, 10)
    truth = coco_ground_truth(files, label_map, with_masks=False)
    assert truth["images"][0]["id"] == "chihuahua_153.jpg"
    assert truth["annotations"][0]["bbox"] == [119.0, 54.0, 109.0, 74.0]


def config_of(train: str, evaluation: str, label_map: object = "") -> Pipeline:
    readers = "".join(
        f"{name} {{ label_map_path: '{label_map}' "
        f"tf_record_input_reader {{ input_path: '{path}' }} }}\n"
        for name, path in (("train_input_reader", train), ("eval_input_reader", evaluation))
    )
    return parse_pipeline(f"model {{ ssd {{ num_classes: 6 }} }}\n{readers}", "my.config")


def test_a_folder_gives_the_split_that_no_glob_names(folder: Path) -> None:
    source = resolved(folder, train_records=str(folder / "*val*"))
    assert names(source, "train") == names(source, "eval")
    assert source.name == folder.name
    assert source.folder is None


def test_the_label_map_beside_records_is_taken_where_there_is_one_or_all_are_equal(
    folder: Path,
) -> None:
    flags = DataFlags("", str(folder / "*train*"), str(folder / "*val*"))
    beside = folder / "shapes_label_map.pbtxt"
    assert resolve_data(flags).label_map == beside
    shutil.copy(beside, folder / "shapes_label_map_again.pbtxt")
    assert resolve_data(flags).label_map == beside
    (folder / "other_label_map.pbtxt").write_text(_LABEL_MAP)
    with pytest.raises(DataError, match="several label maps are there"):
        resolve_data(flags)
    source = resolve_data(flags, is_whole=False)
    assert source.label_map is None
    assert "of 2 that differ" in source.not_looked_at[-1]


def test_a_label_map_is_the_flags_then_the_folders_then_the_configs(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    apart = tmp_path_factory.mktemp("apart")
    own, typed = apart / "own.pbtxt", apart / "typed.pbtxt"
    for path in (own, typed):
        path.write_text(_LABEL_MAP)
    config = config_of("", "", own)
    flags = DataFlags("", str(folder / "*train*"), str(folder / "*val*"))
    assert resolve_data(flags, config).label_map == own
    there = dataclasses.replace(flags, data=str(folder))
    assert resolve_data(there, config).label_map == folder / "shapes_label_map.pbtxt"
    named = dataclasses.replace(there, label_map=str(typed))
    assert resolve_data(named, config).label_map == typed
    (folder / "shapes_label_map.pbtxt").unlink()
    with pytest.raises(DataError, match=r"found; 'gone\.pbtxt', which the config names, is not on"):
        resolve_data(flags, config_of("", "", "gone.pbtxt"))


def test_folders_named_as_splits_are_a_data_set(folder: Path) -> None:
    for split, name in (("train", "train"), ("val", "valid")):
        (folder / name).mkdir()
        for index, path in enumerate(sorted(folder.glob(f"coco_{split}*"))):
            path.rename(folder / name / f"fish{index}.tfrecord")
    source = resolved(folder)
    assert [len(source.files(one)) for one in ("train", "eval")] == [3, 1]


def test_what_names_do_not_tell_is_guessed_only_where_it_is_told(folder: Path) -> None:
    for path in folder.glob("coco_val*"):
        path.rename(folder / "coco_test.record")
    with pytest.raises(DataError, match=r"named val\*(.|\n)*--eval_records '.*coco_test.record'"):
        resolved(folder)
    found = resolve_data(DataFlags(str(folder)), is_whole=False)
    assert names(found, "eval") == ["coco_test.record"]
    assert "taken in their place: coco_test.record" in found.not_looked_at[0]


def test_records_that_are_here_count_though_their_path_looks_like_a_placeholder(
    folder: Path,
) -> None:
    mine = folder / "your_data"
    mine.mkdir()
    for path in folder.glob("coco_*"):
        path.rename(mine / path.name)
    config = config_of(f"{mine}/*train*", f"{mine}/*val*", folder / "shapes_label_map.pbtxt")
    for splits in (("train", "eval"), ("eval",)):
        source = resolve_data(DataFlags(), config, splits=splits)
        assert source.of_config
        assert names(source, "eval") == ["coco_val.record-00000-of-00001"]
        assert source.label_map == folder / "shapes_label_map.pbtxt"


def test_of_a_config_what_is_not_here_is_named_by_split_with_what_lies_beside(folder: Path) -> None:
    config = config_of(f"{folder}/*train*", f"{folder}/coco_vall.record*")
    with pytest.raises(DataError) as caught:
        resolve_data(DataFlags(), config)
    message = str(caught.value)
    assert "only some of the records that the config names are on this machine" in message
    assert f"evaluation records: no file matches '{folder}/coco_vall.record*'" in message
    assert "coco_val.record" in caught.value.expected
    with pytest.raises(DataError, match=r"PATH_TO_BE_CONFIGURED/val', a placeholder"):
        resolve_data(DataFlags(), config_of("", "PATH_TO_BE_CONFIGURED/val"))
    found = resolve_data(DataFlags(), config_of(f"{folder}/*train*", "/no/val"), is_whole=False)
    assert found.not_looked_at == ("evaluation records: no file matches '/no/val'",)
    assert set(found.inventories) == {"train"}


@pytest.mark.parametrize(
    ("path", "said", "reason"),
    [
        ("PATH_TO_BE_CONFIGURED/x", "my.config names no records of its own", ""),
        ("/no/x", "and not the records of my.config: '/no/x'", "the embedded shapes, and not"),
    ],
)
def test_a_config_without_records_here_can_mean_the_embedded_set(
    small: EmbeddedDataset, monkeypatch: pytest.MonkeyPatch, path: str, said: str, reason: str
) -> None:
    heard: list[str] = []

    def made() -> EmbeddedDataset:
        assert len(heard) == 1
        return small

    monkeypatch.setattr(source_module, "embedded_dataset", made)
    source = resolve_data(
        DataFlags(), config_of(path, path), embedded_instead=True, before_embedded=heard.append
    )
    assert source.name == "embedded"
    assert said in heard[0]
    assert bool(source.reason) == bool(reason)
    assert source.reason.startswith(reason)
