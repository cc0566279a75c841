"""Our numbers are pycocotools' own, in points, whichever engine gives them."""

from __future__ import annotations

import copy
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odapi_repro.errors import DataError, UserError
from odapi_repro.evaluation.coco_data import detections_of, ground_truth_of
from odapi_repro.evaluation.scoring.detection_matching import match
from odapi_repro.evaluation.scoring.metrics import ENGINES, METRIC_NAMES, Scores, score
from odapi_repro.evaluation.uncertainty.weighted_metrics import weighted_metrics

Json = dict[str, Any]
CocoSet = tuple[Json, list[Json]]  # ground truth, results
SIDE = 160  # of the images of made-up sets
EVERY_ENGINE = pytest.mark.parametrize("engine", ENGINES)


# --- pycocotools, through files, as its README does ---


def by_pycocotools(coco_set: CocoSet, kind: str) -> tuple[Any, dict[int, list[float]]]:
    """Gives the evaluation, and the 12 numbers of each class alone, by its id."""
    truth, detections = coco_set
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("truth", {**truth, "info": {}}), ("found", detections)):
            (Path(folder) / f"{name}.json").write_text(json.dumps(content))
        coco = COCO(f"{folder}/truth.json")
        if detections:
            found = coco.loadRes(f"{folder}/found.json")
        else:  # loadRes fails on an empty list
            found = COCO()
            found.dataset = {**truth, "annotations": []}
            found.createIndex()
    whole = run(COCOeval(coco, found, kind))
    per_class = {}
    for category in sorted(c["id"] for c in truth["categories"]):
        evaluation = COCOeval(coco, found, kind)
        evaluation.params.catIds = [category]
        per_class[category] = [float(value) for value in run(evaluation).stats]
    return whole, per_class


def run(evaluation: Any) -> Any:
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def ours(coco_set: CocoSet, kind: str, engine: str = "hotcoco") -> Scores:
    truth = ground_truth_of(coco_set[0])
    return score(truth, detections_of(coco_set[1], truth), kind, engine=engine)


def assert_equal(metrics: Any, stats: Any) -> None:
    assert tuple(metrics) == METRIC_NAMES
    for value, stat in zip(metrics.values(), stats, strict=True):
        assert value == (None if stat == -1 else pytest.approx(100 * stat, abs=1e-9))


def assert_as_pycocotools(coco_set: CocoSet, kind: str, engine: str) -> None:
    expected, per_class = by_pycocotools(coco_set, kind)
    found = ours(coco_set, kind, engine)
    assert_equal(found.metrics, expected.stats)
    for index, stats in enumerate(per_class.values()):
        assert_equal(found.per_class[index], stats)
    for name in ("precision", "recall", "scores"):
        np.testing.assert_allclose(getattr(found, name), expected.eval[name], rtol=0, atol=1e-9)


# --- sets ---


def square(x: float, y: float, width: float, height: float) -> list[list[float]]:
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def compressed(box: list[float]) -> Json:
    pixels = np.zeros((SIDE, SIDE), np.uint8, order="F")
    x, y, width, height = map(round, box)
    pixels[y : y + height, x : x + width] = 1
    encoded = mask.encode(pixels)
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def uncompressed(box: list[float]) -> Json:
    pixels = mask.decode(compressed(box)).ravel(order="F")
    turns = np.flatnonzero(np.diff(pixels, prepend=0))
    return {"size": [SIDE, SIDE], "counts": np.diff([0, *turns, pixels.size]).tolist()}


MASK_KINDS = (compressed, uncompressed, lambda box: square(*box))


def images(*ids: int | str) -> list[Json]:
    return [{"id": i, "width": SIDE, "height": SIDE, "file_name": f"{i}.jpg"} for i in ids]


def categories(*ids: int) -> list[Json]:
    return [{"id": i, "name": f"class {i}"} for i in ids]


def annotation(id_: int, image: int | str, category: int, box: list[float], **more: Any) -> Json:
    return {
        "id": id_,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        **more,
    }


def detection(image: int | str, category: int, box: list[float], points: float) -> Json:
    return {"image_id": image, "category_id": category, "bbox": box, "score": points}


def with_masks(coco_set: CocoSet) -> CocoSet:
    """The same set of masks that fill their boxes, of all kinds that ground truth may have."""
    truth, detections = copy.deepcopy(coco_set)
    for number, one in enumerate(truth["annotations"]):
        one["segmentation"] = MASK_KINDS[number % len(MASK_KINDS)](one["bbox"])
    for one in detections:
        one["segmentation"] = compressed(one.pop("bbox"))
    return truth, detections


