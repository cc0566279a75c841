"""Records against the OD API's own decoder, its own converter, and COCO's own scoring."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_sets import CocoSet
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.conversion.conversion_request import ConversionRequest, SplitRequest
from odapi_repro.datasets.conversion.convert import convert
from odapi_repro.datasets.embedded import EmbeddedDataset
from odapi_repro.datasets.example import parse_example
from odapi_repro.datasets.tfrecord import read_records

pytestmark = pytest.mark.tensorflow

Json = dict[str, Any]
OURS_ALONE = {"image/object/class/label", "image/object/mask/weight"}


@pytest.fixture(scope="module", autouse=True)
def _tensorflow() -> None:
    from odapi_repro.training.compat import apply_patches

    apply_patches()


@pytest.fixture
def hand_made(coco_set: CocoSet) -> CocoSet:
    """Polygons, RLE of both forms, crowds, boxes at and over the border, keypoints."""
    for number, name in enumerate(["1.jpg", "sub/2.png", "3.bmp", "4.jpg", "5.jpg"], start=1):
        coco_set.image(number, name=name)
    outline = [[4, 4, 20, 4, 20, 18, 4.5, 17.25], [30, 5, 35, 5, 32, 12]]
    ragged = (np.random.default_rng(0).random((40, 60)) < 0.3).astype(np.uint8)
    encoded = coco_mask.encode(np.asfortranarray(ragged))
    flat = ragged.T.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    counts = np.diff([0, *edges, flat.size]).tolist()
    compressed = {"size": [40, 60], "counts": encoded["counts"].decode()}
    coco_set.annotation(1, [4, 4, 31, 14], segmentation=outline, area=233.5)
    coco_set.annotation(1, [0, 0, 60, 40], 18, segmentation=compressed, area=2400.0)
    coco_set.annotation(
        2, [1, 1, 50, 30], 90, segmentation={"size": [40, 60], "counts": counts}, iscrowd=1
    )
    coco_set.annotation(2, [52, 35, 8.4, 5.3], segmentation=[[52, 35, 60, 35, 60, 40, 52, 40]])
    coco_set.annotation(3, [-0.3, 2, 20, 10], segmentation=[[0, 2, 19, 2, 19, 12]])
    coco_set.annotation(4, [70, 2, 20, 10], segmentation=[[0, 2, 19, 2, 19, 12]])
    coco_set.annotation(4, [3, 2, 20, 10], 18, segmentation=[[3, 2, 23, 2, 23, 12, 3, 12]])
    return coco_set


def decoded(output: Path, split: str = "train") -> dict[str, Json]:
    """What TfExampleDecoder gives, by source id."""
    import tensorflow as tf
    from object_detection.data_decoders.tf_example_decoder import TfExampleDecoder
    from object_detection.protos import input_reader_pb2

    decoder = TfExampleDecoder(
        load_instance_masks=True,
        instance_mask_type=input_reader_pb2.PNG_MASKS,
        label_map_proto_file=str(output / "label_map.pbtxt"),
    )
    found = {}
    for path in sorted(output.glob(f"{split}-*.tfrecord")):
        for data in tf.data.TFRecordDataset(str(path)):
            tensors = {name: value.numpy() for name, value in decoder.decode(data).items()}
            found[tensors["source_id"].decode()] = tensors
    return found


def truth_of(content: Json, image: Json) -> list[Json]:
    return [one for one in content["annotations"] if one["image_id"] == image["id"]]


def corners(annotation: Json, image: Json) -> list[float]:
    """The box as shares, clipped to the image; computed apart from what is tested."""
    x, y, width, height = annotation["bbox"]
    return [
        max(y, 0) / image["height"], max(x, 0) / image["width"],
        min(y + height, image["height"]) / image["height"],
        min(x + width, image["width"]) / image["width"],
    ]  # fmt: skip


def assert_is_the_json(found: dict[str, Json], content: Json, dropped: set[int]) -> None:
    """Holds each annotation against what was decoded, and what was decoded against each."""
    seen = 0
    assert set(found) == {str(image["id"]) for image in content["images"]}
    for image in content["images"]:
        tensors = found[str(image["id"])]
        truth = [one for one in truth_of(content, image) if one["id"] not in dropped]
        size = image["height"], image["width"]
        assert tensors["image"].shape == (*size, 3)
        assert tensors["filename"].decode() == image["file_name"]
        assert len(tensors["groundtruth_boxes"]) == len(truth)
        seen += len(truth)
        if not truth:
            continue
        boxes = np.array([corners(one, image) for one in truth])
        assert tensors["groundtruth_boxes"] == pytest.approx(boxes, abs=1e-7)
        classes = [one["category_id"] for one in truth]
        assert tensors["groundtruth_classes"].tolist() == classes
        areas = np.array([one["area"] for one in truth], np.float32)
        assert np.array_equal(tensors["groundtruth_area"], areas)
        crowd = [bool(one["iscrowd"]) for one in truth]
        assert tensors["groundtruth_is_crowd"].tolist() == crowd
        masks = np.stack([mask_of(one["segmentation"], *size) for one in truth])
        assert np.array_equal(tensors["groundtruth_instance_masks"], masks)
    assert seen + len(dropped) == len(content["annotations"])


def mask_of(segmentation: Any, height: int, width: int) -> np.ndarray:
    """COCO's own reading (pycocotools.coco.COCO.annToRLE)."""
    coco = COCO()
    coco.imgs = {0: {"height": height, "width": width}}
    return coco_mask.decode(coco.annToRLE({"image_id": 0, "segmentation": segmentation}))


