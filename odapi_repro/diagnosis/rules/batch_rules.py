""""""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from google.protobuf.message import Message

from odapi_repro.diagnosis.filled_fields import inert_paths
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.learning_rate import number, start_of
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend


class BatchnormImages(Rule):
    """Batch norm takes its statistics over too few images.

    While training, it normalises with the statistics of the images of one replica, and evaluates
    with their running average. Over one or two images the two are far apart. What counts is images
    per replica, so several GPUs help nothing by themselves, and batch norm that is frozen is not
    concerned. From a detector checkpoint the averages are good at the start, which lessens it.

    Anti-pattern

        train_config { batch_size: 2 }               # an EfficientDet on one GPU

    Best practice

    As many images per replica as the reference has, 4 at least. Where memory forbids: a smaller
    input, or frozen batch norm (`freeze_batchnorm: true` in SSD, when a detector is fine-tuned;
    `batch_norm_trainable: false` in Faster R-CNN). EfficientDet's backbone cannot be frozen.

    Source

    Chen et al. 2019 (mmdetection), arXiv 1906.07155: statistics over 2 images a GPU instead of
    frozen ones cost 3.1 AP. core/freezable_batch_norm.py; the batch of a replica:
    builders/dataset_builder.build. For one-stage models no sweep was found.
    """

    code: ClassVar[str] = "BAT001"
    name: ClassVar[str] = "batch.batchnorm_images"
    causes: ClassVar[tuple[str, ...]] = ("tiny_batch_batchnorm",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Holds images per update against the reference's, then against what is workable."""
        images = subject.quantities.batchnorm_images
        reference = subject.reference_quantities.batchnorm_images
        if images is None or not 0 < images < 8:
            return
        if reference is not None and images >= 0.9 * reference:
            return
        fine_tuned = start_of(subject.pipeline) == "detector"
        yield self.finding(
            "tiny_batch_batchnorm",
            _severity(images, fine_tuned),
            fields=["train_config.batch_size", *_switch(subject)],
            found=f"batch norm is trained on {number(images)} "
            f"{'image' if images == 1 else 'images'} at a time" + _replicas(subject),
            expected=f"{number(reference)} in the reference"
            if reference is not None
            else "stored statistics in the reference",
            why="Statistics over so few images change from step to step. The averages that "
            "evaluation uses fit none of them."
            + (
                " A detector checkpoint starts with good averages; training overwrites them."
                if fine_tuned
                else ""
            ),
            loss_ap=_loss(images) * (0.5 if fine_tuned else 1.0),
            evidence=published("bn_train_2_images"),
            fix=_frozen(subject, fine_tuned),
        )


def _severity(images: float, fine_tuned: bool) -> Severity:
    if images <= 2 and not fine_tuned:
        return Severity.CRITICAL
    return Severity.WARNING if images <= 4 else Severity.INFO


def _loss(images: float) -> float:
    """Published: 3.1 at 2 images. Judged: no convergence was reported at 1, little at 4."""
    if images <= 2:
        return 8.0 if images < 2 else 3.1
    return 1.5 if images <= 4 else 0.3


def _replicas(subject: Subject) -> str:
    batch, count = subject.quantities.global_batch, subject.quantities.num_replicas
    if subject.circumstances.num_replicas is None:
        return f" (batch {batch:,}, taken as one replica's)"
    return f" (batch {batch:,} over {count:,} replicas)" if count > 1 else ""


def _switch(subject: Subject) -> list[str]:
    if subject.pipeline.meta_architecture == "faster_rcnn":
        return ["model.faster_rcnn.feature_extractor.batch_norm_trainable"]
    return ["model.ssd.freeze_batchnorm"] if subject.pipeline.meta_architecture == "ssd" else []


def _frozen(subject: Subject, fine_tuned: bool) -> list[FieldFix]:
    """Freezing, where it reaches the backbone and the stored statistics are worth keeping."""
    if subject.pipeline.meta_architecture == "faster_rcnn":
        return [FieldFix(_switch(subject)[0], False)]
    if subject.pipeline.meta_architecture != "ssd" or not fine_tuned:
        return []
    freezes = "efficientnet" not in str(subject.pipeline.proto.model.ssd.feature_extractor.type)
    return [FieldFix(_switch(subject)[0], True)] if freezes else []


_SSD = "model.ssd.freeze_batchnorm"
_FASTER_RCNN = "model.faster_rcnn.feature_extractor.batch_norm_trainable"


class BatchnormMode(Rule):
    """Batch norm uses stored statistics where the reference's does not, or the other way round.

    Frozen statistics have to be good ones. Those of a backbone or a detector checkpoint are; those
    of FPN and heads that start from random weights are mean 0 and variance 1, and stay so:
    `freeze_batchnorm` freezes them too, and the layers are not normalised at all.

    Anti-pattern

        ssd { freeze_batchnorm: true }
        train_config { fine_tune_checkpoint_type: "classification" }

    Best practice

    Freeze when a detector is fine-tuned with few images a step; train the statistics otherwise.

    Source

    ssd_meta_arch and models/*_keras_feature_extractor: training = is_training and not
    freeze_batchnorm, in backbone (not EfficientNet's), FPN and box predictor. The affine parameters
    train all the same. Chen et al. 2019 (mmdetection), arXiv 1906.07155, for Mask R-CNN.
    """

    code: ClassVar[str] = "BAT002"
    name: ClassVar[str] = "batch.batchnorm_mode"
    causes: ClassVar[tuple[str, ...]] = ("batchnorm_frozen", "batchnorm_unfrozen")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the switch, which each meta-architecture has under another name."""
        if not subject.same_architecture:
            return
        own, reference = _freezes(subject.pipeline), _freezes(subject.reference_pipeline)
        if own and not reference:
            yield self._frozen(subject)
        elif reference and not own and subject.quantities.batchnorm == "train":
            yield self._unfrozen(subject)

    def _frozen(self, subject: Subject) -> Finding:
        ssd = subject.pipeline.meta_architecture == "ssd"
        start = start_of(subject.pipeline)
        unnormalised = start == "nothing" or (ssd and start == "backbone")
        severity = Severity.WARNING if unnormalised else Severity.INFO
        where = "everywhere" if start == "nothing" else "in FPN and heads"
        return self.finding(
            "batchnorm_frozen",
            Severity.CRITICAL if start == "nothing" else severity,
            fields=[_SSD if ssd else _FASTER_RCNN, "train_config.fine_tune_checkpoint_type"],
            found=f"batch norm keeps its stored statistics, which {where} are mean 0 and variance "
            "1 from the start"
            if unnormalised
            else "batch norm keeps the statistics of the checkpoint",
            expected="statistics that are trained",
            why="Layers that start from random weights are then not normalised, and they train "
            "worse."
            if unnormalised
            else "With few images a step that is the better choice. With many it costs a little.",
            # Judged: 3 where a head goes without; published: 0.1 in the backbone alone.
            loss_ap=8.0 if start == "nothing" else 3.0 if unnormalised else 0.1,
            evidence=published("frozen_vs_sync" if unnormalised else "frozen_vs_sync_backbone"),
            fix=[FieldFix(_SSD, False) if ssd else FieldFix(_FASTER_RCNN, True)]
            if unnormalised
            else [],
        )

    def _unfrozen(self, subject: Subject) -> Finding:
        images = subject.quantities.batchnorm_images
        return self.finding(
            "batchnorm_unfrozen",
            Severity.INFO,
            fields=[_SSD if subject.pipeline.meta_architecture == "ssd" else _FASTER_RCNN],
            found=f"batch norm is trained, on {number(images or 0)} images at a time",
            expected="stored statistics",
            why="It costs AP with few images per replica, and gains a little with many.",
            loss_ap=0.1,
            evidence=published("bn_train_2_images", "frozen_vs_sync"),
        )


def _freezes(pipeline: Pipeline) -> bool:
    """Whether the switch says frozen, for whatever part of the model it reaches."""
    if pipeline.meta_architecture == "ssd":
        return bool(pipeline.proto.model.ssd.freeze_batchnorm)
    if pipeline.meta_architecture == "faster_rcnn":
        return not pipeline.proto.model.faster_rcnn.feature_extractor.batch_norm_trainable
    return False


_EXTRACTOR = "feature_extractor.conv_hyperparams"
_TOWER = "box_predictor.weight_shared_convolutional_box_predictor"


class Normalisation(Rule):
    """Another normalisation than batch_norm is configured, and is not what is built.

    Anti-pattern

        conv_hyperparams { sync_batch_norm { ... } }     # or group_norm, for several GPUs

    Best practice

        conv_hyperparams { batch_norm { decay: 0.99 scale: true epsilon: 0.001 } }

    and enough images per replica: nothing else is built everywhere.

    Source

    SSDEfficientNetBiFPNKerasFeatureExtractor asks keras.backend.is_tpu_strategy when its
    hyperparameters have sync_batch_norm, and no current Keras has that function.
    hyperparams_builder.KerasLayerHyperparams knows batch_norm and sync_batch_norm only: group_norm
    builds no normalisation. box_predictor_builder.build_keras normalises the towers of a
    weight-shared predictor only where they have batch_norm.
    """

    code: ClassVar[str] = "BAT003"
    name: ClassVar[str] = "batch.normalisation"
    causes: ClassVar[tuple[str, ...]] = ("sync_batchnorm_unsupported", "normalization_dropped")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the feature extractor's hyperparameters, then at the predictor's towers."""
        if subject.pipeline.meta_architecture != "ssd":
            return
        extractor = _norm(subject.pipeline.model, _EXTRACTOR)
        efficientnet = "efficientnet" in str(
            subject.pipeline.proto.model.ssd.feature_extractor.type
        )
        if extractor == "sync_batch_norm" and efficientnet:
            yield self.finding(
                "sync_batchnorm_unsupported",
                Severity.FATAL,
                fields=[f"model.ssd.{_EXTRACTOR}.sync_batch_norm"],
                found="EfficientDet's feature extractor is to synchronise batch norm",
                expected="batch_norm",
                why="It asks Keras whether the strategy is a TPU's, by a function that current "
                "versions do not have: AttributeError while the model is built.",
            )
        if not subject.same_architecture:
            return
        before = _norm(subject.reference_pipeline.model, _EXTRACTOR)
        if before == "batch_norm" and extractor in ("group_norm", None):
            yield self._dropped(f"model.ssd.{_EXTRACTOR}", extractor, "the feature extractor")
        tower = f"{_TOWER}.conv_hyperparams"
        if not _has_towers(subject.pipeline.model) or not _has_towers(
            subject.reference_pipeline.model
        ):
            return
        own, before = _norm(subject.pipeline.model, tower), "batch_norm"
        if own != before and _norm(subject.reference_pipeline.model, tower) == before:
            yield self._dropped(f"model.ssd.{tower}", own, "the box predictor's towers")

    def _dropped(self, path: str, kind: str | None, where: str) -> Finding:
        return self.finding(
            "normalization_dropped",
            Severity.CRITICAL,
            fields=[f"{path}.{kind}" if kind else path],
            found=f"{kind} is configured for {where}, and no normalisation is built"
            if kind
            else f"no normalisation is configured for {where}",
            expected="batch_norm",
            why="Only batch_norm is built there. Without it, layers from random weights do not "
            "train at the reference's learning rate.",
            loss_ap=10.0,  # judged
        )


def _norm(model: Message, path: str) -> str | None:
    """`batch_norm`, `sync_batch_norm`, `group_norm`, or None where none is configured."""
    found = descend(model, path).WhichOneof("normalizer_oneof")
    return None if found is None else str(found)


def _has_towers(model: Message) -> bool:
    kind = descend(model, "box_predictor").WhichOneof("box_predictor_oneof")
    return bool(kind == "weight_shared_convolutional_box_predictor")


_FIELD = "train_config.batch_size"


class Replicas(Rule):
    """The batch cannot be shared evenly among the replicas.

    batch_size is global: MirroredStrategy takes every GPU it sees, and gives each batch_size /
    replicas images.

    Anti-pattern

        train_config { batch_size: 6 }        # on 4 GPUs

    Best practice

    A multiple of the replicas. `CUDA_VISIBLE_DEVICES` limits them.

    Source

    builders/dataset_builder.build, InputContext.get_per_replica_batch_size: ValueError where it
    does not divide. A batch_size of 0 reads examples without batching them.
    """

    code: ClassVar[str] = "BAT004"
    name: ClassVar[str] = "batch.replicas"
    causes: ClassVar[tuple[str, ...]] = ("batch_not_divisible_by_replicas", "batch_size_zero")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Divides, where the number of replicas was said."""
        batch, replicas = subject.quantities.global_batch, subject.quantities.num_replicas
        reference = subject.reference_quantities.global_batch
        if batch < 1:
            yield self.finding(
                "batch_size_zero",
                Severity.FATAL,
                fields=[_FIELD],
                found=f"batch_size is {batch}",
                expected=f"at least 1; {reference:,} in the reference",
                why="The OD API then does not batch the examples, and the model stops at their "
                "shape.",
                fix=[FieldFix(_FIELD, max(1, replicas))],
            )
        elif replicas > 1 and batch % replicas:
            below = batch // replicas * replicas
            yield self.finding(
                "batch_not_divisible_by_replicas",
                Severity.FATAL,
                fields=[_FIELD],
                found=f"a batch of {batch:,} is shared by {replicas:,} replicas",
                expected=f"a multiple of {replicas:,}: {f'{below:,} or ' if below else ''}"
                f"{below + replicas:,}",
                why="The OD API raises ValueError when it builds the input: each replica gets "
                "batch_size / replicas images.",
                fix=[FieldFix(_FIELD, below or replicas)],
            )


class InertFields(Rule):
    """A field was changed that has no effect under model_main_tf2.

    The protos serve two generations of the OD API, and many fields were for the first. A change to
    one of them is no deviation, however much it looks like one; and who relies on one, to freeze
    layers say, has something else than they think.

    Anti-pattern

        train_config {
          sync_replicas: false           # has no effect
          freeze_variables: "backbone"   # freezes nothing
          use_bfloat16: false            # on a GPU it is off anyway
        }

    Best practice

    Leave such fields as the reference has them, and look at the others.

    Source

    diagnosis/filled_fields.py says for each field where the OD API reads it, if it does; a
    test scans the OD API's source for it.
    """

    code: ClassVar[str] = "BAT005"
    name: ClassVar[str] = "config.inert_fields"
    causes: ClassVar[tuple[str, ...]] = ("inert_field",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Tells fields of one reason together, those set against a wish before those left out."""
        own = inert_paths(subject.pipeline)
        reference = inert_paths(subject.reference_pipeline)
        by_reason: dict[str, list[str]] = {}
        for path, reason in {**reference, **own}.items():
            before, now = subject.reference_fields.get(path), subject.fields.get(path)
            # Another model has no such field: that is the model's doing, not a change.
            absent = now is None and not _parent_is_set(subject, path)
            if before != now and not absent:
                by_reason.setdefault(reason, []).append(path)
        for reason, paths in by_reason.items():
            yield self.finding(
                "inert_field",
                Severity.INERT,
                fields=paths,
                found=_changes(subject, paths),
                expected=_expected(subject, paths),
                why=reason,
                # Ranks what was set above what was left out; costs nothing either way.
                loss_ap=0.01 if any(path in subject.fields for path in paths) else 0.0,
                count=len(paths),
            )


def _parent_is_set(subject: Subject, path: str) -> bool:
    parent = path.rpartition(".")[0]
    return not parent or any(other.startswith(f"{parent}.") for other in subject.fields)


def _changes(subject: Subject, paths: list[str]) -> str:
    shown = [_change(subject, path) for path in paths[:3]]
    rest = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(shown) + rest


def _change(subject: Subject, path: str) -> str:
    name = path.rpartition(".")[2]
    return f"{name} is {_value(subject.fields.get(path))}"


def _expected(subject: Subject, paths: list[str]) -> str:
    shown = ", ".join(_value(subject.reference_fields.get(path)) for path in paths[:3])
    return f"{shown} in the reference, with the same effect"


def _value(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


RULES: tuple[Rule, ...] = (
    BatchnormImages(),
    BatchnormMode(),
    Normalisation(),
    Replicas(),
    InertFields(),
)
