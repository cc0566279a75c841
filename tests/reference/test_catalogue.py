"""The catalogue: all configs of configs/tf2, the numbers reported, and their contradictions."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from object_detection.protos import pipeline_pb2

from odapi_repro.errors import UserError
from odapi_repro.pipeline import field_differences, load_pipeline, parse_pipeline
from odapi_repro.reference import REFERENCES, Reference, reference_named

ODAPI = [name for name, reference in REFERENCES.items() if reference.recipe == "odapi"]
AUTOML = [name for name, reference in REFERENCES.items() if reference.recipe == "automl"]
SHIPPED = [name for name, reference in REFERENCES.items() if reference.source.shipped_as]


def corrected(proto: pipeline_pb2.TrainEvalPipelineConfig) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Spells the placeholder right: D7's file has PATH_TO_BEE_CONFIGURED for its eval records."""
    for reader in proto.eval_input_reader:
        paths = reader.tf_record_input_reader.input_path
        paths[:] = [path.replace("PATH_TO_BEE_", "PATH_TO_BE_") for path in paths]
    return proto


def digest(proto: pipeline_pb2.TrainEvalPipelineConfig) -> str:
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


@pytest.fixture(scope="module")
def digests() -> Mapping[str, str]:
    """Of the OD API's own files, D7's with its placeholder spelled right."""
    path = Path(__file__).with_name("config_digests.json")
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def zoo_rows(reference_configs: Path) -> dict[str, dict[str, str]]:
    """Rows of the zoo's table by model, those of models with a config only."""
    with (reference_configs.parent / "zoo.csv").open(encoding="utf-8", newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file) if row["config_file"] != "NONE"}


@pytest.mark.parametrize("name", ODAPI)
def test_a_reference_has_the_recorded_digest_of_its_config(
    digests: Mapping[str, str], name: str
) -> None:
    reference = REFERENCES[name]
    assert digest(reference.pipeline().proto) == digests[reference.config]


@pytest.mark.parametrize("name", ODAPI)
def test_a_reference_is_equal_to_its_config_and_no_copy_of_it(
    reference_configs: Path, name: str
) -> None:
    reference = REFERENCES[name]
    path = reference_configs / f"{reference.config}.config"
    theirs = corrected(load_pipeline(path).proto)
    assert field_differences(reference.pipeline().proto, theirs) == []
    assert reference.pipeline().proto == theirs
    assert reference.config_text() != path.read_text(encoding="utf-8")


def test_only_d7_needed_its_placeholder_corrected(reference_configs: Path) -> None:
    misspelt = [
        path.stem
        for path in reference_configs.glob("*.config")
        if "PATH_TO_BEE" in path.read_text(encoding="utf-8")
    ]
    assert misspelt == ["ssd_efficientdet_d7_1536x1536_coco17_tpu-32"]


def test_the_recorded_digests_are_those_of_all_configs(
    digests: Mapping[str, str], reference_configs: Path
) -> None:
    found = {
        path.stem: digest(corrected(load_pipeline(path).proto))
        for path in reference_configs.glob("*.config")
    }
    assert found == digests


def test_there_are_36_configs_and_automls_recipe_of_eight() -> None:
    assert len({REFERENCES[name].config for name in ODAPI}) == 36
    assert [f"efficientdet_d{n}_automl" for n in range(8)] == AUTOML


def test_the_catalogue_follows_the_zoos_order(zoo_rows: Mapping[str, object]) -> None:
    ours = [REFERENCES[name].zoo_model for name in ODAPI if REFERENCES[name].zoo_model]
    assert ours == list(zoo_rows)


