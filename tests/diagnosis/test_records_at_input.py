"""Objects at the network's input: too small for its stride, or of a shape that no anchor has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from columns_of_boxes import coco_like, split_of

from odapi_repro.datasets.census import Census, SplitCensus
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.outcome import subject_of
from odapi_repro.diagnosis.record_rule import RecordSubject
from odapi_repro.diagnosis.rules.records.at_network_input import AnchorsDoNotFit, ObjectsTooSmall
from odapi_repro.reference import reference_named

PIPELINES = Path(__file__).parents[2] / "pipelines"
D0 = (PIPELINES / "effdet_d0.config").read_text(encoding="utf-8")
MASK_RCNN = (PIPELINES / "mask_rcnn.config").read_text(encoding="utf-8")
CENTER_NET = """model { center_net { num_classes: 2
  feature_extractor { type: "resnet_v1_50_fpn" }
  image_resizer { keep_aspect_ratio_resizer {
    min_dimension: 512 max_dimension: 512 pad_to_max_dimension: true } }
  object_center_params { object_center_loss_weight: 1.0 } } }"""
SSD = reference_named("ssd_mobilenet_v2_320").config_text()
LABELS = LabelMap({1: "ship", 2: "buoy"})

Change = Callable[[str], str]


def same(text: str) -> str:
    return text


def boxes_of(
    image: tuple[int, int], box: tuple[float, float], *, images: int = 40, seed: int = 0
) -> SplitCensus:
    """Three boxes an image, of about `box` (height, width) pixels, anywhere in it."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(images), 3)
    side = np.minimum(np.array(box) * np.exp(rng.normal(0, 0.1, (len(of), 2))) / image, 1)
    first = rng.uniform(0, 1, (len(of), 2)) * (1 - side)
    return split_of(np.array([image] * images), of, np.concatenate([first, first + side], axis=1))


def told(*splits: SplitCensus, config: str = D0) -> dict[str, Finding]:
    subject = RecordSubject(Census(splits, LABELS), subject_of(config, "my.config"))
    found = [*ObjectsTooSmall().check(subject), *AnchorsDoNotFit().check(subject)]
    assert len({one.cause for one in found}) == len(found)
    return {one.cause: one for one in found}


@pytest.mark.parametrize(
    ("config", "side"), [(D0, "1.8"), (MASK_RCNN, "3.6"), (CENTER_NET, "1.8")], ids=str.__len__
)
def test_objects_of_16_x_12_pixels_in_large_photographs_are_told(config: str, side: str) -> None:
    config = config.replace("1024", "896")
    found = told(boxes_of((3000, 4000), (12, 16)), config=config)
    assert list(found) == ["objects_too_small_for_input"]
    (one,) = found.values()
    assert one.severity.word == "critical"
    assert one.count == 120
    assert f"a side of at most {side} pixels" in one.found
    assert "tiles" in one.mend
    assert one.fields[0].endswith("_resizer")


@pytest.mark.parametrize(
    ("box", "word"),
    [((100, 100), None), ((45, 45), "warning"), ((17, 17), "warning"), ((12, 12), "critical")],
)
def test_the_severity_is_that_of_the_median_at_the_input(box, word) -> None:
    # D0: 3,200 become 512, and its finest stride is 8.
    found = told(boxes_of((3200, 3200), box)).get("objects_too_small_for_input")
    assert (found.severity.word if found else None) == word


def test_what_helps_is_what_is_left_to_do() -> None:
    tiles = told(boxes_of((3200, 3200), (40, 40)))["objects_too_small_for_input"].mend
    assert "tiles of 512 x 512" in tiles
    assert "an input 1.3 times as large" in tiles
    assert "min_level: 2" in tiles
    # Images no larger than the input: there is nothing to cut.
    whole = told(boxes_of((400, 400), (5, 5)))["objects_too_small_for_input"].mend
    assert "tiles" not in whole
    assert "an input" in whole


@pytest.mark.parametrize(("side", "image"), [(40, 3200), (6, 3200), (59, 4000)])
def test_what_is_proposed_is_enough(side: int, image: int) -> None:
    found = told(boxes_of((image, image), (side, side)))["objects_too_small_for_input"]
    assert float(re.search(r"at most ([\d.]+) pixels", found.found)[1]) < 8
    tile = int(re.search(r"tiles of (\d+) x", found.mend)[1])
    mended = [told(boxes_of((tile, tile), (side, side)))]
    if larger := re.search(r"an input ([\d.]+) times", found.mend):
        bigger = D0.replace("512", str(512 * float(larger[1])).partition(".")[0])
        mended.append(told(boxes_of((image, image), (side, side)), config=bigger))
    assert not any("objects_too_small_for_input" in one for one in mended)
    assert any("anchors_do_not_fit" in one for one in mended)
    assert "with smaller anchors (the smallest is 32 pixels)" in found.mend


def test_two_pixels_of_an_image_are_not_enlarged() -> None:
    found = told(boxes_of((3200, 3200), (2, 2)))["objects_too_small_for_input"]
    assert "images of a higher resolution" in found.mend


def test_one_class_of_which_nothing_is_left_is_told_by_its_name() -> None:
    large, small = boxes_of((1600, 1600), (400, 400)), boxes_of((1600, 1600), (4, 4), images=20)
    corners = np.concatenate([large.boxes.corners, small.boxes.corners])
    image = np.concatenate([large.boxes.image, small.boxes.image])
    both = split_of(np.array([(1600, 1600)] * 40), image, corners)
    label = np.repeat([1, 2], [120, 60])
    found = told(replace(both, boxes=replace(both.boxes, label=label)))
    one = found["objects_too_small_for_input"]
    assert (one.severity.word, one.count) == ("warning", 60)
    assert "boxes of class buoy" in one.found


