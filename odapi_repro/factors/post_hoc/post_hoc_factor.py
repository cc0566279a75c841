"""What a factor is that needs no training: it changes how detections are made and kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Factor, Level
from odapi_repro.pipeline import Pipeline, descend

FINAL_NMS: Mapping[str, str] = {
    "ssd": "model.ssd.post_processing.batch_non_max_suppression",
    "faster_rcnn": "model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression",
    "center_net": "model.center_net.post_processing.batch_non_max_suppression",
}
"""Where the last NMS of a meta-architecture is set; a CenterNet has none unless it is set."""

STEPS = ("union", "soft_union", "weighted_boxes", "consensus", "best", "box_voting")


@dataclass(frozen=True)
class FusionStep:
    """What is done with detections after inference, in NumPy.

    Attributes:
        method: one of `STEPS`. `box_voting` takes the detections before NMS as candidates; the
            others make one set of those of several views or checkpoints.
        iou_threshold: of the overlaps; None for that of the cell's own NMS (0.6, the proto's
            default, where the pipeline has no NMS).
        num_agreeing: members that must agree, for `consensus`.
    """

    method: str
    iou_threshold: float | None = None
    num_agreeing: int = 1

    def __post_init__(self) -> None:
        if self.method not in STEPS:
            raise ValueError(f"unknown fusion step '{self.method}'; expected one of {STEPS}")

    @property
    def needs_candidates(self) -> bool:
        """Whether the detections before NMS are needed, too."""
        return self.method == "box_voting"


@dataclass(frozen=True)
class DetectionPlan:
    """How the detections of one cell are made; the default is the pipeline as it is.

    A forward pass is made for every combination of checkpoints, flip and scale, unless an equal
    one is made already; post-processing shares it.

    Attributes:
        post_processing: values by dotted field, applied to the network's output.
        model: values by dotted field, applied before the model is built.
        flips: views to detect in, mirrored or not.
        scales: views to detect in, as multiples of the input size.
        checkpoints: members; each a tuple of indices into the checkpoints named (negative ones
            count from the last), whose weights are averaged.
        step: what becomes of the views' and members' detections.
    """

    post_processing: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    flips: tuple[bool, ...] = (False,)
    scales: tuple[float, ...] = (1.0,)
    checkpoints: tuple[tuple[int, ...], ...] = ((-1,),)
    step: FusionStep | None = None


AS_CONFIGURED = DetectionPlan()


@dataclass(frozen=True)
class PostHocSetting:
    """Where such a factor is studied.

    Attributes:
        pipeline: the checkpoint's own.
        num_checkpoints: how many were named, oldest first.
    """

    pipeline: Pipeline
    num_checkpoints: int = 1


class PostHocFactor(Factor[PostHocSetting]):
    """A factor whose levels are measured on a finished checkpoint."""

    needs_training = False

    @abstractmethod
    def plan(self, level: Level, setting: PostHocSetting) -> DetectionPlan:
        """Gives what the level asks for; the reference level asks for `AS_CONFIGURED`."""


class NumberFactor(PostHocFactor):
    """A factor whose levels are numbers of a range; a label is the number as `%g` writes it.

    Attributes:
        expected: the range in words.
        example: two levels, as on the command line.
    """

    expected: ClassVar[str]
    example: ClassVar[str]

    @abstractmethod
    def accepts(self, value: float) -> bool:
        """Whether a number is a level."""

    def parse_level(self, text: str, setting: PostHocSetting) -> Level:
        """A number of the range."""
        del setting
        try:
            value = float(text)
        except ValueError:
            raise self.no_level(text, self.expected, self.example) from None
        if not self.accepts(value):
            raise self.no_level(text, self.expected, self.example)
        return Level(f"{value:g}", value)


def has_nms(pipeline: Pipeline) -> bool:
    """Whether detections go through an NMS at last."""
    kind = pipeline.meta_architecture
    if kind == "center_net":
        # model_builder._build_center_net_model builds one only where the message is there.
        return bool(pipeline.proto.model.center_net.HasField("post_processing"))
    return kind in FINAL_NMS


def nms_field(setting: PostHocSetting, name: str, factor: str) -> str:
    """Gives the dotted path of a field of the pipeline's last NMS.

    Raises:
        UserError: the pipeline has no such NMS.
    """
    pipeline = setting.pipeline
    kind = pipeline.meta_architecture
    if not has_nms(pipeline):
        peaks = " (a CenterNet takes the peaks of its heat maps)" if kind == "center_net" else ""
        raise UserError(
            f"{factor} does not apply to {pipeline.path}: its {kind} has no NMS to set{peaks}",
            expected="an SSD (pipelines/effdet_d3.config) or a Faster or Mask R-CNN "
            "(pipelines/mask_rcnn.config)",
            mend="leave it out of --ablate; flip_testing, multi_scale_testing, fusion and swa "
            "apply to every pipeline",
        )
    return f"{FINAL_NMS[kind]}.{name}"


def nms_setting(setting: PostHocSetting, name: str, factor: str) -> Any:
    """Gives the value of a field of the pipeline's last NMS, the proto's default where unset."""
    return descend(setting.pipeline.proto, nms_field(setting, name, factor))
