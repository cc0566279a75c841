"""Batch-norm statistics are per replica: what the sync_replicas factor studies."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# In a process of its own: logical devices must be set before TensorFlow touches the CPU.
_PROBE = """
import json, sys
import numpy as np
from odapi_repro.training.compat import apply_patches
apply_patches()
import tensorflow as tf
from odapi_repro.training.training_loop import make_strategy
from odapi_repro.training.extensions import enable_extensions
from odapi_repro.training.seeds import set_seeds
enable_extensions(["proxy_backbone"])
set_seeds(1, deterministic=True)
replicas = int(sys.argv[1])
strategy = make_strategy(device="cpu", num_replicas=replicas)
from object_detection.builders import model_builder
from odapi_repro.pipeline import load_pipeline
from odapi_repro.trials.scales import scale_pipeline
pipeline = scale_pipeline(load_pipeline("pipelines/effdet_d3.config"), "smoke").pipeline
images = np.random.default_rng(0).uniform(-2, 2, (8, 192, 192, 3)).astype("float32")
with strategy.scope():
    model = model_builder.build(pipeline.proto.model, is_training=True)
    backbone = model._feature_extractor.classification_backbone
norm = next(l for l in backbone.layers if l.name == "stem_bn")
stem = tf.keras.Model(backbone.inputs, norm.input)

def batches(context):
    size = context.get_per_replica_batch_size(8)
    return tf.data.Dataset.from_tensor_slices(images).batch(size)

data = iter(strategy.distribute_datasets_from_function(batches))
tf.keras.backend.set_learning_phase(True)

@tf.function
def step():
    strategy.run(lambda x: backbone(x, training=True), args=(next(data),))

step()
seen = [v.numpy().tolist() for v in strategy.experimental_local_results(norm.moving_mean)]
share = 8 // replicas
expected = []
for replica in range(replicas):
    features = stem(images[replica * share:(replica + 1) * share], training=False).numpy()
    expected.append(((1 - norm.momentum) * features.mean(axis=(0, 1, 2))).tolist())
whole = ((1 - norm.momentum) * stem(images, training=False).numpy().mean(axis=(0, 1, 2))).tolist()
print(json.dumps({"seen": seen, "expected": expected, "whole": whole}))
"""


def _statistics(replicas: int) -> dict[str, list[list[float]]]:
    found = subprocess.run(
        [sys.executable, "-c", _PROBE, str(replicas)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    result: dict[str, list[list[float]]] = json.loads(found.stdout.strip().splitlines()[-1])
    return result


@pytest.mark.tensorflow
def test_four_replicas_of_a_batch_of_eight_normalise_over_two_images_each() -> None:
    statistics = _statistics(4)
    assert len(statistics["seen"]) == 4
    for seen, expected in zip(statistics["seen"], statistics["expected"], strict=True):
        assert seen == pytest.approx(expected, abs=1e-5)
    # And two images are not eight: the statistics of the replicas differ from those of the batch.
    gap = max(abs(a - b) for a, b in zip(statistics["seen"][0], statistics["whole"], strict=True))
    assert gap > 1e-4