def random_set(seed: int, *, crowds: bool) -> CocoSet:
    """Boxes of all three sizes on four images, and detections near and far from them."""
    rng = np.random.default_rng(seed)
    annotations, detections = [], []
    for number in range(24):
        x, y = rng.uniform(0, 150, 2).tolist()
        width, height = (float(v) for v in rng.choice([12.0, 50.0, 120.0]) * rng.uniform(0.8, 1, 2))
        image, category = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        crowd = int(crowds and number % 5 == 0)
        box = [x, y, width, height]
        annotations.append(annotation(number + 1, image, category, box, iscrowd=crowd))
        for _ in range(int(rng.integers(0, 3))):
            dx, dy = rng.normal(0, width / 12, 2).tolist()
            shifted = [x + dx, y + dy, width, height]
            detections.append(detection(image, category, shifted, float(rng.uniform())))
    truth = {
        "images": images(1, 2, 3, 4), "annotations": annotations, "categories": categories(1, 2, 3)
    }  # fmt: skip
    return truth, detections


BOX = [8.0, 8.0, 40.0, 40.0]
OFF = [16.0, 8.0, 40.0, 40.0]  # IoU with BOX 2/3
FAR = [96.0, 96.0, 40.0, 40.0]


def tied_across_images(*ids: int | str) -> CocoSet:
    """On each image one true and one false detection, all of equal score, the ids in this order."""
    truth = {
        "images": images(*ids),
        "annotations": [annotation(n, i, 1, BOX) for n, i in enumerate(ids[:-1], 1)],
        "categories": categories(1),
    }
    # True on the first image, false and true on the middle ones, false on the last one.
    found = [detection(ids[0], 1, BOX, 0.5), detection(ids[-1], 1, FAR, 0.5)]
    for i in ids[1:-1]:
        found += [detection(i, 1, FAR, 0.5), detection(i, 1, BOX, 0.5)]
    return truth, found


def corner(annotations: list[Json], detections: list[Json], *category_ids: int) -> CocoSet:
    truth = {
        "images": images(7, 3), "annotations": annotations,
        "categories": categories(*(category_ids or (1,))),
    }  # fmt: skip
    return truth, detections


