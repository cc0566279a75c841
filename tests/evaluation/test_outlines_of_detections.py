"""Masks beside boxes: polygons and uncompressed run lengths are scored as pycocotools does."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odapi_repro import evaluate
from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import compressed_masks, detections_of, ground_truth_of
from odapi_repro.evaluation.scoring.metrics import score

Json = dict[str, Any]
SQUARES = {1: (10, 10, 40, 40), 2: (100, 10, 50, 50), 3: (0, 0, 100, 100)}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def polygon(x: float, y: float, width: float, height: float) -> list[list[float]]:
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def instances() -> Json:
    annotations = [
        {
            "id": number, "image_id": 1 + number // 3, "category_id": 3 if number != 2 else 77,
            "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0, "segmentation": polygon(*box),
        }
        for number, box in SQUARES.items()
    ]  # fmt: skip
    images = [{"id": i, "width": 200, "height": 100, "file_name": f"{i}.jpg"} for i in (1, 2)]
    categories = [{"id": 3, "name": "x"}, {"id": 77, "name": "y"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def results(form: str) -> list[Json]:
    """Detections that miss by some pixels, with masks of a form."""
    found = []
    for number, annotation in enumerate(instances()["annotations"]):
        x, y, width, height = annotation["bbox"]
        box = [x + number, y + 2, width, height - 3]
        mask: Any = polygon(*box)
        if form != "polygons":
            mask = mask_api.frPyObjects(mask, 100, 200)[0]
            mask["counts"] = mask["counts"].decode()
        if form == "uncompressed":
            pixels = mask_api.decode(mask).T.reshape(-1)
            ends = np.flatnonzero(np.diff(pixels)) + 1
            runs = np.diff([0, *ends, len(pixels)]).tolist()
            mask = {"size": [100, 200], "counts": runs if not pixels[0] else [0, *runs]}
        found.append(
            {
                "image_id": annotation["image_id"], "category_id": annotation["category_id"],
                "bbox": box, "score": 0.9 - 0.1 * number, "segmentation": mask,
            }
        )  # fmt: skip
    return found


def run(capsys: pytest.CaptureFixture[str], truth: Json, found: Any, *more: str) -> tuple[int, Any]:
    Path("truth.json").write_text(json.dumps(truth))
    Path("found.json").write_text(json.dumps(found))
    argv = ["--detections", "found.json", "--ground_truth", "truth.json", "--resamples", "0"]
    code = evaluate.main([*argv, "--no_report", "--format", "json", *more])
    captured = capsys.readouterr()
    if code:
        assert captured.out == ""
        assert captured.err.count("odapi-repro evaluate:") == 1
        return code, " ".join(captured.err.split())
    return code, json.loads(captured.out) | {"stderr": captured.err}


@pytest.mark.parametrize("form", ["polygons", "uncompressed", "compressed"])
def test_masks_beside_boxes_are_scored_as_pycocotools_scores_them(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = run(capsys, instances(), results(form))
    assert code == 0
    for kind in ("bbox", "segm"):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO("truth.json")
            theirs = COCOeval(coco, coco.loadRes("found.json"), kind)
            theirs.evaluate()
            theirs.accumulate()
            theirs.summarize()
        metrics = report["model"][kind]["metrics"]
        for place, name in enumerate(("AP", "AP50", "AP75")):
            assert metrics[name]["value"] == pytest.approx(100 * theirs.stats[place], abs=1e-9)


def by_pycocotools(kind: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO("truth.json")
        theirs = COCOeval(coco, coco.loadRes("found.json"), kind)
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    return theirs.stats


def test_masks_alone_have_box_metrics_of_the_boxes_around_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [{k: v for k, v in one.items() if k != "bbox"} for one in results("compressed")]
    code, report = run(capsys, instances(), found)
    assert code == 0
    for kind in ("bbox", "segm"):
        values = [one["value"] for one in report["model"][kind]["metrics"].values()]
        for ours, theirs in zip(values, by_pycocotools(kind), strict=True):
            assert ours == (None if theirs == -1 else pytest.approx(100 * theirs, abs=1e-9))
    assert any("its boxes are those around them" in line for line in report["model"]["about"])


def test_masks_alone_on_a_ground_truth_of_boxes_are_scored_by_their_boxes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    truth = instances()
    for one in truth["annotations"]:
        del one["segmentation"]
    found = [{k: v for k, v in one.items() if k != "bbox"} for one in results("compressed")]
    code, report = run(capsys, truth, found)
    assert code == 0
    assert "segm" not in report["model"]
    about = " ".join(report["model"]["about"])
    assert "its boxes are those around them" in about
    assert "its masks are not scored" in about
    assert report["model"]["bbox"]["metrics"]["AP"]["value"] == pytest.approx(
        100 * by_pycocotools("bbox")[0], abs=1e-9
    )


MASKS_IN_SOME: dict[str, tuple[Json, str]] = {
    "a detection without a mask": ({}, "'segmentation' is missing in 1 of 3 detections"),
    "a mask that is null": ({"segmentation": None}, "'segmentation' is null"),
    "a mask that is an empty list": ({"segmentation": []}, "an empty list"),
    "a mask of two points": ({"segmentation": [[1, 2, 3, 4]]}, "a polygon of two points"),
    "a mask of five numbers": ({"segmentation": [[1, 2, 3]]}, "no list of at least four numbers"),
    "a mask of another size": (
        {"segmentation": {"size": [3, 3], "counts": "9"}}, "size",
    ),
    "run lengths that are no text": ({"segmentation": {"size": [100, 200], "counts": 7}}, "counts"),
    "runs that do not fill their size": (
        {"segmentation": {"size": [100, 200], "counts": [5]}}, "do not fill its size",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS_IN_SOME)
def test_what_masks_are_does_not_matter_where_boxes_are_asked_for(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = MASKS_IN_SOME[name]
    found = results("compressed")
    del found[1]["segmentation"]
    found[1].update(change)
    code, text = run(capsys, instances(), found)
    assert code == 2
    assert said in text
    assert "--iou_type bbox" in text or "resize masks" in text
    code, report = run(capsys, instances(), found, "--iou_type", "bbox")
    assert code == 0
    value = report["model"]["bbox"]["metrics"]["AP"]["value"]
    assert value == pytest.approx(100 * by_pycocotools("bbox")[0], abs=1e-9)
    assert "masks" not in " ".join(report["model"]["about"])


def test_a_polygon_of_an_odd_count_of_numbers_is_drawn_without_the_last_as_in_pycocotools(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = results("polygons")
    found[0]["segmentation"][0].append(77)
    code, report = run(capsys, instances(), found)
    assert code == 0
    value = report["model"]["segm"]["metrics"]["AP"]["value"]
    assert value == pytest.approx(100 * by_pycocotools("segm")[0], abs=1e-9)


def test_keypoints_beside_boxes_are_let_be_and_keypoints_alone_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    boxes = [{k: v for k, v in one.items() if k != "segmentation"} for one in results("polygons")]
    found = [{**one, "keypoints": [1, 2, 2]} for one in boxes]
    assert run(capsys, instances(), found)[0] == 0
    code, text = run(capsys, instances(), [{k: v for k, v in found[0].items() if k != "bbox"}])
    assert code == 2
    assert "these are keypoint results" in text


def test_a_ground_truth_names_the_objects_without_a_mask(
    capsys: pytest.CaptureFixture[str],
) -> None:
    truth = instances()
    for place in (0, 2):
        truth["annotations"][place]["segmentation"] = None
    code, text = run(capsys, truth, results("compressed"))
    assert code == 2
    assert "2 of 3 annotations have no mask (ids 1, 3), the others have" in text


def test_no_detections_are_said_to_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    code, report = run(capsys, instances(), [])
    assert code == 0
    assert "list of detections is empty" in report["stderr"]
    assert "ids of the classes" not in report["stderr"]


def test_one_object_without_a_mask_is_one_message_and_boxes_can_be_scored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    truth = instances()
    del truth["annotations"][1]["segmentation"]
    for more in ((), ("--iou_type", "segm")):
        code, said = run(capsys, truth, results("compressed"), *more)
        assert code == 2
        assert "1 of 3 annotations has no mask (id 2)" in said
        assert "--iou_type bbox" in said
    assert run(capsys, truth, results("compressed"), "--iou_type", "bbox")[0] == 0
    boxes = [{k: v for k, v in one.items() if k != "segmentation"} for one in results("polygons")]
    assert run(capsys, truth, boxes)[0] == 0, "no mask is to be scored"


BAD_POLYGONS: tuple[tuple[Any, str], ...] = (
    ([[1, 2, 3, 4]], "a polygon of two points"),
    ([[1, 2, 3]], "no list of at least four numbers"),
    ([], "an empty list|has no mask"),
    ([[1, 2, 3, 4, 5, float("nan")]], "not finite"),
    ([[1, 2, 3, 4, 5, 10**400]], "not finite"),
    ([[1, 2, 3, 4, 5, 1e9]], "a corner 1e[+]09 pixels away"),
    ([[1, 2, 3, 4, 5, True]], "something else than numbers"),
    ({"size": [100, 200], "counts": [2**64, 20000 - 2**64]}, "do not fill its size"),
    ({"size": [100, 200], "counts": [2**62] * 4 + [20000]}, "do not fill its size"),
    ({"size": 7, "counts": [20000]}, "is of size 7"),
    ({"size": [2**40, 2**40], "counts": [2**80]}, "is of size .1099511627776"),
    ({"size": [100.0, 200.0], "counts": [20000]}, r"is of size .100\.0"),
)


@pytest.mark.parametrize(("mask", "said"), BAD_POLYGONS)
def test_outlines_that_cannot_be_drawn_are_one_message(
    mask: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = instances()
    truth["annotations"][0]["segmentation"] = mask
    code, text = run(capsys, truth, results("compressed"))
    assert code == 2
    assert re.search(said, text)
    found = results("polygons")
    found[1]["segmentation"] = mask
    code, text = run(capsys, instances(), found)
    assert code == 2
    assert re.search(said, text)
    assert run(capsys, truth, results("compressed"), "--iou_type", "bbox")[0] == 0


def test_a_second_polygon_of_two_points_is_drawn_as_pycocotools_draws_it() -> None:
    truth = instances()
    truth["annotations"][0]["segmentation"].append([1, 2, 30, 40])
    coco = COCO()
    coco.dataset = copy.deepcopy(truth)
    coco.createIndex()
    ours = compressed_masks(ground_truth_of(truth))[0]
    np.testing.assert_array_equal(mask_api.decode(dict(ours)), coco.annToMask(coco.anns[1]))


def test_sizes_of_masks_are_bounded_where_the_image_s_is_not_known() -> None:
    truth = instances()
    for image in truth["images"]:
        del image["height"], image["width"]
    found = results("compressed")
    found[0]["segmentation"] = {"size": [2**31 - 1, 2**31 - 1], "counts": "0"}
    with pytest.raises(DataError, match="of size"):
        detections_of(found, ground_truth_of(truth))


@pytest.mark.parametrize("height", [2**31, 2**63, 2**70, 1e308, float("inf"), float("nan"), -1])
def test_sizes_of_images_out_of_range_are_one_message(
    height: float, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = instances()
    truth["images"][1]["height"] = height
    code, text = run(capsys, truth, results("compressed"))
    assert code == 2
    assert "'height' is" in text


def test_a_whole_number_of_5000_digits_is_one_message_with_its_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _ = run(capsys, instances(), results("polygons"))
    assert code == 0
    text = Path("found.json").read_text().replace('"score": 0.8', '\n"score": ' + "9" * 5000)
    Path("found.json").write_text(text)
    argv = ["--detections", "found.json", "--ground_truth", "truth.json", "--no_report"]
    assert evaluate.main(argv) == 2
    said = capsys.readouterr().err
    assert "found.json:2:10: the JSON holds a whole number of more than 4,300 digits" in said


def test_classes_counted_without_the_gaps_of_the_ids_are_told() -> None:
    truth = ground_truth_of(instances())
    rows = results("polygons")
    for first in (0, 1):
        counted = [{**row, "category_id": first + (row["category_id"] == 77)} for row in rows]
        with pytest.raises(
            DataError,
            match=rf"counted from {first} to {first + 1}: write the 'id' of each, 3 for {first}"
            rf" and 77 for {first + 1}",
        ):
            detections_of(counted, truth)
    other = [{**row, "category_id": 78} for row in rows]
    with pytest.raises(DataError, match="use the label map of the ground truth"):
        detections_of(other, truth)


def test_masks_beside_boxes_have_the_size_of_the_mask_as_those_alone_have() -> None:
    """pycocotools differs there, as docs/evaluate.md says."""
    content = instances()
    content["annotations"] = content["annotations"][:1]
    rows = [{**one, "bbox": [*one["bbox"][:2], 20, 20]} for one in results("compressed")[:1]]
    alone = [{name: one[name] for name in one if name != "bbox"} for one in rows]
    truth = ground_truth_of(content)
    both, masks = (score(truth, detections_of(found, truth), "segm") for found in (rows, alone))
    assert both.metrics == masks.metrics
