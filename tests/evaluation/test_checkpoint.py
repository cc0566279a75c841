"""What `--checkpoint` may name, and which pipelines are refused for it; without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_writers import VALUE, write_checkpoint, write_training_checkpoint

from odapi_repro.diagnosis.finished_run import CheckpointIndex, StoredVariable
from odapi_repro.errors import ConfigError, DataError, UserError
from odapi_repro.evaluation.checkpoint import (
    CheckpointSource,
    built_with,
    check_classes,
    check_decoder,
    check_shapes,
    check_source,
    checkpoint_digest,
    find_checkpoint,
)
from odapi_repro.evaluation.coco_data import GroundTruth, ground_truth_of
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.trials.scales import scale_pipeline

CONFIG = Path("pipelines/effdet_d0.config")
HEADS = "model/_box_predictor"


def pipeline(name: str = "effdet_d0", edit: Callable[[Any], None] = lambda proto: None) -> Pipeline:
    return load_pipeline(f"pipelines/{name}.config").edited(edit)


def with_config(folder: Path) -> Path:
    path = folder / "pipeline.config"
    path.write_text(CONFIG.read_text())
    return path


# What is named


def test_of_a_training_folder_the_latest_checkpoint_counts(tmp_path: Path) -> None:
    write_training_checkpoint(tmp_path, 3, 300)
    prefix = write_training_checkpoint(tmp_path, 2, 200)  # the file `checkpoint` names it
    config = with_config(tmp_path)
    source = find_checkpoint(tmp_path)
    assert (source.kind, source.prefix, source.step) == ("training", str(prefix), 200)
    assert source.own_pipeline == config
    assert source.extensions == ()


def test_without_the_file_checkpoint_the_highest_number_counts(tmp_path: Path) -> None:
    write_training_checkpoint(tmp_path, 9, 900)
    write_training_checkpoint(tmp_path, 10, 1000)
    (tmp_path / "checkpoint").unlink()
    assert find_checkpoint(tmp_path).step == 1000


@pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001"])
def test_a_prefix_is_taken_with_or_without_the_ends_of_its_files(
    tmp_path: Path, suffix: str
) -> None:
    prefix = write_training_checkpoint(tmp_path, 2, 200)
    source = find_checkpoint(f"{prefix}{suffix}")
    assert (source.kind, source.prefix) == ("checkpoint", str(prefix))


def test_an_unpacked_zoo_archive_has_its_own_config_above_the_checkpoint(tmp_path: Path) -> None:
    prefix = write_training_checkpoint(tmp_path / "checkpoint", 0, 0)
    config = with_config(tmp_path)
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"")
    source = find_checkpoint(tmp_path)
    assert (source.kind, source.prefix, source.own_pipeline) == ("zoo", str(prefix), config)
    assert find_checkpoint(prefix).own_pipeline == config


def test_a_trial_tells_the_extensions_that_its_model_needs(tmp_path: Path) -> None:
    prefix = write_training_checkpoint(tmp_path, 1, 100)
    (tmp_path / "trial.json").write_text('{"extensions": ["proxy_backbone"]}')
    assert find_checkpoint(tmp_path).kind == "trial"
    assert find_checkpoint(tmp_path).extensions == ("proxy_backbone",)
    assert find_checkpoint(prefix).extensions == ("proxy_backbone",)


def test_a_saved_model_is_named_by_its_folder_or_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "saved_model"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    config = with_config(tmp_path)
    for given in (folder, folder / "saved_model.pb", tmp_path):
        source = find_checkpoint(given)
        assert (source.kind, source.prefix) == ("saved_model", "")
        assert (source.saved_model, source.own_pipeline) == (str(folder), config)


def test_a_digest_stands_for_the_values_wherever_they_lie(tmp_path: Path) -> None:
    one = write_training_checkpoint(tmp_path / "a", 1, 100)
    same = write_training_checkpoint(tmp_path / "b", 1, 100)
    other = write_training_checkpoint(tmp_path / "c", 1, 101)
    assert checkpoint_digest(one) == checkpoint_digest(same) == find_checkpoint(one).digest
    assert checkpoint_digest(one) != checkpoint_digest(other)


# What is refused, each in one message


def refusal(given: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        find_checkpoint(given)
    return str(caught.value)


def test_a_folder_without_checkpoints_names_those_near_it(tmp_path: Path) -> None:
    write_training_checkpoint(tmp_path / "runs" / "first", 1, 100)
    (tmp_path / "runs" / "empty").mkdir()
    for given in (tmp_path, tmp_path / "runs", tmp_path / "runs" / "empty"):
        message = refusal(given)
        assert "there is no checkpoint in this folder" in message
        assert str(tmp_path / "runs" / "first") in message


def test_a_prefix_that_is_not_there_names_those_beside_it(tmp_path: Path) -> None:
    prefix = write_training_checkpoint(tmp_path, 7, 700)
    assert f"found beside it: {prefix}" in refusal(tmp_path / "ckpt-8")
    assert "no folder" in refusal(tmp_path / "nowhere" / "ckpt-8")


def test_a_tf1_checkpoint_is_told_from_its_names(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model.ckpt-1", {"FeatureExtractor/conv/weights": 1.0})
    assert "TensorFlow 1" in refusal(tmp_path / "model.ckpt-1")


def test_a_frozen_graph_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "frozen_inference_graph.pb").write_bytes(b"graph")
    assert "frozen graph of TensorFlow 1" in refusal(tmp_path / "frozen_inference_graph.pb")


def test_a_packed_archive_and_a_config_are_told_apart_from_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "efficientdet_d0.tar.gz").write_bytes(b"")
    assert "unpack it first" in refusal(tmp_path / "efficientdet_d0.tar.gz")
    assert "as --pipeline" in refusal(with_config(tmp_path))


def test_a_backbone_is_no_detector(tmp_path: Path) -> None:
    tree = {"feature_extractor": {"conv": None}, "save_counter": None}
    values = {f"feature_extractor/conv{VALUE}": 0.5}
    write_checkpoint(tmp_path / "ckpt-1", values, tree=tree)
    assert "a classification backbone" in refusal(tmp_path / "ckpt-1")


def test_something_else_s_checkpoint_says_what_it_holds(tmp_path: Path) -> None:
    tree = {"encoder": {"layer": None}}
    write_checkpoint(tmp_path / "ckpt-1", {f"encoder/layer{VALUE}": 0.5}, tree=tree)
    assert "this checkpoint holds encoder" in refusal(tmp_path / "ckpt-1")


def test_a_half_downloaded_checkpoint_says_how_much_is_there(tmp_path: Path) -> None:
    prefix = write_training_checkpoint(tmp_path, 2, 200)
    data = Path(f"{prefix}.data-00000-of-00001")
    size = data.stat().st_size
    data.write_bytes(data.read_bytes()[:-3])
    message = refusal(prefix)
    assert f"{data.name} has {size - 3} of {size} bytes" in message
    data.unlink()
    assert f"{data.name} is missing" in refusal(prefix)


# Which pipeline may be its own


def test_a_pipeline_is_its_own_whatever_only_training_reads() -> None:
    def edit(proto: Any) -> None:
        proto.train_config.batch_size = 2
        proto.model.ssd.loss.classification_weight = 7.0
        proto.model.ssd.freeze_batchnorm = True
        predictor = proto.model.ssd.box_predictor.weight_shared_convolutional_box_predictor
        predictor.class_prediction_bias_init = 0.0
        predictor.conv_hyperparams.batch_norm.decay = 0.5

    assert check_decoder(pipeline(), pipeline(edit=edit)) == ()


@pytest.mark.parametrize(
    ("path", "edit"),
    [
        (
            "model.ssd.box_coder.faster_rcnn_box_coder.y_scale",
            lambda m: setattr(m.box_coder.faster_rcnn_box_coder, "y_scale", 1.0),
        ),
        (
            "model.ssd.anchor_generator.multiscale_anchor_generator.anchor_scale",
            lambda m: setattr(m.anchor_generator.multiscale_anchor_generator, "anchor_scale", 5.0),
        ),
        ("model.ssd.num_classes", lambda m: setattr(m, "num_classes", 80)),
        (
            "model.ssd.feature_extractor.type",
            lambda m: setattr(m.feature_extractor, "type", "ssd_efficientnet-b1_bifpn_keras"),
        ),
        (
            "model.ssd.feature_extractor.bifpn.min_level",
            lambda m: setattr(m.feature_extractor.bifpn, "min_level", 2),
        ),
    ],
)
def test_a_pipeline_that_reads_the_weights_otherwise_is_refused_by_the_field(
    path: str, edit: Callable[[Any], None]
) -> None:
    with pytest.raises(ConfigError, match="cannot be the checkpoint's") as caught:
        check_decoder(pipeline(), pipeline(edit=lambda proto: edit(proto.model.ssd)))
    assert path in caught.value.found


def test_another_meta_architecture_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="model is faster_rcnn, in its own ssd"):
        check_decoder(pipeline(), pipeline("mask_rcnn"))


def test_input_size_and_post_processing_may_differ_and_are_told() -> None:
    def edit(proto: Any) -> None:
        proto.model.ssd.image_resizer.keep_aspect_ratio_resizer.max_dimension = 768
        nms = proto.model.ssd.post_processing.batch_non_max_suppression
        nms.score_threshold = 0.5

    warnings = check_decoder(pipeline(), pipeline(edit=edit))
    assert len(warnings) == 2
    assert any("max_dimension is 768, in the checkpoint's own config 512" in w for w in warnings)
    assert any("score_threshold is 0.5" in w for w in warnings)


def index_of(shapes: dict[str, tuple[int, ...]]) -> CheckpointIndex:
    variables = {
        f"{key}/.ATTRIBUTES/VARIABLE_VALUE": StoredVariable("float32", shape, 0, 0, 0, 0)
        for key, shape in shapes.items()
    }
    return CheckpointIndex(Path("ckpt-1"), 1, variables)


def efficientdet(classes: int) -> CheckpointIndex:
    """Nine anchors a place, as EfficientDet has them, and no class of its own for background."""
    classifier = f"{HEADS}/_prediction_heads/class_predictions_with_background"
    return index_of(
        {
            f"{HEADS}/_box_prediction_head/_box_encoder_layers/0/bias": (36,),
            f"{HEADS}/_box_prediction_head/_box_encoder_layers/0/kernel": (1, 1, 64, 36),
            f"{classifier}/_class_predictor_layers/0/bias": (9 * classes,),
        }
    )


def mask_rcnn(classes: int, *, masks: bool = True) -> CheckpointIndex:
    """The second stage has a class for background."""
    stage = "model/_mask_rcnn_box_predictor"
    heads = {f"{stage}/_third_stage_heads/mask_predictions/0/bias": (classes,)} if masks else {}
    return index_of(
        {
            "model/_first_stage_box_predictor/_heads/bias": (24,),
            f"{stage}/_class_prediction_head/_class_predictor_layers/1/bias": (classes + 1,),
            **heads,
        }
    )


def test_classes_are_told_from_the_shapes_of_the_heads() -> None:
    check_shapes(efficientdet(90), pipeline())
    check_shapes(mask_rcnn(90), pipeline("mask_rcnn"))
    with pytest.raises(
        ConfigError, match="num_classes is 90, and the checkpoint's class head has 6"
    ):
        check_shapes(efficientdet(6), pipeline())
    with pytest.raises(ConfigError, match="class head has 37"):
        check_shapes(mask_rcnn(37), pipeline("mask_rcnn"))


def test_another_kind_of_model_is_told_from_the_objects_in_the_checkpoint() -> None:
    with pytest.raises(
        ConfigError, match="the pipeline's model is ssd, the checkpoint's faster_rcnn"
    ):
        check_shapes(mask_rcnn(90), pipeline())


def test_masks_cannot_come_from_a_box_detector_s_checkpoint() -> None:
    with pytest.raises(ConfigError, match="no mask head"):
        check_shapes(mask_rcnn(90, masks=False), pipeline("mask_rcnn"))


def test_heads_that_are_not_known_refuse_nothing() -> None:
    check_shapes(index_of({"model/_box_predictor/custom/bias": (7,)}), pipeline())


def zoo_source(folder: Path, own: Path | None) -> CheckpointSource:
    prefix = folder / "efficientdet_d0_coco17_tpu-32" / "checkpoint" / "ckpt-0"
    write_training_checkpoint(prefix.parent, 0, 0)
    return CheckpointSource("zoo", str(prefix), str(prefix), "", own, "", None)


def test_the_published_efficientdet_is_warned_of_under_another_box_coder(tmp_path: Path) -> None:
    (warning,) = check_source(zoo_source(tmp_path, None), pipeline())
    assert (
        "10, 10, 5, 5: the published EfficientDet archives' own configs have 1, 1, 1, 1" in warning
    )

    def edit(proto: Any) -> None:
        coder = proto.model.ssd.box_coder.faster_rcnn_box_coder
        coder.y_scale = coder.x_scale = coder.height_scale = coder.width_scale = 1.0

    assert check_source(zoo_source(tmp_path, None), pipeline(edit=edit)) == ()


def test_with_its_own_config_another_box_coder_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "pipeline.config"
    own.write_text(CONFIG.read_text().replace("y_scale: 10.0", "y_scale: 1.0"))
    assert own.read_text() != CONFIG.read_text()
    with pytest.raises(ConfigError, match=r"y_scale is 10, in its own 1"):
        check_source(zoo_source(tmp_path, own), pipeline())


# What it is scored against, and what it is built with


def test_objects_of_classes_that_the_model_lacks_are_refused_and_empty_classes_are_not() -> None:
    def truth(class_id: int, *listed: int) -> GroundTruth:
        box = {"id": 1, "image_id": 1, "category_id": class_id, "bbox": [0, 0, 9, 9], "area": 81}
        return ground_truth_of(
            {
                "images": [{"id": 1, "height": 99, "width": 99}],
                "annotations": [{**box, "iscrowd": 0}],
                "categories": [{"id": i, "name": str(i)} for i in (class_id, *listed)],
            }
        )

    of_coco = pipeline()
    check_classes(of_coco, truth(90, 91))
    for beyond in (91, 0):
        with pytest.raises(UserError, match="none of the model's") as caught:
            check_classes(of_coco, truth(beyond, 1))
        assert f"(id {beyond})" in str(caught.value)
        assert "ids from 1 to 90" in str(caught.value)


@pytest.mark.parametrize("name", ["effdet_d0", "mask_rcnn_resnet50"])
def test_a_proxy_without_its_trial_json_is_known_by_its_feature_extractor(
    tmp_path: Path, name: str
) -> None:
    write_training_checkpoint(tmp_path, 1, 100)
    source = find_checkpoint(tmp_path)
    full = pipeline(name)
    assert built_with(source, full).extensions == ()
    proxy = scale_pipeline(full, "proxy").pipeline
    assert built_with(source, proxy).extensions == ("proxy_backbone",)
