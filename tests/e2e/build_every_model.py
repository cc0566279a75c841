"""Builds every model of the OD API under our patches and runs it once on a gray image.

    python tests/e2e/build_every_model.py TABLE.csv     # about ten minutes

Each feature extractor of `builders/model_builder.py` is put into the nearest reference config, at a
small image size, and built and run in a process of its own. The table has the columns
`meta_architecture feature_extractor outcome message`; the outcome is `runs` or `stops`.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import Any

from odapi_own_tests import in_a_fork, one_line

COLUMNS = ("meta_architecture", "feature_extractor", "outcome", "message")
MOST_SECONDS = 900
# A small image: EfficientDet wants multiples of 128, hourglasses a multiple of their stride.
SIDE = 256
_NEAREST = {
    "ssd": "ssd_resnet50_v1_fpn_640",
    "faster_rcnn": "faster_rcnn_resnet50_v1_640",
    "center_net": "centernet_hourglass104_512",
}


def nearest_config(kind: str, extractor: str) -> Any:
    """Gives a pipeline proto of the nearest reference, with this extractor and a small image."""
    from odapi_repro.reference import REFERENCES, reference_named

    same = [
        one.name
        for one in REFERENCES.values()
        if one.feature_extractor == extractor and not one.name.endswith("_kpts")
    ]
    proto = reference_named(same[0] if same else _NEAREST[kind]).pipeline().proto
    if extractor == "ssd_mobilenet_v1_keras":
        proto = reference_named("ssd_mobilenet_v2_320").pipeline().proto
    if extractor == "ssd_efficientnet-b7_bifpn_keras":
        proto = reference_named("efficientdet_d0").pipeline().proto
    if kind == "faster_rcnn" and "fpn" in extractor:
        proto = reference_named("faster_rcnn_resnet50_v1_fpn_640").pipeline().proto
    model = getattr(proto.model, kind)
    model.feature_extractor.type = extractor
    resizer = model.image_resizer
    resizer.Clear()
    resizer.fixed_shape_resizer.height = resizer.fixed_shape_resizer.width = SIDE
    return proto


def _build_and_run(proto: Any, pipe: Any) -> None:
    import tensorflow as tf
    from object_detection.builders import model_builder

    try:
        model = model_builder.build(proto.model, is_training=True)
        image, shape = model.preprocess(tf.fill([1, SIDE, SIDE, 3], 127.0))
        model.provide_groundtruth(
            groundtruth_boxes_list=[tf.constant([[0.1, 0.1, 0.6, 0.6]])],
            groundtruth_classes_list=[tf.one_hot([1], model.num_classes)],
            groundtruth_masks_list=[tf.ones([1, SIDE, SIDE])],
        )
        model.predict(image, shape)
    except Exception as error:
        pipe.send(("stops", one_line(error)))
    else:
        pipe.send(("runs", ""))


def main(table: str) -> int:
    """Writes the table; ends with 0, since what it found is for the reader."""
    from odapi_repro.diagnosis.rules.config.required_parts import TF2_FEATURE_EXTRACTORS
    from odapi_repro.training.compat import apply_patches

    apply_patches()
    # Weights that a build fetches are looked for in this folder: an empty one, so that what was
    # fetched before decides nothing.
    os.environ["KERAS_HOME"] = str(Path(table).resolve().parent / ".no-keras-home")
    with Path(table).open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(COLUMNS)
        for kind, extractors in TF2_FEATURE_EXTRACTORS.items():
            for extractor in sorted(extractors):
                proto = nearest_config(kind, extractor)
                outcome, message = in_a_fork(_build_and_run, proto, most_seconds=MOST_SECONDS) or (
                    "stops",
                    "the process died",
                )
                writer.writerow((kind, extractor, outcome, message))
                target.flush()
                print(kind, extractor, outcome, message, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
