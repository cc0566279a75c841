"""Feature extractors that the TensorFlow 2 code does not have."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

_RESNETS = ("resnet50", "resnet101", "resnet152")
# The class maps of builders/model_builder.py, by meta-architecture.
TF2_FEATURE_EXTRACTORS: dict[str, frozenset[str]] = {
    "ssd": frozenset(
        {
            "ssd_mobilenet_v1_keras",
            "ssd_mobilenet_v1_fpn_keras",
            "ssd_mobilenet_v2_keras",
            "ssd_mobilenet_v2_fpn_keras",
            *(f"ssd_{resnet}_v1_fpn_keras" for resnet in _RESNETS),
            *(f"ssd_efficientnet-b{number}_bifpn_keras" for number in range(8)),
        }
    ),
    "faster_rcnn": frozenset(
        {
            "faster_rcnn_inception_resnet_v2_keras",
            *(f"faster_rcnn_{resnet}_keras" for resnet in _RESNETS),
            *(f"faster_rcnn_{resnet}_fpn_keras" for resnet in _RESNETS),
        }
    ),
    "center_net": frozenset(
        {
            "resnet_v2_50",
            "resnet_v2_101",
            *(f"resnet_v1_{depth}_fpn" for depth in (18, 34, 50, 101)),
            *(f"hourglass_{depth}" for depth in (10, 20, 32, 52, 104)),
            "mobilenet_v2",
            "mobilenet_v2_fpn",
            "mobilenet_v2_fpn_sep_conv",
        }
    ),
}
TF1_FEATURE_EXTRACTORS = frozenset(
    {
        *("ssd_inception_v2", "ssd_inception_v3", "ssd_pnasnet", "ssd_spaghettinet"),
        *("ssd_mobilenet_v1", "ssd_mobilenet_v1_fpn", "ssd_mobilenet_v1_ppn"),
        *("ssd_mobilenet_v2", "ssd_mobilenet_v2_fpn", "ssd_mobilenet_v2_mnasfpn"),
        *("ssd_mobilenet_v3_large", "ssd_mobilenet_v3_small", "ssd_mobilenet_v3_small_pruned"),
        *("ssd_mobilenet_edgetpu", "embedded_ssd_mobilenet_v1"),
        *(f"ssd_mobiledet_{target}" for target in ("cpu", "dsp", "edgetpu", "gpu")),
        *(f"ssd_{resnet}_v1_fpn" for resnet in _RESNETS),
        *(f"ssd_{resnet}_v1_ppn" for resnet in _RESNETS),
        *("faster_rcnn_nas", "faster_rcnn_pnas", "faster_rcnn_inception_v2"),
        *("faster_rcnn_inception_resnet_v2", *(f"faster_rcnn_{resnet}" for resnet in _RESNETS)),
    }
)


class FeatureExtractorUnknown(Rule):
    """The feature extractor is one of TensorFlow 1's, or none at all, and no model can be built.

    Anti-pattern

        feature_extractor {
          type: "ssd_mobilenet_v2"
        }

    Configs of the TF1 zoo (samples/configs, archives named *_coco_2018_03_29) name extractors
    that model_builder knows under TensorFlow 1 only.

    Best practice

        feature_extractor {
          type: "ssd_mobilenet_v2_keras"
        }

    A change of the name alone gives a model that starts; its checkpoint has to be one of the TF2
    zoo, and the file in configs/tf2 of the same name is the safer start.

    Source

    builders/model_builder.py: SSD_KERAS_FEATURE_EXTRACTOR_CLASS_MAP and its siblings, and
    _check_feature_extractor_exists, which raises ValueError.
    """

    code = "CFG006"
    name = "config.tf1_only_model"
    causes = ("tf1_only_model", "feature_extractor_unknown")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the meta-architecture has no such feature extractor."""
        kind = subject.pipeline.meta_architecture
        known = TF2_FEATURE_EXTRACTORS.get(kind)
        if known is None:
            return
        given = str(getattr(subject.pipeline.model, "feature_extractor").type)  # noqa: B009
        if given in known:
            return
        field = f"model.{kind}.feature_extractor.type"
        of_tf1 = given in TF1_FEATURE_EXTRACTORS
        counterpart = f"{given}_keras" if f"{given}_keras" in known else ""
        alike = difflib.get_close_matches(given[:200], sorted(known), n=1, cutoff=0.0)
        close = counterpart or (
            alike[0] if alike and given else subject.reference.feature_extractor
        )
        told = repr(given[:80]) if given else "not set"
        yield self.finding(
            "tf1_only_model" if of_tf1 else "feature_extractor_unknown",
            Severity.FATAL,
            fields=(field,),
            found=f"the feature extractor is {told}"
            + (", which only TensorFlow 1 has" if of_tf1 else f", which is none of {kind}'s"),
            expected=f"{close}, its counterpart in TensorFlow 2"
            if counterpart
            else f"one of the {len(known)} that {kind} has; nearest in name is {close}",
            why="The OD API stops with a ValueError when it builds the model.",
            loss_ap=100.0,
            fix=(FieldFix(field, counterpart),) if counterpart else (),
        )
