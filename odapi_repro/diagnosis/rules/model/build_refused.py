"""Settings of the model at which its builder stops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.network import rounded
from odapi_repro.diagnosis.subject import Subject

_BUILDING = "The OD API stops while it builds the model: "
# center_net_meta_arch.refine_keypoints, and prediction_to_keypoints_argmax.
_RANKINGS = (
    "min_distance",
    "score_distance_ratio",
    "score_scaled_distance_ratio",
    "gaussian_weighted",
)
_ARGMAX_RANKINGS = ("gaussian_weighted_const",)


def refused_of_center_net(model: Any) -> Iterator[tuple[str, str, str, str, object]]:
    """Yields field, what is found, what is expected, why, and the value that mends it.

    DeepMAC is another model, built without keypoints.
    """
    if model.HasField("deepmac_mask_estimation"):
        return
    tasks = model.keypoint_estimation_task
    names = {str(task.task_name) for task in tasks}
    boxes = model.HasField("object_detection_task")
    if not boxes and not tasks:
        yield (
            "object_detection_task",
            "neither object_detection_task nor keypoint_estimation_task is there",
            "one of them, or both",
            f"{_BUILDING}AssertionError.",
            None,
        )
    elif model.object_center_params.keypoint_weights_for_center and (boxes or len(names) != 1):
        yield (
            "object_center_params.keypoint_weights_for_center",
            "keypoint_weights_for_center with "
            + ("object_detection_task" if boxes else f"{len(names)} keypoint tasks"),
            "keypoint_weights_for_center beside one keypoint_estimation_task alone",
            f"{_BUILDING}{'AssertionError' if tasks else 'TypeError'}.",
            None,
        )
    yield from _heads(model)
    for index, task in enumerate(tasks):
        argmax = task.argmax_postprocessing and len(names) == 1 and model.num_classes == 1
        known = _ARGMAX_RANKINGS if argmax else _RANKINGS
        if task.candidate_ranking_mode not in known:
            yield (
                f"keypoint_estimation_task[{index}].candidate_ranking_mode",
                f"candidate_ranking_mode is '{task.candidate_ranking_mode}'",
                " or ".join(known) + (", with argmax_postprocessing" if argmax else ""),
                "The evaluation stops at its first image, and so does the export: ValueError.",
                known[0],
            )


def _heads(model: Any) -> Iterator[tuple[str, str, str, str, object]]:
    parts = [
        (name, getattr(model, name))
        for name in ("object_center_params", "object_detection_task", "mask_estimation_task")
        if model.HasField(name)
    ]
    parts += [
        (f"keypoint_estimation_task[{index}]", task)
        for index, task in enumerate(model.keypoint_estimation_task)
    ]
    for path, part in parts:
        for field, head in part.ListFields():
            if not field.name.endswith("_head_params"):
                continue
            kernels, filters = len(head.kernel_sizes), len(head.num_filters)
            if kernels != filters:
                yield (
                    f"{path}.{field.name}",
                    f"{field.name} has {kernels} kernel_sizes for {filters} num_filters",
                    "as many kernel_sizes as num_filters, one for each layer",
                    f"{_BUILDING}AssertionError.",
                    None,
                )


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
