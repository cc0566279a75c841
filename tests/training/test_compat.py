"""Every compatibility patch is still needed on the stack that is tested, and does its work."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from odapi_repro.training.compat import PATCHES, applicable

_PROBE = """
import json, sys
from odapi_repro.training import compat
assert "tensorflow" not in sys.modules, "the patches must not import TensorFlow by themselves"
compat.set_environment()
before = {p.name: p.needed() for p in compat.PATCHES if compat.applicable(p)}
applied = compat.apply_patches()
after = {p.name: p.needed() for p in compat.PATCHES if compat.applicable(p)}
from object_detection import model_lib_v2, model_main_tf2
import tensorflow as tf
print(json.dumps({"before": before, "applied": applied, "after": after,
                  "keras_2": hasattr(tf.keras.layers, "experimental")}))
"""


@pytest.fixture(scope="module")
def probe() -> dict[str, Any]:
    found = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stderr[-3000:]
    result: dict[str, Any] = json.loads(found.stdout.strip().splitlines()[-1])
    return result


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", [patch.name for patch in PATCHES if applicable(patch)])
def test_a_patch_of_this_stack_is_still_needed(probe: dict[str, Any], name: str) -> None:
    assert probe["before"][name], f"{name} is no longer needed here: narrow its range or drop it"


@pytest.mark.tensorflow
def test_after_the_patches_nothing_is_missing_and_the_od_api_imports(probe: dict[str, Any]) -> None:
    assert not any(probe["after"].values())
    assert set(probe["applied"]) == set(probe["before"])


@pytest.mark.tensorflow
def test_keras_is_keras_2(probe: dict[str, Any]) -> None:
    assert probe["keras_2"]


def test_each_patch_says_why_and_for_which_tensorflow() -> None:
    for patch in PATCHES:
        assert len(patch.reason) > 40
        assert patch.tf_range[0] < patch.tf_range[1]


def test_the_estimator_stub_is_not_for_tensorflow_2_15() -> None:
    estimator = next(patch for patch in PATCHES if patch.name == "compat_v1_estimator")
    assert not applicable(estimator, (2, 15))
    assert applicable(estimator, (2, 16))


_SMALL_RESNETS = """
from odapi_repro.training import compat
compat.apply_patches()
import tensorflow as tf
from object_detection.models import center_net_resnet_v1_fpn_feature_extractor as center_net
for build in (center_net.resnet_v1_18_fpn, center_net.resnet_v1_34_fpn):
    extractor = build((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), bgr_ordering=False)
    print(extractor(tf.zeros([1, 64, 64, 3]))[0].shape[1:])
"""


@pytest.mark.tensorflow
def test_center_net_on_resnet_18_and_34_builds_and_runs() -> None:
    found = subprocess.run(
        [sys.executable, "-c", _SMALL_RESNETS],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert found.stdout.split() == ["(16,", "16,", "64)"] * 2
