"""What a catalogue entry is: a pipeline, the numbers reported for it, and what speaks against them.

A pipeline is rendered from its family's template when it is first asked for, so that naming all
references costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from odapi_repro.reference.template import ConfigSource, render_config

if TYPE_CHECKING:
    from odapi_repro.pipeline import Pipeline


# --- What a catalogue entry is: a pipeline, the numbers reported for it, and what speaks against
# them ---


# Model families, and the meta-architecture that each is an instance of.
META_ARCHITECTURES = {
    "centernet": "center_net",
    "efficientdet": "ssd",
    "ssd_mobilenet": "ssd",
    "ssd_resnet": "ssd",
    "faster_rcnn": "faster_rcnn",
    "mask_rcnn": "faster_rcnn",
}


@dataclass(frozen=True)
class ReportedMetric:
    """One reported number.

    Attributes:
        metric: COCO's name; `mask_AP` and `keypoint_AP` for masks and keypoints.
        value: in points.
        source: where it stands.
        protocol: what it was measured on, as far as the source says.
    """

    metric: str
    value: float
    source: str
    protocol: str

    @property
    def text(self) -> str:
        """Value and metric as tables print them, `39.0 AP`; a second digit where the source has."""
        digits = 1 if round(self.value, 1) == self.value else 2
        return f"{self.value:.{digits}f} {self.metric}"


@dataclass(frozen=True)
class Dispute:
    """A contradiction or a doubt about the number or the recipe.

    Attributes:
        what: one sentence.
        source: where it was seen.
    """

    what: str
    source: str


@dataclass(frozen=True)
class Unexpressed:
    """An aspect of another recipe that a pipeline.config of the OD API cannot express.

    Attributes:
        aspect: what it is about.
        theirs: what the other recipe does.
        here: what the OD API does instead.
        effect: what that is known to cost, or that nobody knows.
    """

    aspect: str
    theirs: str
    here: str
    effect: str


@dataclass(frozen=True)
class Reference:
    """A catalogue entry.

    Attributes:
        name: short name.
        config: the OD API's file in configs/tf2 without its ending; for google/automl's recipe,
            the repository and the model's name there.
        zoo_model: its name in the TF2 detection zoo's table; empty without one.
        family: one of `META_ARCHITECTURES`.
        feature_extractor: type string, as the proto has it.
        image_size: largest (height, width) in pixels that the network sees, padding included: a
            resizer to 800x1333 that pads gives squares of 1333.
        predicts_masks: whether instance masks are trained.
        predicts_keypoints: whether keypoints are trained.
        recipe: `odapi` (configs/tf2) or `automl` (google/automl's, as far as the OD API has it).
        num_replicas: accelerator cores that shared a batch: from the config's name (tpu-32 is 32,
            gpu-8 is 8), which the comment at its head repeats; for `automl` from the paper.
        reported: every number found, contradictions included; the zoo's own first where it has
            one.
        disputes: contradictions and doubts.
        unexpressed: for `automl`, what the pipeline leaves out.
        archive: address of the zoo's checkpoint; empty without one.
        source: template and parameters that the config is rendered from.
    """

    name: str
    config: str
    zoo_model: str
    family: str
    feature_extractor: str
    image_size: tuple[int, int]
    predicts_masks: bool
    predicts_keypoints: bool
    recipe: str
    num_replicas: int
    reported: tuple[ReportedMetric, ...]
    disputes: tuple[Dispute, ...]
    unexpressed: tuple[Unexpressed, ...] = ()
    archive: str = ""
    source: ConfigSource = field(kw_only=True, repr=False, compare=False)

    @property
    def meta_architecture(self) -> str:
        """`ssd`, `faster_rcnn` or `center_net`."""
        return META_ARCHITECTURES[self.family]

    @property
    def global_batch_size(self) -> int:
        """Images in a step, over all replicas."""
        return int(str(self.source.parameters["batch_size"]))

    @property
    def num_steps(self) -> int:
        """Steps of the run."""
        return int(str(self.source.parameters["num_steps"]))

    @property
    def images_seen(self) -> int:
        """Training images over the whole run, repeats counted."""
        return self.global_batch_size * self.num_steps

    def reported_value(self, metric: str) -> float | None:
        """Gives the first number reported for a metric, None without one."""
        return next((m.value for m in self.reported if m.metric == metric), None)

    def config_text(self) -> str:
        """Gives the commented pipeline.config."""
        return self._config_text

    def pipeline(self) -> Pipeline:
        """Gives the parsed pipeline, the same object at every call."""
        return self._pipeline

    @cached_property
    def _config_text(self) -> str:
        return render_config(self)

    @cached_property
    def _pipeline(self) -> Pipeline:
        from odapi_repro.pipeline import parse_pipeline

        return parse_pipeline(self.config_text(), f"<reference {self.name}>")


# --- Where reported numbers stand, and how they are written into an entry ---


ZOO = "TF2 detection zoo (research/object_detection/g3doc/tf2_detection_zoo.md)"
HEAD = "comment at the head of the config"
# The zoo's page says COCO mAP and no more; images, scale and augmentation are the OD API's own
# evaluation.
PROTOCOL = "COCO val2017, 5,000 images, COCO AP in points, one scale, no test-time augmentation"
ARCHIVE_COPIES = "copies of the archive's pipeline.config in public repositories"

_METRICS = ("AP", "mask_AP", "keypoint_AP")
_ARCHIVES = "http://download.tensorflow.org/models/object_detection/tf2"


def in_zoo(
    box: float, *, mask: float | None = None, keypoint: float | None = None, remark: str = ""
) -> tuple[ReportedMetric, ...]:
    """Gives what the zoo's table has for a model; `remark` is added to the protocol."""
    protocol = f"{PROTOCOL}; {remark}" if remark else PROTOCOL
    return tuple(
        ReportedMetric(name, value, ZOO, protocol)
        for name, value in zip(_METRICS, (box, mask, keypoint), strict=True)
        if value is not None
    )


def in_head(box: float, *, mask: float | None = None) -> tuple[ReportedMetric, ...]:
    """Gives what the comment at the head of a config claims; it names COCO17 val and no more."""
    return tuple(
        ReportedMetric(name, value, HEAD, "COCO17 val")
        for name, value in (("AP", box), ("mask_AP", mask))
        if value is not None
    )


def archive_url(date: str, stem: str) -> str:
    """Gives the address of a checkpoint's archive, as the zoo's table links it."""
    return f"{_ARCHIVES}/{date}/{stem}.tar.gz"
