"""The cells of a sweep that needs no training, and the forward passes that they share."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odapi_repro.factors.post_hoc import (
    FINAL_NMS,
    DetectionPlan,
    FusionStep,
    PostHocSetting,
    has_nms,
)
from odapi_repro.pipeline import descend

CANDIDATES_PER_KEPT = 5
"""Detections before NMS that are kept for each one after it. Those of low score have next to no
vote; and 5,000 images with 500 detections each are what memory allows."""

CANDIDATE_SCORE = 0.01
"""Score above which a detection is a candidate, where the pipeline's own threshold is lower."""

AS_IS = "as_configured"
_NO_CAP = 10**9


@dataclass(frozen=True)
class PassPlan:
    """One run of a network over all images.

    Attributes:
        name: fit for a folder, and different for what gives different detections.
        checkpoints: indices into those named; of several, weights are averaged.
        model: values by dotted field, set before the model is built.
        flip: detect in the mirrored image.
        scale: multiple of the pipeline's input size.
        variants: name -> post-processing values by dotted field.
    """

    name: str
    checkpoints: tuple[int, ...]
    model: Mapping[str, Any]
    flip: bool
    scale: float
    variants: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Source:
    """A set of detections: a variant of a pass."""

    pass_name: str
    variant: str


@dataclass(frozen=True)
class PostHocCell:
    """One combination of levels and how its detections are made.

    Attributes:
        levels: factor name -> label, of every factor.
        members: the detections that go in; one, unless `step` makes one set of several.
        candidates: the detections before NMS, for the steps that need them.
        step: what is done in NumPy, with its IoU filled in; None for nothing.
        per_class, per_image: caps of the pipeline as this cell has them; None without one.
        class_agnostic: whether the pipeline's NMS suppresses across classes.
        min_score: score threshold of the pipeline as this cell has it.
    """

    levels: Mapping[str, str]
    members: tuple[Source, ...]
    candidates: Source | None
    step: FusionStep | None
    per_class: int | None
    per_image: int | None
    class_agnostic: bool
    min_score: float

    @property
    def recipe(self) -> str:
        """What decides the detections, as canonical JSON: equal recipes, equal detections."""
        if self.step is None:
            made: dict[str, object] = {"members": [vars(one) for one in self.members]}
        else:
            fields = dataclasses.asdict(self)
            made = {name: value for name, value in fields.items() if name != "levels"}
        return json.dumps(made, sort_keys=True)


def make_cell(
    levels: Mapping[str, str],
    plan: DetectionPlan,
    setting: PostHocSetting,
    digests: Sequence[str],
    passes: dict[str, PassPlan],
) -> PostHocCell:
    """Gives the cell of a plan, and adds the passes and variants it needs to `passes`.

    Args:
        levels: factor name -> label, of every factor.
        plan: what they ask for together.
        setting: the pipeline and the number of checkpoints.
        digests: of the checkpoints, in their order.
        passes: by name; those that are there are shared.
    """
    nms = _nms_of(setting, plan.post_processing)
    post_processing = dict(plan.post_processing)
    if nms.path and nms.per_class > nms.per_image:
        # Two caps of a grid; the OD API refuses more of one class than of all.
        nms = dataclasses.replace(nms, per_class=nms.per_image)
        post_processing[f"{nms.path}.max_detections_per_class"] = nms.per_image
    step = plan.step
    if step is not None and step.iou_threshold is None and step.method != "best":
        step = dataclasses.replace(step, iou_threshold=nms.iou_threshold)
    members = []
    for checkpoints, scale, flip in itertools.product(plan.checkpoints, plan.scales, plan.flips):
        indices = tuple(index % setting.num_checkpoints for index in checkpoints)
        name = _pass_name(indices, plan.model, flip, scale, digests)
        one = passes.setdefault(name, PassPlan(name, indices, plan.model, flip, scale, {}))
        members.append(Source(name, _add_variant(passes, one, post_processing)))
    candidates = None
    if step is not None and step.needs_candidates:
        many = CANDIDATES_PER_KEPT * nms.per_image
        loose = {
            "score_threshold": max(nms.score_threshold, CANDIDATE_SCORE),
            "iou_threshold": 1.0,
            "soft_nms_sigma": 0.0,
            "max_detections_per_class": many,
            "max_total_detections": many,
        }
        fields = {**post_processing, **{f"{nms.path}.{k}": v for k, v in loose.items()}}
        one = passes[members[0].pass_name]
        candidates = Source(one.name, _add_variant(passes, one, fields))
    return PostHocCell(
        levels,
        tuple(members),
        candidates,
        step,
        None if nms.class_agnostic or nms.per_class == _NO_CAP else nms.per_class,
        None if nms.per_image == _NO_CAP else nms.per_image,
        nms.class_agnostic,
        nms.score_threshold,
    )


@dataclass(frozen=True)
class _Nms:
    """The last NMS of a pipeline as a cell has it; `path` is empty where there is none."""

    path: str = ""
    score_threshold: float = 0.0
    iou_threshold: float = 0.6
    per_class: int = _NO_CAP
    per_image: int = _NO_CAP
    class_agnostic: bool = False


def _nms_of(setting: PostHocSetting, changed: Mapping[str, Any]) -> _Nms:
    pipeline = setting.pipeline
    if not has_nms(pipeline):
        if pipeline.meta_architecture == "center_net":
            peaks = pipeline.proto.model.center_net.object_center_params.max_box_predictions
            return _Nms(per_image=int(peaks))
        return _Nms()
    path = FINAL_NMS[pipeline.meta_architecture]

    def value(name: str) -> Any:
        field = f"{path}.{name}"
        found = changed[field] if field in changed else descend(pipeline.proto, field)
        # float32 of the proto: seven digits are what was written.
        return float(f"{found:.7g}") if isinstance(found, float) else found

    return _Nms(
        path,
        value("score_threshold"),
        value("iou_threshold"),
        value("max_detections_per_class"),
        value("max_total_detections"),
        value("use_class_agnostic_nms"),
    )


def _add_variant(
    passes: dict[str, PassPlan], one: PassPlan, post_processing: Mapping[str, Any]
) -> str:
    name = _variant_name(post_processing)
    current = passes[one.name]
    if name not in current.variants:
        variants = {**current.variants, name: dict(post_processing)}
        passes[one.name] = dataclasses.replace(current, variants=variants)
    return name


def _variant_name(post_processing: Mapping[str, Any]) -> str:
    parts = [
        f"{path.rsplit('.', 1)[-1]}={value:g}" for path, value in sorted(post_processing.items())
    ]
    return ",".join(parts) or AS_IS


def _pass_name(
    checkpoints: tuple[int, ...],
    model: Mapping[str, Any],
    flip: bool,
    scale: float,
    digests: Sequence[str],
) -> str:
    """Gives a name that says what differs, with a hash of everything that decides."""
    weights = [digests[index] for index in checkpoints]
    decides = json.dumps([weights, sorted(model.items()), flip, scale])
    parts = [
        *([f"mean_of_{len(checkpoints)}"] if len(checkpoints) > 1 else []),
        *(f"{path.rsplit('.', 1)[-1]}={value:g}" for path, value in sorted(model.items())),
        *(["flip"] if flip else []),
        *([f"scale={scale:g}"] if scale != 1.0 else []),
    ]
    return f"{','.join(parts) or 'plain'}-{hashlib.sha256(decides.encode()).hexdigest()[:8]}"
