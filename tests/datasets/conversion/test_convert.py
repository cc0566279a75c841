"""Whole conversions: the same bytes however they come about, and nothing half made."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from coco_sets import CocoSet
from PIL import Image

from odapi_repro.datasets.conversion import convert as convert_module
from odapi_repro.datasets.conversion.convert import Progress, convert
from odapi_repro.datasets.conversion.manifest import read_manifest
from odapi_repro.datasets.label_map import read_label_map
from odapi_repro.datasets.records import manifest
from odapi_repro.datasets.source import DataFlags, resolve_data
from odapi_repro.errors import DataError, UserError
from odapi_repro.trials.groundwork import StudyData

Contents = Callable[[Path], dict[str, bytes]]


class Interrupt(Exception):
    """Stands for Ctrl-C in the middle."""


def interrupted_after(shards: int) -> Callable[[Progress], None]:
    calls = 0

    def progress(_: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls == shards:
            raise Interrupt

    return progress


def test_objects_come_out_as_they_are_in_the_json(ten_images: CocoSet) -> None:
    ten_images.convert()
    image = ten_images.records()["4"]
    assert image.filename == "4.jpg"
    assert image.encoded_image == (ten_images.images / "4.jpg").read_bytes()
    assert (image.height, image.width, image.image_format) == (40, 60, "jpeg")
    assert image.class_ids.tolist() == [1, 18]
    assert image.class_names == ("person", "dog")
    assert image.areas.tolist() == [200, 240]
    assert not image.is_crowd.any()
    assert len(image.masks_png) == 2


def test_images_are_dealt_to_shards_as_the_od_api_deals_them(ten_images: CocoSet) -> None:
    ten_images.convert(shards=3)
    assert list(ten_images.records()) == ["1", "4", "7", "10", "2", "5", "8", "3", "6", "9"]


def test_other_commands_find_what_was_written(ten_images: CocoSet) -> None:
    ten_images.convert()
    ten_images.convert(name="val", shards=1)
    data = StudyData.of(resolve_data(DataFlags(str(ten_images.output))))
    assert data.has_masks
    assert data.label_map.items == {1: "person", 18: "dog", 90: "brush"}
    found = read_manifest(ten_images.output)
    assert found is not None
    assert sorted(found.splits) == ["train", "val"]
    assert found.num_classes == 90


def test_the_manifest_names_the_shards_by_their_digests(ten_images: CocoSet) -> None:
    split = ten_images.convert().manifest.splits["train"]
    again = manifest(sorted(ten_images.output.glob("train-*")))
    assert split.files == again.files
    assert split.digest == again.digest


@pytest.mark.parametrize("workers", [2, 3])
def test_the_bytes_do_not_depend_on_the_number_of_processes(
    ten_images: CocoSet, contents: Contents, workers: int
) -> None:
    ten_images.convert(shards=5)
    whole = contents(ten_images.output)
    shutil.rmtree(ten_images.output)
    ten_images.convert(shards=5, workers=workers)
    assert contents(ten_images.output) == whole


def test_an_interrupted_conversion_goes_on_and_gives_the_same_bytes(
    ten_images: CocoSet, contents: Contents
) -> None:
    ten_images.convert(shards=5)
    whole = contents(ten_images.output)
    shutil.rmtree(ten_images.output)
    with pytest.raises(Interrupt):
        convert(ten_images.request(shards=5), progress=interrupted_after(3))
    assert "manifest.json" not in contents(ten_images.output)
    untouched = ten_images.output / "train-00001-of-00005.tfrecord"
    made_at = untouched.stat().st_mtime_ns
    # What a killed process leaves: a shard of garbage, and a half-written one.
    (ten_images.output / "train-00000-of-00005.tfrecord").write_bytes(b"torn")
    (ten_images.output / ".train-00004-of-00005.tfrecord.0123456789ab.tmp").write_bytes(b"half")
    outcome = ten_images.convert(shards=5)
    assert outcome.shards_kept == 2
    assert untouched.stat().st_mtime_ns == made_at
    assert contents(ten_images.output) == whole
    assert not (ten_images.output / ".conversion").exists()


def test_a_shard_whose_images_changed_is_made_anew(ten_images: CocoSet) -> None:
    with pytest.raises(Interrupt):
        convert(ten_images.request(shards=5), progress=interrupted_after(4))
    path = ten_images.images / "1.jpg"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1  # the same size
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))
    assert ten_images.convert(shards=5).shards_kept == 3
    assert ten_images.records()["1"].encoded_image == data


def test_a_journal_line_that_was_cut_short_is_passed_over(ten_images: CocoSet) -> None:
    with pytest.raises(Interrupt):
        convert(ten_images.request(shards=5), progress=interrupted_after(4))
    (journal,) = (ten_images.output / ".conversion").glob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-15])
    assert ten_images.convert(shards=5).shards_kept == 3


def test_a_finished_conversion_is_not_made_again(ten_images: CocoSet) -> None:
    first = ten_images.convert()
    again = ten_images.convert()
    assert again.already == ("train",)
    assert again.converted == ()
    assert again.manifest == first.manifest


def test_a_finished_conversion_that_lost_a_shard_is_not_called_whole(ten_images: CocoSet) -> None:
    ten_images.convert()
    (ten_images.output / "train-00001-of-00002.tfrecord").unlink()
    with pytest.raises(DataError, match="missing or damaged: train-00001"):
        ten_images.convert()
    assert ten_images.convert(overwrite=True).converted == ("train",)


def changed_in_the_middle(path: Path) -> bytes:
    """Changes a byte of a file, which keeps its size and its time of change."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return bytes(data)


