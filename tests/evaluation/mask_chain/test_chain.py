"""Every object is lost at one stage or found, and the stage is the right one."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from chain_scenes import (
    FAR,
    OBJECT,
    SETTINGS,
    Scene,
    chain_of,
    filled,
    found_in,
    shifted,
    stages_of,
    truth_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odapi_repro.errors import DataError, UserError
from odapi_repro.evaluation.mask_chain.detector_stages import (
    BOX_STAGES,
    MASK_STAGES,
    chain_settings,
)
from odapi_repro.evaluation.mask_chain.recall_chain import NOT_COUNTED, SIZES, recall_chain
from odapi_repro.pipeline import load_pipeline

IOUS = np.linspace(0.5, 0.95, 10)
NOWHERE = ((FAR, 0.5, 1),)
MASKS = dataclasses.replace(SETTINGS, mask_size=(15, 15))

# What is changed in a scene in which all is well, so that its object is lost at a stage.
LOST_AT = {
    "anchor": {
        "rpn": ((FAR, 0.5),),
        "proposals": ((FAR, 0.5),),
        "candidates": ((FAR, 0.8, 1, 0),),
        "detections": NOWHERE,
    },
    # The object's box is above the last proposal and yet none of them.
    "rpn_nms": {
        "rpn": ((OBJECT, 0.9), (FAR, 0.5), (FAR, 0.4)),
        "proposals": ((FAR, 0.5), (FAR, 0.4)),
        "candidates": ((FAR, 0.8, 1, 0),),
        "detections": NOWHERE,
    },
    # Two proposals are made of three boxes, and the object's was the third.
    "proposal": {
        "rpn": ((FAR, 0.9), (FAR, 0.5), (OBJECT, 0.3)),
        "proposals": ((FAR, 0.9), (FAR, 0.5)),
        "candidates": ((FAR, 0.8, 1, 0),),
        "detections": NOWHERE,
    },
    "refined_box": {
        "candidates": ((shifted(OBJECT, 0.4), 0.8, 1, 0),),
        "detections": ((shifted(OBJECT, 0.4), 0.8, 1),),
    },
    "score": {"candidates": ((OBJECT, 0.04, 1, 0), (FAR, 0.8, 1, 1)), "detections": NOWHERE},
    # The second stage takes the ring for a star; of a ring it is below the threshold.
    "class": {
        "candidates": ((OBJECT, 0.9, 2, 0), (OBJECT, 0.04, 1, 0)),
        "detections": ((OBJECT, 0.9, 2),),
    },
    # A better scored neighbour of its class overlaps it by 0.6, and the object by less than half.
    "nms": {
        "candidates": (
            (shifted(shifted(OBJECT, 0.7), 0.6), 0.9, 1, 0),
            (shifted(OBJECT, 0.7), 0.8, 1, 1),
        ),
        "detections": ((shifted(shifted(OBJECT, 0.7), 0.6), 0.9, 1),),
        "settings": dataclasses.replace(SETTINGS, nms_iou=0.55),
    },
    "detection": {"candidates": ((FAR, 0.9, 1, 1), (OBJECT, 0.8, 1, 0)), "detections": NOWHERE},
    # One detection on two objects: the one it overlaps more has it.
    "own_detection": {
        "objects": ((shifted(OBJECT, 0.8), 1), (OBJECT, 1)),
        "detections": ((OBJECT, 0.9, 1),),
    },
    "mask_grid": {
        "objects": ((OBJECT, 1),),
        "masks": [np.pad(np.eye(80, dtype=np.uint8), ((40, 80), (40, 80)))],
        "detection_masks": [filled(OBJECT)],
        "settings": MASKS,
    },
    # The box overlaps by 0.6; of the mask, a strip of a quarter, it holds nothing.
    "mask_box": {
        "masks": [filled((40, 40, 20, 80))],
        "detections": (((60.0, 40.0, 60.0, 80.0), 0.8, 1),),
        "candidates": (((60.0, 40.0, 60.0, 80.0), 0.8, 1, 0),),
        "detection_masks": [filled((60, 40, 60, 80))],
        "settings": MASKS,
    },
    "mask": {
        "masks": [filled(OBJECT)],
        "detection_masks": [filled((40, 40, 20, 80))],
        "settings": MASKS,
    },
}


def test_there_is_a_scene_for_every_stage() -> None:
    assert list(LOST_AT) == [stage.name for stage in BOX_STAGES + MASK_STAGES]


@pytest.mark.parametrize("stage", LOST_AT)
def test_an_object_is_lost_at_the_stage_that_lets_it_go(stage: str) -> None:
    changes = dict(LOST_AT[stage])
    used = changes.pop("settings", SETTINGS)
    report = chain_of(Scene(**changes), settings=used)
    counts = {one.name: int(report.lost[i, 0, 0]) for i, one in enumerate(report.stages)}
    assert counts == {**dict.fromkeys(counts, 0), stage: 1}
    assert report.largest_loss(iou=0.5).name == stage
    assert report.share_lost(stage, iou=0.5) == 100.0 / len(Scene(**changes).objects)


def test_an_object_that_all_stages_hold_is_found() -> None:
    report = chain_of(Scene())
    assert report.found[:, 0].tolist() == [1] * 10
    assert report.largest_loss() is None
    assert report.share_found() == 100.0


def test_masks_are_found_by_the_overlap_of_masks() -> None:
    masks = {"masks": [filled(OBJECT)], "detection_masks": [filled((40, 40, 80, 60))]}
    report = chain_of(Scene(**masks), settings=MASKS)
    assert report.found[:, 0].tolist() == [int(iou < 0.751) for iou in IOUS]
    assert report.share_lost("mask", iou=0.9) == 100.0


def test_a_loose_proposal_that_the_second_stage_refines_is_no_loss() -> None:
    loose = shifted(OBJECT, 0.45)
    report = chain_of(Scene(rpn=((loose, 0.9), (FAR, 0.5)), proposals=((loose, 0.9), (FAR, 0.5))))
    assert report.found[:, 0].tolist() == [1] * 10
    assert report.refined[:, 0].tolist() == [1] * 10
    assert not report.lost.any()


def test_a_proposal_need_not_overlap_more_than_the_second_stage_is_trained_on() -> None:
    rough = shifted(OBJECT, 0.6)
    changed = {"rpn": ((rough, 0.9),), "proposals": ((rough, 0.9),)}
    fine = chain_of(
        Scene(**changed, candidates=((rough, 0.8, 1, 0),), detections=((rough, 0.8, 1),))
    )
    # At 0.6 and below it is found; above, it is the box head that did not get nearer.
    assert fine.found[:, 0].tolist() == [int(iou < 0.61) for iou in IOUS]
    assert fine.lost[3, :, 0].tolist() == [int(iou > 0.61) for iou in IOUS]
    assert [stage.name for stage in fine.stages][3] == "refined_box"


def test_the_box_of_the_own_class_counts_from_the_second_stage_on() -> None:
    scene = Scene(
        candidates=((OBJECT, 0.9, 2, 0), (shifted(OBJECT, 0.3), 0.9, 1, 0)),
        detections=((OBJECT, 0.9, 2), (shifted(OBJECT, 0.3), 0.9, 1)),
    )
    # Detected as a star, where a star's box was refined well and a ring's was not.
    assert chain_of(scene).share_lost("refined_box", iou=0.5) == 100.0


def test_what_nms_drops_is_lost_to_nms_though_another_class_is_detected_there() -> None:
    worse = shifted(OBJECT, 0.7)
    scene = Scene(
        candidates=((worse, 0.9, 1, 1), (OBJECT, 0.8, 1, 0), (OBJECT, 0.3, 2, 0)),
        detections=((worse, 0.9, 1), (OBJECT, 0.3, 2)),
    )
    report = chain_of(scene)
    assert report.share_found(iou=0.5) == 100.0
    assert report.share_lost("nms", iou=0.75) == 100.0


def test_without_a_score_threshold_nothing_is_lost_to_scores_or_classes() -> None:
    settings = dataclasses.replace(SETTINGS, score_threshold=0.0)
    scene = Scene(candidates=((OBJECT, 0.9, 2, 0), (OBJECT, 0.01, 1, 0)), detections=NOWHERE)
    assert chain_of(scene, settings=settings).share_lost("detection", iou=0.5) == 100.0


def test_a_class_whose_box_was_not_kept_is_stood_in_for_by_its_proposals_others() -> None:
    scene = Scene(candidates=((OBJECT, 0.9, 2, 0),), detections=NOWHERE)
    assert chain_of(scene).share_lost("class", iou=0.5) == 100.0


def test_crowds_do_not_count() -> None:
    report = chain_of(Scene(crowds=((OBJECT, 1), (FAR, 2))), Scene(objects=()))
    assert report.objects.tolist() == [1, 0, 1, 0]
    assert report.lost_at[0].tolist() == [len(report.stages), NOT_COUNTED, NOT_COUNTED]
    assert report.found[0, 0] == 1


def test_sizes_are_those_of_coco_and_every_object_has_one() -> None:
    boxes = [(0, 0, 10, 10), (0, 0, 31, 33), (0, 0, 32, 32), (0, 0, 96, 96), (0, 0, 120, 120)]
    report = chain_of(Scene(objects=[(box, 1) for box in boxes], detections=()))
    assert dict(zip(SIZES, report.objects.tolist(), strict=True)) == {
        "all": 5,
        "small": 2,
        "medium": 1,
        "large": 2,
    }
    assert (report.lost[:, :, 0] == report.lost[:, :, 1:].sum(axis=2)).all()
    assert report.share_found("small") == 0.0


def test_a_size_without_objects_has_no_share() -> None:
    report = chain_of(Scene())
    assert report.share_found("small") is None
    assert report.share_lost("anchor", "large", 0.75) is None
    assert report.proposals[-1].at_50 == (100.0, None, 100.0, None)


def test_recall_grows_with_the_proposals_that_are_looked_at() -> None:
    four = dataclasses.replace(SETTINGS, max_proposals=4)
    proposals = ((FAR, 0.9), (shifted(OBJECT, 0.72), 0.5), (FAR, 0.4), (OBJECT, 0.3))
    report = chain_of(Scene(rpn=proposals, proposals=proposals), settings=four)
    assert [one.num_proposals for one in report.proposals] == [1, 2, 4]
    assert [one.at_50[0] for one in report.proposals] == [0.0, 100.0, 100.0]
    assert [one.average[0] for one in report.proposals] == pytest.approx([0.0, 50.0, 100.0])


boxes = st.tuples(
    st.integers(0, 120), st.integers(0, 120), st.integers(4, 110), st.integers(4, 110)
)
scores = st.floats(0.015625, 1.0, width=32)
classes = st.integers(1, 2)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    proposals = draw(st.lists(st.tuples(boxes, scores), max_size=4))
    proposals.sort(key=lambda one: -one[1])
    few = {"max_size": 5}
    return Scene(
        objects=draw(st.lists(st.tuples(boxes, classes), **few)),
        crowds=draw(st.lists(st.tuples(boxes, classes), max_size=1)),
        rpn=proposals + draw(st.lists(st.tuples(boxes, scores), **few)),
        proposals=proposals,
        candidates=draw(st.lists(st.tuples(boxes, scores, classes, st.integers(0, 3)), **few)),
        detections=draw(st.lists(st.tuples(boxes, scores, classes), **few)),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(scenes(), min_size=1, max_size=3))
def test_what_is_lost_and_what_coco_finds_sum_to_the_objects_exactly(drawn: list[Scene]) -> None:
    # Some detections are made to lie on objects.
    for scene in drawn:
        scene.detections = [*scene.detections, *((b, 0.5, c) for b, c in scene.objects[::2])]
    report = chain_of(*drawn)
    assert (report.lost.sum(axis=0) + report.found == report.objects).all()
    assert (report.lost[:, :, 0] == report.lost[:, :, 1:].sum(axis=2)).all()
    assert report.found[:, 0].tolist() == found_by_pycocotools(drawn)


def found_by_pycocotools(drawn: list[Scene]) -> list[int]:
    truth = truth_of(drawn)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth.to_coco()
        coco.createIndex()
        results = found_in(drawn, truth).to_coco(truth)
        if not results:
            return [0] * 10
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    found = np.zeros(10, int)
    for one in evaluation.evalImgs:
        if one is not None:
            counts = ~np.asarray(one["gtIgnore"], bool)
            found += (one["gtMatches"][:, counts] > 0).sum(axis=1)
    return found.tolist()


def test_stages_of_other_images_are_refused() -> None:
    drawn = [Scene(), Scene()]
    truth = truth_of(drawn)
    with pytest.raises(DataError, match="stages are those of 1 images"):
        recall_chain(truth, stages_of(drawn[:1]), found_in(drawn, truth), SETTINGS)


def test_a_chain_of_images_of_unknown_size_is_refused() -> None:
    """Boxes in shares of nothing would overlap no object, and every stage would lose all."""
    drawn = [Scene()]
    truth = dataclasses.replace(truth_of(drawn), widths=np.zeros(1, np.int64))
    with pytest.raises(DataError, match=r"size of image .* is not known"):
        recall_chain(truth, stages_of(drawn), found_in(drawn, truth), SETTINGS)


def test_settings_are_the_pipelines_own_and_what_a_pass_sets(repository: Path) -> None:
    pipeline = load_pipeline(repository / "pipelines" / "mask_rcnn.config")
    prefix = "model.faster_rcnn."
    found = chain_settings(pipeline)
    assert (found.max_proposals, found.score_threshold, found.mask_size) == (300, 0.0, (33, 33))
    assert found.nms_iou == pytest.approx(0.6)
    nms = f"{prefix}second_stage_post_processing.batch_non_max_suppression."
    changed = chain_settings(
        pipeline,
        {f"{prefix}first_stage_max_proposals": 50, f"{nms}score_threshold": 0.5},
    )
    assert (changed.max_proposals, changed.score_threshold) == (50, 0.5)
    two_stages = chain_settings(pipeline, {f"{prefix}number_of_stages": 2})
    assert two_stages.stages == BOX_STAGES


def test_a_one_stage_detector_has_no_chain(repository: Path) -> None:
    with pytest.raises(UserError, match="no two-stage detector"):
        chain_settings(load_pipeline(repository / "pipelines" / "effdet_d3.config"))
