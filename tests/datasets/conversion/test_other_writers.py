"""COCO json as other programs write it, and what is no COCO at all."""

from __future__ import annotations

import json
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coco_sets import CocoSet

from odapi_repro.data import main
from odapi_repro.datasets.conversion.image_source import locate_images
from odapi_repro.datasets.conversion.manifest import read_manifest
from odapi_repro.errors import DataError


def converted(made: CocoSet, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Gives the report of a conversion that keeps all annotations."""
    assert main(flags_of(made, *more)) == 0, capsys.readouterr().err
    found = read_manifest(made.output)
    assert found is not None
    (split,) = found.splits.values()
    assert split.annotations["kept"] == len(made.content["annotations"])
    return " ".join(capsys.readouterr().out.split())


def converted_to(made: CocoSet, capsys: pytest.CaptureFixture[str], output: Path) -> str:
    assert main(flags_of(made, f"--output_dir={output}")) == 0
    return capsys.readouterr().out


def refused(made: CocoSet, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(flags_of(made, *more)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("expected: ") == 1
    return captured.err


def flags_of(made: CocoSet, *more: str) -> list[str]:
    return [
        "convert", f"--annotations={made.json_path}", f"--image_dir={made.images}",
        f"--output_dir={made.output}", "--workers=1", *more,
    ]  # fmt: skip


def change(made: CocoSet, key: str, field: str, how: Callable[[Any], Any]) -> None:
    for one in made.content[key]:
        one[field] = how(one[field])
    made.write()


@pytest.mark.parametrize(
    ("images", "annotations"),
    [
        (int, str),
        (str, int),
        (lambda one: f"{one:012}", int),
        (int, lambda one: f"{one:012}"),
        (int, lambda one: f"{one}.0"),
        (str, float),
        (lambda one: f"{one:03}", lambda one: f"{one:06}"),
        (int, lambda one: f" {one} "),
    ],
    ids=["texts", "numbers", "zeros", "zeros there", "text.0", "floats", "both", "spaces"],
)
def test_image_ids_of_two_forms_are_matched_and_told(
    ten_images, capsys, images, annotations
) -> None:
    change(ten_images, "images", "id", images)
    change(ten_images, "annotations", "image_id", annotations)
    told = converted(ten_images, capsys)
    assert "note: 20 annotations name their image by its id in another form" in told
    assert "matched by number" in told


@pytest.mark.parametrize("how", [str, lambda one: f"{one}.0", lambda one: f"{one:03}"])
@pytest.mark.parametrize("which", ["categories", "annotations", "both"])
def test_category_ids_that_are_texts_are_taken_as_numbers(ten_images, capsys, how, which) -> None:
    ten_images.content["categories"] = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    if which != "annotations":
        change(ten_images, "categories", "id", how)
    if which != "categories":
        change(ten_images, "annotations", "category_id", how)
    assert "note: category ids are written as text" in converted(ten_images, capsys)


def test_ids_of_one_form_are_not_talked_about(ten_images, capsys) -> None:
    change(ten_images, "images", "id", str)
    change(ten_images, "annotations", "image_id", str)
    assert "note" not in converted(ten_images, capsys)


def test_an_id_that_two_images_have_as_a_number_is_one_message(ten_images, capsys) -> None:
    change(ten_images, "images", "id", lambda one: {1: "01", 2: "001"}.get(one, str(one)))
    message = refused(ten_images, capsys)
    assert "image_id 1 of an annotation is the id of no image" in message
    assert "'01' and '001'" in message
    assert "drop" not in message


def test_a_text_that_one_of_two_images_has_is_that_image(ten_images, capsys) -> None:
    change(ten_images, "images", "id", lambda one: {1: "1", 2: "01"}.get(one, str(one)))
    change(ten_images, "annotations", "image_id", lambda one: {2: "01"}.get(one, str(one)))
    assert "note" not in converted(ten_images, capsys)


def test_where_no_annotation_is_of_an_image_nobody_is_told_to_drop_them_all(
    ten_images, capsys
) -> None:
    change(ten_images, "annotations", "image_id", lambda one: f"image_{one}")
    message = refused(ten_images, capsys)
    assert "20 of 20 annotations are of images that the json does not hold" in message
    assert "write the ids of the images as image_id: they begin with 1, 2, 3" in message
    assert "drop" not in message


@pytest.mark.parametrize(
    "prefix",
    [
        "images/train/", "C:\\data\\images\\", "/home/me/data/", "../photos/", "./",
        "https://example.org/a/b/", "file:///data/", "train\\",
    ],
)  # fmt: skip
def test_names_with_folders_that_are_not_here_are_found_by_their_ends(
    ten_images, capsys, prefix
) -> None:
    change(ten_images, "images", "file_name", lambda one: prefix + one)
    told = converted(ten_images, capsys)
    if prefix == "./":
        assert "note" not in told
    else:
        assert "note: 10 file names have folders that are not here" in told
        assert "'1.jpg'" in told


def test_a_url_is_read_as_one(ten_images, capsys) -> None:
    (ten_images.images / "1.jpg").rename(ten_images.images / "a b.jpg")
    names = {"1.jpg": "https://host/x/a%20b.jpg?token=1"}
    change(ten_images, "images", "file_name", lambda one: names.get(one, one))
    assert "note: 1 file name has folders that are not here" in converted(ten_images, capsys)


def test_lvis_names_its_images_by_their_url(ten_images, capsys) -> None:
    for one in ten_images.content["images"]:
        one["coco_url"] = "http://images.cocodataset.org/train2017/" + one.pop("file_name")
    for one in ten_images.content["annotations"]:
        del one["iscrowd"]
    ten_images.write()
    assert "10 file names have folders that are not here" in converted(ten_images, capsys)


def test_base_names_that_two_images_have_find_neither(ten_images, capsys) -> None:
    change(
        ten_images,
        "images",
        "file_name",
        lambda one: {"1.jpg": "a/1.jpg", "2.jpg": "b/1.jpg"}.get(one, one),
    )
    message = refused(ten_images, capsys)
    assert "2 of 10 images are missing" in message
    assert (
        "'1.jpg' lies there, and 2 images of the json end in it ('a/1.jpg', 'b/1.jpg')" in message
    )


def test_the_longest_end_counts_and_a_file_is_of_one_name(tmp_path: Path) -> None:
    for name in ("train/1.jpg", "val/1.jpg", "1.jpg", "2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    names = ["data/train/1.jpg", "data/val/1.jpg", "1.jpg", "2.jpg", "old/2.jpg"]
    found = locate_images(tmp_path, names)
    assert [one and Path(one.path).read_text() for one in found] == [
        "train/1.jpg", "val/1.jpg", "1.jpg", "2.jpg", None,
    ]  # fmt: skip
    assert [one.found_as for one in found if one] == ["train/1.jpg", "val/1.jpg", "", ""]


def test_ends_are_found_in_an_archive_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("train2017/1.jpg", b"one")
    (found,) = locate_images(tmp_path / "a.zip", ["D:\\coco\\1.jpg"])
    assert found is not None
    assert (found.name, found.found_as) == ("D:\\coco\\1.jpg", "1.jpg")


def roboflow(made: CocoSet, name: str = "fish-v3") -> None:
    made.content["categories"] = [
        {"id": 0, "name": name, "supercategory": "none"},
        {"id": 1, "name": "cod", "supercategory": name},
        {"id": 18, "name": "eel", "supercategory": name},
    ]
    made.write()


@pytest.mark.parametrize("name", ["fish-v3", "cod"])
@pytest.mark.parametrize("ids", ["keep", "consecutive"])
def test_an_empty_category_0_that_heads_the_others_is_left_out(
    ten_images, capsys, name, ids
) -> None:
    roboflow(ten_images, name)
    told = converted(ten_images, capsys, f"--class_ids={ids}")
    assert f"note: category 0 '{name}' has no annotation and is the supercategory of others" in told
    label_map = (ten_images.output / "label_map.pbtxt").read_text()
    assert label_map.count("item") == 2
    assert "fish" not in label_map
    assert "id: 1\n" in label_map


def test_a_category_0_with_objects_is_a_class(ten_images, capsys) -> None:
    roboflow(ten_images)
    ten_images.annotation(1, [2, 3, 20, 10], 0)
    ten_images.write()
    assert "--class_ids consecutive" in refused(ten_images, capsys)


def test_a_category_0_that_heads_nothing_is_a_class(ten_images, capsys) -> None:
    ten_images.content["categories"] = [
        {"id": 0, "name": "cat"}, {"id": 1, "name": "cod"}, {"id": 18, "name": "eel"}
    ]  # fmt: skip
    ten_images.write()
    assert "category 'cat' has id 0" in refused(ten_images, capsys)


VOC = "<annotation>\n<filename>1.jpg</filename><object><name>cod</name></object></annotation>"
CSV = "filename,width,height,class,xmin,ymin,xmax,ymax\n1.jpg,60,40,cod,1,2,3,4\n"
OTHERS = {
    "1.xml": (VOC, "Pascal VOC's XML", "datum convert -if voc"),
    "2.xml": (f'<?xml version="1.0"?>\n{VOC}', "Pascal VOC's XML", "xmax - xmin"),
    "cvat.xml": ("<annotations><version>1.1</version></annotations>", "CVAT's own XML", "COCO 1.0"),
    "labels.csv": (CSV, "a table (csv) that begins with filename, width", "xmax - xmin"),
    "labels": (CSV.replace(",", ";"), "a table (csv)", "export COCO"),
    "1.txt": ("0 0.5 0.5 0.25 0.1\n1 0.5 0.5 0.1 0.1\n", "YOLO's labels", "datum convert -if yolo"),
    "1.json": (
        '{"version": "5.0.1", "flags": {}, "shapes": [{"label": "cod"}], "imagePath": "1.jpg"}',
        "labelme's json", "one json for all images",
    ),
    "via.json": ('{"_via_img_metadata": {}}', "VGG Image Annotator", "export"),
    "a.record": ("\x10\x00\x00\x00\x00\x00\x00\x00abc", "records (TFRecord)", "data check"),
    "list.json": ('[{"image": "1.jpg", "annotations": []}]', "a list, not an", "export COCO"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_format_is_named_with_the_way_to_coco(ten_images, capsys, name) -> None:
    text, what, mend = OTHERS[name]
    path = ten_images.folder / name
    path.write_text(text)
    message = refused(ten_images, capsys, f"--annotations={path}")
    assert what in message
    assert mend in message


@pytest.mark.parametrize("name", [one for one in OTHERS if one not in ("via.json", "list.json")])
def test_a_folder_of_another_format_is_named_too(ten_images, capsys, name) -> None:
    text, what, _ = OTHERS[name]
    folder = ten_images.folder / "labels_of_all"
    folder.mkdir()
    (folder / name).write_text(text)
    message = refused(ten_images, capsys, f"--annotations={folder}")
    if name == "labels":
        assert "this is a folder, without a json" in message
    elif name == "labels.csv":
        assert "a folder of tables (csv), one of which begins with filename, width" in message
    else:
        assert f"this is a folder of {what}" in message


def test_a_folder_with_a_coco_json_is_told_its_name(ten_images, capsys) -> None:
    folder = ten_images.folder / "export"
    folder.mkdir()
    (folder / "_annotations.coco.json").write_text(json.dumps(ten_images.content))
    (folder / "README.txt").write_text("0 things\n")
    message = refused(ten_images, capsys, f"--annotations={folder}")
    assert f"--annotations {folder / '_annotations.coco.json'}" in message


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (("test", "train", "valid"), "train/_annotations.coco.json"),
        (("annotations",), "annotations/_annotations.coco.json"),
        (("a/b",), "a/b/_annotations.coco.json"),
    ],
)
def test_a_json_in_folders_of_the_folder_is_told_as_a_shell_takes_it(
    ten_images, capsys, folders, told
) -> None:
    export = ten_images.folder / "my export"
    for folder in folders:
        (export / folder).mkdir(parents=True)
        (export / folder / "_annotations.coco.json").write_text(json.dumps(ten_images.content))
    message = refused(ten_images, capsys, f"--annotations={export}")
    assert f"with {told}" in message
    assert shlex.split(message.splitlines()[-1])[-2:] == ["--annotations", str(export / told)]


def test_another_format_in_folders_of_the_folder_is_named_by_its_folder(ten_images, capsys) -> None:
    labels = ten_images.folder / "yolo" / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "1.txt").write_text("0 0.5 0.5 0.25 0.1\n")
    message = refused(ten_images, capsys, f"--annotations={labels.parents[1]}")
    assert f"{labels}: this is a folder of YOLO's labels" in message


@pytest.mark.parametrize("name", ["fish.bin", "fish-00000-of-00002"])
def test_records_by_another_name_are_records(ten_images, capsys, name) -> None:
    ten_images.convert()
    file = ten_images.folder / name
    file.write_bytes(next(ten_images.output.glob("train-*")).read_bytes())
    assert "this is records" in refused(ten_images, capsys, f"--annotations={file}")


@pytest.mark.parametrize(("written", "lies"), [("{}.JPG", "1.jpg"), ("{}.png", "1.jpg")])
def test_where_all_images_are_missing_nobody_is_told_to_drop_them_all(
    ten_images, capsys, written, lies
) -> None:
    change(ten_images, "images", "file_name", lambda one: written.format(one.partition(".")[0]))
    message = refused(ten_images, capsys)
    assert f"'{lies}' lies there, and the json has" in message
    assert "--bad_images drop" not in message


def test_the_last_line_of_the_report_is_what_a_shell_takes(ten_images, capsys) -> None:
    output = ten_images.folder / "my records"
    report = converted_to(ten_images, capsys, output)
    assert shlex.split(report.splitlines()[-1]) == ["--data", str(output)]


def test_an_empty_folder_is_said_to_be_empty(ten_images, capsys) -> None:
    (ten_images.folder / "nothing").mkdir()
    folder = ten_images.folder / "nothing"
    assert "this is an empty folder" in refused(ten_images, capsys, f"--annotations={folder}")


def test_the_json_of_other_ids_is_held_against_its_records(ten_images, capsys) -> None:
    change(ten_images, "images", "id", float)
    change(ten_images, "annotations", "image_id", str)
    change(ten_images, "annotations", "category_id", str)
    converted(ten_images, capsys)
    argv = ["check", f"--data={ten_images.output}", f"--annotations={ten_images.json_path}"]
    assert main(argv) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "20 boxes" in told or "20 objects" in told
    assert "not in the json" not in told


def test_ids_that_mean_one_number_twice_are_refused_by_a_check_as_well(ten_images, capsys) -> None:
    converted(ten_images, capsys)
    change(ten_images, "images", "id", lambda one: {1: "01", 2: "001"}.get(one, str(one)))
    argv = ["check", f"--data={ten_images.output}", f"--annotations={ten_images.json_path}"]
    assert main(argv) == 2
    assert "as a number that of 2 images" in capsys.readouterr().err


def test_an_error_of_ids_names_the_json(ten_images) -> None:
    from odapi_repro.datasets.conversion.coco_index import read_coco

    change(ten_images, "images", "id", lambda one: {1: "01", 2: "001"}.get(one, str(one)))
    with pytest.raises(DataError, match=r"instances\.json"):
        read_coco(ten_images.json_path)