def test_a_finished_conversion_notices_an_image_that_changed_since(ten_images: CocoSet) -> None:
    ten_images.convert()
    data = changed_in_the_middle(ten_images.images / "3.jpg")
    with pytest.raises(DataError, match=r"1 image\(s\) of 'train' changed since .*: 3\.jpg"):
        ten_images.convert()
    assert ten_images.convert(overwrite=True).converted == ("train",)
    assert ten_images.records()["3"].encoded_image == data


def test_a_finished_conversion_notices_a_zip_that_changed_since(ten_images: CocoSet) -> None:
    archive = ten_images.folder / "images.zip"

    def pack() -> None:
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(ten_images.images.iterdir()):
                file.write(path, path.name)

    pack()
    ten_images.convert(image_dir=archive)
    pack()
    assert ten_images.convert(image_dir=archive).already == ("train",)
    changed_in_the_middle(ten_images.images / "3.jpg")
    pack()
    with pytest.raises(DataError, match=r"changed since .*: 3\.jpg"):
        ten_images.convert(image_dir=archive)


def test_images_that_were_only_touched_leave_a_conversion_finished(ten_images: CocoSet) -> None:
    ten_images.convert()
    for path in ten_images.images.iterdir():
        path.touch()
    assert ten_images.convert().already == ("train",)


def test_another_conversion_in_the_folder_is_refused_and_replaced_when_asked(
    ten_images: CocoSet,
) -> None:
    ten_images.convert(shards=5)
    with pytest.raises(DataError, match="already holds a finished conversion of 'train'"):
        ten_images.convert(shards=4)
    ten_images.convert(shards=4, overwrite=True)
    assert len(list(ten_images.output.glob("train-*"))) == 4


def test_an_interrupted_conversion_with_other_flags_is_refused(ten_images: CocoSet) -> None:
    with pytest.raises(Interrupt):
        convert(ten_images.request(shards=5), progress=interrupted_after(2))
    with pytest.raises(DataError, match="an interrupted conversion of 'train' with other input"):
        ten_images.convert(shards=5, include_masks="no")


@pytest.mark.parametrize(
    "name", ["train-00000-of-00002.tfrecord", "coco_val.record-00000-of-00050"]
)
def test_records_of_another_program_are_refused(ten_images: CocoSet, name: str) -> None:
    ten_images.output.mkdir()
    (ten_images.output / name).write_bytes(b"theirs")
    with pytest.raises(DataError, match=f"of another conversion: {name}"):
        ten_images.convert()
    assert (ten_images.output / name).read_bytes() == b"theirs"


