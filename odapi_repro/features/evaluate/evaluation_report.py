"""The report of an evaluation: what it is made of, and how it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from odapi_repro.evaluation.breakdown import Breakdown, Resampling, break_down, differences
from odapi_repro.evaluation.coco_data import (
    Detections,
    GroundTruth,
    box_oddities,
    check_all_masked,
    misread_truth,
    odd_areas,
    read_detections,
)
from odapi_repro.evaluation.error_analysis.permuted_classes import (
    PermutedClasses,
    one_class,
    permuted_classes,
)
from odapi_repro.evaluation.eval_data import COCO_VAL_IMAGES, EvalData
from odapi_repro.evaluation.inference.evaluation_job import images_path
from odapi_repro.evaluation.inference.stage_tensors import read_stages
from odapi_repro.evaluation.mask_chain.detector_stages import chain_settings
from odapi_repro.evaluation.mask_chain.recall_chain import ChainReport, recall_chain
from odapi_repro.evaluation.score_detections import with_image_sizes
from odapi_repro.evaluation.scoring.detection_matching import IouType
from odapi_repro.evaluation.uncertainty.bootstrap import Interval, Intervals
from odapi_repro.foreign_text import shortened_name
from odapi_repro.pipeline import Pipeline
from odapi_repro.reference import ReportedMetric, reference_of

if TYPE_CHECKING:
    from PIL import Image

    from odapi_repro.trials.evaluations.checkpoint_evaluation import EvaluationResult
    from odapi_repro.trials.evaluations.evaluation_spec import EvaluationRequest


# --- What the report of an evaluation is made of, as its command knows it when all is scored ---


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


# --- From detections and a data set to the report of an evaluation ---


AskedType = Literal["auto", "bbox", "segm", "both"]
_FEW_IMAGES = 100


_MOST_MOVED = 5  # classes that are named
_NAME = 40  # letters of a class in a sentence


def oddities_of_truth(truth: GroundTruth) -> list[str]:
    """Gives sentences on a ground truth of which boxes or areas seem to be others than meant."""
    boxes, areas = misread_truth(truth), odd_areas(truth)
    lines = []
    if boxes:
        lines.append(f"Do not judge a model by these scores: of the ground truth's boxes, {boxes}.")
    if areas:
        lines.append(f"Do not read the metrics by size: {areas}.")
    return lines


def oddities_of_detections(
    label: str,
    detections: Detections,
    truth: GroundTruth,
    breakdowns: Mapping[str, Breakdown],
) -> list[str]:
    """Gives sentences on boxes and classes of detections that seem to be others than meant.

    Args:
        label: what the model is called.
        detections: of it.
        truth: the data set.
        breakdowns: of the detections, by IoU type.
    """
    if not detections.num:
        return [f"Do not judge {label} by these scores: its list of detections is empty."]
    found = box_oddities(detections, truth)
    iou_type, own = next(iter(breakdowns.items()))
    one = one_class(truth, detections, own.outcomes)
    permuted = permuted_classes(truth, detections, own.outcomes, iou_type)
    used = set(truth.categories.tolist())
    if one is not None:
        found.append(
            f"all of its {detections.num:,} detections are of one class,"
            f" {shortened_name(one.name, _NAME)}, and {one.other:,} of the {one.objects:,} objects"
            " that they lie on are of others. Were the classes written? Or does it know this one "
            "alone?"
        )
    elif permuted is not None:
        found.append(_permutation(permuted))
    elif used and used.isdisjoint(detections.categories.tolist()):
        found.append(
            f"none of its {detections.num:,} detections is of a class that has objects here. Are "
            "the class ids the ones it was trained with?"
        )
    return [
        f"Do not judge {label} by these scores: {clause}{'' if clause.endswith('?') else '.'}"
        for clause in found
    ]


def _permutation(permuted: PermutedClasses) -> str:
    """The clause that says so: what would be found, and which classes are called what."""
    listed = ", ".join(
        f"{shortened_name(one.truth, _NAME)} is detected as"
        f" {shortened_name(one.detected, _NAME)} {one.count:,}x"
        for one in permuted.moved[:_MOST_MOVED]
    )
    more = len(permuted.moved) - _MOST_MOVED
    listed += f", and {more:,} more class{'es' if more > 1 else ''} likewise" if more > 0 else ""
    return (
        f"the label maps may be permuted. At IoU 0.5 it finds {permuted.found:,} of"
        f" {permuted.objects:,} objects, and with other class ids it would find"
        f" {permuted.found_then:,}:"
        f" {permuted.pattern + '; ' if permuted.pattern else ''}{listed}"
    )


@dataclass(frozen=True)
class Found:
    """What one model found.

    Attributes:
        label: what it is called in tables.
        about: lines that say how its detections came about.
        detections: of the images of the data set.
        chain: of a two-stage checkpoint, the stages at which objects are lost.
    """

    label: str
    about: tuple[str, ...]
    detections: Detections
    chain: ChainReport | None = None


def assemble_evaluation(
    data: EvalData,
    found: Found,
    against: Found | None = None,
    *,
    name: str,
    command: str,
    iou_type: AskedType = "auto",
    engine: str = "hotcoco",
    resampling: Resampling | None = None,
    pipeline: Pipeline | None = None,
    digests: Mapping[str, str] | None = None,
) -> EvaluationReport:
    """Scores what was found and breaks it down.

    Args:
        data: the data set.
        found: by the model.
        against: by the model that it is compared with.
        name: of the folder in results/.
        command: what was typed.
        iou_type: `auto` is all that the data and every model have.
        engine: that scores.
        resampling: of the intervals; 1,000 resamples at 95 % by default.
        pipeline: the model's config, for the numbers reported for its reference.
        digests: of what is evaluated, as `EvaluationReport` has them.

    Raises:
        DataError: boxes (masks) are asked for and there are none.
    """
    resampling = resampling or Resampling()
    every = [found, *([against] if against is not None else [])]
    types = _iou_types(iou_type, data, every)
    models = [
        Model(
            one.label,
            (*one.about, *_of_masks(one, types, asked=iou_type)),
            one.detections,
            {
                kind: break_down(
                    data.truth, one.detections, kind, engine=engine, resampling=resampling
                )
                for kind in types
            },
            one.chain,
        )
        for one in every
    ]
    other = models[1] if against is not None else None
    reference = reference_of(pipeline) if pipeline is not None and data.is_coco else None
    return EvaluationReport(
        name=name,
        command=command,
        data=data.description,
        truth=data.truth,
        model=models[0],
        against=other,
        differences={} if other is None else _differences(models[0], other, resampling),
        engine=engine,
        resampling=resampling,
        reference_name="" if reference is None else reference.name,
        reported=() if reference is None else reference.reported,
        caveats=_caveats(data, reported=reference is not None),
        oddities=(
            *oddities_of_truth(data.truth),
            *(
                line
                for one in models
                for line in oddities_of_detections(
                    one.label, one.detections, data.truth, one.breakdowns
                )
            ),
        ),
        digests=digests or {},
        read_images=data.read_images if data.has_images else None,
    )


def found_by_checkpoint(
    label: str,
    request: EvaluationRequest,
    result: EvaluationResult,
    warnings: Sequence[str] = (),
) -> Found:
    """Gives what a checkpoint found, with lines on what it is and what finding it took.

    Args:
        label: what it is called.
        request: of one plain pass.
        result: of that pass; with its stages, where they were asked for.
        warnings: of `check_source`.
    """
    ((key, path),) = result.detections.items()
    source, truth = request.source, request.data.truth
    what = source.saved_model or source.prefix
    step = "" if source.step is None else f" (step {source.step:,})"
    about = [f"{what}{step}, digest {source.digest[:12]}"]
    about += [f"warning: {one}" for one in warnings]
    if key in result.read_back:
        about.append(f"detections read back from {path.parent}")
    else:
        about.append(f"detections kept in {path.parent}{_pace(result.provenance[key])}")
    detections = read_detections(path, truth)
    chain = None
    if key[0] in result.stages and request.pipeline is not None:
        settings = chain_settings(request.pipeline)
        if not request.with_masks:
            settings = dataclasses.replace(settings, mask_size=None)
        stages = result.stages[key[0]]
        sized = with_image_sizes(images_path(stages.parent), truth)
        chain = recall_chain(sized, read_stages(stages), detections, settings)
    return Found(label, tuple(about), detections, chain)


def _differences(model: Model, against: Model, resampling: Resampling) -> dict[str, Intervals]:
    found = {
        kind: differences(own, against.breakdowns[kind], resampling)
        for kind, own in model.breakdowns.items()
    }
    return {kind: intervals for kind, intervals in found.items() if intervals is not None}


def _pace(provenance: Mapping[str, Any]) -> str:
    """Images a second once the first batch was through, and the seconds up to then."""
    rest = provenance["images"] - provenance["images_in_first_batch"]
    before = sum(
        provenance[f"{name}_seconds"] for name in ("import", "build", "restore", "first_batch")
    )
    pace = f"; {before:.0f} s to the first batch"
    if rest and provenance["rest_seconds"]:
        pace += f", then {rest / provenance['rest_seconds']:.1f} images/s"
    return pace


def _iou_types(asked: AskedType, data: EvalData, every: Sequence[Found]) -> list[IouType]:
    """The types to score; what is asked for and not there is left to the scorer to refuse."""
    if asked == "both":
        return ["bbox", "segm"]
    if asked != "auto":
        return [asked]
    types: list[IouType] = ["bbox"]
    if all(one.detections.masks is not None and one.detections.num for one in every):
        # Mask AP is not left out in silence because one annotation lacks its mask.
        check_all_masked(data.truth)
    if data.truth.masks is not None and all(one.detections.masks is not None for one in every):
        types.append("segm")
    return types


def _of_masks(found: Found, types: Sequence[IouType], asked: AskedType) -> list[str]:
    """Says where boxes are made of masks, and where masks are not scored, unasked."""
    detections = found.detections
    notes = []
    if detections.areas is not None and "bbox" in types:
        notes.append("it holds masks alone; its boxes are those around them, as in pycocotools")
    has_masks = detections.masks is not None and detections.num > 0
    if has_masks and "segm" not in types and asked == "auto":
        notes.append("its masks are not scored")
    return notes


def _caveats(data: EvalData, *, reported: bool) -> tuple[str, ...]:
    found = []
    images = data.truth.num_images
    if images < _FEW_IMAGES:
        found.append(
            f"Do not conclude much from {images} images: AP depends on which images they are."
        )
    if data.is_drawn:
        found.append("Do not conclude anything about COCO: these are drawn shapes.")
    if reported and images != COCO_VAL_IMAGES:
        found.append(
            "Do not conclude that the reported numbers were reached or missed: they were measured "
            f"on {COCO_VAL_IMAGES:,} images of COCO, these of {images:,}."
        )
    if (data.truth.ids == 0).any():
        found.append(
            "Do not conclude that all that was found was counted: COCO's own evaluation never "
            "counts the annotation with the id 0 as found, and counts what finds it as wrong. "
            "Number annotations from 1."
        )
    if data.sample_1_of_n > 1:
        found.append(
            "Do not conclude what all images would give: one of"
            f" {data.sample_1_of_n} was evaluated."
        )
    return tuple(found)
