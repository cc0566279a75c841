"""Fusion of detections, by cases worked out by hand and by properties that must always hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.evaluation.coco_data import Detections
from odapi_repro.evaluation.post_processing import (
    box_ious,
    box_voting,
    concatenate,
    consensus,
    keep_best,
    nms,
    soft_nms,
    union,
    weighted_boxes,
)

Row = tuple[int, int, tuple[float, float, float, float], float]


def detections(rows: Sequence[Row], *, masks: bool = False) -> Detections:
    """Rows of image, class, box (x y width height) and score; the mask says which row it was."""
    return Detections(
        images=np.array([row[0] for row in rows], np.int32),
        categories=np.array([row[1] for row in rows], np.int32),
        boxes=np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        scores=np.array([row[3] for row in rows], np.float64),
        masks=tuple({"row": index} for index in range(len(rows))) if masks else None,
    )


def rows_of(found: Detections) -> list[Row]:
    assert found.boxes is not None
    return [
        (int(image), int(category), tuple(box), float(score))
        for image, category, box, score in zip(
            found.images, found.categories, found.boxes.tolist(), found.scores, strict=True
        )
    ]


_side = st.integers(0, 12)
_rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 1),
        st.tuples(_side, _side, _side, _side),
        # Few scores, so that ties are common.
        st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.5, 0.9]),
    ),
    max_size=30,
)
# Nothing overlaps a box without area, not even itself.
_solid_rows = _rows.map(lambda rows: [row for row in rows if row[2][2] and row[2][3]])
_thresholds = st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.7])


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """By counting: the boxes of these tests have whole corners."""

    def cells(box: Sequence[float]) -> set[tuple[int, int]]:
        x, y, width, height = (int(value) for value in box)
        return {(x + i, y + j) for i in range(width) for j in range(height)}

    together = cells(one) | cells(other)
    return len(cells(one) & cells(other)) / len(together) if together else 0.0


def slow_nms(rows: Sequence[Row], threshold: float) -> list[Row]:
    """Box by box in order of score, against those kept so far."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda row: -row[3]):
        if all(
            row[:2] != other[:2] or iou(row[2], other[2]) <= threshold + 1e-12 for other in kept
        ):
            kept.append(row)
    return sorted(kept, key=lambda row: row[0])


@given(_rows, _thresholds)
def test_nms_keeps_what_one_box_after_another_keeps(rows: list[Row], threshold: float) -> None:
    kept = nms(detections(rows), threshold + 1e-12)
    assert rows_of(kept) == slow_nms(rows, threshold)


@given(_rows, _thresholds)
def test_what_nms_keeps_does_not_overlap_and_nms_again_changes_nothing(
    rows: list[Row], threshold: float
) -> None:
    kept = nms(detections(rows), threshold)
    found = rows_of(kept)
    for index, row in enumerate(found):
        for other in found[:index]:
            assert row[:2] != other[:2] or iou(row[2], other[2]) <= threshold + 1e-12
    assert rows_of(nms(kept, threshold)) == found


def test_an_overlap_equal_to_the_threshold_is_kept() -> None:
    # 5 of 15 cells are shared.
    rows = [(0, 0, (0, 0, 2, 5), 0.9), (0, 0, (1, 0, 2, 5), 0.8)]
    assert nms(detections(rows), 1 / 3).num == 2
    assert nms(detections(rows), 0.33).num == 1


def test_class_agnostic_nms_drops_the_weaker_of_two_classes() -> None:
    rows = [(0, 0, (0, 0, 10, 10), 0.5), (0, 1, (0, 0, 10, 9), 0.7), (1, 0, (0, 0, 10, 10), 0.1)]
    assert nms(detections(rows), 0.5).num == 3
    assert rows_of(nms(detections(rows), 0.5, class_agnostic=True)) == [rows[1], rows[2]]


