"""What the report of an evaluation is made of, as its command knows it when all is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from odapi_repro.evaluation.breakdown import Breakdown, Resampling
from odapi_repro.evaluation.coco_data import Detections, GroundTruth
from odapi_repro.evaluation.mask_chain.chain import ChainReport
from odapi_repro.evaluation.uncertainty.bootstrap import Interval, Intervals
from odapi_repro.reference import ReportedMetric

if TYPE_CHECKING:
    from PIL import Image


ReadImages = Callable[[Sequence[int]], "Mapping[int, Image.Image]"]
"""Gives the images (RGB) at some positions of the ground truth, without those it cannot read."""


class Model(NamedTuple):
    """One of the models of a report.

    Attributes:
        label: what it is called in tables.
        about: lines that say what it is and how its detections came about.
        detections: what it found.
        breakdowns: by IoU type, `bbox` first.
        chain: of a two-stage checkpoint, the stages at which objects are lost.
    """

    label: str
    about: tuple[str, ...]
    detections: Detections
    breakdowns: Mapping[str, Breakdown]
    chain: ChainReport | None = None


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """One evaluation.

    Attributes:
        name: of the folder in results/.
        command: what was typed.
        data: the data set in words: `160 images of instances.json`.
        truth: the data set.
        model: what was evaluated.
        against: what it is compared with.
        differences: model less against, by IoU type; empty without `against` or resampling.
        engine: that scored.
        resampling: of the intervals.
        reference_name: of the reference that the model's config is, if it is one.
        reported: numbers reported for it; on COCO's val2017 only.
        caveats: what may not be concluded, beyond what every evaluation says of itself.
        oddities: of detections, which suggest that they are read otherwise than meant.
        digests: 16 hex digits each that stand for `model`, `against` (without one: not there) and
            `data`; empty where it was not made by the command.
        read_images: for the pictures; None where there are no images.
    """

    name: str
    command: str
    data: str
    truth: GroundTruth
    model: Model
    against: Model | None = None
    differences: Mapping[str, Intervals] = field(default_factory=dict)
    engine: str = "hotcoco"
    resampling: Resampling = field(default_factory=Resampling)
    reference_name: str = ""
    reported: tuple[ReportedMetric, ...] = ()
    caveats: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    read_images: ReadImages | None = None

    @property
    def iou_types(self) -> tuple[str, ...]:
        """`bbox`, `segm` or both."""
        return tuple(self.model.breakdowns)

    @property
    def models(self) -> tuple[Model, ...]:
        """What was evaluated, then what it is compared with."""
        return (self.model,) if self.against is None else (self.model, self.against)

    def less(self, iou_type: str, metric: str) -> float | None:
        """Gives the model's score less the other's; None where there is no other, or no score."""
        scores = [one.breakdowns[iou_type].scores.metrics[metric] for one in self.models]
        mine, theirs = scores if len(scores) == 2 else (None, None)
        return None if mine is None or theirs is None else mine - theirs

    def difference(self, iou_type: str, metric: str) -> Interval | None:
        """Gives the interval of a difference; None without one."""
        found = self.differences.get(iou_type)
        return None if found is None else found[metric]

    def reported_value(self, iou_type: str, metric: str) -> float | None:
        """Gives the first number reported for a metric, None without one."""
        name = f"mask_{metric}" if iou_type == "segm" else metric
        return next((one.value for one in self.reported if one.metric == name), None)
