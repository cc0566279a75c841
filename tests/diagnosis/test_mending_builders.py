"""The OD API builds model, optimizer and training input of what `fix` writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from odapi_repro import fix
from odapi_repro.datasets.embedded import embedded_dataset
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.diagnosis.mending import FINE_TUNE, REPRODUCE
from odapi_repro.pipeline import bind_records, load_pipeline, read_schedule
from odapi_repro.reference import reference_named

pytestmark = pytest.mark.tensorflow

# Every family, each meta-architecture in both goals, Adam and SGD, masks, frozen batch norm.
SAMPLE = [
    ("efficientdet_d0", 1, REPRODUCE),
    ("efficientdet_d3", 2, FINE_TUNE),
    ("ssd_mobilenet_v2_320", 4, FINE_TUNE),
    ("ssd_resnet50_v1_fpn_640", 2, REPRODUCE),
    ("ssd_resnet50_v1_fpn_640", 2, FINE_TUNE),
    ("faster_rcnn_resnet50_v1_640", 1, REPRODUCE),
    ("mask_rcnn_inception_resnet_v2", 2, FINE_TUNE),
    ("centernet_hourglass104_512", 16, REPRODUCE),
]

_CHILD = """
import json, sys
from odapi_repro.training import compat
compat.set_environment()
compat.apply_patches()
import tensorflow as tf
from object_detection import inputs
from object_detection.builders import model_builder, optimizer_builder
from object_detection.utils import config_util

built = {}
for path in sys.argv[1:]:
    configs = config_util.get_configs_from_pipeline_file(path)
    train, reader = configs["train_config"], configs["train_input_config"]
    model = model_builder.build(configs["model"], is_training=True)
    step = tf.Variable(0, dtype=tf.int64)
    optimizer, (rate,) = optimizer_builder.build(train.optimizer, global_step=step)
    rates = []
    for at in (0, train.num_steps // 2, train.num_steps - 1):
        step.assign(at)
        rates.append(float(rate() if callable(rate) else rate))
    dataset = inputs.train_input(train, reader, configs["model"], model=model)
    batch = next(iter(dataset))[0]["image"].shape
    built[path] = {
        "model": type(model).__name__, "optimizer": type(optimizer).__name__,
        "rates": rates, "image": [int(size) for size in batch],
    }
print(json.dumps(built))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The mended configs of the sample, on a few images of the embedded shapes."""
    spec = ShapesSpec(train_images=16, val_images=2, train_shards=1, val_shards=1)
    made = embedded_dataset(tmp_path_factory.mktemp("shapes"), spec=spec)
    folder = tmp_path_factory.mktemp("configs")
    found = {}
    for name, batch, goal in SAMPLE:
        bound = bind_records(
            reference_named(name).pipeline(),
            train_patterns=[made.train_pattern],
            eval_patterns=[made.val_pattern],
            label_map_path=str(made.label_map_path),
            num_classes=6,
            checkpoint="elsewhere/ckpt-0",
        )
        path = folder / f"{name}-{goal}.config"
        path.write_text(bound.to_text(), encoding="utf-8")
        argv = [str(path), "--reference", name, "--max_batch", str(batch), "--goal", goal]
        assert fix.main([*argv, "--train_images", "118287", "--format", "json"]) == 0
        found[path.stem] = path.with_suffix(".fixed.config")
    return found


@pytest.fixture(scope="module")
def built(written: dict[str, Path]) -> dict[str, Any]:
    found = subprocess.run(
        [sys.executable, "-c", _CHILD, *map(str, written.values())],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    result: dict[str, Any] = json.loads(found.stdout.strip().splitlines()[-1])
    return {name: result[str(path)] for name, path in written.items()}


@pytest.mark.parametrize(("name", "batch", "goal"), SAMPLE)
def test_the_od_api_builds_what_was_written(
    name: str, batch: int, goal: str, built: dict[str, Any], written: dict[str, Path]
) -> None:
    found = built[f"{name}-{goal}"]
    pipeline = load_pipeline(written[f"{name}-{goal}"])
    assert found["image"][0] == batch == pipeline.proto.train_config.batch_size
    schedule, steps = read_schedule(pipeline.proto), pipeline.proto.train_config.num_steps
    wanted = [schedule.at(0), schedule.at(steps // 2), schedule.at(steps - 1)]
    assert found["rates"] == pytest.approx(wanted, rel=1e-3, abs=1e-9)
