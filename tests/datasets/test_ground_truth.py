"""COCO ground truth from records, against the generator's own json and pycocotools."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.embedded import EmbeddedDataset
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.record_ground_truth import coco_ground_truth
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.errors import DataError

_JPEG = cv2.imencode(".jpg", np.zeros((10, 20, 3), np.uint8))[1].tobytes()


def _image(source_id: str, **more: object) -> bytes:
    fields: dict[str, object] = {
        "boxes": np.array([[0.1, 0.2, 0.6, 0.7]], np.float32),
        "class_ids": np.array([1], np.int64),
        "is_crowd": np.array([False]),
        **more,
    }
    image = AnnotatedImage(source_id, "a.jpg", 10, 20, "jpeg", _JPEG, **fields)  # type: ignore[arg-type]
    return image.to_example()


def test_records_give_the_generators_own_annotations(
    small: EmbeddedDataset, val_files: list[Path]
) -> None:
    truth = coco_ground_truth(val_files, SHAPES_LABEL_MAP, with_masks=True, integer_ids=True)
    made = json.loads(small.instances_val.read_text())
    assert truth["images"] == made["images"]
    assert truth["categories"] == made["categories"]
    assert len(truth["annotations"]) == len(made["annotations"]) > 0
    for ours, theirs in zip(truth["annotations"], made["annotations"], strict=True):
        assert ours.pop("bbox") == pytest.approx(theirs.pop("bbox"), abs=1e-3)
        assert ours == theirs


def test_a_perfect_detector_scores_100(val_files: list[Path], tmp_path: Path) -> None:
    truth = coco_ground_truth(val_files, SHAPES_LABEL_MAP, with_masks=True)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    coco = COCO(str(path))
    results = [
        {key: a[key] for key in ("image_id", "category_id", "bbox", "segmentation")} | {"score": 1}
        for a in truth["annotations"]
        if not a["iscrowd"]
    ]
    for kind in ("bbox", "segm"):
        scored = COCOeval(coco, coco.loadRes(results), kind)
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
        assert scored.stats[0] == pytest.approx(1.0)


def test_area_is_the_records_where_above_zero_else_the_boxs(tmp_path: Path) -> None:
    path = tmp_path / "a.record"
    areas = np.array([7.0, 0.0], np.float32)
    boxes = np.array([[0.1, 0.2, 0.6, 0.7]] * 2, np.float32)
    two = {"boxes": boxes, "class_ids": np.array([1, 1]), "is_crowd": np.array([False, True])}
    write_records(path, [_image("1", areas=areas, **two), _image("2")])
    truth = coco_ground_truth([path], LabelMap({1: "a"}), with_masks=False)
    assert [a["area"] for a in truth["annotations"]] == pytest.approx([7.0, 50.0, 50.0])
    assert [a["iscrowd"] for a in truth["annotations"]] == [0, 1, 0]
    assert truth["annotations"][0]["bbox"] == pytest.approx([4.0, 1.0, 10.0, 5.0])


@pytest.mark.parametrize(
    ("source_ids", "integer_ids", "expected", "kind"),
    [
        (["7", "abc"], False, ["7", "abc"], "source_id"),
        (["7", "30"], True, [7, 30], "source_id"),
        (["7", "007"], True, ["7", "007"], "source_id"),
        (["7", ""], False, [1, 2], "running_number"),
        (["7", "7"], False, [1, 2], "running_number"),
    ],
)
def test_image_ids(
    tmp_path: Path, source_ids: list[str], integer_ids: bool, expected: list[object], kind: str
) -> None:
    path = tmp_path / "a.record"
    write_records(path, [_image(source_id) for source_id in source_ids])
    truth = coco_ground_truth([path], LabelMap({1: "a"}), with_masks=False, integer_ids=integer_ids)
    assert [image["id"] for image in truth["images"]] == expected
    assert [a["image_id"] for a in truth["annotations"]] == expected
    assert truth["info"]["image_ids"] == kind


def test_classes_beyond_the_label_map_are_dropped_as_the_od_api_does(tmp_path: Path) -> None:
    path = tmp_path / "a.record"
    write_records(path, [_image("1"), _image("2", class_ids=np.array([4])), _image("3")])
    truth = coco_ground_truth([path], LabelMap({1: "a"}), with_masks=False)
    assert [(a["id"], a["image_id"]) for a in truth["annotations"]] == [(1, "1"), (3, "3")]


def test_masks_that_are_not_there_are_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "a.record"
    write_records(path, [_image("17")])
    with pytest.raises(DataError, match="image '17' has boxes and no PNG masks"):
        coco_ground_truth([path], LabelMap({1: "a"}), with_masks=True)


@pytest.mark.parametrize("png", [b"no png", cv2.imencode(".png", np.ones((3, 3), "u1"))[1]])
def test_masks_that_do_not_fit_are_a_data_error(tmp_path: Path, png: object) -> None:
    path = tmp_path / "a.record"
    write_records(path, [_image("17", masks_png=(bytes(png),))])  # type: ignore[call-overload]
    with pytest.raises(DataError, match=r"does not decode|a mask of 3 x 3 on an image of 10 x 20"):
        coco_ground_truth([path], LabelMap({1: "a"}), with_masks=True)


def test_pycocotools_reads_the_json_and_agrees_on_the_areas(small: EmbeddedDataset) -> None:
    for path in (small.instances_train, small.instances_val):
        coco = COCO(str(path))
        assert coco.anns
        for annotation in coco.anns.values():
            assert coco_mask.area(annotation["segmentation"]) == annotation["area"]
            assert coco_mask.toBbox(annotation["segmentation"]).tolist() == annotation["bbox"]


@pytest.mark.tensorflow
def test_the_od_api_exports_the_same(val_files: list[Path]) -> None:
    coco_tools = pytest.importorskip("object_detection.metrics.coco_tools")
    from odapi_repro.datasets.tfrecord import read_records

    truth = coco_ground_truth(val_files, SHAPES_LABEL_MAP, with_masks=False)
    theirs: list[dict[str, object]] = []
    next_id = 1
    for file in val_files:
        for data in read_records(file):
            image = AnnotatedImage.from_example(data)
            scale = np.array([image.height, image.width] * 2, np.float32)
            theirs += coco_tools.ExportSingleImageGroundtruthToCoco(
                image.source_id,
                next_id,
                set(SHAPES_LABEL_MAP.items),
                image.boxes * scale,
                image.class_ids,
                groundtruth_is_crowd=image.is_crowd.astype(int),
                groundtruth_area=image.areas,
            )
            next_id += len(image.boxes)
    assert truth["annotations"] == theirs