CORNERS: dict[str, CocoSet] = {
    "a crowd takes many detections": corner(
        [annotation(1, 3, 1, [0.0, 0.0, 96.0, 96.0], iscrowd=1), annotation(2, 3, 1, FAR)],
        [detection(3, 1, BOX, 0.9), detection(3, 1, OFF, 0.8), detection(3, 1, FAR, 0.7)],
    ),
    "a tie on one image": corner(
        [annotation(1, 3, 1, BOX)], [detection(3, 1, OFF, 0.5), detection(3, 1, BOX, 0.5)]
    ),
    "a tie across images with integer ids": tied_across_images(9, 100, 10),
    "a tie across images with string ids": tied_across_images("9", "100", "10"),
    "two equal overlaps": corner(
        [annotation(1, 3, 1, BOX), annotation(2, 3, 1, BOX, area=99.0)],
        [detection(3, 1, BOX, 0.5)],
    ),
    "an image without objects": corner(
        [annotation(1, 3, 1, BOX)], [detection(3, 1, BOX, 0.5), detection(7, 1, BOX, 0.9)]
    ),
    "a class without objects": corner(
        [annotation(1, 3, 5, BOX)], [detection(3, 5, BOX, 0.5), detection(3, 2, BOX, 0.9)], 5, 2
    ),
    "a class of crowds alone": corner(
        [annotation(1, 3, 5, BOX, iscrowd=1)], [detection(3, 5, BOX, 0.5)], 5, 2
    ),
    "detections only of classes without objects": corner(
        [annotation(1, 3, 5, BOX)], [detection(3, 2, BOX, 0.9)], 5, 2
    ),
    "more than 100 detections of an image and class": corner(
        [annotation(1, 3, 1, BOX), annotation(2, 3, 1, FAR)],
        [detection(3, 1, OFF, 0.5 + 0.001 * (n % 7)) for n in range(120)]
        + [detection(3, 1, BOX, 0.5), detection(3, 1, FAR, 0.7)],
    ),
    "more than 100 detections of an image, fewer of each class": corner(
        [annotation(1, 3, 1, BOX), annotation(2, 3, 2, FAR)],
        [detection(3, 1 + n % 2, OFF, 0.9 - 0.001 * n) for n in range(150)]
        + [detection(3, 1, BOX, 0.1), detection(3, 2, FAR, 0.1)],
        1,
        2,
    ),
    "boxes of no area": corner(
        [annotation(1, 3, 1, [8.0, 8.0, 0.0, 40.0]), annotation(2, 7, 1, BOX)],
        [detection(3, 1, [8.0, 8.0, 0.0, 40.0], 0.9), detection(7, 1, [8.0, 8.0, 0.0, 0.0], 0.8)],
    ),
    "areas on the edge of two sizes": corner(
        [annotation(1, 3, 1, BOX, area=1024.0), annotation(2, 7, 1, FAR, area=9216.0)],
        [detection(3, 1, [8.0, 8.0, 32.0, 32.0], 0.9), detection(7, 1, FAR, 0.8)],
    ),
    "areas that are not the boxes'": corner(
        [annotation(1, 3, 1, BOX, area=10.0)], [detection(3, 1, BOX, 0.9)]
    ),
    "objects marked to be ignored": corner(
        [annotation(1, 3, 1, BOX, ignore=1), annotation(2, 7, 1, BOX, ignore=0, iscrowd=1)],
        [detection(3, 1, BOX, 0.9), detection(7, 1, BOX, 0.8)],
    ),
    "an annotation with the id 0": corner(
        [annotation(0, 3, 1, BOX), annotation(1, 7, 1, BOX), annotation(2, 7, 4, BOX)],
        [detection(3, 1, BOX, 0.9), detection(7, 1, BOX, 0.8), detection(7, 4, BOX, 0.8)],
        4,
        1,
    ),
    "no detections": corner([annotation(1, 3, 1, BOX)], []),
    "no objects": corner([], [detection(3, 1, BOX, 0.5)]),
    "nothing at all": corner([], []),
}


TINY, HUGE = [0.0, 0.0, 1e-200, 1e-200], [0.0, 0.0, 1e160, 1e160]
# Overlaps of 0 / 0 and of infinity / infinity, which COCOeval takes for matches.
EXTREMES: dict[str, CocoSet] = {
    "areas too small for a float": corner(
        [annotation(1, 3, 1, TINY), annotation(2, 3, 1, BOX)],
        [detection(3, 1, TINY, 0.5), detection(3, 1, BOX, 0.4)],
    ),
    "areas too large for a float": corner(
        [annotation(1, 3, 1, HUGE, area=1.0), annotation(2, 3, 1, BOX)],
        [detection(3, 1, HUGE, 0.5), detection(3, 1, BOX, 0.4)],
    ),
    "corners too far out for a float": corner(
        [annotation(1, 3, 1, [1e308, 0.0, 1e308, 1e-300])],
        [detection(3, 1, [1e308, 0.0, 1e308, 1e-300], 0.5)],
    ),
    "a tiny detection in a crowd": corner(
        [annotation(1, 3, 1, BOX, iscrowd=1), annotation(2, 3, 1, FAR)],
        [detection(3, 1, [9.0, 9.0, 1e-200, 1e-200], 0.5), detection(3, 1, FAR, 0.4)],
    ),
}


