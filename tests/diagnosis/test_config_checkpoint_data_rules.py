"""The rules about texts, checkpoints and data, beyond their fixtures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.outcome import diagnose, subject_of
from odapi_repro.diagnosis.rules import checkpoint, config, data
from odapi_repro.diagnosis.rules.checkpoint.checkpoint_path import archive_of, backbone_of, spelt
from odapi_repro.diagnosis.rules.config.required_parts import (
    TF1_FEATURE_EXTRACTORS,
    TF2_FEATURE_EXTRACTORS,
)
from odapi_repro.diagnosis.rules.data.images_read import loss_of_share
from odapi_repro.pipeline import Circumstances
from odapi_repro.pipeline.fields import PLACEHOLDER
from odapi_repro.pipeline.named_paths import is_foreign, is_placeholder, named_paths
from odapi_repro.reference import REFERENCES, reference_named
from odapi_repro.reference.effect_catalogue import effect

RULES = (*config.RULES, *checkpoint.RULES, *data.RULES)
ODAPI = [name for name, reference in REFERENCES.items() if reference.recipe == "odapi"]


def findings(text: str, reference: str, path: str = "pipeline.config") -> list[Finding]:
    return diagnose(subject_of(text, path, reference=reference_named(reference)), RULES)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("folder", [PLACEHOLDER, "data"])
def test_a_reference_gives_reminders_at_most(name: str, folder: str) -> None:
    text = reference_named(name).config_text().replace(PLACEHOLDER, folder)
    assert [one.cause for one in findings(text, name) if one.severity < Severity.INFO] == []


_TF2_MAPS = """
import json
from odapi_repro.training import compat
compat.set_environment()
compat.apply_patches()
from object_detection.builders import model_builder
print(json.dumps({
    "ssd": sorted(model_builder.SSD_KERAS_FEATURE_EXTRACTOR_CLASS_MAP),
    "faster_rcnn": sorted(model_builder.FASTER_RCNN_KERAS_FEATURE_EXTRACTOR_CLASS_MAP),
    "center_net": sorted(model_builder.CENTER_NET_EXTRACTOR_FUNCTION_MAP),
}))
"""


@pytest.mark.tensorflow
def test_the_feature_extractors_are_those_of_the_od_api() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _TF2_MAPS], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    known = json.loads(run.stdout.strip().splitlines()[-1])
    assert {kind: sorted(names) for kind, names in TF2_FEATURE_EXTRACTORS.items()} == known


def test_the_feature_extractors_of_tensorflow_1_are_those_in_the_source() -> None:
    builder = Path(pipeline_pb2.__file__).parents[1] / "builders" / "model_builder.py"
    _, _, maps = builder.read_text(encoding="utf-8").rpartition(
        " SSD_FEATURE_EXTRACTOR_CLASS_MAP = {"
    )
    of_tf1, _, _ = maps.partition("FEATURE_EXTRACTOR_MAPS")
    assert set(re.findall(r"'(\w+)':", of_tf1)) == TF1_FEATURE_EXTRACTORS


@pytest.mark.parametrize("name", [name for name in ODAPI if REFERENCES[name].archive])
def test_a_zoo_archive_fits_its_own_model(name: str) -> None:
    reference = REFERENCES[name]
    folder = reference.archive.rsplit("/", 1)[-1].removesuffix(".tar.gz")
    archive = archive_of(f"/models/{folder}/checkpoint/ckpt-0")
    assert archive is not None
    assert (archive.kind, archive.published) == ("detection", True)
    assert reference.feature_extractor in archive.fits


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("efficientnet_b3/ckpt-0", "classification"),
        ("resnet50_v1/resnet50.ckpt-1", "classification"),
        ("mobilnet_v1/mobilenet_v1.ckpt-1", "classification"),
        ("inception_resnet_v2/inception_resnet_v2.ckpt-1", "classification"),
        ("ssd_mobilenet_v1_coco_2018_01_28/model.ckpt", "tf1"),
        ("train/model.ckpt-50000", "tf1"),
        ("extremenet/ckpt-1", "detection"),
        ("mine/ckpt-3", None),
        ("", None),
    ],
)
def test_archives_are_told_apart(path: str, kind: str | None) -> None:
    archive = archive_of(path)
    assert (archive.kind if archive is not None else None) == kind


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mobilnetv2", "mobilenet_v2"),
        ("mobilenet-v2", "mobilenet_v2"),
        ("MobileNetV1", "mobilenet_v1"),
        ("ssd_moblienetv2_fpnlite_320x320", "ssd_mobilenet_v2_fpnlite_320x320"),
        ("resnet_v1_50", "resnet50_v1"),
        ("resnet-101v1", "resnet101_v1"),
        ("efficentnetb0", "efficientnet_b0"),
        ("effcientdet_d0", "efficientdet_d0"),
        ("inception-resnetv2", "inception_resnet_v2"),
        ("fasterrcnn_resnet50", "faster_rcnn_resnet50"),
    ],
)
def test_a_slip_in_a_backbones_name_still_names_it(written: str, meant: str) -> None:
    assert spelt(written) == meant


@pytest.mark.parametrize(
    "other",
    [
        "mobilenetv3",
        "ssd_mobiledet_cpu",
        "efficientnetv2_b0",
        "resnext50",
        "resnet_v2_50",
        "mobile_network",
        "detection",
        "my_resnet",
        "mobilenet_1.0_224",
    ],
)
def test_another_network_is_none_of_the_zoos(other: str) -> None:
    assert archive_of(f"{other}/ckpt-1") is None


def test_every_backbone_of_the_classification_zoo_is_somebodys() -> None:
    wanted = {backbone_of(name) for names in TF2_FEATURE_EXTRACTORS.values() for name in names}
    assert wanted == {
        "",
        "inception_resnet_v2",
        *(f"efficientnet_b{number}" for number in range(8)),
        *(f"resnet{depth}_v1" for depth in (50, 101, 152)),
        *(f"mobilenet_v{number}" for number in (1, 2)),
    }


@pytest.mark.parametrize(
    ("held", "given_type", "cause"),
    [
        ("detection", "classification", "ckpt_type_classification_on_detection_ckpt"),
        ("training", "classification", "ckpt_type_classification_on_detection_ckpt"),
        ("classification", "detection", "ckpt_type_detection_on_classification_ckpt"),
        ("classification", "classification", None),
        ("detection", "full", None),
        ("tf1", "detection", "ckpt_version_v1"),
    ],
)
def test_what_a_checkpoint_holds_counts_more_than_its_name(
    held: str, given_type: str, cause: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "odapi_repro.diagnosis.finished_run.run_checkpoints.checkpoint_kind", lambda prefix: held
    )
    folder = tmp_path / "models" / ("efficientnet_b3" if held != "classification" else "checkpoint")
    folder.mkdir(parents=True)
    (folder / "ckpt-0.index").touch()
    text = reference_named("efficientdet_d3").config_text()
    text = text.replace(f"{PLACEHOLDER}/ckpt-0", str(folder / "ckpt-0"))
    text = text.replace('"classification"', f'"{given_type}"').replace(PLACEHOLDER, "data")
    found = {one.cause: one.severity for one in findings(text, "efficientdet_d3")}
    expected = {cause: Severity.FATAL} if cause else {}
    assert {
        c: s for c, s in found.items() if c.startswith("ckpt_") and s < Severity.INFO
    } == expected


@pytest.mark.parametrize(
    ("share", "key"),
    [(0.3, "data_30_percent"), (0.1, "data_10_percent"), (0.01, "data_1_percent")],
)
def test_the_price_of_a_share_is_the_published_one(share: float, key: str) -> None:
    loss, (evidence,) = loss_of_share(share)
    assert loss == pytest.approx(-(effect(key).delta or 0.0))
    assert evidence.source == effect(key).source


def test_less_data_never_costs_less() -> None:
    shares = [1 / n for n in range(1, 300)]
    losses = [loss_of_share(share)[0] for share in shares]
    assert losses == sorted(losses)
    assert losses[0] == 0
    assert loss_of_share(1e-6)[0] == losses[-1]


@pytest.mark.parametrize(
    "path",
    [
        "PATH_TO_BE_CONFIGURED/ckpt-0",
        "PATH_TO_BEE_CONFIGURED/x",
        "path/to/x",
        "/path-to-data/x",
        "<your path>/x",
        "YOUR_DATA/x.record",
        "${DATA}/x",
    ],
)
def test_placeholders_are_known(path: str) -> None:
    assert is_placeholder(path)


@pytest.mark.parametrize("path", ["data/x.record", "train-?????-of-00256", "gs://b/x", "C:/x/y"])
def test_paths_are_no_placeholders(path: str) -> None:
    assert not is_placeholder(path)


def test_a_windows_path_is_foreign_here() -> None:
    assert is_foreign("C:\\x\\y")
    assert is_foreign("gs://bucket/x")
    assert not is_foreign("/x/y")


def test_all_paths_of_a_config_are_known() -> None:
    paths = named_paths(reference_named("centernet_hourglass104_512_kpts").pipeline())
    assert len(paths) == 6
    assert all(PLACEHOLDER in path for path in paths.values())


HOSTILE = st.one_of(
    st.sampled_from(
        ["", "/", "//", "~", "\\", "ckpt-99999999999999999999", "-of-", "a-*-of-9999999"]
    ),
    st.from_regex(r"[a-z~/\\\[\]*?.-]{0,20}(-of-\d{1,6})?", fullmatch=True),
    st.text(max_size=12),
)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(ODAPI),
    paths=st.lists(HOSTILE, min_size=3, max_size=8),
    numbers=st.lists(st.sampled_from([0, 1, 2, 2**31 - 1]), min_size=4, max_size=4),
    kind=st.sampled_from(["", "classification", "detection", "full", "fine_tune", "x"]),
    images=st.sampled_from([None, 0, 1, 10**12]),
)
def test_no_path_and_no_number_makes_a_rule_raise(
    name: str, paths: list[str], numbers: list[int], kind: str, images: int | None
) -> None:
    def edit(proto: object) -> None:
        train = proto.train_config  # type: ignore[attr-defined]
        reader = proto.train_input_reader  # type: ignore[attr-defined]
        usable = [path.encode("utf-8", "ignore").decode() for path in paths]
        train.fine_tune_checkpoint, reader.label_map_path = usable[:2]
        train.fine_tune_checkpoint_type = kind
        reader.tf_record_input_reader.input_path[:] = usable[2:]
        train.batch_size, train.num_steps = numbers[:2]
        reader.max_number_of_boxes, reader.shuffle_buffer_size = numbers[2:]
        reader.sample_1_of_n_examples = numbers[0]
        for other in proto.eval_input_reader:  # type: ignore[attr-defined]
            other.tf_record_input_reader.input_path[:] = usable[1:]

    reference = reference_named(name)
    subject = subject_of(
        reference.pipeline().edited(edit).to_text(),
        "pipeline.config",
        reference=reference,
        circumstances=Circumstances(train_images=images),
    )
    assert subject.text.problems == ()
    assert all(one.found and one.expected and one.why for one in diagnose(subject, RULES))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model {}",
        'model { experimental_model { name: "x" } }',
        "model { ssd {} }",
        "model { faster_rcnn {} }",
        "model { center_net {} } train_config {} train_input_reader {} eval_input_reader {}",
        "eval_input_reader { } eval_input_reader { }",
        "train_config { fine_tune_checkpoint: 'x' batch_size: 0 }",
    ],
)
def test_a_config_that_says_next_to_nothing_is_diagnosed(text: str) -> None:
    assert findings(text, "mask_rcnn_inception_resnet_v2")