def test_masks_stay_with_the_detections_that_are_kept() -> None:
    rows = [
        (1, 0, (0, 0, 10, 10), 0.5),
        (0, 0, (0, 0, 10, 10), 0.6),
        (0, 0, (1, 0, 10, 10), 0.7),
        (1, 0, (50, 50, 10, 10), 0.9),
    ]
    kept = nms(detections(rows, masks=True), 0.5)
    assert kept.masks == ({"row": 2}, {"row": 3}, {"row": 0})
    assert union([detections(rows, masks=True), detections(rows)], 0.5).masks is None
    softened = soft_nms(detections(rows, masks=True), method="gaussian", min_score=0.4)
    assert softened.masks == ({"row": 2}, {"row": 3}, {"row": 0})


def test_soft_nms_by_hand() -> None:
    # IoU of the first with the second: 50 of 150; with the third: 0.
    rows = [
        (0, 0, (0, 0, 10, 10), 0.9),
        (0, 0, (5, 0, 10, 10), 0.6),
        (0, 0, (40, 0, 10, 10), 0.5),
        (0, 1, (0, 0, 10, 10), 0.8),
    ]
    linear = soft_nms(detections(rows), method="linear", iou_threshold=0.3)
    assert rows_of(linear) == [
        rows[0],
        rows[3],
        rows[2],
        (0, 0, (5, 0, 10, 10), pytest.approx(0.6 * 2 / 3)),
    ]
    gaussian = soft_nms(detections(rows), method="gaussian", sigma=0.5)
    assert gaussian.scores == pytest.approx([0.9, 0.8, 0.5, 0.6 * math.exp(-(1 / 9) / 0.5)])
    # Below its threshold the linear rule does nothing.
    assert soft_nms(detections(rows), method="linear", iou_threshold=0.34).scores == pytest.approx(
        [0.9, 0.8, 0.6, 0.5]
    )


def test_soft_nms_decays_against_each_box_taken_and_takes_the_best_score_left() -> None:
    # Three equal boxes: the second decays once, the third twice.
    rows = [(0, 0, (0, 0, 10, 10), score) for score in (0.9, 0.8, 0.7)]
    factor = math.exp(-1 / 0.5)
    found = soft_nms(detections(rows), method="gaussian", sigma=0.5)
    assert found.scores == pytest.approx([0.9, 0.8 * factor, 0.7 * factor**2])
    assert soft_nms(detections(rows), method="linear").num == 1
    assert soft_nms(detections(rows), method="gaussian", min_score=0.8 * factor).num == 1


def slow_soft_nms(rows: Sequence[Row], sigma: float, min_score: float) -> list[Row]:
    """Bodla et al.'s figure 2, an image and class at a time."""
    found = []
    for group in sorted({row[:2] for row in rows}):
        left = [[row, row[3]] for row in rows if row[:2] == group and row[3] > min_score]
        while left:
            best = max(left, key=lambda pair: pair[1])
            left.remove(best)
            found.append((*best[0][:3], best[1]))
            for pair in left:
                pair[1] *= math.exp(-(iou(best[0][2], pair[0][2]) ** 2) / sigma)
            left = [pair for pair in left if pair[1] > min_score]
    return sorted(found, key=lambda row: (row[0], row[1], -row[3], row[2]))


@given(_rows, st.sampled_from([0.1, 0.5, 2.0]), st.sampled_from([0.0, 0.15]))
def test_soft_nms_is_the_papers_algorithm(rows: list[Row], sigma: float, min_score: float) -> None:
    found = soft_nms(detections(rows), method="gaussian", sigma=sigma, min_score=min_score)
    expected = slow_soft_nms(rows, sigma, min_score)
    # Ties may be taken in any order: the scores are the same all the same.
    for group in {row[:2] for row in rows}:
        mine = [row[3] for row in rows_of(found) if row[:2] == group]
        theirs = [row[3] for row in expected if row[:2] == group]
        assert mine == pytest.approx(theirs)


