"""Detections are the OD API's own, whatever the batch, and every pass does what its name says.

On the proxies of both pipelines with random weights and a few images of the embedded set. Tracing
is what takes time: jobs of one model and pass share what was traced (`traced_once`), and each job
restores the weights for itself.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_api

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.embedded import embedded_dataset
from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import DataError
from odapi_repro.evaluation.inference import forward as narrowed_nms
from odapi_repro.evaluation.inference import networks
from odapi_repro.evaluation.inference.evaluation_job import (
    EvaluationJob,
    Pass,
    Variant,
    detections_path,
    images_path,
    stages_path,
)
from odapi_repro.evaluation.inference.forward import compile_forward
from odapi_repro.evaluation.inference.mask_paste import paste_masks
from odapi_repro.evaluation.inference.networks import build_model, input_size
from odapi_repro.evaluation.inference.passes import run_job
from odapi_repro.pipeline import Pipeline, bind_records, load_pipeline
from odapi_repro.trials.scales import scale_pipeline

pytestmark = pytest.mark.tensorflow

NUM_IMAGES = 6
SIDE = 192
EFFDET_NMS = "model.ssd.post_processing.batch_non_max_suppression"
RCNN_NMS = "model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression"
EFFDET_PASS = Pass(variants=(Variant(), Variant("low", {f"{EFFDET_NMS}.iou_threshold": 0.2})))
FEW = {f"{RCNN_NMS}.max_total_detections": 7, f"{RCNN_NMS}.max_detections_per_class": 7}
MASK_RCNN_PASS = Pass(stages=True, variants=(Variant(), Variant("few", FEW)))
Results = list[dict[str, Any]]


class Subject(NamedTuple):
    """A pipeline on disk, a checkpoint of random weights, and the pass that is traced for it."""

    pipeline: Pipeline
    path: str
    checkpoint: str
    record_files: tuple[str, ...]
    one: Pass


@pytest.fixture(scope="module")
def tf() -> Iterator[Any]:
    """TensorFlow, with AutoGraph kept from the OD API's modules."""
    from odapi_repro.training.compat import apply_patches

    apply_patches()
    from odapi_repro.training.extensions import enable_extensions

    enable_extensions(["proxy_backbone"])
    import tensorflow
    from tensorflow.python.autograph.core import config

    from odapi_repro.training.training_loop import skip_autograph_in_od_api

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "CONVERSION_RULES", config.CONVERSION_RULES)
        assert skip_autograph_in_od_api()
        yield tensorflow


@pytest.fixture(scope="module", autouse=True)
def traced_once(tf: Any) -> Iterator[None]:
    """What is built and traced is kept, over all jobs of the same model and the same pass."""
    models: dict[bytes, Any] = {}
    forwards: dict[str, Any] = {}

    def build(config: Any) -> Any:
        key = config.SerializeToString(deterministic=True)
        if key not in models:
            models[key] = build_model(config)
        return models[key]

    def trace(model: Any, config: Any, one: Pass, **options: Any) -> Any:
        most = narrowed_nms.MOST_ANCHORS if options["narrow"] else None
        key = repr((id(model), one.flip, one.stages, one.variants, most, sorted(options.items())))
        if key not in forwards:
            forwards[key] = compile_forward(model, config, one, **options)
        return forwards[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "build_model", build)
        patch.setattr(networks, "compile_forward", trace)
        yield


def make_subject(tf: Any, name: str, folder: Path, one: Pass) -> Subject:
    spec = ShapesSpec(train_images=2, val_images=NUM_IMAGES, train_shards=1, val_shards=2)
    data = embedded_dataset(folder / "shapes", spec=spec)
    scaled = scale_pipeline(load_pipeline(f"pipelines/{name}.config"), "proxy").pipeline
    pipeline = bind_records(
        scaled,
        train_patterns=[data.train_pattern],
        eval_patterns=[data.val_pattern],
        label_map_path=str(data.label_map_path),
        num_classes=6,
        checkpoint=None,
    )
    path = folder / "pipeline.config"
    path.write_text(pipeline.to_text())
    checkpoint = write_checkpoint(tf, pipeline, folder, one)
    files = tuple(str(file) for file in resolve_patterns([data.val_pattern]))
    return Subject(pipeline, str(path), checkpoint, files, one)


