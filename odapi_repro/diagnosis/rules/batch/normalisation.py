"""Normalisation that the Keras models refuse, or leave out without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from google.protobuf.message import Message

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

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
