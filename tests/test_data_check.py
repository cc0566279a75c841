"""`data check`: formats, exit codes, what is refused and how; `diagnose --check_data`."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from odapi_repro import data, data_check, data_convert, diagnose
from odapi_repro.datasets import source
from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.embedded import EmbeddedDataset, embedded_dataset
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.errors import UserError
from odapi_repro.features import check_records

SIZES = ((96, 128), (112, 128), (128, 128), (128, 96))
SPEC = ShapesSpec(
    seed=3, train_images=40, val_images=16, train_shards=4, val_shards=2, image_sizes=SIZES
)
CONFIG = (Path(__file__).parents[1] / "pipelines" / "effdet_d3.config").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedDataset:
    return embedded_dataset(tmp_path_factory.mktemp("cache"), spec=SPEC)


@pytest.fixture
def damaged(clean: EmbeddedDataset, tmp_path: Path) -> Path:
    """A copy whose second training shard is missing and whose first is cut."""
    folder = Path(shutil.copytree(clean.folder, tmp_path / "damaged"))
    first, second, *_ = sorted(folder.glob("train-*"))
    second.unlink()
    first.write_bytes(first.read_bytes()[:-100])
    return folder


@pytest.fixture
def config(clean: EmbeddedDataset, tmp_path: Path) -> Path:
    """A config that reads the clean set, and keeps two boxes of an image."""
    text = CONFIG.replace("num_classes: 90", "num_classes: 6")
    text = text.replace("PATH_TO_BE_CONFIGURED/label_map.txt", str(clean.label_map_path))
    text = text.replace(
        "PATH_TO_BE_CONFIGURED/train2017-?????-of-00256.tfrecord", clean.train_pattern
    )
    text = text.replace("PATH_TO_BE_CONFIGURED/val2017-?????-of-00032.tfrecord", clean.val_pattern)
    path = tmp_path / "my.config"
    path.write_text(
        text.replace("train_input_reader {", "train_input_reader {\n  max_number_of_boxes: 2")
    )
    return path


def told(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> Any:
    assert data_check.main([*argv, "--augmented_images", "0", "--format", "json"]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert data_check.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("odapi-repro data check: ") == 1
    assert "Traceback" not in captured.err
    return captured.err


def test_a_clean_folder_has_no_finding_and_its_facts_are_those_of_the_spec(capsys, clean):
    content = told(capsys, "--data", str(clean.folder))
    assert content["findings"] == []
    assert content["verdict"].endswith("no finding")
    splits = content["data"]["splits"]
    assert (splits["train"]["images"], splits["eval"]["images"]) == (40, 16)
    truth = json.loads(clean.instances_train.read_text())["annotations"]
    assert splits["train"]["boxes"] == len(truth)
    assert splits["train"]["crowd"] == sum(one["iscrowd"] for one in truth)
    assert splits["train"]["shards_present"] == splits["train"]["shards_named"] == 4


def test_what_a_training_would_refuse_is_reported_here(capsys, damaged):
    content = told(capsys, "--data", str(damaged))
    causes = {one["cause"]: one for one in content["findings"]}
    assert set(causes) == {"records_unreadable", "partial_shards"}
    assert causes["records_unreadable"]["severity"] == "fatal"
    assert causes["records_unreadable"]["examples"] == ["train-00000-of-00004.tfrecord"]
    assert causes["partial_shards"]["count"] == 1


@pytest.mark.parametrize(
    ("limit", "code"), [("fatal", 1), ("critical", 1), ("warning", 1), ("never", 0)]
)
def test_fail_on_decides_the_exit_code(capsys, damaged, limit, code):
    told(capsys, "--data", str(damaged), "--fail_on", limit, code=code)


def test_a_clean_set_passes_at_every_limit(capsys, clean):
    told(capsys, "--data", str(clean.folder), "--fail_on", "info")


@pytest.mark.parametrize("form", ["text", "markdown", "sarif"])
def test_every_format_names_the_finding_its_count_and_an_example(capsys, damaged, form):
    assert data_check.main(["--data", str(damaged), "--format", form]) == 0
    out = capsys.readouterr().out
    assert "records_unreadable" in out
    assert "train-00000-of-00004.tfrecord" in out


def test_the_text_begins_with_the_verdict_and_tells_the_facts(capsys, clean):
    assert data_check.main(["--data", str(clean.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("boxes were looked at: no finding")
    assert any(line.split() == ["training", "evaluation"] for line in lines)
    assert any(line.split() == ["images", "40", "16"] for line in lines)


def test_a_config_alone_names_the_records(capsys, config):
    content = told(capsys, str(config))
    assert content["pipeline"] == str(config)
    (finding,) = content["findings"]
    assert finding["cause"] == "max_boxes_truncates_gt"
    assert finding["counted"] == "boxes"
    assert finding["where"].startswith(f"{config}:")
    assert content["data"]["splits"]["train"]["images"] == 40


def test_diagnose_with_check_data_ranks_both_and_knows_how_many_images_there_are(capsys, config):
    assert diagnose.main([str(config), "--check_data", "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["quantities"]["train_images"]["pipeline"] == 40
    causes = [one["cause"] for one in content["findings"]]
    assert causes.count("max_boxes_truncates_gt") == 1
    assert "dataset_too_small" in causes
    ranks = [
        ("fatal", "critical", "warning", "info", "inert").index(one["severity"])
        for one in content["findings"]
    ]
    assert ranks == sorted(ranks)
    assert content["data"]["splits"]["eval"]["images"] == 16


@pytest.mark.parametrize("form", ["text", "markdown", "sarif"])
def test_diagnose_with_check_data_has_every_format(capsys, config, form):
    assert diagnose.main([str(config), "--check_data", "--format", form]) == 0
    assert "REC014" in capsys.readouterr().out


def test_the_json_of_the_embedded_set_is_compared_without_a_flag(capsys, monkeypatch, clean):
    monkeypatch.setattr(source, "embedded_dataset", lambda: clean)
    content = told(capsys, "--data", "embedded")
    assert content["findings"] == []
    assert len(content["data"]["compared_with"]) == 2
    assert all("boxes equal" in one for one in content["data"]["compared_with"])


def test_what_convert_was_not_to_take_is_for_information(capsys, clean, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for file in clean.folder.glob("train-*"):
        for image in map(AnnotatedImage.from_example, read_records(file)):
            (images / image.filename).write_bytes(image.encoded_image)
    folder, source = tmp_path / "made", str(clean.instances_train)
    made = ["--annotations", source, "--image_dir", str(images), "--output_dir", str(folder)]
    made += ["--images", "20", "--classes", "disc,ring", "--workers", "1"]
    assert data_convert.main([*made, "--class_ids", "consecutive", "--empty_images", "drop"]) == 0
    capsys.readouterr()
    content = told(capsys, "--data", str(folder), "--annotations", source)
    (finding,) = (one for one in content["findings"] if one["code"] == "REC022")
    assert finding["severity"] == "info"
    assert finding["count"] == 40 - content["data"]["splits"]["train"]["images"]
    assert any("none differs" in one for one in content["data"]["compared_with"])
    # One image less than was chosen is one image too few; the json of another version says nothing.
    (file,) = folder.glob("train-*")
    write_records(file, list(read_records(file))[1:])
    content = told(capsys, "--data", str(folder), "--annotations", source)
    beyond = [one for one in content["findings"] if one["code"] == "REC022"]
    assert [(one["severity"], one["count"]) for one in beyond] == [("warning", 1), ("info", 20)]
    other = tmp_path / "other.json"
    other.write_text(clean.instances_train.read_text() + " ")
    content = told(capsys, "--data", str(folder), "--annotations", str(other))
    assert "critical" in {one["severity"] for one in content["findings"]}


def test_files_that_are_named_go_before_the_folder_which_gives_the_other_split(capsys, clean):
    argv = ["--data", str(clean.folder), "--train_records", clean.val_pattern]
    content = told(capsys, *argv)
    assert {name: one["images"] for name, one in content["data"]["splits"].items()} == {
        "train": 16,
        "eval": 16,
    }
    assert content["data"]["label_map"] == str(clean.label_map_path)
    assert content["findings"][0]["cause"] == "train_eq_eval"


def test_a_folder_of_a_label_map_alone_will_do_beside_files(capsys, clean, tmp_path):
    shutil.copy(clean.label_map_path, tmp_path)
    argv = ["--data", str(tmp_path), "--eval_records", clean.val_pattern]
    content = told(capsys, *argv)
    assert content["findings"] == []
    assert set(content["data"]["splits"]) == {"eval"}


def test_nothing_named_is_refused(capsys):
    assert "no records were named" in refused(capsys)


def test_a_config_without_records_on_this_machine_is_refused(capsys, tmp_path):
    path = tmp_path / "a.config"
    path.write_text(CONFIG)
    assert "not on this machine" in refused(capsys, str(path))
    refusal = diagnosed(capsys, str(path))
    assert "not on this machine" in refusal
    assert f"odapi_repro.data check {path} --data FOLDER" in refusal


def test_a_config_that_is_not_there_is_refused_with_what_to_do(capsys, tmp_path):
    assert "help: name another file" in refused(capsys, str(tmp_path / "no.config"))


def diagnosed(capsys: pytest.CaptureFixture[str], path: str) -> str:
    assert diagnose.main([path, "--check_data"]) == 2
    return capsys.readouterr().err


def test_a_config_that_does_not_parse_is_refused(capsys, tmp_path, clean):
    path = tmp_path / "a.config"
    path.write_text("model { ssd { num_clases: 3 } }")
    assert "does not parse" in refused(capsys, str(path), "--data", str(clean.folder))


def test_a_folder_without_records_is_refused(capsys, tmp_path):
    assert "holds no record file" in refused(capsys, "--data", str(tmp_path))
    assert "does not exist" in refused(capsys, "--data", str(tmp_path / "nowhere"))


def test_records_that_match_nothing_are_refused(capsys, tmp_path):
    assert "matches nothing" in refused(capsys, "--train_records", str(tmp_path / "*.record"))


def test_what_is_no_label_map_is_refused_and_a_wrong_one_is_a_finding(capsys, clean, tmp_path):
    records = ["--data", str(clean.folder)]
    shard = str(next(clean.folder.glob("train-*")))
    assert "no text" in refused(capsys, *records, "--label_map", shard)
    assert "cannot read" in refused(capsys, *records, "--label_map", str(tmp_path / "none"))
    wrong = tmp_path / "map.pbtxt"
    wrong.write_text("item { id: 0 name: 'disc' }")
    (finding,) = told(capsys, *records, "--label_map", str(wrong))["findings"]
    assert (finding["cause"], finding["severity"]) == ("label_map_malformed", "fatal")


def test_what_is_no_coco_json_is_refused(capsys, clean, tmp_path):
    path = tmp_path / "a.json"
    records = ["--data", str(clean.folder), "--annotations", str(path)]
    assert "cannot read" in refused(capsys, *records)
    for text, found in (
        ("{", "the JSON is cut short"),
        ("[]", "the JSON is a list, not an object"),
        ('{"images": [{}], "annotations": [], "categories": []}', "image '?' has no 'id'"),
    ):
        path.write_text(text)
        assert found in refused(capsys, *records)


def test_annotations_of_a_split_that_is_not_there_are_refused(capsys, clean):
    argv = ["--train_records", clean.train_pattern, "--eval_annotations", str(clean.instances_val)]
    assert "there are none" in refused(capsys, *argv)


def test_two_configs_are_refused(capsys, config):
    assert "2 configs" in refused(capsys, str(config), str(config))


def test_help_comes_before_anything_heavy(capsys):
    assert data.main(["check", "--help"]) == 0
    assert "--augmented_images" in capsys.readouterr().out


@pytest.mark.tensorflow
def test_what_augmentation_leaves_is_counted_by_the_od_apis_own_input(capsys, config):
    argv = [str(config), "--augmented_images", "4", "--format", "json"]
    assert data_check.main(argv) == 0
    content = json.loads(capsys.readouterr().out)
    (told,) = (one for one in content["data"]["compared_with"] if "augmentation" in one)
    assert told.startswith("4 training images")
    assert not any("augmentation" in one for one in content["data"]["not_looked_at"])


def test_why_nobody_looked_at_augmentation_is_told_on_one_line(capsys, config, monkeypatch):
    def refuse(*arguments):
        raise UserError.told("my.config: no step\n  expected: a step\n  help: write one")

    monkeypatch.setattr(check_records, "_no_augmentation", lambda *arguments: "")
    monkeypatch.setattr(check_records, "_augmented", refuse)
    (why,) = (one for one in told(capsys, str(config))["data"]["not_looked_at"] if "step" in one)
    assert why.endswith("boxes: my.config: no step; expected: a step; help: write one")


def test_without_a_config_nobody_looked_at_sizes_at_the_input(capsys, clean):
    without = told(capsys, "--data", str(clean.folder))
    assert any("network's input" in one for one in without["data"]["not_looked_at"])


def test_diagnose_with_check_data_judges_sizes_at_the_input(capsys, config):
    text = config.read_text(encoding="utf-8")
    config.write_text(
        text.replace("min_dimension: 896", "min_dimension: 16").replace(
            "max_dimension: 896", "max_dimension: 16"
        )
    )
    assert (
        diagnose.main([str(config), "--check_data", "--format", "json", "--fail_on", "never"]) == 0
    )
    content = json.loads(capsys.readouterr().out)
    causes = {one["cause"]: one for one in content["findings"]}
    assert causes["objects_too_small_for_input"]["where"].startswith(f"{config}:")
    assert not any("network's input" in one for one in content["data"]["not_looked_at"])


def named_as(clean: EmbeddedDataset, folder: Path, **names: str) -> Path:
    """A folder of the clean set's splits, each in one file of another name."""
    for split, name in names.items():
        records = [
            one for file in sorted(clean.folder.glob(f"{split}-*")) for one in read_records(file)
        ]
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        write_records(folder / name, records)
    return folder


