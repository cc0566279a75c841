"""What is kept of the stages is what the model itself had, and it reads back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from odapi_repro.errors import DataError
from odapi_repro.evaluation.inference.stage_tensors import StageRecorder, has_stages, read_stages
from odapi_repro.pipeline import load_pipeline

BATCH = {
    "rpn_boxes": np.zeros((2, 3, 4), np.float32),
    "rpn_scores": np.array([[0.9, 0.5, 0.1], [0.8, 0.2, 0.1]], np.float32),
    "proposal_boxes": np.ones((2, 2, 4), np.float32),
    "proposal_scores": np.array([[0.9, 0.5], [0.8, -1.0]], np.float32),
    "candidate_boxes": np.full((2, 4, 4), 0.5, np.float32),
    "candidate_scores": np.array([[0.7, 0.6, 0.2, 0.0], [0.7, 0.3, -1.0, -1.0]], np.float32),
    "candidate_classes": np.array([[0, 1, 1, 0], [1, 0, 0, 0]], np.int32),
    "candidate_proposals": np.array([[0, 1, 0, 1], [0, 0, 1, 1]], np.int32),
}


def test_padding_is_dropped_and_classes_become_ids() -> None:
    recorder = StageRecorder()
    recorder.add(BATCH)
    stages = recorder.stages()
    assert stages.num_images == 2
    first, second = stages.image(0), stages.image(1)
    assert first.candidate_classes.tolist() == [1, 2, 2, 1]
    assert first.candidate_scores.tolist() == pytest.approx([0.7, 0.6, 0.2, 0.0])
    assert second.proposal_scores.tolist() == pytest.approx([0.8])
    assert second.proposal_boxes.shape == (1, 4)
    assert second.candidate_classes.tolist() == [2, 1]
    assert second.rpn_scores.tolist() == pytest.approx([0.8, 0.2, 0.1])


def test_stages_read_back_as_they_were_saved(tmp_path: Path) -> None:
    recorder = StageRecorder()
    recorder.add(BATCH)
    recorder.add(BATCH)
    recorder.save(tmp_path / "stages.npz")
    read, kept = read_stages(tmp_path / "stages.npz"), recorder.stages()
    assert read.num_images == 4
    for name, column in kept.columns.items():
        assert np.array_equal(read.columns[name], column)
        assert read.columns[name].dtype == column.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["stages.npz"]


def test_no_images_are_no_error(tmp_path: Path) -> None:
    StageRecorder().save(tmp_path / "stages.npz")
    assert read_stages(tmp_path / "stages.npz").num_images == 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"not one"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stages.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="the stages do not read") as caught:
        read_stages(path)
    assert caught.value.where == str(path)


def test_two_stage_detectors_have_stages(repository: Path) -> None:
    assert has_stages(load_pipeline(repository / "pipelines" / "mask_rcnn.config"))
    assert not has_stages(load_pipeline(repository / "pipelines" / "effdet_d3.config"))


# Random weights and images; the size of the true image is less than that of the padded one.
_MODEL = """
import json, sys
import numpy as np
from odapi_repro.training.compat import apply_patches
apply_patches()
import tensorflow as tf
from odapi_repro.training.extensions import enable_extensions
from odapi_repro.training.seeds import set_seeds
enable_extensions(["proxy_backbone"])
set_seeds(3, deterministic=True)
from object_detection.builders import model_builder
from odapi_repro.evaluation.inference.stage_tensors import StageRecorder, collect_stages
from odapi_repro.pipeline import load_pipeline
from odapi_repro.trials.scales import scale_pipeline

path, out, stages = sys.argv[1], sys.argv[2], int(sys.argv[3])
config = scale_pipeline(load_pipeline(path), "smoke").pipeline.proto.model
config.faster_rcnn.num_classes = 3
config.faster_rcnn.number_of_stages = stages
config.faster_rcnn.second_stage_post_processing.batch_non_max_suppression.score_threshold = 0.3
model = model_builder.build(config, is_training=False)
images = np.random.default_rng(0).uniform(0, 255, (2, 192, 192, 3)).astype("float32")
shapes = tf.constant([[192, 192, 3], [150, 120, 3]])

@tf.function(autograph=False)
def run(images):
    inputs, _ = model.preprocess(images)
    predictions = model.predict(inputs, shapes)
    collected = collect_stages(model, dict(predictions), shapes)
    return collected, model.postprocess(predictions, shapes)

collected, found = run(images)
recorder = StageRecorder()
recorder.add({name: value.numpy() for name, value in collected.items()})
recorder.save(out)
keys = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
print(json.dumps({key: found[key].numpy().tolist() for key in keys}))
"""


@pytest.mark.tensorflow
@pytest.mark.parametrize("number_of_stages", [2, 3])
def test_candidates_put_through_nms_are_the_models_own_detections(
    repository: Path, tmp_path: Path, number_of_stages: int
) -> None:
    path = tmp_path / "stages.npz"
    pipeline = repository / "pipelines" / "mask_rcnn.config"
    ran = subprocess.run(
        [sys.executable, "-c", _MODEL, str(pipeline), str(path), str(number_of_stages)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        cwd=repository,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    theirs = json.loads(ran.stdout.strip().splitlines()[-1])
    stages = read_stages(path)
    for index in range(2):
        image = stages.image(index)
        count = int(theirs["num_detections"][index])
        assert count > 5
        assert len(image.proposal_scores) > 5
        assert (np.diff(image.proposal_scores) <= 0).all()
        # A proposal is one of the RPN's boxes, clipped to the image.
        clipped = np.clip(image.rpn_boxes, 0, 1)
        nearest = np.abs(clipped[:, None] - image.proposal_boxes[None]).max(axis=2).min(axis=0)
        assert nearest.max() < 1e-5
        kept = np.array(greedy_nms(image.candidate_boxes, image, 0.3, 0.6))[:100]
        assert len(kept) == count
        boxes = np.clip(image.candidate_boxes[kept], 0, 1)
        assert boxes == pytest.approx(np.array(theirs["detection_boxes"][index])[:count], abs=1e-5)
        assert image.candidate_scores[kept] == pytest.approx(
            np.array(theirs["detection_scores"][index])[:count], abs=1e-6
        )
        classes = np.array(theirs["detection_classes"][index])[:count] + 1
        assert image.candidate_classes[kept].tolist() == classes.tolist()


def greedy_nms(boxes, image, score_threshold: float, iou_threshold: float) -> list[int]:
    """Textbook NMS, class by class; the rows kept by falling score."""
    kept: list[int] = []
    for row in np.argsort(-image.candidate_scores, kind="stable").tolist():
        if image.candidate_scores[row] <= score_threshold:
            continue
        rivals = [k for k in kept if image.candidate_classes[k] == image.candidate_classes[row]]
        if all(overlap(boxes[row], boxes[rival]) <= iou_threshold for rival in rivals):
            kept.append(row)
    return kept


def overlap(one, other) -> float:
    high = min(one[2], other[2]) - max(one[0], other[0])
    wide = min(one[3], other[3]) - max(one[1], other[1])
    common = max(high, 0.0) * max(wide, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common) if common else 0.0