def test_a_second_split_with_other_classes_is_refused(ten_images: CocoSet) -> None:
    ten_images.convert()
    with pytest.raises(DataError, match="other classes or ids"):
        ten_images.convert(name="val", classes=("dog",))


def test_a_folder_is_written_to_by_one_conversion_at_a_time(ten_images: CocoSet) -> None:
    def second(_: Progress) -> None:
        with pytest.raises(DataError, match="another conversion is writing"):
            convert(ten_images.request(name="val"))

    convert(ten_images.request(), progress=second)


def test_zip_and_folder_give_the_same_records(ten_images: CocoSet, contents: Contents) -> None:
    ten_images.convert()
    shards = {name: data for name, data in contents(ten_images.output).items() if "train" in name}
    archive = ten_images.folder / "images.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(ten_images.images.iterdir()):
            file.write(path, f"train2017/{path.name}")
    shutil.rmtree(ten_images.output)
    ten_images.convert(image_dir=archive)
    found = contents(ten_images.output)
    assert {name: data for name, data in found.items() if "train" in name} == shards


def test_missing_images_are_all_listed_and_the_first_ten_shown(ten_images: CocoSet) -> None:
    for number in range(11, 24):
        ten_images.image(number)
        (ten_images.images / f"{number}.jpg").unlink()
    with pytest.raises(DataError) as raised:
        ten_images.convert()
    message = str(raised.value)
    listed = (ten_images.folder / "records.missing_images_train.txt").read_text().split()
    assert listed == [f"{number}.jpg" for number in range(11, 24)]
    assert "13 of 23 images are missing" in message
    assert "20.jpg" in message
    assert "21.jpg" not in message
    assert not ten_images.output.exists()
    split = ten_images.convert(bad_images="drop").manifest.splits["train"]
    assert (split.images["missing"], split.images["written"]) == (13, 10)


def test_images_that_do_not_decode_are_all_listed_and_the_other_shards_kept(
    ten_images: CocoSet,
) -> None:
    (ten_images.images / "3.jpg").write_bytes(b"<html>404</html>")
    whole = (ten_images.images / "8.jpg").read_bytes()
    (ten_images.images / "8.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="2 images cannot be used"):
        ten_images.convert(shards=5)
    listed = (ten_images.folder / "records.bad_images_train.txt").read_text().splitlines()
    assert listed == [
        "3.jpg is a page in HTML or XML, which TensorFlow does not decode",
        "8.jpg is a JPEG that is cut short (its end marker is missing)",
    ]
    assert not (ten_images.output / "manifest.json").exists()
    assert not (ten_images.output / "train-00002-of-00005.tfrecord").exists()
    dropped = ten_images.convert(shards=5, bad_images="drop")
    assert dropped.shards_kept == 4
    split = dropped.manifest.splits["train"]
    assert split.images["undecodable"] == 2
    assert split.annotations["image_dropped"] == 4
    assert split.annotations["kept"] + 4 == split.annotations["in_json"]
    assert sum(split.per_class.values()) == split.annotations["kept"]


def test_mended_images_are_all_that_is_looked_at_again(ten_images: CocoSet) -> None:
    whole = (ten_images.images / "8.jpg").read_bytes()
    (ten_images.images / "8.jpg").write_bytes(whole[:-50])
    with pytest.raises(DataError, match="1 image cannot be used"):
        ten_images.convert(shards=5)
    (ten_images.images / "8.jpg").write_bytes(whole)
    assert ten_images.convert(shards=5).shards_kept == 4


def test_pixels_that_are_damaged_are_found_when_every_image_is_decoded(
    ten_images: CocoSet,
) -> None:
    path = ten_images.images / "3.png"
    Image.new("RGB", (60, 40)).save(path)
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    ten_images.content["images"][2]["file_name"] = "3.png"
    with pytest.raises(DataError, match=r"3\.png does not decode"):
        ten_images.convert(decode_images=True)


def test_images_of_another_size_are_refused_rescaled_or_dropped(ten_images: CocoSet) -> None:
    with Image.open(ten_images.images / "3.jpg") as image:
        image.resize((120, 80)).save(ten_images.images / "3.jpg")
    with pytest.raises(DataError, match=r"3\.jpg is 120 x 80, the json says 60 x 40"):
        ten_images.convert()
    split = ten_images.convert(size_mismatch="rescale", overwrite=True).manifest.splits["train"]
    assert split.images["rescaled"] == 1
    images = ten_images.records()
    assert (images["3"].height, images["3"].width) == (80, 120)
    assert (images["3"].boxes == images["4"].boxes).all()
    assert (images["3"].areas == 4 * images["4"].areas).all()
    split = ten_images.convert(size_mismatch="drop", overwrite=True).manifest.splits["train"]
    assert (split.images["of_other_size"], split.annotations["image_dropped"]) == (1, 2)


def test_an_image_that_exif_turns_is_never_rescaled(ten_images: CocoSet) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 60)).save(ten_images.images / "3.jpg", exif=exif)
    with pytest.raises(DataError, match="turned by EXIF, orientation 6"):
        ten_images.convert(size_mismatch="rescale")