def images_of(content: Any) -> dict[str, int]:
    return {name: one["images"] for name, one in content["data"]["splits"].items()}


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ({"train": "train.record"}, {"train": 40}),
        ({"val": "val.record"}, {"eval": 16}),
        ({"val": "my_eval.tfrecord"}, {"eval": 16}),
        ({"val": "test.record"}, {"eval": 16}),
        ({"train": "pets.record"}, {"train": 40}),
        ({"train": "pets.bin"}, {"train": 40}),
        ({"train": "train.record", "val": "test.record"}, {"train": 40, "eval": 16}),
        ({"train": "pets.record", "val": "val.record"}, {"train": 40, "eval": 16}),
        ({"train": "train/fish.tfrecord", "val": "valid/fish.tfrecord"}, {"train": 40, "eval": 16}),
        ({"train": "train/a.tfrecord", "val": "train/val.record"}, {"train": 40, "eval": 16}),
    ],
)  # fmt: skip
def test_record_files_and_their_folder_are_named_without_a_flag(
    capsys, clean, tmp_path, names, splits
):
    named_as(clean, tmp_path, **names)
    files = [str(tmp_path / name) for name in names.values()]
    assert images_of(told(capsys, *files)) == splits
    assert images_of(told(capsys, str(tmp_path))) == splits
    assert images_of(told(capsys, "--data", str(tmp_path))) == splits