@given(_rows, st.integers(1, 4), st.integers(1, 6))
def test_caps_keep_the_best_of_each_class_and_then_of_each_image(
    rows: list[Row], per_class: int, per_image: int
) -> None:
    found = rows_of(keep_best(detections(rows), per_class=per_class, per_image=per_image))
    expected = []
    for image in sorted({row[0] for row in rows}):
        ranked = sorted((row for row in rows if row[0] == image), key=lambda row: -row[3])
        of_class = [
            row
            for index, row in enumerate(ranked)
            if sum(other[1] == row[1] for other in ranked[:index]) < per_class
        ]
        expected += of_class[:per_image]
    assert found == expected


@given(_solid_rows)
def test_voting_of_identical_boxes_is_the_identity(rows: list[Row]) -> None:
    kept = nms(detections(rows), 0.5)
    same = concatenate([kept, kept, kept])
    moved = box_voting(kept, same, 1.0)
    np.testing.assert_allclose(moved.boxes, kept.boxes, rtol=0, atol=1e-12)
    assert (moved.scores == kept.scores).all()


def test_voting_by_hand() -> None:
    kept = [(0, 0, (0, 0, 10, 10), 0.9)]
    candidates = [
        *kept,
        (0, 0, (2, 0, 10, 10), 0.3),  # IoU 80 / 120
        (0, 0, (0, 0, 10, 20), 0.6),  # IoU 1 / 2, equal to the threshold below
        (0, 0, (6, 0, 10, 10), 0.9),  # IoU 1 / 4: no vote
        (0, 1, (2, 0, 10, 10), 0.9),  # another class
        (1, 0, (2, 0, 10, 10), 0.9),  # another image
    ]
    moved = box_voting(detections(kept, masks=True), detections(candidates), 0.5)
    # Weights 0.9, 0.3 and 0.6 of 1.8; corners x 0 2 0, y 0, right 10 12 10, bottom 10 10 20.
    assert rows_of(moved) == [(0, 0, pytest.approx((1 / 3, 0, 10, 40 / 3)), 0.9)]
    assert moved.masks is None
    alone = box_voting(detections(kept), detections(candidates[3:]), 0.5)
    assert rows_of(alone) == kept


def test_weighted_boxes_by_hand() -> None:
    first = [(0, 0, (0, 0, 10, 10), 0.9), (0, 0, (50, 50, 10, 10), 0.6)]
    second = [(0, 0, (1, 0, 10, 10), 0.3), (0, 1, (0, 0, 10, 10), 0.4)]
    fused = weighted_boxes([detections(first, masks=True), detections(second)], 0.55)
    # Both found the first: its corners weigh 0.9 and 0.3; found by one, a score is halved.
    assert rows_of(fused) == [
        (0, 0, pytest.approx((0.25, 0, 10, 10)), pytest.approx(0.6)),
        (0, 0, (50, 50, 10, 10), pytest.approx(0.3)),
        (0, 1, (0, 0, 10, 10), pytest.approx(0.2)),
    ]
    assert fused.masks is None


def test_a_box_joins_the_cluster_it_overlaps_most() -> None:
    rows = [
        (0, 0, (0, 0, 10, 10), 0.9),
        (0, 0, (6, 0, 10, 10), 0.8),
        (0, 0, (4, 0, 10, 10), 0.5),  # IoU 3 / 7 with the first, 2 / 3 with the second
    ]
    fused = weighted_boxes([detections(rows)], 0.4)
    assert rows_of(fused)[0][2] == (0, 0, 10, 10)
    assert rows_of(fused)[1][2][0] == pytest.approx((0.8 * 6 + 0.5 * 4) / 1.3)