@st.composite
def coco_sets(draw: st.DrawFn) -> CocoSet:
    """Small sets in which the corners meet: few scores, few places, few sizes."""
    ids = draw(
        st.sampled_from([(1,), (10, 9), (100, 9, 10), ("10", "9"), ("b", "100", "9"), (0, 2)])
    )
    category_ids = draw(st.sampled_from([(1,), (7, 3), (2, 90, 1)]))
    number = st.integers(0, 6)
    boxes = st.builds(
        lambda x, y, w, h: [8.0 * x, 8.0 * y, 16.0 * w, 16.0 * h], number, number, number, number
    )
    places = st.tuples(st.sampled_from(ids), st.sampled_from(category_ids))
    first_id = draw(st.integers(0, 1))
    annotations = [
        annotation(n, *place, box, iscrowd=int(crowd == 0), **({"area": 1024.0} if edge else {}))
        for n, (place, box, crowd, edge) in enumerate(
            draw(st.lists(st.tuples(places, boxes, st.integers(0, 4), st.booleans()), max_size=8)),
            start=first_id,
        )
    ]
    scores = st.sampled_from([0.0, 0.25, 0.5, 0.5, 1.0])
    detections = [
        detection(*place, box, points)
        for place, box, points in draw(st.lists(st.tuples(places, boxes, scores), max_size=8))
    ]
    if annotations:
        near = st.tuples(
            st.sampled_from(annotations), st.sampled_from([0.0, 0.0, 2.0, 5.0, 9.0]), scores
        )
        for one, shift, points in draw(st.lists(near, max_size=10)):
            x, y, width, height = one["bbox"]
            box = [x + shift, y, width, height]
            detections.append(detection(one["image_id"], one["category_id"], box, points))
    if detections and draw(st.integers(0, 9)) == 0:
        detections += [{**detections[0], "score": 0.25} for _ in range(110)]
    truth = {
        "images": images(*ids),
        "annotations": annotations,
        "categories": categories(*category_ids),
    }
    return truth, draw(st.permutations(detections)) if len(detections) < 30 else detections


# --- what holds ---


@EVERY_ENGINE
@pytest.mark.parametrize("name", [*CORNERS, *EXTREMES])
def test_boxes_agree_with_pycocotools_in_the_corner_of(name: str, engine: str) -> None:
    assert_as_pycocotools({**CORNERS, **EXTREMES}[name], "bbox", engine)


@EVERY_ENGINE
@pytest.mark.parametrize("name", CORNERS)
def test_masks_agree_with_pycocotools_in_the_corner_of(name: str, engine: str) -> None:
    assert_as_pycocotools(with_masks(CORNERS[name]), "segm", engine)


@given(coco_sets())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_boxes_agree_with_pycocotools_where_corners_meet(coco_set: CocoSet) -> None:
    assert_as_pycocotools(coco_set, "bbox", "hotcoco")


@given(coco_sets())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_masks_agree_with_pycocotools_where_corners_meet(coco_set: CocoSet) -> None:
    assert_as_pycocotools(with_masks(coco_set), "segm", "hotcoco")


@EVERY_ENGINE
@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_twelve_numbers_agree_with_pycocotools(seed: int, crowds: bool, engine: str) -> None:
    coco_set = random_set(seed, crowds=crowds)
    assert_as_pycocotools(coco_set, "bbox", engine)
    assert 0 < ours(coco_set, "bbox", engine).metrics["AP"] < 100


def test_the_order_of_tied_images_is_that_of_their_ids_and_strings_are_strings() -> None:
    as_integers = ours(tied_across_images(9, 100, 10), "bbox").metrics["AP"]
    as_strings = ours(tied_across_images("9", "100", "10"), "bbox").metrics["AP"]
    assert as_integers != as_strings


@EVERY_ENGINE
def test_results_with_boxes_and_masks_are_scored_as_each_alone(engine: str) -> None:
    coco_set = random_set(3, crowds=True)
    truth, masks_alone = with_masks(coco_set)
    small = [9.0, 9.0, 1.0, 1.0]  # boxes of another size than the masks, to tell them apart
    both = [{**one, "bbox": small} for one in masks_alone]
    assert (
        ours((truth, both), "segm", engine).metrics
        == ours((truth, masks_alone), "segm", engine).metrics
    )
    boxes_alone = [detection(d["image_id"], d["category_id"], small, d["score"]) for d in both]
    assert (
        ours((truth, both), "bbox", engine).metrics
        == ours((truth, boxes_alone), "bbox", engine).metrics
    )


def test_crowds_are_neither_found_nor_missed() -> None:
    truth, detections = random_set(0, crowds=True)
    without = {
        **truth, "annotations": [a for a in truth["annotations"] if not a["iscrowd"]]
    }  # fmt: skip
    perfect = [{**a, "score": 0.9} for a in without["annotations"]]
    assert ours((truth, perfect), "bbox").metrics["AP"] == pytest.approx(100)
    assert ours((truth, detections), "bbox").metrics != ours((without, detections), "bbox").metrics


@EVERY_ENGINE
def test_no_detection_at_all_scores_0(engine: str) -> None:
    truth, _ = random_set(0, crowds=False)
    metrics = ours((truth, []), "bbox", engine).metrics
    assert metrics["AP"] == 0
    assert metrics["AR100"] == 0