def test_one_class_of_boxes_that_no_anchor_is_like_is_told_by_its_name() -> None:
    large, cables = boxes_of((800, 800), (200, 200)), boxes_of((800, 800), (8, 700), images=10)
    corners = np.concatenate([large.boxes.corners, cables.boxes.corners])
    image = np.concatenate([large.boxes.image, cables.boxes.image])
    both = split_of(np.array([(800, 800)] * 40), image, corners)
    label = np.repeat([1, 2], [120, 30])
    found = told(replace(both, boxes=replace(both.boxes, label=label)))
    one = found["anchors_do_not_fit"]
    assert (one.severity.word, one.count) == ("warning", 30)
    assert "30 of 30 boxes of class buoy by 0.5" in one.found


def test_evaluation_images_that_are_no_tiles_are_told_as_such() -> None:
    tiles, photographs = boxes_of((512, 512), (40, 40)), boxes_of((5120, 5120), (40, 40))
    found = told(tiles, replace(photographs, split="eval"))
    assert found["objects_too_small_for_input"].found.startswith("evaluation:")


@pytest.mark.parametrize("box", [(8, 720), (720, 8), (30, 300)], ids=str)
@pytest.mark.parametrize("config", [D0, MASK_RCNN], ids=str.__len__)
def test_boxes_more_elongated_than_the_anchors_are_told(config: str, box) -> None:
    found = told(boxes_of((1000, 1000), box), config=config)
    assert list(found) == ["anchors_do_not_fit"]
    (one,) = found.values()
    assert (one.severity.word, one.count) == ("warning", 120)
    assert "more elongated than any anchor" in one.found
    assert "aspect_ratios" in one.mend


def test_boxes_beyond_the_largest_anchor_are_told() -> None:
    config = D0.replace("max_level: 7", "max_level: 4")
    one = told(boxes_of((512, 512), (450, 450)), config=config)["anchors_do_not_fit"]
    assert "larger than the largest anchor" in one.found
    assert "max_level" in one.mend


def test_boxes_below_the_smallest_anchor_are_told() -> None:
    config = D0.replace("anchor_scale: 4", "anchor_scale: 16")
    one = told(boxes_of((512, 512), (40, 40)), config=config)["anchors_do_not_fit"]
    assert "smaller than the smallest anchor" in one.found
    assert "anchor_scale" in one.mend


@pytest.mark.parametrize(
    ("config", "side", "field"),
    [
        (D0, 14, "lower anchor_scale (or min_level"),
        (SSD, 30, "lower min_scale down"),
        (MASK_RCNN, 14, "add scales down"),
        (MASK_RCNN, 700, "add scales up"),
    ],
    ids=["pyramid", "ssd", "grid", "large"],
)
def test_the_field_that_is_named_is_one_of_these_anchors(config: str, side: int, field: str):
    config = config.replace("anchor_scale: 4", "anchor_scale: 16")
    size = 512 if side < 100 else 1024
    found = told(boxes_of((size, size), (side, side)), config=config).get("anchors_do_not_fit")
    assert found is not None
    assert field in found.mend


def test_aspect_ratios_alone_do_not_mend_what_is_small_too() -> None:
    one = told(boxes_of((1000, 1000), (8, 720)))["anchors_do_not_fit"]
    assert "aspect_ratios" in one.mend
    assert "lower anchor_scale" not in one.mend
    one = told(boxes_of((2000, 2000), (8, 720)))["anchors_do_not_fit"]
    assert "and lower anchor_scale (or min_level, in the feature extractor too) down to" in one.mend


def test_without_forced_matches_nothing_learns_such_boxes() -> None:
    forced, unforced = (
        told(
            boxes_of((1000, 1000), (8, 720)),
            config=D0.replace("force_match_for_each_row: true", f"force_match_for_each_row: {on}"),
        )["anchors_do_not_fit"]
        for on in ("true", "false")
    )
    assert (forced.severity.word, unforced.severity.word) == ("warning", "critical")
    assert "by force" in forced.why
    assert "not forced" in unforced.why


def test_a_handful_of_boxes_is_not_judged() -> None:
    assert told(boxes_of((3000, 4000), (12, 16), images=3)) == {}


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "model { ssd { } }",
        D0.replace("min_dimension: 512", "min_dimension: 0"),
        D0.replace("anchor_scale: 4", "anchor_scale: 0"),
        D0.replace("max_level: 7", "max_level: 9", 1),
        D0.replace("aspect_ratios: [1.0", "aspect_ratios: [0.0"),
        D0.replace("aspect_ratios: [1.0", "aspect_ratios: [-1.0"),
        MASK_RCNN.replace("height_stride: 16", "height_stride: 0"),
    ],
)
def test_a_config_that_nobody_can_build_is_left_to_other_rules(broken: str) -> None:
    assert broken not in (D0, MASK_RCNN)
    for box in ((12, 16), (1200, 1600), (8, 3000)):
        found = told(boxes_of((3000, 4000), box), config=broken)
        assert not any("nan" in one.found + one.expected + one.mend for one in found.values())


def test_objects_as_coco_has_them_fit_every_reference(reference_configs: Path) -> None:
    split = coco_like(seed=0)
    texts = [path.read_text(encoding="utf-8") for path in sorted(reference_configs.iterdir())]
    assert len(texts) == 36
    for text in texts:
        assert told(split, config=text) == {}


@pytest.mark.parametrize("seed", range(3))
def test_objects_as_coco_has_them_fit_our_pipelines(seed: int) -> None:
    for path in sorted(PIPELINES.glob("*.config")):
        assert told(coco_like(seed=seed), config=path.read_text(encoding="utf-8")) == {}