def slow_weighted_boxes(members: Sequence[list[Row]], threshold: float) -> list[Row]:
    """Solovyev et al., section 3, an image and class and a box at a time."""
    rows = [row for member in members for row in member]
    fused = []
    for group in {row[:2] for row in rows}:
        clusters: list[list[Row]] = []

        def mean(cluster: list[Row]) -> np.ndarray:
            boxes = np.array([row[2] for row in cluster], float)
            corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
            weights = np.array([row[3] for row in cluster])
            corners = (corners * weights[:, None]).sum(axis=0) / weights.sum()
            return np.concatenate([corners[:2], corners[2:] - corners[:2]])

        for row in sorted((row for row in rows if row[:2] == group), key=lambda row: -row[3]):
            box = np.array([row[2]], float)
            overlaps = [float(box_ious(mean(c)[None], box)[0]) for c in clusters]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if overlaps and overlaps[best] > threshold:
                clusters[best].append(row)
            else:
                clusters.append([row])
        for cluster in clusters:
            score = sum(row[3] for row in cluster) / len(cluster)
            score *= min(len(cluster), len(members)) / len(members)
            fused.append((*group, tuple(mean(cluster)), score))
    return sorted(fused, key=lambda row: (row[0], -row[3], row[1]))


@settings(max_examples=50)
@given(st.lists(_rows, min_size=1, max_size=3), st.sampled_from([0.11, 0.41, 0.55]))
def test_weighted_boxes_are_the_papers_algorithm(
    members: list[list[Row]], threshold: float
) -> None:
    found = weighted_boxes([detections(member) for member in members], threshold)
    expected = slow_weighted_boxes(members, threshold)
    assert found.num == len(expected)
    key: Callable[[Row], object] = lambda row: (row[:2], *np.round((*row[2], row[3]), 6))  # noqa: E731
    for mine, theirs in zip(
        sorted(rows_of(found), key=key), sorted(expected, key=key), strict=True
    ):
        assert mine[:2] == theirs[:2]
        assert (*mine[2], mine[3]) == pytest.approx((*theirs[2], theirs[3]), abs=1e-9)
    assert (np.diff(found.images) >= 0).all()


@given(_solid_rows)
def test_weighted_boxes_of_one_model_after_nms_are_its_own(rows: list[Row]) -> None:
    kept = nms(detections(rows), 0.5)
    assert rows_of(weighted_boxes([kept], 0.55)) == rows_of(kept)


@given(st.lists(_rows, min_size=1, max_size=3), _thresholds)
def test_consensus_of_one_is_the_union_and_more_only_take_away(
    members: list[list[Row]], threshold: float
) -> None:
    given_ = [detections(member) for member in members]
    together = rows_of(union(given_, threshold))
    assert rows_of(consensus(given_, threshold, 1)) == together
    previous = together
    for number in range(2, len(members) + 1):
        now = rows_of(consensus(given_, threshold, number))
        assert set(now) <= set(previous)
        previous = now


@given(_solid_rows, _thresholds)
def test_members_that_say_the_same_agree_on_all_of_it(rows: list[Row], threshold: float) -> None:
    one = nms(detections(rows), threshold)
    assert rows_of(consensus([one, one, one], threshold, 3)) == rows_of(one)


def test_consensus_by_hand() -> None:
    cat, dog = (0, 0, (0, 0, 10, 10), 0.9), (0, 0, (40, 40, 10, 10), 0.8)
    shifted = (0, 0, (1, 0, 10, 10), 0.95)
    members = [detections([cat, dog]), detections([shifted]), detections([(0, 1, *cat[2:])])]
    assert rows_of(consensus(members, 0.5, 2)) == [shifted]
    assert rows_of(consensus(members, 0.9, 2)) == []
    with pytest.raises(ValueError, match="4 of 3 members"):
        consensus(members, 0.5, 4)


def test_nothing_found_stays_nothing() -> None:
    none = detections([])
    for found in (
        nms(none, 0.5),
        soft_nms(none, method="linear"),
        keep_best(none, per_class=1, per_image=1),
        box_voting(none, none),
        weighted_boxes([none, none]),
        consensus([none], 0.5, 1),
    ):
        assert found.num == 0
        assert found.boxes is not None
        assert found.boxes.shape == (0, 4)


def test_masks_alone_cannot_be_fused() -> None:
    masks_only = Detections(np.zeros(1, np.int32), np.zeros(1, np.int32), None, np.ones(1), ({},))
    with pytest.raises(ValueError, match="no boxes"):
        nms(masks_only, 0.5)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_what_is_no_iou_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        nms(detections([]), threshold)