@pytest.mark.parametrize("name", [name for name in ODAPI if REFERENCES[name].zoo_model])
def test_the_first_numbers_and_the_archive_are_the_zoos(
    zoo_rows: Mapping[str, Mapping[str, str]], name: str
) -> None:
    reference = REFERENCES[name]
    row = zoo_rows[reference.zoo_model]
    assert row["config_file"] == f"{reference.config}.config"
    assert row["url"] == reference.archive
    for metric, column in (("AP", "box"), ("mask_AP", "mask"), ("keypoint_AP", "keypoint")):
        published = float(row[f"coco_map_{column}"]) if row[f"coco_map_{column}"] else None
        assert reference.reported_value(metric) == published
    assert reference.reported[0].source.startswith("TF2 detection zoo")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mask_rcnn_inception_resnet_v2", {("AP", 39.0), ("AP", 40.4)}),
        ("mask_rcnn_inception_resnet_v2", {("mask_AP", 34.6), ("mask_AP", 35.5)}),
        ("centernet_hourglass104_1024", {("AP", 44.5), ("AP", 44.6)}),
        ("ssd_mobilenet_v2_320", {("AP", 20.2), ("AP", 22.2)}),
        ("ssd_resnet101_v1_fpn_640", {("AP", 35.6), ("AP", 35.4)}),
        ("ssd_resnet152_v1_fpn_640", {("AP", 35.4), ("AP", 35.6)}),
        ("faster_rcnn_resnet50_v1_800x1333", {("AP", 31.6), ("AP", 31.4)}),
        ("faster_rcnn_resnet152_v1_800x1333", {("AP", 37.4), ("AP", 37.3)}),
    ],
)
def test_numbers_that_contradict_each_other_are_both_there_and_disputed(
    name: str, values: set[tuple[str, float]]
) -> None:
    reference = REFERENCES[name]
    assert values <= {(metric.metric, metric.value) for metric in reference.reported}
    assert reference.disputes


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("efficientdet_d3", "1, 1, 1, 1"),
        ("efficientdet_d6", "1280x1280"),
        ("efficientdet_d6", "1408x1408"),
        ("efficientdet_d7", "anchor_scale 5.0"),
        ("mask_rcnn_inception_resnet_v2", "Achieves XXX"),
        ("ssd_mobilenet_v2_320", "300x300"),
        ("centernet_resnet101_v1_fpn_512", "resnet_v2_101"),
        ("centernet_hourglass104_512_kpts", "training records"),
    ],
)
def test_doubts_about_a_recipe_are_said(name: str, words: str) -> None:
    assert any(words in dispute.what for dispute in REFERENCES[name].disputes)


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
def test_what_an_entry_says_of_its_pipeline_is_so(reference: Reference) -> None:
    pipeline = reference.pipeline()
    proto = pipeline.proto
    assert pipeline.meta_architecture == reference.meta_architecture
    assert getattr(pipeline.model, "feature_extractor").type == reference.feature_extractor  # noqa: B009
    assert pipeline.predicts_masks == reference.predicts_masks
    assert bool(proto.model.center_net.keypoint_estimation_task) == reference.predicts_keypoints
    assert proto.train_config.batch_size == reference.global_batch_size
    assert proto.train_config.num_steps == reference.num_steps
    assert reference.global_batch_size % reference.num_replicas == 0
    assert reference.reported
    assert all(metric.source and metric.protocol for metric in reference.reported)
    assert all(dispute.what[-1] != "." and dispute.source for dispute in reference.disputes)


@pytest.mark.parametrize("name", ODAPI)
def test_replicas_are_those_of_the_configs_name(name: str) -> None:
    reference = REFERENCES[name]
    assert reference.config.endswith(f"pu-{reference.num_replicas}")


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
def test_a_config_is_text_that_a_person_can_read(reference: Reference) -> None:
    text = reference.config_text()
    head, _, _ = text.partition("\nmodel {")
    assert text.endswith("}\n")
    assert max(map(len, text.splitlines())) <= 100
    assert all(line.startswith("#") or not line for line in head.splitlines())
    assert f"{reference.reported[0].value}" in head
    assert "images seen" in head
    assert f"-m odapi_repro.{'run' if reference.source.shipped_as else 'zoo'} " in head
    assert "$" not in text
    assert "%" not in text.replace(" %", "")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_file_in_pipelines_is_the_references_text(repository: Path, name: str) -> None:
    reference = REFERENCES[name]
    path = repository / "pipelines" / reference.source.shipped_as
    assert path.read_text(encoding="utf-8") == reference.config_text()