def test_a_glob_is_a_name_too(capsys, clean):
    assert images_of(told(capsys, str(clean.folder / "train-*"))) == {"train": 40}
    assert images_of(told(capsys, str(clean.folder / "*.tfrecord"))) == {"train": 40, "eval": 16}


def test_one_shard_without_a_flag_is_told_that_others_are_missing(capsys, clean):
    content = told(capsys, str(next(clean.folder.glob("train-*"))))
    assert "partial_shards" in [one["cause"] for one in content["findings"]]


def test_the_label_map_beside_records_is_taken_where_it_is_the_only_one(capsys, clean, tmp_path):
    named_as(clean, tmp_path, train="train/fish.tfrecord", val="valid/fish.tfrecord")
    for name in ("train", "valid"):
        shutil.copy(clean.label_map_path, tmp_path / name / "fish_label_map.pbtxt")
    first = str(tmp_path / "train" / "fish_label_map.pbtxt")
    assert told(capsys, str(tmp_path))["data"]["label_map"] == first
    assert told(capsys, str(tmp_path / "train" / "fish.tfrecord"))["data"]["label_map"] == first
    (tmp_path / "valid" / "fish_label_map.pbtxt").write_text("item { id: 1 name: 'x' }")
    data = told(capsys, str(tmp_path))["data"]
    assert not data["label_map"]
    assert any("of 2 that differ" in one for one in data["not_looked_at"])