def test_rescaling_that_cannot_be_is_not_proposed_again(ten_images: CocoSet) -> None:
    Image.new("RGB", (40, 60)).save(ten_images.images / "3.jpg")
    with pytest.raises(DataError, match="1 image has another size") as raised:
        ten_images.convert()
    assert "--size_mismatch rescale" in raised.value.mend
    with pytest.raises(DataError, match="turned by 90 degrees") as raised:
        ten_images.convert(size_mismatch="rescale")
    assert "--size_mismatch rescale" not in raised.value.mend
    assert "--size_mismatch drop" in raised.value.mend


def test_images_that_exif_turns_are_counted(ten_images: CocoSet) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (60, 40)).save(ten_images.images / "3.jpg", exif=exif)
    assert ten_images.convert().manifest.splits["train"].images["turned_by_exif"] == 1


def test_png_and_bmp_keep_their_bytes_and_their_format(coco_set: CocoSet) -> None:
    for number, kind in enumerate(("png", "bmp", "jpg"), start=1):
        coco_set.image(number, name=f"{number}.{kind}")
    coco_set.annotation(1, [1, 1, 5, 5])
    split = coco_set.convert(shards=1).manifest.splits["train"]
    records = coco_set.records()
    assert [records[one].image_format for one in "123"] == ["png", "bmp", "jpeg"]
    assert records["2"].encoded_image == (coco_set.images / "2.bmp").read_bytes()
    assert split.images["png"] == split.images["bmp"] == split.images["jpeg"] == 1


def test_chosen_classes_are_kept_under_their_ids_or_numbered_from_1(ten_images: CocoSet) -> None:
    ten_images.image(11)
    split = ten_images.convert(classes=("dog",)).manifest.splits["train"]
    assert split.per_class == {18: 10}
    assert split.annotations["class_not_chosen"] == 10
    assert split.images["written"] == 11
    made = ten_images.convert(
        classes=("dog", "brush"), class_ids="consecutive", empty_images="drop", overwrite=True
    ).manifest
    assert made.num_classes == 2
    assert made.splits["train"].images["written"] == 10
    assert read_label_map(ten_images.output / "label_map.pbtxt").items == {1: "dog", 2: "brush"}
    assert ten_images.records()["1"].class_ids.tolist() == [1]


def test_an_unknown_class_is_refused_with_the_nearest(ten_images: CocoSet) -> None:
    with pytest.raises(UserError, match="did you mean 'person'"):
        ten_images.convert(classes=("persn",))


def test_a_subset_has_its_number_of_images_and_says_how_far_off_it_is(
    ten_images: CocoSet,
) -> None:
    split = ten_images.convert(images=4).manifest.splits["train"]
    assert len(ten_images.records()) == split.images["written"] == 4
    assert split.annotations["image_not_chosen"] == 12
    assert split.subset["largest_difference_of_a_class_share"] == 0
    split = ten_images.convert(subset=0.5, overwrite=True).manifest.splits["train"]
    assert split.images["written"] == 5


def test_category_id_0_needs_new_ids(ten_images: CocoSet) -> None:
    ten_images.content["categories"] = [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}]
    for annotation in ten_images.content["annotations"]:
        annotation["category_id"] = annotation["category_id"] == 18
        annotation["category_id"] = int(annotation["category_id"])
    with pytest.raises(DataError, match="'a' has id 0"):
        ten_images.convert()
    ten_images.convert(class_ids="consecutive")
    assert ten_images.records()["1"].class_ids.tolist() == [1, 2]