def images_of(dataset: EmbeddedDataset, split: str, folder: Path) -> Path:
    folder.mkdir()
    for path in dataset.folder.glob(f"{split}-*.tfrecord"):
        for data in read_records(path):
            image = AnnotatedImage.from_example(data)
            (folder / image.filename).write_bytes(image.encoded_image)
    return folder


def test_the_od_apis_decoder_gives_the_json_back(hand_made: CocoSet) -> None:
    split = hand_made.convert().manifest.splits["train"]
    assert split.annotations["outside_image"] == 1
    assert split.annotations["clipped"] == 2
    assert_is_the_json(decoded(hand_made.output), hand_made.content, {6})


def test_the_embedded_set_comes_back_and_scores_100(small: EmbeddedDataset, tmp_path: Path) -> None:
    output = tmp_path / "records"
    images = images_of(small, "train", tmp_path / "images")
    split = SplitRequest("train", small.instances_train, images, shards=3)
    convert(ConversionRequest((split,), output))
    content = json.loads(small.instances_train.read_text())
    found = decoded(output)
    assert_is_the_json(found, content, set())
    assert scores(found, small.instances_train, "bbox") == pytest.approx(100, abs=1e-9)
    assert scores(found, small.instances_train, "segm") == pytest.approx(100, abs=1e-9)