@pytest.mark.parametrize("name", ["my_label_map.pbtxt", "labelmap.txt", "LabelMap.pbtxt"])
def test_a_label_map_is_a_name_too(capsys, clean, tmp_path, name):
    path = tmp_path / name
    shutil.copy(clean.label_map_path, path)
    assert told(capsys, str(path), clean.train_pattern)["data"]["label_map"] == str(path)
    message = refused(capsys, clean.train_pattern, str(path), f"--label_map={path}")
    assert "2 label maps were named" in message
    assert "no records were named" in refused(capsys, str(path))


@pytest.mark.parametrize(
    ("name", "text", "found", "mend"),
    [
        ("a b.json", '{"images": []}', "this is a json", "convert --annotations 'ROOT/a b.json'"),
        ("a.xml", "<annotation></annotation>", "this is Pascal VOC's XML", "datum convert"),
        ("a.csv", "filename,xmin,ymin,xmax,ymax\n", "this is a table (csv)", "export COCO"),
        ("empty.csv", "", "this is a table (csv)", "export COCO"),
    ],
)  # fmt: skip
def test_annotations_in_place_of_records_are_told_the_way(
    capsys, tmp_path, name, text, found, mend
):
    (tmp_path / name).write_text(text)
    message = refused(capsys, str(tmp_path / name))
    assert found in message
    assert mend.replace("ROOT", str(tmp_path)) in message
    assert "expected: a pipeline.config, record files, or a folder of them" in message


