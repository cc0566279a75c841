"""`data show` as a user meets it: what is written, what is said, and what is refused."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from odapi_repro import data
from odapi_repro.datasets.annotations import AnnotatedImage, ModelInput, RefusedInput
from odapi_repro.datasets.embedded import EmbeddedDataset, embedded_dataset
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.features.show import show_pictures, show_split
from odapi_repro.pipeline import bind_records, load_pipeline

_PLAIN = {"records_train.png", "histograms_train.png", "classes_train.png"}
_TEXTS = {"README.md", "show.json"}


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedDataset:
    spec = ShapesSpec(
        seed=3, train_images=14, val_images=5, train_shards=2, val_shards=1, crowd_share=0.4
    )
    return embedded_dataset(tmp_path_factory.mktemp("cache"), spec=spec)


@pytest.fixture
def real_plots() -> None:
    """For tests that want the histograms themselves, which take seconds."""


@pytest.fixture(autouse=True)
def _quick_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_plots" not in request.fixturenames:
        for name in ("histograms_png", "classes_png"):
            monkeypatch.setattr(show_split, name, lambda report: b"drawn elsewhere")


@pytest.fixture
def effdet(repository: Path) -> str:
    return str(repository / "pipelines" / "effdet_d0.config")


def _show(folder: Path, *arguments: str) -> int:
    return data.main(["show", *arguments, "--output_dir", str(folder), "--tile", "96"])


def _of(shapes: EmbeddedDataset) -> list[str]:
    return ["--data", str(shapes.folder)]


def _written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _json(folder: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((folder / "show.json").read_text(encoding="utf-8"))
    return held


def test_without_a_pipeline_there_are_records_and_histograms(
    shapes: EmbeddedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _show(tmp_path, *_of(shapes), "--images", "4") == 0
    assert _written(tmp_path) == _PLAIN | _TEXTS
    (split,) = _json(tmp_path)["splits"]
    coco = json.loads(shapes.instances_train.read_text(encoding="utf-8"))
    assert (split["images"], split["objects"]) == (14, len(coco["annotations"]))
    assert split["crowd_regions"] == sum(one["iscrowd"] for one in coco["annotations"])
    assert split["anchors"] is None
    assert split["images_shown"] == 4
    said = capsys.readouterr().out
    assert f"14 images in 2 files, {len(coco['annotations'])} objects" in said
    with Image.open(tmp_path / "records_train.png") as sheet:
        assert sheet.width == 4 * (96 + 14) + 14


def test_with_a_pipeline_its_anchors_are_laid_over(
    shapes: EmbeddedDataset, effdet: str, tmp_path: Path
) -> None:
    arguments = [*_of(shapes), "--split", "both", "--draws", "0", "--pipeline", effdet]
    assert _show(tmp_path, *arguments) == 0
    assert _written(tmp_path) == _TEXTS | _PLAIN | {name.replace("train", "val") for name in _PLAIN}
    train, val = _json(tmp_path)["splits"]
    assert [train["split"], val["split"]] == ["train", "val"]
    anchors = train["anchors"]
    assert anchors["compared"] == train["objects"]
    assert sum(anchors["best_iou"]["objects"]) == train["objects"]
    assert sum(one["below_matched"] for one in train["classes"]) == anchors["below_matched"]
    assert sum(one["below_matched"] for one in train["sizes"]) == anchors["below_matched"]
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in readme for name in train["pictures"])
    assert "python -m odapi_repro.data show" in readme


@pytest.mark.usefixtures("real_plots")
def test_the_same_call_writes_the_same_bytes(
    shapes: EmbeddedDataset, effdet: str, tmp_path: Path
) -> None:
    for _ in range(2):
        _show(tmp_path / "out", *_of(shapes), "--draws", "0", effdet)
        (tmp_path / "out").rename(tmp_path / f"kept-{len(list(tmp_path.iterdir()))}")
    first, second = sorted(tmp_path.iterdir())
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_pictures_of_an_earlier_call_do_not_stay(shapes: EmbeddedDataset, tmp_path: Path) -> None:
    assert _show(tmp_path, *_of(shapes), "--split", "both") == 0
    (tmp_path / "mine.png").write_bytes(b"kept")
    assert _show(tmp_path, *_of(shapes), "--split", "val") == 0
    assert not any("train" in name for name in _written(tmp_path))
    assert "mine.png" in _written(tmp_path)


@pytest.mark.parametrize("only", ["crowd", "small", "ring", "crowd,ring"])
def test_only_shows_images_of_a_kind_or_class(
    shapes: EmbeddedDataset, tmp_path: Path, only: str
) -> None:
    assert _show(tmp_path, *_of(shapes), "--only", only, "--images", "99") == 0
    coco = json.loads(shapes.instances_train.read_text(encoding="utf-8"))
    names = {one["id"]: one["name"] for one in coco["categories"]}
    wanted = set(only.split(","))
    images = {
        one["image_id"]
        for one in coco["annotations"]
        if ("crowd" in wanted and one["iscrowd"])
        or names[one["category_id"]] in wanted
        or ("small" in wanted and one["bbox"][2] * one["bbox"][3] < 32**2)
    }
    (split,) = _json(tmp_path)["splits"]
    assert 0 < len(images) < 14
    assert split["images_shown"] == split["images_matching"] == len(images)
    assert split["images"] == 14


def test_source_ids_are_shown_and_those_that_no_image_has_are_told(
    shapes: EmbeddedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _show(tmp_path, *_of(shapes), "--source_ids", "3,5,no-such", "--images", "1") == 0
    (split,) = _json(tmp_path)["splits"]
    assert split["images_shown"] == 2
    assert "no image has the source id no-such" in capsys.readouterr().out


def test_wrong_records_are_found_counted_and_drawn(
    shapes: EmbeddedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [
        AnnotatedImage.from_example(record)
        for file in sorted(shapes.folder.glob("train-*"))
        for record in read_records(file)
    ]
    first, second, third = [image for image in images if len(image.boxes) > 1][:3]
    size = np.array([first.height, first.width] * 2)
    absolute = dataclasses.replace(first, boxes=(first.boxes * size).astype(np.float32))
    swapped = dataclasses.replace(second, boxes=second.boxes[:, [2, 1, 0, 3]])
    cut = dataclasses.replace(third, encoded_image=third.encoded_image[:99])
    file = tmp_path / "bad.record"
    examples = [one.to_example() for one in (absolute, swapped, cut, third)]
    write_records(file, [*examples, b"\xff\xff"])
    arguments = ["--train_records", str(file), "--label_map", str(shapes.label_map_path)]
    assert _show(tmp_path / "out", *arguments) == 0
    (split,) = _json(tmp_path / "out")["splits"]
    assert split["boxes_outside"] == len(first.boxes)
    assert split["boxes_without_area"] == len(second.boxes)
    assert split["records_not_read"] == 1
    said = capsys.readouterr().out
    assert f"boxes that leave the image: {len(first.boxes)}" in said
    with Image.open(tmp_path / "out" / "records_train.png") as sheet:
        # Four columns: the unreadable record stands in a row of its own.
        assert sheet.height > 2 * 96 + 14
    assert _show(tmp_path / "wrong", *arguments, "--only", "wrong") == 0
    assert _json(tmp_path / "wrong")["splits"][0]["images_matching"] == 2


def _fake_inputs(
    pipeline: Any, examples: Any, label_map_path: Any, on_input: Any, *, draws: int, seed: int
) -> None:
    for draw in range(draws):
        for record in range(len(examples)):
            if record == 0:
                on_input(record, draw, RefusedInput("", draw, "assertion failed"))
                continue
            one = ModelInput(
                source_id="",
                image=np.zeros((64, 64, 3), np.uint8),
                true_height=64,
                true_width=64,
                boxes=np.zeros((1, 4), np.float32),
                class_ids=np.ones(1, np.int64),
                masks=None,
                boxes_in_record=4,
            )
            on_input(record, draw, one)


def test_sheets_of_model_inputs_have_a_row_a_record_and_count_what_is_left(
    shapes: EmbeddedDataset, effdet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show_pictures, "each_model_input", _fake_inputs)
    arguments = [*_of(shapes), "--pipeline", effdet, "--images", "8", "--draws", "2"]
    assert _show(tmp_path, *arguments) == 0
    names = {"model_input_train_1.png", "model_input_train_2.png"}
    assert _written(tmp_path) == _PLAIN | _TEXTS | names
    heights = []
    for name in sorted(names):
        with Image.open(tmp_path / name) as sheet:
            assert sheet.width == 3 * (96 + 14) + 14
            heights.append(sheet.height)
    assert heights[0] - heights[1] == 4 * (96 + 42 + 14)
    draws = _json(tmp_path)["splits"][0]["draws"]
    assert (draws["objects_left"], draws["objects_in_records"]) == (14, 56)
    assert draws["refused"] == 2
    assert draws["messages"] == ["assertion failed"]


def test_evaluation_images_are_not_augmented(
    shapes: EmbeddedDataset, effdet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def recorded(pipeline: Any, *arguments: Any, draws: int, seed: int) -> None:
        seen.append((len(pipeline.proto.train_config.data_augmentation_options), draws))
        _fake_inputs(pipeline, *arguments, draws=draws, seed=seed)

    monkeypatch.setattr(show_pictures, "each_model_input", recorded)
    assert _show(tmp_path, *_of(shapes), effdet, "--split", "both", "--images", "2") == 0
    assert seen == [(2, 3), (0, 1)]


@pytest.mark.parametrize(
    "error",
    [
        EnvironmentMissing("it needs packages that are not installed: tensorflow"),
        UserError("the OD API's input functions refuse this pipeline: Unknown step"),
        UserError.told("my.config: no step\n  expected: a step.\n  help: write\n  | one"),
    ],
)
def test_where_no_inputs_can_be_drawn_all_else_is_written(
    shapes: EmbeddedDataset,
    effdet: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: UserError,
) -> None:
    def refuse(*arguments: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(show_pictures, "each_model_input", refuse)
    assert _show(tmp_path, *_of(shapes), "--pipeline", effdet) == 2
    assert _written(tmp_path) == _PLAIN | _TEXTS
    said = capsys.readouterr()
    assert str(error) in said.err
    told = f"note: no pictures of what the model gets: {error.in_a_line} Anchors"
    assert told in " ".join(said.out.split())
    assert "\\n" not in said.out
    assert _json(tmp_path)["splits"][0]["anchors"] is not None


def test_a_message_of_several_lines_is_told_in_order_in_a_note() -> None:
    told = UserError.told("my.config: no step\n  expected: a step.\n  help: write\n  | one")
    assert told.in_a_line == "my.config: no step; expected: a step; help: write; one"


def test_a_pipelines_own_readers_are_followed(
    shapes: EmbeddedDataset, effdet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _show(tmp_path, "--pipeline", effdet, "--draws", "0") == 2
    assert "names no data" in capsys.readouterr().err
    pipeline = bind_records(
        load_pipeline(effdet),
        train_patterns=[shapes.train_pattern],
        eval_patterns=[shapes.val_pattern],
        label_map_path=str(shapes.label_map_path),
        num_classes=6,
        checkpoint=None,
    )
    config = tmp_path / "my.config"
    config.write_text(pipeline.to_text(), encoding="utf-8")
    assert _show(tmp_path / "out", str(config), "--draws", "0", "--split", "both") == 0
    train, val = _json(tmp_path / "out")["splits"]
    assert (train["images"], val["images"]) == (14, 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no records were named"),
        (["--data", "nowhere"], "--data nowhere does not exist"),
        (["--data", "FOLDER", "--split", "test"], "should be one of"),
        (["--data", "FOLDER", "--only", "rnig"], "did you mean 'ring'"),
        (["--data", "FOLDER", "--only", "empty", "--source_ids", "5"], "none of the 14 images"),
        (["--data", "FOLDER", "--source_ids", "no-such"], "source ids no-such"),
        (["--data", "FOLDER", "--label_map", "none.pbtxt"], "cannot read the label map"),
        (["--train_records", "ALONE/train-*"], "no label map is named"),
        (["--train_records", "FOLDER/nothing*", "--label_map", "MAP"], "matches nothing"),
        (
            ["--train_records", "FOLDER/train-*", "--label_map", "MAP", "--split", "both"],
            "add --eval_records, or --split train",
        ),
        (["--data", "FOLDER", "a.config", "b.config"], "2 configs were named"),
        (["--data", "FOLDER", "--pipeline", "none.config"], "no such pipeline.config"),
        (["--data", "FOLDER", "--unknown"], "unknown flag --unknown"),
        (["--data", "FOLDER", "--images", "0"], "a flag was not understood"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(
    shapes: EmbeddedDataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    (tmp_path / "alone").mkdir()
    for path in shapes.folder.glob("train-*"):
        shutil.copy(path, tmp_path / "alone")
    places = {"FOLDER": shapes.folder, "MAP": shapes.label_map_path, "ALONE": tmp_path / "alone"}
    filled = [re.sub("|".join(places), lambda name: str(places[name[0]]), a) for a in arguments]
    assert _show(tmp_path / "out", *filled) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("odapi-repro data show: ")
    assert not captured.out
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out").exists()


def test_that_no_image_is_wrong_is_an_answer_without_pictures(
    shapes: EmbeddedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _show(tmp_path, *_of(shapes), "--images", "2") == 0
    capsys.readouterr()
    assert _show(tmp_path, *_of(shapes), "--only", "wrong", "--split", "both") == 0
    said = capsys.readouterr().out
    assert "no image of train is wrong" in said
    assert "no image of val is wrong" in said
    assert _written(tmp_path) == _TEXTS
    assert "no image of train is wrong" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_filter_that_matches_nothing_is_told_without_the_paths_of_all_files(
    shapes: EmbeddedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _show(tmp_path / "out", *_of(shapes), "--source_ids", "none") == 2
    assert str(shapes.folder) not in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(
    shapes: EmbeddedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert _show(tmp_path / "file" / "out", *_of(shapes)) == 2
    assert "name another --output_dir" in capsys.readouterr().err
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        assert _show(tmp_path / "closed", *_of(shapes)) == 2


def test_a_model_without_anchors_says_so(
    shapes: EmbeddedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from odapi_repro.reference import reference_named

    config = tmp_path / "centernet.config"
    pipeline = reference_named("centernet_hourglass104_512").pipeline()
    config.write_text(pipeline.to_text(), encoding="utf-8")
    assert _show(tmp_path / "out", *_of(shapes), str(config), "--draws", "0") == 0
    said = capsys.readouterr().out
    assert "nothing is compared with anchors: a center_net has no anchors" in said


def test_the_label_map_beside_the_records_is_taken(shapes: EmbeddedDataset, tmp_path: Path) -> None:
    assert _show(tmp_path, "--train_records", shapes.train_pattern, "--images", "2") == 0
    assert _json(tmp_path)["label_map"] == shapes.label_map_path.name


def test_a_folder_of_one_split_is_shown(shapes: EmbeddedDataset, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in (*shapes.folder.glob("train-*"), shapes.label_map_path):
        (alone / path.name).write_bytes(path.read_bytes())
    assert _show(tmp_path / "shown", "--data", str(alone), "--images", "2") == 0
    assert (tmp_path / "shown" / "records_train.png").is_file()


def test_help_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert data.main(["show", "--help"]) == 0
    assert "--source_ids" in capsys.readouterr().out


def test_on_a_terminal_one_line_tells_what_goes_on(
    shapes: EmbeddedDataset, effdet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(show_pictures, "each_model_input", _fake_inputs)
    assert _show(tmp_path, *_of(shapes), "--pipeline", effdet, "--images", "2") == 0
    told = screen.getvalue()
    assert "train: 1 record read" in told
    assert "train: TensorFlow starts to draw what the model gets" in told
    assert told.count("\n") == 1
    assert told.endswith("\n")


def test_pictures_that_fail_leave_the_numbers(
    shapes: EmbeddedDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(report: object) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr(show_split, "histograms_png", refuse)
    assert _show(tmp_path, *_of(shapes), "--images", "4") == 0
    assert _written(tmp_path) == (_PLAIN | _TEXTS) - {"histograms_train.png"}
    assert "histograms_train.png" not in _json(tmp_path)["splits"][0]["pictures"]
    assert "histograms_train could not be drawn" in (tmp_path / "README.md").read_text()
    captured = capsys.readouterr()
    assert "histograms_train could not be drawn and is left out" in captured.err
    assert "histograms_train.png" not in captured.out


def test_a_tile_that_cannot_be_drawn_says_so_and_the_others_are_there(
    shapes: EmbeddedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def render_tile(tile: show_pictures.Tile, side: int) -> Image.Image:
        drawn.append(tile)
        if tile.image is not None:
            raise ValueError("too large")
        assert "cannot be drawn: ValueError: too large" in tile.message
        return Image.new("RGB", (side, side))

    monkeypatch.setattr(show_pictures, "render_tile", render_tile)
    assert _show(tmp_path, *_of(shapes), "--images", "2") == 0
    assert len(drawn) == 4
    assert "records_train.png" in _written(tmp_path)
