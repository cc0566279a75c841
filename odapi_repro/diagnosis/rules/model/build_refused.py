"""Settings of the model at which its builder stops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.center_net_refused import refused_of_center_net
from odapi_repro.diagnosis.rules.model.model_parts import rounded
from odapi_repro.diagnosis.subject import Subject

# (field, found, expected, why, value that mends it)
_Refusal = tuple[str, str, str, str, object]


class ModelSettingsRefused(Rule):
    """The model cannot be built, or not be run, with one of its settings.

    Some fields have values that the proto knows and the code does not.

    Anti-pattern

        ssd { loss { expected_loss_weights: EXPECTED_SAMPLING } }
        faster_rcnn { feature_extractor { first_stage_features_stride: 8 } }

    Best practice

    Leave expected_loss_weights out, and the stride of the first stage at 16.

    Source

    builders/losses_builder.build (utils/ops has neither of the functions that
    expected_loss_weights asks for; random_example_sampler), ssd_meta_arch.SSDMetaArch (two
    background classes), models/faster_rcnn_resnet_keras_feature_extractor ('must be 16'),
    faster_rcnn_inception_resnet_v2_keras_feature_extractor and
    faster_rcnn_resnet_v1_fpn_keras_feature_extractor ('must be 8 or 16'),
    core/balanced_positive_negative_sampler, builders/model_builder._build_faster_rcnn_model,
    center_net_meta_arch (CenterNetMetaArch, _initialize_target_assigners, make_prediction_net,
    refine_keypoints, prediction_to_keypoints_argmax). Each stride was run; at 8 the second stage
    of Inception ResNet v2 stops, and a pyramid does not look at it.
    """

    code: ClassVar[str] = "MOD023"
    name: ClassVar[str] = "model.settings_refused"
    causes: ClassVar[tuple[str, ...]] = ("model_settings_refused",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Goes through what the builders of the three meta-architectures refuse."""
        kind, model = subject.pipeline.meta_architecture, subject.pipeline.model
        refusals = {
            "ssd": _ssd,
            "faster_rcnn": _faster_rcnn,
            "center_net": refused_of_center_net,
        }.get(kind)
        for field, found, expected, why, value in refusals(model) if refusals else ():
            path = f"model.{kind}.{field}"
            yield self.finding(
                "model_settings_refused",
                Severity.FATAL,
                fields=[path],
                found=found,
                expected=expected,
                why=why,
                loss_ap=90.0,
                fix=[FieldFix(path, value)],
            )


def _ssd(model: Any) -> Iterator[_Refusal]:
    if model.loss.expected_loss_weights:
        yield (
            "loss.expected_loss_weights",
            "expected_loss_weights is set",
            "NONE, or left out",
            "The OD API stops while it builds the model: AttributeError, as the function that it "
            "asks for is not there.",
            None,
        )
    sampler = model.loss.random_example_sampler
    share = rounded(sampler.positive_sample_fraction)
    if model.loss.HasField("random_example_sampler") and (share <= 0 or share > 1):
        yield _share_refused("loss.random_example_sampler.positive_sample_fraction", share, 0.01)
    if model.add_background_class and model.explicit_background_class:
        yield (
            "explicit_background_class",
            "a background class is added and another is in the data",
            "one of add_background_class, which is true unless set, and explicit_background_class",
            "The OD API stops while it builds the model.",
            False,
        )


def _faster_rcnn(model: Any) -> Iterator[_Refusal]:
    extractor, stride = model.feature_extractor, model.feature_extractor.first_stage_features_stride
    name = str(extractor.type)
    resnet = name.startswith("faster_rcnn_resnet") and "_fpn_" not in name
    if stride != 16 and (resnet or stride != 8):
        yield _stride_refused(stride, "16" if resnet else "8 or 16", "while it builds the model")
    elif stride == 8 and "_fpn_" not in name and model.number_of_stages != 1:
        yield _stride_refused(stride, "16", "in the second stage, whose layers do not fit together")
    for field, usual in (
        ("first_stage_positive_balance_fraction", 0.5),
        ("second_stage_balance_fraction", 0.25),
        ("first_stage_nms_iou_threshold", 0.7),
    ):
        share = rounded(getattr(model, field))
        if share < 0 or share > 1:  # NaN passes the OD API's checks, which are these
            yield _share_refused(field, share, usual)


def _stride_refused(stride: int, expected: str, where: str) -> _Refusal:
    return (
        "feature_extractor.first_stage_features_stride",
        f"first_stage_features_stride is {stride}",
        expected,
        f"The OD API stops {where}.",
        16,
    )


def _share_refused(field: str, share: float, usual: float) -> _Refusal:
    return (
        field,
        f"{field.rpartition('.')[2]} is {share:g}",
        f"a share from 0 to 1, as {usual:g}",
        "The OD API stops while it builds the model.",
        usual,
    )