def test_a_config_that_comes_by_a_pipe_with_a_name_is_read(capsys, clean, config, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    text = config.read_text()
    writer = threading.Thread(target=fifo.write_text, args=(text,), daemon=True)
    writer.start()
    content = told(capsys, str(fifo), str(clean.folder))
    writer.join(10)
    assert content["pipeline"] == str(fifo)
    assert "the config does not parse" in refused(capsys, os.devnull)


def test_what_names_do_not_tell_is_said(capsys, clean, tmp_path):
    named_as(clean, tmp_path, train="pets.record")
    unseen = " ".join(told(capsys, str(tmp_path))["data"]["not_looked_at"])
    assert "without train, val or test in their names; taken for training: pets.record" in unseen
    named_as(clean, tmp_path, train="train.record", val="test.record")
    unseen = " ".join(told(capsys, str(tmp_path))["data"]["not_looked_at"])
    assert "records named val: there are none; taken in their place: test.record" in unseen
    assert "records without train, val or test in their names: pets.record" in unseen


def test_a_config_and_records_are_told_apart(capsys, clean, config):
    content = told(capsys, str(config), clean.val_pattern)
    assert images_of(content) == {"eval": 16}
    assert content["pipeline"] == str(config)
    content = told(capsys, str(clean.folder), str(config))
    assert images_of(content) == {"train": 40, "eval": 16}
    assert content["pipeline"] == str(config)


def test_the_embedded_set_is_a_name(capsys, monkeypatch, clean):
    monkeypatch.setattr(source, "embedded_dataset", lambda: clean)
    assert images_of(told(capsys, "embedded")) == {"train": 40, "eval": 16}


def test_records_that_are_not_there_are_refused_by_what_lies_beside_them(capsys, clean, tmp_path):
    message = refused(capsys, str(clean.folder / "train-00009-of-00004.tfrecord"))
    assert "matches nothing" in message
    assert "holds train-0000" in message
    assert "no such pipeline.config" in refused(capsys, str(tmp_path / "my.config"))
    (tmp_path / "pets.record").touch()
    for name in ("pets.recrod", "*.rec", "pets"):
        message = refused(capsys, str(tmp_path / name))
        assert "matches nothing" in message
        assert "pets.record" in message
    (tmp_path / "empty.record").touch()
    assert "hold no record" in refused(capsys, str(tmp_path / "empty.record"))


def test_data_that_is_named_twice_is_refused(capsys, clean):
    folder = str(clean.folder)
    assert "2 sets of data were named" in refused(capsys, folder, "--data", folder)
    assert "2 sets of data were named" in refused(capsys, folder, "embedded")
    message = refused(capsys, clean.train_pattern, "--eval_records", clean.val_pattern)
    assert "record files were named with --eval_records and without a flag" in message


def test_the_benchmark_of_the_page_fills_the_columns_that_there_are():
    path = Path(__file__).parents[1] / "benchmarks" / "bench_data_check.py"
    spec = importlib.util.spec_from_file_location("bench_data_check", path)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    bench._likeness_of_noise(20)
