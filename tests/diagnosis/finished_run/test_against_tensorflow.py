"""TensorFlow writes and we read; the tests' own writers write and TensorFlow reads."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from run_writers import (
    GRAPH_KEY,
    TRAINING_TREE,
    VALUE,
    falling,
    object_graph,
    write_training,
    write_training_checkpoint,
)

from odapi_repro.diagnosis.finished_run import checkpoint_kind, read_index, read_run

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def tf() -> Any:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    return pytest.importorskip("tensorflow")


def test_events_of_tensorflow_are_read(tf: Any, tmp_path: Path) -> None:
    noise = random.Random(0)
    pixels = [noise.random() for _ in range(3 * 256 * 256)]
    photo = tf.reshape(tf.constant(pixels), (1, 256, 256, 3))
    with tf.summary.create_file_writer(str(tmp_path / "train")).as_default():
        for step in (100, 200, 300):
            tf.summary.image("train_input_images", photo, step=step)
            tf.summary.histogram("weights", [1.0, 2.0], step=step)
            tf.summary.text("notes", "text", step=step)
            tf.summary.scalar("steps_per_sec", 2.0, step=tf.constant(step, tf.int64))
            tf.summary.scalar("Loss/total_loss", tf.constant(step / 7), step=step)
            tf.summary.scalar("Loss/classification_loss", tf.constant(0.5, tf.float16), step=step)
            tf.summary.scalar("learning_rate", tf.constant(300.0 - step), step=step)
    with tf.summary.create_file_writer(str(tmp_path / "eval")).as_default():
        tf.summary.scalar("DetectionBoxes_Precision/mAP@.50IOU", 0.25, step=300)
    run = read_run(tmp_path)
    assert run.damage == ()
    assert run.learning_rates == ((100, 200.0), (200, 100.0), (300, 0.0))
    assert run.losses["total_loss"] == tuple(
        (step, pytest.approx(step / 7)) for step in (100, 200, 300)
    )
    assert run.losses["classification_loss"][0] == (100, 0.5)
    assert run.steps_per_second == 2.0
    assert dict(run.evaluations[0].metrics) == {"AP50": 25.0}


def test_events_of_tf1_s_writer_are_read(tf: Any, tmp_path: Path) -> None:
    value = tf.compat.v1.Summary.Value
    image = value(tag="i", image=tf.compat.v1.Summary.Image(encoded_image_string=bytes(10**6)))
    summary = tf.compat.v1.Summary(value=[image, value(tag="Loss/total_loss", simple_value=2.5)])
    with tf.Graph().as_default():
        writer = tf.compat.v1.summary.FileWriter(str(tmp_path))
        writer.add_summary(summary, 10)
        writer.close()
    assert read_run(tmp_path).losses == {"total_loss": ((10, 2.5),)}


def test_checkpoints_of_tensorflow_are_read(tf: Any, tmp_path: Path) -> None:
    def holder(**parts: Any) -> Any:
        return tf.train.Checkpoint(**parts)

    model = holder(
        _feature_extractor=holder(kernel=tf.Variable(tf.ones((3, 3, 8)))),
        _box_predictor=holder(bias=tf.Variable([1.0, 2.0])),
    )
    step = tf.Variable(400, dtype=tf.int64)
    rate = tf.Variable(0.125)
    training = holder(step=step, model=model, optimizer=holder(learning_rate=rate))
    manager = tf.train.CheckpointManager(training, str(tmp_path), max_to_keep=2)
    for _ in range(3):
        manager.save()
    run = read_run(tmp_path)
    assert [(one.number, one.step) for one in run.checkpoints] == [(2, 400), (3, 400)]
    assert all(one.is_complete and one.in_state for one in run.checkpoints)
    assert checkpoint_kind(tmp_path / "ckpt-3") == "training"
    index = read_index(tmp_path / "ckpt-3")
    known = {key: tuple(shape) for key, shape in tf.train.list_variables(str(tmp_path / "ckpt-3"))}
    assert {key: stored.shape for key, stored in index.variables.items()} == known
    assert index.scalar(f"optimizer/learning_rate{VALUE}") == 0.125
    backbone = holder(feature_extractor=model._feature_extractor)
    assert checkpoint_kind(backbone.save(str(tmp_path / "backbone" / "ckpt"))) == "classification"
    assert checkpoint_kind(holder(model=model).save(str(tmp_path / "det"))) == "detection"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("global_step", initializer=tf.constant(7, tf.int64))
        session.run(tf.compat.v1.global_variables_initializer())
        saved = tf.compat.v1.train.Saver().save(session, str(tmp_path / "tf1" / "model.ckpt"), 7)
        first = tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V1)
        first.save(session, str(tmp_path / "v1.ckpt"), write_meta_graph=False)
    assert checkpoint_kind(saved) == "tf1"
    assert checkpoint_kind(tmp_path / "v1.ckpt") == "tf1"
    assert [one.step for one in read_run(tmp_path / "tf1").checkpoints] == [7]


def test_what_the_tests_write_tensorflow_reads(tf: Any, tmp_path: Path) -> None:
    path = write_training(tmp_path, falling([100, 200]))
    events = list(tf.compat.v1.train.summary_iterator(str(path)))
    assert events[0].file_version == "brain.Event:2"
    totals = {
        one.step: float(tf.make_ndarray(value.tensor))
        for one in events
        for value in one.summary.value
        if value.tag == "Loss/total_loss"
    }
    assert totals == {100: pytest.approx(0.5**0.1), 200: pytest.approx(0.5**0.2)}
    prefix = write_training_checkpoint(tmp_path, 5, 4000)
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(prefix)
    stored = tf.train.load_checkpoint(str(prefix))
    assert stored.get_tensor(f"step{VALUE}") == 4000
    assert stored.get_tensor(GRAPH_KEY) == object_graph(TRAINING_TREE)