def scores(found: dict[str, Json], annotations: Path, kind: str) -> float:
    """AP of what the records hold, as detections, by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(annotations))
        detections = []
        for image in coco.dataset["images"]:
            tensors = found[str(image["id"])]
            for number, (ymin, xmin, ymax, xmax) in enumerate(
                tensors["groundtruth_boxes"].astype(float).tolist()
            ):
                if tensors["groundtruth_is_crowd"][number]:
                    continue
                width, height = image["width"], image["height"]
                detection: Json = {
                    "image_id": image["id"], "score": 1.0,
                    "category_id": int(tensors["groundtruth_classes"][number]),
                }  # fmt: skip
                if kind == "bbox":
                    detection["bbox"] = [
                        xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height
                    ]  # fmt: skip
                else:
                    mask = tensors["groundtruth_instance_masks"][number].astype(np.uint8)
                    detection["segmentation"] = coco_mask.encode(np.asfortranarray(mask))
                detections.append(detection)
        evaluation = COCOeval(coco, coco.loadRes(detections), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * float(evaluation.stats[0])


def test_examples_are_those_of_the_od_apis_converter(
    coco_set: CocoSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stub = types.ModuleType("contextlib2")
    monkeypatch.setattr(stub, "ExitStack", contextlib.ExitStack, raising=False)
    monkeypatch.setitem(sys.modules, "contextlib2", stub)
    from object_detection.dataset_tools import create_coco_tf_record

    names = [name.decode() for name in create_coco_tf_record._COCO_KEYPOINT_NAMES]
    for number in range(1, 6):
        coco_set.image(number)
    polygons = [[4, 4, 20, 4, 20, 18, 4.5, 17.25], [30, 5, 35, 5, 32, 12]]
    points = [value for place in range(17) for value in (place * 2, place, place % 3)]
    coco_set.annotation(1, [4, 4, 31, 14], segmentation=polygons, area=233.5)
    coco_set.annotation(2, [4, 4, 30.1, 14.7], segmentation=polygons[:1])
    coco_set.annotation(
        2,
        [0, 0, 59, 39],
        18,
        iscrowd=1,
        segmentation={"size": [40, 60], "counts": [100, 300, 2000]},
    )
    coco_set.annotation(4, [1.25, 2.75, 10, 10], segmentation=polygons[1:])
    coco_set.content["categories"] = [
        {"id": 1, "name": "person", "keypoints": names},
        {"id": 18, "name": "dog"},
    ]
    coco_set.write()
    keypoints = {**coco_set.content, "annotations": [
        {**coco_set.content["annotations"][0], "keypoints": points, "num_keypoints": 11}
    ]}  # fmt: skip
    keypoint_path = tmp_path / "keypoints.json"
    keypoint_path.write_text(json.dumps(keypoints))
    create_coco_tf_record._create_tf_record_from_coco_annotations(
        str(coco_set.json_path), str(coco_set.images), str(tmp_path / "theirs"), True, 2,
        str(keypoint_path),
    )  # fmt: skip
    coco_set.convert(keypoint_annotations=keypoint_path)
    compared = 0
    for shard in range(2):
        theirs = read_records(tmp_path / f"theirs-{shard:05d}-of-00002")
        ours = read_records(coco_set.output / f"train-{shard:05d}-of-00002.tfrecord")
        for one, other in zip(theirs, ours, strict=True):
            a, b = parse_example(one), parse_example(other)
            has_objects = bool(a.kind("image/object/area"))
            assert set(b) - OURS_ALONE >= set(a) - (set() if has_objects else {"image/object/mask"})
            for key in set(a) - {"image/object/mask"}:
                assert values(a, key) == values(b, key), key
            compared += 1
    assert compared == 5


def values(example: Any, key: str) -> list[Any]:
    kind = example.kind(key)
    if kind == "float_list":
        return example.floats(key).tolist()
    return list(example.ints(key) if kind == "int64_list" else example.bytes_list(key))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("jpeg", "CMYK"),
        ("jpeg", "L"),
        ("png", "RGBA"),
        ("png", "P"),
        ("png", "I;16"),
        ("bmp", "RGB"),
    ],
)
def test_every_kind_of_image_that_is_taken_is_decoded_by_the_od_api(
    coco_set: CocoSet, kind: str, mode: str
) -> None:
    from PIL import Image

    coco_set.image(1, name=f"1.{kind}")
    Image.new(mode, (60, 40)).save(coco_set.images / f"1.{kind}", kind)
    coco_set.annotation(1, [1, 1, 5, 5], segmentation=[[1, 1, 6, 1, 6, 6]])
    coco_set.convert(shards=1)
    assert decoded(coco_set.output)["1"]["image"].shape == (40, 60, 3)


def test_a_gif_is_what_the_od_apis_decoder_does_not_take(coco_set: CocoSet) -> None:
    import tensorflow as tf
    from PIL import Image

    stream = io.BytesIO()
    Image.new("P", (60, 40)).save(stream, "GIF")
    assert tf.io.decode_image(stream.getvalue(), channels=3).shape == (1, 40, 60, 3)


def test_masks_decode_to_0_and_1_as_those_of_the_od_apis_converter_do(hand_made: CocoSet) -> None:
    import tensorflow as tf

    hand_made.convert()
    for image in hand_made.records().values():
        for png in image.masks_png:
            pixels = tf.io.decode_png(png, channels=1).numpy()
            assert pixels.shape == (image.height, image.width, 1)
            assert set(np.unique(pixels)) <= {0, 1}