def test_where_there_is_nothing_to_score_there_is_no_number() -> None:
    truth, detections = random_set(0, crowds=False)
    small = {
        **truth, "annotations": [a for a in truth["annotations"] if a["area"] < 32**2]
    }  # fmt: skip
    metrics = ours((small, detections), "bbox").metrics
    assert metrics["APs"] is not None
    assert metrics["APl"] is None
    assert metrics["ARm"] is None
    empty = {**truth, "annotations": []}
    assert set(ours((empty, detections), "bbox").metrics.values()) == {None}
    assert set(ours((empty, []), "bbox").metrics.values()) == {None}


@EVERY_ENGINE
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_what_is_scored_is_left_as_it_was(kind: str, engine: str) -> None:
    coco_set = random_set(1, crowds=True)
    if kind == "segm":
        coco_set = with_masks(coco_set)
    before = copy.deepcopy(coco_set)
    ours(coco_set, kind, engine)
    assert coco_set == before


@pytest.mark.parametrize("function", [score, match])
def test_masks_are_not_made_from_boxes(function: Any) -> None:
    boxes = random_set(0, crowds=False)
    masks = with_masks(boxes)
    for (truth, results), kind, message in (
        ((masks[0], boxes[1]), "segm", "found.json: the detections hold boxes, and masks are"),
        ((boxes[0], masks[1]), "segm", "truth.json: the ground truth holds boxes, and masks are"),
    ):
        columns = ground_truth_of(truth, where="truth.json")
        found = detections_of(results, columns, where="found.json")
        with pytest.raises(DataError, match=f"^{message}"):
            function(columns, found, kind)


@EVERY_ENGINE
@pytest.mark.parametrize("seed", range(4))
def test_masks_alone_are_scored_by_the_boxes_around_them_and_their_own_areas(
    seed: int, engine: str
) -> None:
    truth, results = with_masks(random_set(seed, crowds=True))
    for number, one in enumerate(results):  # a diamond: half of the box around it
        x, y, width, height = (float(v) for v in mask.toBbox(one["segmentation"]))
        corners = [x, y + height / 2, x + width / 2, y, x + width, y + height / 2]
        drawn = mask.frPyObjects([[*corners, x + width / 2, y + height]], SIDE, SIDE)[0]
        one["segmentation"] = {"size": drawn["size"], "counts": drawn["counts"].decode()}
        if number % 5 == 0:
            one["bbox"] = [x, y, width, height + 3]  # one that has its own keeps it
    results[0].pop("bbox")
    assert_as_pycocotools((truth, results), "bbox", engine)
    columns = ground_truth_of(truth)
    matches = match(columns, detections_of(results, columns))
    unweighted = weighted_metrics(matches, np.ones((1, columns.num_images)))[:, :, 0]
    expected = by_pycocotools((truth, results), "bbox")[0].stats
    assert np.nanmean(unweighted, axis=1) == pytest.approx(100 * expected, abs=1e-9)


def test_a_part_of_what_a_file_holds_still_says_which_file() -> None:
    truth, results = with_masks(random_set(0, crowds=False))
    columns = ground_truth_of(truth, where="truth.json")
    found = detections_of(results, columns, where="found.json")
    assert columns.subset(np.arange(2)).where == "truth.json"
    assert found.subset(np.arange(2)).where == "found.json"
    no_mask = {**truth["annotations"][0], "segmentation": {"size": [1, 1], "counts": "1"}}
    broken = {**truth, "annotations": [no_mask, *truth["annotations"][1:]]}
    with pytest.raises(DataError, match=r"^truth\.json: the mask of annotation"):
        score(ground_truth_of(broken, where="truth.json"), found, "segm")


def test_a_score_that_is_no_number_is_not_ranked() -> None:
    truth = ground_truth_of(random_set(0, crowds=False)[0])
    found = detections_of(random_set(0, crowds=False)[1], truth)
    broken = dataclasses.replace(found, scores=np.where(found.scores > 0.5, np.nan, found.scores))
    with pytest.raises(DataError, match="not finite"):
        score(truth, broken)


def test_an_engine_that_is_not_there_is_refused_with_the_nearest() -> None:
    truth = ground_truth_of(random_set(0, crowds=False)[0])
    with pytest.raises(
        UserError, match=r"(?s)no scoring engine 'pycoco'.*did you mean 'pycocotools'"
    ):
        score(truth, detections_of([], truth), engine="pycoco")
