"""`data convert` refuses boxes of another format before it writes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from coco_sets import CocoSet

from odapi_repro.data_convert import main


def flags_of(made: CocoSet, *more: str) -> list[str]:
    return [
        f"--annotations={made.json_path}", f"--image_dir={made.images}",
        f"--output_dir={made.output}", "--workers=1", *more,
    ]  # fmt: skip


@pytest.fixture
def sound(coco_set: CocoSet) -> CocoSet:
    for number in range(1, 7):
        coco_set.image(number)
        for x, y, width, height in ((4, 3, 20, 10), (30, 5, 28, 30), (40, 20, 15, 19)):
            coco_set.annotation(number, [x, y, width, height])
    return coco_set


def rewritten(made: CocoSet, form: str) -> None:
    for one in made.content["annotations"]:
        x, y, width, height = one["bbox"]
        one["bbox"] = {
            "corners": [x, y, x + width, y + height],
            "shares": [x / 60, y / 40, width / 60, height / 40],
            "y first": [y, x, height, width],
        }[form]
    made.write()


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize(("form", "said"), [("corners", "x1, y1, x2, y2"), ("shares", "shares")])
@pytest.mark.parametrize("with_area", [True, False])
def test_corners_and_shares_are_one_message_and_nothing_is_written(
    sound: CocoSet, form: str, said: str, with_area: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if not with_area:
        for one in sound.content["annotations"]:
            del one["area"]
    rewritten(sound, form)
    before = files_in(sound.folder)
    assert main(flags_of(sound)) == 2
    error = capsys.readouterr().err
    assert "the boxes are not x, y, width, height in pixels" in error
    assert said in error
    assert error.count("odapi-repro data convert:") == 1
    assert "--nocheck_boxes" in error
    assert files_in(sound.folder) == before


@pytest.mark.parametrize("outline", ["polygon", "RLE"])
def test_x_and_y_exchanged_show_in_the_outlines(
    sound: CocoSet, outline: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in sound.content["annotations"]:
        x, y, width, height = one["bbox"]
        one["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
        if outline == "RLE":
            runs = [40 * x + y, *[height, 40 - height] * (width - 1), height]
            one["segmentation"] = {"size": [40, 60], "counts": [*runs, 2400 - sum(runs)]}
    sound.write()
    assert main(flags_of(sound)) == 0
    rewritten(sound, "y first")
    assert main(flags_of(sound, "--overwrite")) == 2
    assert "18 of 18 enclose their outlines ('segmentation') as y, x, height, width, and 0" in (
        capsys.readouterr().err
    )


def test_crowd_regions_and_a_few_odd_boxes_are_converted(sound: CocoSet) -> None:
    content = sound.content["annotations"]
    content[0]["bbox"] = [4, 3, 24, 13]  # corners
    content[4]["bbox"] = [0.5, 0.1, 0.4, 0.75]  # shares
    for number in range(1, 7):
        runs = [5, 10, 2385]
        sound.annotation(
            number, [10, 20, 40, 39], iscrowd=1, area=10,
            segmentation={"size": [40, 60], "counts": runs},
        )  # fmt: skip
    sound.write()
    assert main(flags_of(sound)) == 0


def test_the_second_split_is_looked_at_before_the_first_is_written(
    sound: CocoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sound.write().rename(sound.folder / "first.json")
    rewritten(sound, "corners")
    flags = flags_of(sound, f"--val_annotations={sound.json_path}")
    assert main([f"--annotations={first}", *flags[1:]]) == 2
    assert f"{sound.json_path}: the boxes are not" in capsys.readouterr().err
    assert not sound.output.exists()


def test_a_flag_takes_boxes_as_they_are(sound: CocoSet) -> None:
    rewritten(sound, "corners")
    assert main(flags_of(sound, "--nocheck_boxes")) == 0
