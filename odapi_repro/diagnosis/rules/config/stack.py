"""Models that the packages that are installed, or a machine without a network, cannot build."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

_SMALL_RESNETS = ("resnet_v1_18_fpn", "resnet_v1_34_fpn")
_DOWNLOADING = ("mobilenet_v2", "mobilenet_v2_fpn", "mobilenet_v2_fpn_sep_conv")
_FIRST_WITHOUT_RESNET = (2, 13)
_FIELD = "model.center_net.feature_extractor"


class ModelOnThisStack(Rule):
    """The model cannot be built with the TensorFlow that is installed, or not without a network.

    Anti-pattern

        center_net {
          feature_extractor {
            type: "resnet_v1_18_fpn"
          }
        }

    CenterNet's ResNet-18 and -34 are built by a function that Keras shows no longer since
    TensorFlow 2.13: model_main_tf2 stops with an AttributeError. CenterNet's MobileNetV2 fetches
    ImageNet weights while it is built, also when a checkpoint is restored afterwards.

    Best practice

        center_net {
          feature_extractor {
            type: "resnet_v1_50_fpn"
          }
        }

    Or train with `odapi-repro run`, which puts the missing function back. For MobileNetV2, let one
    build run where there is a network, and keep the folder ~/.keras/models.

    Source

    models/keras_models/resnet_v1.py: resnet_v1_18 and resnet_v1_34 call
    keras.applications.resnet.ResNet. models/center_net_mobilenet_v2_feature_extractor.py:
    mobilenet_v2 has weights='imagenet' where depth_multiplier is 1.0. Every model of
    model_builder.py was built on TensorFlow 2.15 and 2.20: docs/compatibility.md.
    """

    code = "CFG009"
    name = "config.stack"
    causes = ("model_stops_on_stack", "backbone_weights_downloaded")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for CenterNet on a small ResNet or on MobileNetV2."""
        if subject.pipeline.meta_architecture != "center_net":
            return
        extractor = subject.pipeline.proto.model.center_net.feature_extractor
        if extractor.type in _SMALL_RESNETS:
            yield from self._without_resnet(extractor.type)
        elif extractor.type in _DOWNLOADING and extractor.depth_multiplier == 1.0:
            yield self.finding(
                "backbone_weights_downloaded",
                Severity.WARNING,
                fields=(f"{_FIELD}.type",),
                found=f"CenterNet on {extractor.type}, which fetches ImageNet weights from the "
                "network while it is built",
                expected="a machine with a network, or the weights in ~/.keras/models",
                why="Without either the OD API stops with 'URL fetch failure'. A checkpoint that "
                "is restored afterwards replaces the weights; they are fetched all the same.",
            )

    def _without_resnet(self, extractor: str) -> Iterator[Finding]:
        version = _tensorflow()
        if version and version < _FIRST_WITHOUT_RESNET:
            return
        here = f"TensorFlow {version[0]}.{version[1]}, which is installed," if version else ""
        yield self.finding(
            "model_stops_on_stack",
            Severity.FATAL if version else Severity.WARNING,
            fields=(f"{_FIELD}.type",),
            found=f"CenterNet on {extractor}, which {here or 'TensorFlow 2.13 and later'} "
            f"cannot build",
            expected="resnet_v1_50_fpn, or a training by odapi-repro run, which patches this",
            why="model_main_tf2 stops with AttributeError: keras.applications.resnet has had no "
            "ResNet since TensorFlow 2.13.",
            loss_ap=100.0 if version else 0.0,
        )


def _tensorflow() -> tuple[int, int] | None:
    # Here, not above: what it imports would cost every diagnosis.
    from odapi_repro.packages import tensorflow_version

    return tensorflow_version()
