"""From what a user names to ground truth, images and names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import data_set

from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP, ShapesSpec
from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import ground_truth_of
from odapi_repro.evaluation.eval_data import EvalData, data_of_json
from odapi_repro.evaluation.evaluation_subject import Subject, labels

BOX = [10.0, 10.0, 50.0, 50.0]


def names(*paths: str) -> list[str]:
    return labels([Subject.of(path) for path in paths])


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("out/my_model.json", "my_model"),
        ("out/my_model.json.gz", "my_model"),
        ("runs/1d75328f612e/detections.json.gz", "1d75328f612e"),
        ("runs/1d75328f612e", "1d75328f612e"),
        ("runs/1d75328f612e/ckpt-2", "1d75328f612e-ckpt-2"),
        ("runs/1d75328f612e/ckpt-2.index", "1d75328f612e-ckpt-2"),
        ("d3_zoo/checkpoint/ckpt-0", "d3_zoo-ckpt-0"),
        ("efficientdet_d3_coco17_tpu-32/saved_model", "efficientdet_d3_coco17_tpu-32"),
    ],
)
def test_a_label_is_the_name_that_says_most(path: str, label: str) -> None:
    assert names(path) == [label]


def test_two_of_the_same_name_are_told_apart_by_their_folders() -> None:
    assert names("a/model.json", "b/model.json") == ["a/model", "b/model"]
    assert names("a/ckpt-1", "a/ckpt-2") == ["a-ckpt-1", "a-ckpt-2"]
    assert len(set(names("a/model.json", "a/model.json"))) == 2


def test_a_results_file_is_told_from_a_checkpoint_by_its_name() -> None:
    assert [Subject.of(p).is_results for p in ("a.json", "a.JSON.GZ", "ckpt-1", "runs/x")] == [
        True,
        True,
        False,
        False,
    ]


def test_one_of_n_images_are_those_at_0_n_2n_with_their_annotations(tmp_path: Path) -> None:
    objects = [(image, 1, [float(image), 0.0, 5.0, 5.0]) for image in range(1, 8)]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(data_set(objects, images=7)))
    data = data_of_json(path, sample_1_of_n=3)
    assert data.truth.image_ids == (1, 4, 7)
    assert [box[0] for box in data.truth.boxes.tolist()] == [1.0, 4.0, 7.0]
    assert data.truth.images.tolist() == [0, 1, 2]
    assert data.description == "3 images of instances.json, one of 3"


def test_images_are_read_by_position_and_broken_ones_left_out(tmp_path: Path) -> None:
    for number, colour in ((1, "red"), (2, "lime")):
        Image.new("L" if number == 2 else "RGB", (4, 4), colour).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(data_set([(1, 1, BOX)], images=3)))
    data = data_of_json(path, tmp_path)
    images = data.read_images([0, 1, 2])
    assert list(images) == [0, 1]
    assert images[1].mode == "RGB"
    assert np.asarray(images[0])[0, 0].tolist() == [255, 0, 0]


def test_missing_images_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(data_set([(1, 1, BOX)], images=2)))
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"1 of 2 images are not there, the first 2\.png"):
        data_of_json(path, tmp_path)


def test_coco_is_known_by_its_eighty_class_ids() -> None:
    content = data_set([(1, 1, BOX)])
    assert not EvalData("a", ground_truth_of(content)).is_coco
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    ids = [i for i in range(1, 91) if i not in unused]
    content["categories"] = [{"id": i, "name": "person" if i == 1 else str(i)} for i in ids]
    assert EvalData("a", ground_truth_of(content)).is_coco
    content["categories"] = content["categories"][:-1]
    assert not EvalData("a", ground_truth_of(content)).is_coco


def test_the_drawn_shapes_are_known_by_their_folder_and_classes_whatever_names_them(
    tmp_path: Path,
) -> None:
    content = data_set([(1, 1, BOX)])
    names = list(SHAPES_LABEL_MAP.items.values())
    content["categories"] = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]

    def drawn(folder: str, **changes: object) -> bool:
        path = tmp_path / folder / "instances_val.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**content, **changes}))
        return data_of_json(path).is_drawn

    assert drawn(f"shapes-{ShapesSpec().digest()}")
    assert not drawn("coco")
    others = [{"id": 1, "name": "person"}]
    assert not drawn(f"shapes-{ShapesSpec().digest()}", categories=others)


def test_the_digest_of_data_is_of_what_is_in_them_not_of_their_name(tmp_path: Path) -> None:
    def digest(name: str, box: list[float]) -> str:
        (tmp_path / name).write_text(json.dumps(data_set([(1, 1, box)])))
        return data_of_json(tmp_path / name).digest

    assert digest("a.json", BOX) == digest("b.json", BOX)
    assert digest("a.json", BOX) != digest("a.json", [11.0, *BOX[1:]])
