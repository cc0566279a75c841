"""The pipelines we ship are the reference recipes, in our own words."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from odapi_repro.pipeline import field_differences, load_pipeline

# Of SerializeToString(deterministic=True) of the OD API's own files in configs/tf2.
TEMPLATES = {
    "effdet_d3": (
        "ssd_efficientdet_d3_896x896_coco17_tpu-32",
        "54c17ea8f8782f20e8a8a1b77158ab6f18dcbb619d71e9a07d8c48df65870b96",
    ),
    "mask_rcnn": (
        "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8",
        "5374a2bb659c8e33855ce683a2967734d2a2b28a49aae1fbe14078844d6759d5",
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_the_recorded_hash_of_its_reference(repository: Path, name: str) -> None:
    proto = load_pipeline(repository / "pipelines" / f"{name}.config").proto
    serialised = proto.SerializeToString(deterministic=True)
    assert hashlib.sha256(serialised).hexdigest() == TEMPLATES[name][1]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_equal_to_its_reference_and_no_copy_of_it(
    repository: Path, reference_configs: Path, name: str
) -> None:
    ours = repository / "pipelines" / f"{name}.config"
    theirs = reference_configs / f"{TEMPLATES[name][0]}.config"
    one, other = load_pipeline(ours).proto, load_pipeline(theirs).proto
    assert field_differences(one, other) == []
    assert one == other
    assert ours.read_bytes() != theirs.read_bytes()
