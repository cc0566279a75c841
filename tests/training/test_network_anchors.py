"""The anchors as numbers are those that the networks themselves make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from odapi_repro.pipeline import Pipeline, parse_pipeline
from odapi_repro.pipeline.anchors import anchor_design
from odapi_repro.reference import reference_named

# Prints nothing; leaves what the first forward pass of each model has as its anchors, in pixels.
_CHILD = """
import sys
from odapi_repro.training.compat import apply_patches
apply_patches()
import numpy as np
import tensorflow as tf
from object_detection.builders import model_builder
from odapi_repro.pipeline import load_pipeline
for config, result, height, width in zip(*[iter(sys.argv[1:])] * 4):
    pipeline = load_pipeline(config)
    model = model_builder.build(pipeline.proto.model, is_training=True)
    model.provide_groundtruth(
        [tf.constant([[0.1, 0.1, 0.6, 0.6]])], [tf.one_hot([0], pipeline.num_classes)]
    )
    image, shapes = model.preprocess(tf.zeros([1, int(height), int(width), 3]))
    anchors = model.predict(image, shapes)["anchors"].numpy()
    if pipeline.meta_architecture == "ssd":
        anchors = anchors * np.array([*image.shape[1:3]] * 2)
    np.savez(result, anchors=anchors, size=np.array(image.shape[1:3]))
"""


def _fixed(height: int, width: int) -> str:
    return f"fixed_shape_resizer {{ height: {height} width: {width} }}"


def _changed(name: str, resizer: str = "", pad_to_multiple: int = 1, **fields: object) -> Pipeline:
    """A pipeline of the catalogue, small enough for a forward pass here."""

    def edit(proto: object) -> None:
        model = getattr(proto, "model")  # noqa: B009
        chosen = getattr(model, model.WhichOneof("model"))
        if resizer:
            text = f"model {{ ssd {{ image_resizer {{ {resizer} }} }} }}"
            chosen.image_resizer.CopyFrom(parse_pipeline(text).proto.model.ssd.image_resizer)
        if pad_to_multiple > 1:
            chosen.feature_extractor.pad_to_multiple = pad_to_multiple
        for field, value in fields.items():
            setattr(chosen, field, value)

    return reference_named(name).pipeline().edited(edit)


# The image's own size decides the input's where the resizer keeps the aspect ratio and pads not.
_NOT_PADDED = "keep_aspect_ratio_resizer { min_dimension: 200 max_dimension: 333 }"
_FIRST_STAGE = {"number_of_stages": 1}
_CASES = {
    "bifpn": _changed("efficientdet_d0", _fixed(256, 384)),
    "bifpn_padded": _changed(
        "efficientdet_d0",
        "keep_aspect_ratio_resizer { min_dimension: 256 max_dimension: 256 "
        "pad_to_max_dimension: true }",
    ),
    "ssd": _changed("ssd_mobilenet_v2_320"),
    "fpn_odd": _changed("ssd_mobilenet_v2_fpnlite_320"),
    "fpn_multiple": _changed("ssd_resnet50_v1_fpn_640", _fixed(200, 288), pad_to_multiple=32),
    "rpn": _changed("faster_rcnn_resnet50_v1_640", _fixed(250, 330), **_FIRST_STAGE),
    "rpn_clipped": _changed(
        "faster_rcnn_resnet50_v1_640", _fixed(160, 200), clip_anchors_to_image=True, **_FIRST_STAGE
    ),
    "rpn_not_padded": _changed("faster_rcnn_resnet50_v1_640", _NOT_PADDED, **_FIRST_STAGE),
    "rpn_fpn": _changed("faster_rcnn_resnet50_v1_fpn_640", _fixed(200, 290), **_FIRST_STAGE),
    "rpn_inception": _changed("mask_rcnn_inception_resnet_v2", _fixed(280, 320), **_FIRST_STAGE),
}


@pytest.fixture(scope="module")
def of_networks(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    folder = tmp_path_factory.mktemp("anchors")
    arguments = []
    for name, pipeline in _CASES.items():
        config = folder / f"{name}.config"
        config.write_text(pipeline.to_text(), encoding="utf-8")
        arguments += [str(config), str(folder / f"{name}.npz"), "240", "320"]
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return folder


def _sorted(anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    return anchors[np.lexsort(np.round(anchors, 2).T)]


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", list(_CASES))
def test_anchors_are_those_of_the_network(name: str, of_networks: Path) -> None:
    with np.load(of_networks / f"{name}.npz") as held:
        theirs, (height, width) = held["anchors"].astype(np.float64), held["size"].tolist()
    ours = anchor_design(_CASES[name]).anchors(height, width).corners()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