def test_category_ids_that_no_label_map_holds_need_new_ids(ten_images: CocoSet) -> None:
    ten_images.content["categories"] = [{"id": 1, "name": "a"}, {"id": 2**31, "name": "b"}]
    for annotation in ten_images.content["annotations"]:
        if annotation["category_id"] == 18:
            annotation["category_id"] = 2**31
    with pytest.raises(DataError, match="'b' has id 2147483648") as raised:
        ten_images.convert()
    assert "--class_ids consecutive" in raised.value.mend
    ten_images.convert(class_ids="consecutive")
    assert ten_images.records()["1"].class_ids.tolist() == [1, 2]


def test_ids_with_a_fraction_of_nothing_are_whole_numbers(
    ten_images: CocoSet, contents: Contents
) -> None:
    ten_images.convert()
    shards = {name: data for name, data in contents(ten_images.output).items() if "train" in name}
    for part, keys in (
        ("images", ["id"]),
        ("annotations", ["id", "image_id", "category_id"]),
        ("categories", ["id"]),
    ):
        ten_images.content[part] = [
            {**one, **{key: float(one[key]) for key in keys}} for one in ten_images.content[part]
        ]
    ten_images.convert(overwrite=True)
    again = {name: data for name, data in contents(ten_images.output).items() if "train" in name}
    assert again == shards


def test_objects_and_ids_given_twice_are_kept_and_counted(ten_images: CocoSet) -> None:
    ten_images.annotation(4, [2, 3, 20, 10])
    ten_images.annotation(4, [2, 3, 20, 10])
    ten_images.annotation(4, [2, 3, 20, 10], 18)  # of another class
    ten_images.annotation(5, [2, 3, 20, 11])  # another box
    ten_images.content["annotations"][-1]["id"] = 1
    split = ten_images.convert().manifest.splits["train"]
    assert (split.annotations["kept"], split.annotations["doubled"]) == (24, 2)
    assert split.annotations["ids_given_again"] == 1


def test_image_ids_may_be_text(ten_images: CocoSet) -> None:
    for image in ten_images.content["images"]:
        image["id"] = f"photo {image['id']}"
    for annotation in ten_images.content["annotations"]:
        annotation["image_id"] = f"photo {annotation['image_id']}"
    ten_images.convert()
    assert len(ten_images.records()["photo 7"].boxes) == 2


def test_a_disk_without_space_is_refused_before_anything_is_made(
    ten_images: CocoSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(ten_images.folder)
    monkeypatch.setattr(convert_module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match="the records need"):
        ten_images.convert()


def test_a_newer_manifest_is_refused(ten_images: CocoSet) -> None:
    ten_images.convert()
    path = ten_images.output / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "conversion": 2}))
    with pytest.raises(DataError, match="newer than this program"):
        read_manifest(ten_images.output)


def test_a_damaged_manifest_is_refused_and_none_is_none(ten_images: CocoSet) -> None:
    assert read_manifest(ten_images.folder) is None
    ten_images.convert()
    path = ten_images.output / "manifest.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match="does not read"):
        read_manifest(ten_images.output)


def test_a_manifest_reads_as_it_was_written(ten_images: CocoSet) -> None:
    made = ten_images.convert().manifest
    found = read_manifest(ten_images.output)
    assert found == made
    assert dataclasses.is_dataclass(found)


def test_the_order_of_the_jsons_parts_does_not_matter(
    ten_images: CocoSet, contents: Contents
) -> None:
    ten_images.convert()
    shards = {name: data for name, data in contents(ten_images.output).items() if "train" in name}
    shutil.rmtree(ten_images.output)
    content = ten_images.content
    ten_images.content = {
        "annotations": content["annotations"],
        "info": {"images": [{"id": 1}], "text": '"annotations": [{'},
        "categories": content["categories"],
        "images": content["images"],
    }
    ten_images.convert()
    again = {name: data for name, data in contents(ten_images.output).items() if "train" in name}
    assert again == shards
