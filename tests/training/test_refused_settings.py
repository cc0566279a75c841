"""What the rules call refused is what the OD API's own builders refuse, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format

from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.diagnosis.outcome import subject_of
from odapi_repro.diagnosis.rules import rules_named
from odapi_repro.reference import reference_named

# What is asked of the builders, as (rule, settings in the proto's text).
_READERS = (
    "",
    *(f"num_readers: {count}" for count in (0, 1)),
    *(f"read_block_length: {count}" for count in (0, 1)),
    *(f"num_parallel_batches: {count}" for count in (0, 1)),
    "shuffle_buffer_size: 0",
    "shuffle_buffer_size: 0 shuffle: false",
    "filenames_shuffle_buffer_size: 0",
    "filenames_shuffle_buffer_size: 0 shuffle: false",
    *(f"num_prefetch_batches: {count}" for count in (-2, -1, 0)),
    "sample_1_of_n_examples: 0",
    "num_parallel_map_calls: 0",
    "sample_from_datasets_weights: [1.0]",
    "sample_from_datasets_weights: [0.0]",
    "sample_from_datasets_weights: [1.0, 2.0]",
    "sample_from_datasets_weights: [nan]",
    "sample_from_datasets_weights: [inf]",
)
_LOSSES = (
    "expected_loss_weights: NONE",
    "expected_loss_weights: EXPECTED_SAMPLING",
    "expected_loss_weights: REWEIGHTING_UNMATCHED_ANCHORS",
    *(f"random_example_sampler {{ positive_sample_fraction: {share} }}" for share in (0, 0.5, 2)),
)
_EXTRACTORS = tuple(
    f'type: "{name}" first_stage_features_stride: {stride}'
    for name in ("faster_rcnn_resnet50_keras", "faster_rcnn_resnet50_fpn_keras")
    for stride in (4, 8, 16)
)

_CHILD = """
import json, sys
from odapi_repro.training.compat import apply_patches, set_environment
set_environment()
apply_patches()
from google.protobuf import text_format
from object_detection.builders import dataset_builder, losses_builder, model_builder
from object_detection.protos import faster_rcnn_pb2, input_reader_pb2, losses_pb2

BUILD = {
    "reader": lambda text: dataset_builder.build(
        text_format.Parse(text, input_reader_pb2.InputReader()), batch_size=2
    ),
    "loss": lambda text: losses_builder.build(text_format.Parse(text, losses_pb2.Loss())),
    "extractor": lambda text: model_builder._build_faster_rcnn_keras_feature_extractor(
        text_format.Parse(text, faster_rcnn_pb2.FasterRcnnFeatureExtractor()), True
    ),
}
stops = []
for kind, text in json.load(open(sys.argv[1])):
    try:
        BUILD[kind](text)
        stops.append(False)
    except Exception:
        stops.append(True)
json.dump(stops, open(sys.argv[2], "w"))
"""


def _rule_fires(code: str, reference: str, part: str, text: str) -> bool:
    """Whether the rule fires on the reference with the part's settings merged in."""
    known = reference_named(reference)

    def edit(proto: object) -> None:
        for name in part.split("."):
            proto = getattr(proto, name)
        text_format.Merge(text, proto)  # type: ignore[arg-type]

    config = known.pipeline().edited(edit).to_text()
    (rule,) = rules_named(code)
    return bool(list(rule.check(subject_of(config, "", reference=known))))


@pytest.mark.tensorflow
def test_builders_stop_where_the_rules_say_so_and_nowhere_else(tmp_path: Path) -> None:
    records = tmp_path / "some.record"
    write_records(records, [b"", b""])
    reader = f'tf_record_input_reader {{ input_path: "{records}" }} '
    loss = "classification_loss { weighted_sigmoid {} } localization_loss { weighted_l2 {} } "
    asked = [
        *(("reader", reader + text) for text in _READERS),
        *(("loss", loss + text) for text in _LOSSES),
        *(("extractor", text) for text in _EXTRACTORS),
    ]
    (tmp_path / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    told = tmp_path / "told.json"
    subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path / "asked.json"), str(told)],
        check=True,
        capture_output=True,
    )
    said = [
        *(_rule_fires("DAT013", "efficientdet_d0", "train_input_reader", one) for one in _READERS),
        *(_rule_fires("MOD023", "efficientdet_d0", "model.ssd.loss", one) for one in _LOSSES),
        *(
            _rule_fires(
                "MOD023", "faster_rcnn_resnet50_v1_640", "model.faster_rcnn.feature_extractor", one
            )
            for one in _EXTRACTORS
        ),
    ]
    settings = (*_READERS, *_LOSSES, *_EXTRACTORS)
    stops = dict(zip(settings, json.loads(told.read_text(encoding="utf-8")), strict=True))
    assert dict(zip(settings, said, strict=True)) == stops