def test_every_file_in_pipelines_is_a_reference_but_one(repository: Path) -> None:
    files = {path.name for path in (repository / "pipelines").glob("*.config")}
    shipped = {REFERENCES[name].source.shipped_as for name in SHIPPED}
    assert files - shipped == {"mask_rcnn_resnet50.config"}


def test_mask_rcnn_with_resnet50_takes_its_recipe_from_two_references(repository: Path) -> None:
    path = repository / "pipelines" / "mask_rcnn_resnet50.config"
    masks = REFERENCES["mask_rcnn_inception_resnet_v2"].pipeline().proto
    boxes = REFERENCES["faster_rcnn_resnet50_v1_800x1333"].pipeline().proto
    ours = load_pipeline(path).proto
    changed = {field: value for field, _, value in field_differences(masks, ours)}
    from_boxes = {field: value for field, value, _ in field_differences(boxes, masks)}
    rates = "optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"
    assert set(changed) == {
        "model.faster_rcnn.feature_extractor.type",
        "model.faster_rcnn.initial_crop_size",
        "model.faster_rcnn.maxpool_kernel_size",
        "model.faster_rcnn.maxpool_stride",
        f"train_config.{rates}.learning_rate_base",
        "train_config.fine_tune_checkpoint",
    }
    assert changed.items() <= from_boxes.items()
    assert "# Reported: nothing." in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [
        "efficientdet_d3",
        "EfficientDet D3 896x896",
        "ssd_efficientdet_d3_896x896_coco17_tpu-32",
        "ssd_efficientdet_d3_896x896_coco17_tpu-32.config",
        "efficientdet_d3_coco17_tpu-32",
        "effdet_d3",
        "EfficientDet-D3",
    ],
)
def test_a_reference_is_found_by_all_its_names(name: str) -> None:
    assert reference_named(name) is REFERENCES["efficientdet_d3"]


@pytest.mark.parametrize("name", REFERENCES)
def test_no_name_leads_to_another_reference(name: str) -> None:
    reference = REFERENCES[name]
    archive = reference.archive.rpartition("/")[2].removesuffix(".tar.gz")
    for alias in (name, reference.config, reference.zoo_model, archive):
        assert not alias or reference_named(alias) is reference


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("efficientdet_d33", "efficientdet_d3"),
        ("d3", "efficientdet_d3"),
        ("mask_rcnn_inception", "mask_rcnn_inception_resnet_v2"),
        ("retinanet50", "ssd_resnet50_v1_fpn"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"did you mean .*{nearest}"):
        reference_named(name)


def test_a_name_like_no_other_is_refused_with_the_way_to_the_list() -> None:
    with pytest.raises(UserError, match=r"zoo lists all 44"):
        reference_named("qqqq")


def test_a_pipeline_is_parsed_once() -> None:
    reference = REFERENCES["ssd_mobilenet_v2_320"]
    assert reference.pipeline() is reference.pipeline()
    assert parse_pipeline(reference.config_text()).proto == reference.pipeline().proto


IMPORTS = """
import json, sys
import odapi_repro.reference
import odapi_repro.reference.effect_catalogue
heavy = ("tensorflow", "google.protobuf", "object_detection", "csv", "numpy", "pandas")
imported = [name for name in heavy if name in sys.modules]
families = [name for name in sys.modules if name.startswith("odapi_repro.reference.families")]
from odapi_repro.reference import REFERENCES, reference_named
reference_named("efficientdet_d3").pipeline()
rendered = [name for name, one in REFERENCES.items() if "_config_text" in vars(one)]
print(json.dumps([imported, families, rendered, "tensorflow" in sys.modules]))
"""


def test_importing_renders_nothing_and_a_pipeline_renders_no_other(repository: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=repository, capture_output=True, text=True, check=True
    )
    imported, families, rendered, tensorflow = json.loads(child.stdout)
    assert imported == []
    assert families == []
    assert rendered == ["efficientdet_d3"]
    assert not tensorflow