def write_checkpoint(tf: Any, pipeline: Pipeline, folder: Path, one: Pass) -> str:
    """Writes random weights, and leaves none in the model: what it has later was restored."""
    tf.keras.utils.set_random_seed(3)
    config = pipeline.proto.model
    model = networks.build_model(config)
    size, channels = input_size(config)
    options = {"size": size, "channels": channels, "with_masks": pipeline.predicts_masks}
    networks.compile_forward(model, config, one, narrow=True, **options)
    for variable in model.variables:
        # As they are made, all scores are nearly equal, and which is higher is left to rounding.
        if variable.name.endswith("kernel:0") and "redictor" in variable.name:
            variable.assign(variable * 8.0)
    prefix = str(tf.train.Checkpoint(model=model).save(str(folder / "ckpt")))
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable))
    return prefix


@pytest.fixture(scope="module")
def effdet(tf: Any, traced_once: None, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return make_subject(tf, "effdet_d3", tmp_path_factory.mktemp("effdet"), EFFDET_PASS)


@pytest.fixture(scope="module")
def mask_rcnn(tf: Any, traced_once: None, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return make_subject(tf, "mask_rcnn", tmp_path_factory.mktemp("mask_rcnn"), MASK_RCNN_PASS)


def job_of(subject: Subject, output_dir: Path, *passes: Pass, **changes: Any) -> EvaluationJob:
    with_weights = tuple(
        dataclasses.replace(one, checkpoints=(subject.checkpoint,)) for one in passes
    )
    fields: dict[str, Any] = {
        "pipeline_path": subject.path,
        "passes": with_weights,
        "output_dir": str(output_dir),
        "num_images": NUM_IMAGES,
        "record_files": subject.record_files,
        "batch_size": 4,
        "with_masks": subject.pipeline.predicts_masks,
    }
    return EvaluationJob(**{**fields, **changes})


def ignore(event: str, **fields: Any) -> None: ...


def results(job: EvaluationJob, pass_name: str = "plain", variant: str = "plain") -> Results:
    with gzip.open(detections_path(job.output_dir, pass_name, variant), "rt") as file:
        found: Results = json.load(file)
    return found


def assert_same(ours: Results, theirs: Results, *, tolerance: float = 1e-5) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one["image_id"] == other["image_id"]
        assert one["category_id"] == other["category_id"]
        assert one["score"] == pytest.approx(other["score"], abs=tolerance)
        # In pixels of images of a few hundred.
        assert one["bbox"] == pytest.approx(other["bbox"], abs=tolerance * 300)
        if "segmentation" in one:
            overlap = mask_api.iou([one["segmentation"]], [other["segmentation"]], [0])
            empty = mask_api.area(one["segmentation"]) == mask_api.area(other["segmentation"]) == 0
            assert empty or overlap[0, 0] > 0.99


@pytest.fixture(scope="module")
def effdet_job(effdet: Subject, tmp_path_factory: pytest.TempPathFactory) -> EvaluationJob:
    job = job_of(effdet, tmp_path_factory.mktemp("out"), effdet.one)
    run_job(job, ignore)
    return job


@pytest.fixture(scope="module")
def mask_rcnn_job(mask_rcnn: Subject, tmp_path_factory: pytest.TempPathFactory) -> EvaluationJob:
    job = job_of(mask_rcnn, tmp_path_factory.mktemp("out"), mask_rcnn.one)
    run_job(job, ignore)
    return job


def od_api_detections(subject: Subject) -> Results:
    """Detections by the OD API's own eval input, post-processing and way to pixels, one by one.

    Without AutoGraph, which takes four times as long; tests/training holds metrics against those of
    `model_main_tf2`'s own evaluation, which leaves it on.
    """
    import tensorflow as tf
    from object_detection import inputs, model_lib_v2
    from object_detection.utils import config_util

    from odapi_repro.evaluation.inference.networks import restore

    configs = config_util.get_configs_from_pipeline_file(subject.path)
    reader = configs["eval_input_configs"][0]
    reader.tf_record_input_reader.input_path[:] = subject.record_files
    reader.shuffle, reader.num_readers, reader.num_epochs = False, 1, 1
    configs["eval_config"].batch_size = 1
    model = model_lib_v2.MODEL_BUILD_UTIL_MAP["detection_model_fn_base"](
        model_config=configs["model"], is_training=False
    )
    dataset = inputs.eval_input(configs["eval_config"], reader, configs["model"], model=model)

    @tf.function
    def compute(features: Any, labels: Any) -> Any:
        predictions = model.predict(features["image"], features["true_image_shape"])
        found = model.postprocess(predictions, features["true_image_shape"])
        return model_lib_v2.prepare_eval_dict(found, dict(labels), features)[0]

    listed: Results = []
    for number, (features, labels) in enumerate(dataset):
        if number == 0:
            model.predict(features["image"], features["true_image_shape"])
            restore(model, subject.checkpoint)
        found = {name: value.numpy() for name, value in compute(features, labels).items()}
        for index in range(int(found["num_detections"][0])):
            ymin, xmin, ymax, xmax = found["detection_boxes"][0, index]
            result = {
                "image_id": number,
                "category_id": int(found["detection_classes"][0, index]),
                "bbox": [float(v) for v in (xmin, ymin, xmax - xmin, ymax - ymin)],
                "score": float(found["detection_scores"][0, index]),
            }
            if "detection_masks" in found:
                mask = np.asfortranarray(found["detection_masks"][0, index])
                encoded = mask_api.encode(mask)
                counts = encoded["counts"].decode("ascii")
                result["segmentation"] = {"size": list(encoded["size"]), "counts": counts}
            listed.append(result)
    return listed


def test_boxes_are_the_od_api_s_own(effdet: Subject, effdet_job: EvaluationJob) -> None:
    assert_same(results(effdet_job), od_api_detections(effdet))


def test_masks_are_the_od_api_s_own(mask_rcnn: Subject, mask_rcnn_job: EvaluationJob) -> None:
    assert_same(results(mask_rcnn_job), od_api_detections(mask_rcnn))


def test_the_batch_decides_nothing(
    effdet: Subject, effdet_job: EvaluationJob, tmp_path: Path
) -> None:
    job = job_of(effdet, tmp_path, effdet.one, batch_size=1)
    run_job(job, ignore)
    assert_same(results(job), results(effdet_job))


def test_images_that_are_not_padded_keep_their_order_and_their_detections(
    effdet: Subject, tmp_path: Path
) -> None:
    """Each has a shape of its own, and a batch takes those of one shape."""

    def unpadded(proto: Any) -> None:
        resizer = proto.model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer
        resizer.min_dimension, resizer.max_dimension = 96, 160

    pipeline = load_pipeline(mask_free(effdet, tmp_path)).edited(unpadded)
    path = tmp_path / "unpadded.config"
    path.write_text(pipeline.to_text())
    import tensorflow

    subject = effdet._replace(
        pipeline=pipeline,
        path=str(path),
        checkpoint=write_checkpoint(tensorflow, pipeline, tmp_path, Pass()),
    )
    jobs = [
        job_of(subject, tmp_path / str(size), Pass(), batch_size=size) for size in (1, NUM_IMAGES)
    ]
    for job in jobs:
        run_job(job, ignore)
    assert [r["image_id"] for r in results(jobs[0])] == sorted(
        r["image_id"] for r in results(jobs[1])
    )
    assert_same(results(jobs[0]), results(jobs[1]))


def mask_free(subject: Subject, folder: Path) -> Path:
    """A Faster R-CNN of the Mask R-CNN's proxy."""
    scaled = scale_pipeline(load_pipeline("pipelines/mask_rcnn.config"), "proxy").pipeline

    def edit(proto: Any) -> None:
        proto.model.faster_rcnn.number_of_stages = 2
        proto.model.faster_rcnn.num_classes = 6
        predictor = proto.model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor
        predictor.predict_instance_masks = False

    path = folder / "faster_rcnn.config"
    path.write_text(scaled.edited(edit).to_text())
    return path


@pytest.mark.parametrize("name", ["effdet", "mask_rcnn"])
def test_a_variant_equals_a_model_that_was_built_with_its_config(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    subject, shared = request.getfixturevalue(name), request.getfixturevalue(f"{name}_job")
    variant = shared.passes[0].variants[1]
    job = job_of(subject, tmp_path, Pass(fields=variant.fields))
    run_job(job, ignore)
    assert_same(results(job), results(shared, "plain", variant.name), tolerance=0.0)
    assert results(job) != results(shared)


def test_leaving_candidates_out_of_nms_changes_no_bit(
    effdet: Subject, effdet_job: EvaluationJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_all = functools.partial(networks.FallingBack, most_lost=0)
    monkeypatch.setattr(networks, "FallingBack", of_all)
    job = job_of(effdet, tmp_path, effdet.one)
    run_job(job, ignore)
    for variant in ("plain", "low"):
        assert results(job, "plain", variant) == results(effdet_job, "plain", variant)


def test_too_few_candidates_are_noticed_and_mended(
    effdet: Subject, effdet_job: EvaluationJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowed_nms, "MOST_ANCHORS", 5)
    job = job_of(effdet, tmp_path, effdet.one)
    run_job(job, ignore)
    for variant in ("plain", "low"):
        assert results(job, "plain", variant) == results(effdet_job, "plain", variant)


def mirrored(found: Results) -> Results:
    return [
        {**one, "bbox": [SIDE - one["bbox"][0] - one["bbox"][2], *one["bbox"][1:]]} for one in found
    ]


@pytest.fixture(scope="module")
def square_images(
    effdet: Subject, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Sequence[str], Sequence[str]]:
    """Files of images in the network's own size, so that nothing is resized, and their mirrors."""
    folder = tmp_path_factory.mktemp("images")
    plain, mirrors = [], []
    for number, record in enumerate(read_records(effdet.record_files[0])):
        encoded = folder / f"encoded-{number}"
        encoded.write_bytes(AnnotatedImage.from_example(record).encoded_image)
        with Image.open(encoded) as image:
            pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE)))
        for name, array, files in (("a", pixels, plain), ("b", pixels[:, ::-1], mirrors)):
            path = folder / f"{name}{number}.png"
            Image.fromarray(np.ascontiguousarray(array)).save(path)
            files.append(str(path))
    return plain, mirrors


@pytest.mark.parametrize("name", ["effdet", "mask_rcnn"])
def test_flipping_a_mirrored_image_finds_what_the_image_has_mirrored(
    name: str,
    request: pytest.FixtureRequest,
    square_images: tuple[Sequence[str], Sequence[str]],
    tmp_path: Path,
) -> None:
    subject = request.getfixturevalue(name)
    jobs = [
        job_of(
            subject,
            tmp_path / one.name,
            one,
            record_files=(),
            image_files=tuple(files),
            num_images=len(files),
        )
        for one, files in zip((subject.one, Pass("flip", flip=True)), square_images, strict=True)
    ]
    for job in jobs:
        run_job(job, ignore)
    plain, flipped = results(jobs[0]), results(jobs[1], "flip")
    assert [(r["image_id"], r["category_id"], r["score"]) for r in flipped] == [
        (r["image_id"], r["category_id"], r["score"]) for r in plain
    ]
    for one, other in zip(mirrored(plain), flipped, strict=True):
        assert one["bbox"] == pytest.approx(other["bbox"], abs=1e-3)
    if name == "mask_rcnn":
        areas = [[mask_api.area(r["segmentation"]) for r in found] for found in (plain, flipped)]
        assert np.corrcoef(areas)[0, 1] > 0.999
        first, mirror = (mask_api.decode(found[0]["segmentation"]) for found in (plain, flipped))
        assert (first[:, ::-1] == mirror).mean() > 0.99


def test_one_of_n_images_is_every_nth_beginning_with_the_first(
    effdet: Subject, effdet_job: EvaluationJob, tmp_path: Path
) -> None:
    ids = ("a", "b")
    job = job_of(effdet, tmp_path, effdet.one, sample_1_of_n=3, num_images=2, image_ids=ids)
    run_job(job, ignore)
    whole = results(effdet_job)
    expected = [
        {**one, "image_id": ids[one["image_id"] // 3]} for one in whole if one["image_id"] % 3 == 0
    ]
    assert_same(results(job), expected)


def test_the_sizes_of_the_images_are_told(effdet_job: EvaluationJob) -> None:
    sizes = json.loads(images_path(effdet_job.output_dir).read_text())
    expected = [
        AnnotatedImage.from_example(record)
        for file in effdet_job.record_files
        for record in read_records(file)
    ]
    assert sizes["heights"] == [image.height for image in expected]
    assert sizes["widths"] == [image.width for image in expected]


def test_classes_that_nobody_asked_for_are_left_out(
    effdet: Subject, effdet_job: EvaluationJob, tmp_path: Path
) -> None:
    job = job_of(effdet, tmp_path, effdet.one, category_ids=(2, 5))
    run_job(job, ignore)
    assert_same(results(job), [r for r in results(effdet_job) if r["category_id"] in (2, 5)])


def test_stages_are_those_of_every_image(mask_rcnn_job: EvaluationJob) -> None:
    from odapi_repro.evaluation.inference.stage_tensors import read_stages

    stages = read_stages(stages_path(mask_rcnn_job.output_dir, "plain"))
    assert stages.num_images == NUM_IMAGES
    found = results(mask_rcnn_job)
    first = [r["score"] for r in found if r["image_id"] == 0]
    assert max(first) == pytest.approx(float(stages.image(0).candidate_scores.max()))


def test_pasted_masks_are_the_od_api_s_pixel_by_pixel(tf: Any) -> None:
    from object_detection import eval_util

    random = np.random.default_rng(1)
    corners = np.sort(random.uniform(-0.1, 1.1, (50, 2, 2)), axis=1)
    boxes = corners.reshape(50, 4).astype(np.float32)
    for masks in (
        random.random((50, 15, 15), np.float32),
        random.integers(0, 2, (50, 9, 7), np.uint8),
    ):
        size = tf.constant([37, 53])
        theirs = eval_util._resize_detection_masks(
            (tf.constant(boxes), tf.constant(masks), size, size)
        ).numpy()
        ours = [mask_api.decode(rle) for rle in paste_masks(masks, boxes, 37, 53)]
        assert np.array_equal(np.array(ours), theirs > 0)


def test_a_checkpoint_of_other_heads_is_refused_by_the_variable_and_both_shapes(
    tf: Any, effdet: Subject, tmp_path: Path
) -> None:
    reader = tf.train.load_checkpoint(effdet.checkpoint)
    tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    (bias,) = (name for name, value in tensors.items() if np.shape(value) == (54,))
    tensors[bias] = np.zeros(63, np.float32)  # of seven classes, not six
    prefix = str(tmp_path / "ckpt-1")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(value) for value in tensors.values()],
    )
    job = job_of(effdet._replace(checkpoint=prefix), tmp_path / "out", effdet.one)
    message = r"does not fit the model: .*redictor.* is \(63,\) in the checkpoint and \(54,\) in"
    with pytest.raises(DataError, match=message):
        run_job(job, ignore)


def test_half_a_model_is_no_model(tf: Any, effdet: Subject, tmp_path: Path) -> None:
    half = tf.train.Checkpoint()
    half._feature_extractor = networks.build_model(effdet.pipeline.proto.model)._feature_extractor
    prefix = str(tf.train.Checkpoint(model=half).save(str(tmp_path / "ckpt")))
    job = job_of(effdet._replace(checkpoint=prefix), tmp_path / "out", effdet.one)
    with pytest.raises(DataError, match=r"does not hold the whole model, it lacks: .*redictor"):
        run_job(job, ignore)


def test_an_image_that_does_not_decode_is_named(effdet: Subject, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    Image.new("RGB", (40, 30)).save(good)
    bad.write_bytes(b"\xff\xd8\xff\xe0 no jpeg")
    files = {"record_files": (), "image_files": (str(good), str(bad)), "num_images": 2}
    with pytest.raises(DataError, match=r"bad\.jpg cannot be read"):
        run_job(job_of(effdet, tmp_path / "out", effdet.one, **files), ignore)


def test_another_number_of_images_than_expected_is_an_error(
    effdet: Subject, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"{NUM_IMAGES} images were read"):
        run_job(job_of(effdet, tmp_path, effdet.one, num_images=NUM_IMAGES + 1), ignore)
    assert not detections_path(tmp_path, "plain", "plain").exists()
