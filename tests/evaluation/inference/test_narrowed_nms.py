"""NMS on fewer candidates gives the same boxes, or says that they were too few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from object_detection.protos import post_processing_pb2

from odapi_repro.evaluation.inference import forward as narrowed_nms
from odapi_repro.evaluation.inference.forward import IS_COMPLETE, can_be_narrowed, narrowed
from odapi_repro.evaluation.inference.networks import MOST_LOST, FallingBack

ANCHORS, CLASSES = 4000, 3


def processing(**fields: Any) -> Any:
    made = post_processing_pb2.PostProcessing()
    nms = made.batch_non_max_suppression
    nms.score_threshold, nms.iou_threshold = 1e-8, 0.5
    nms.max_detections_per_class = nms.max_total_detections = 100
    for name, value in fields.items():
        setattr(nms, name, value)
    return made


@pytest.mark.parametrize(
    "fields",
    [
        {"soft_nms_sigma": 0.5},
        {"use_class_agnostic_nms": True},
        {"use_combined_nms": True},
        {"use_static_shapes": True},
    ],
)
def test_only_nms_class_by_class_is_narrowed(fields: dict[str, Any]) -> None:
    assert can_be_narrowed(processing())
    assert not can_be_narrowed(processing(**fields))


class Tensor(np.ndarray[Any, Any]):
    def numpy(self) -> Any:
        return np.asarray(self)


class Networks:
    """Compiled functions that say what they are, and on which batches they were called."""

    def __init__(self, *, is_complete: bool) -> None:
        self.is_complete = is_complete
        self.called: list[tuple[str, int]] = []
        self.traced: list[str] = []

    def __call__(self, *, narrow: bool) -> Callable[..., Any]:
        name = "narrow" if narrow else "whole"
        self.traced.append(name)

        def found(images: int, shapes: None) -> dict[str, Any]:
            self.called.append((name, images))
            outputs: dict[str, Any] = {"found": np.array([name])}
            if narrow:
                outputs[IS_COMPLETE] = np.array([True, self.is_complete])
            return {"variant": {key: value.view(Tensor) for key, value in outputs.items()}}

        return found


def test_a_batch_with_enough_candidates_is_computed_once() -> None:
    networks = Networks(is_complete=True)
    falling_back = FallingBack(networks)
    for batch in range(20):
        (found,) = falling_back(batch, None).values()
        assert {name: list(values) for name, values in found.items()} == {"found": ["narrow"]}
    assert networks.called == [("narrow", batch) for batch in range(20)]
    assert networks.traced == ["narrow"]


def test_after_some_batches_with_too_few_candidates_all_are_taken_for_the_rest_of_the_pass() -> (
    None
):
    networks = Networks(is_complete=False)
    falling_back = FallingBack(networks)
    for _ in range(2):
        networks.called.clear()
        falling_back.start_pass()
        for batch in range(20):
            (found,) = falling_back(batch, None).values()
            assert {name: list(values) for name, values in found.items()} == {"found": ["whole"]}
        assert [batch for name, batch in networks.called if name == "whole"] == list(range(20))
        assert [batch for name, batch in networks.called if name == "narrow"] == list(
            range(MOST_LOST)
        )
    assert networks.traced == ["narrow", "whole"]


@pytest.fixture(scope="module")
def suppressed() -> Callable[..., tuple[list[Any], list[Any], Any]]:
    """Gives what the OD API's NMS finds, what the narrowed one finds, and whether it was enough."""
    from odapi_repro.training.compat import apply_patches

    apply_patches()
    import tensorflow as tf
    from object_detection.builders import post_processing_builder

    random = np.random.default_rng(5)
    corners = np.sort(random.random((2, ANCHORS, 2, 2), np.float32), axis=2)
    # Half of the scores are one of ten, so that there are ties.
    scores = random.random((2, ANCHORS, CLASSES), np.float32) ** 4
    scores[:, ::2] = np.round(scores[:, ::2], 1)
    boxes = tf.constant(corners.reshape(2, ANCHORS, 1, 4))
    options = {
        "clip_window": tf.constant([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]]),
        "additional_fields": {"anchor_indices": tf.zeros([2, ANCHORS])},
    }

    def run(config: Any) -> tuple[list[Any], list[Any], Any]:
        suppress, _ = post_processing_builder.build(config)
        complete: list[Any] = []
        fewer = narrowed(suppress, config, complete.append)
        found = [
            [value.numpy() for value in function(boxes, tf.constant(scores), **options)[:3]]
            for function in (suppress, fewer)
        ]
        return found[0], found[1], complete[0].numpy() if complete else None

    return run


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_detections_per_class": 20},
        {"max_detections_per_class": 20, "change_coordinate_frame": True},
        {"score_threshold": 0.3},
    ],
)
def test_the_boxes_are_the_same_to_the_last_bit(
    suppressed: Callable[..., tuple[list[Any], list[Any], Any]], fields: dict[str, Any]
) -> None:
    theirs, ours, complete = suppressed(processing(**fields))
    # In the second image boxes are lost to the window, so not every class comes to 20.
    assert complete.tolist() == [True, "max_detections_per_class" not in fields]
    for one, other in zip(theirs, ours, strict=True):
        assert np.array_equal(one[complete], other[complete])


@pytest.mark.tensorflow
def test_too_few_candidates_are_noticed(
    suppressed: Callable[..., tuple[list[Any], list[Any], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowed_nms, "MOST_ANCHORS", 30)
    theirs, ours, complete = suppressed(processing())
    assert not complete.any()
    assert not np.array_equal(theirs[1], ours[1])


@pytest.mark.tensorflow
def test_few_anchors_are_left_alone(
    suppressed: Callable[..., tuple[list[Any], list[Any], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowed_nms, "MOST_ANCHORS", ANCHORS)
    _, _, complete = suppressed(processing())
    assert complete is None
