"""Faster R-CNN between its stages: proposals, sampled regions, crops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.model_parts import rounded
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend

_PREFIX = "model.faster_rcnn."
_CROPS = ("initial_crop_size", "maxpool_kernel_size", "maxpool_stride")
_COMPARED = (
    "first_stage_minibatch_size",
    "first_stage_positive_balance_fraction",
    "first_stage_nms_score_threshold",
    "first_stage_nms_iou_threshold",
    "second_stage_batch_size",
    "second_stage_balance_fraction",
)


class SecondStage(Rule):
    """The second stage sees other or fewer regions than the reference's.

    Anti-pattern

        first_stage_max_proposals: 50

    without lowering second_stage_batch_size, whose default is 64: the OD API stops. With both
    lowered, small objects lose their proposals.

    Best practice

    300 proposals and 64 regions an image; a crop of 14 with a max pooling of 2 (ResNet), or of 17
    with 1 (Inception ResNet v2).

    Source

    builders/model_builder._build_faster_rcnn_model ('second_stage_batch_size should be no greater
    than first_stage_max_proposals'), faster_rcnn_meta_arch (without maxpool_kernel_size there is no
    pooling layer to call). Huang et al. 2016, arXiv 1611.10012, section 4.1.6.
    """

    code: ClassVar[str] = "MOD015"
    name: ClassVar[str] = "model.second_stage"
    causes: ClassVar[tuple[str, ...]] = (
        "second_stage_refused",
        "proposals_changed",
        "second_stage_changed",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for what is refused, then compares proposals, then the rest."""
        if subject.pipeline.meta_architecture != "faster_rcnn":
            return
        yield from self._refused(subject)
        if not subject.same_architecture:
            return
        yield from self._proposals(subject)
        changed = [
            (name, ours, theirs)
            for name, ours, theirs in _differences(subject, (*_COMPARED, *_CROPS))
            if name not in _CROPS or ours > 0
        ]
        if changed:
            fewer = any(
                name == "second_stage_batch_size" and ours < 0.5 * theirs
                for name, ours, theirs in changed
            )
            yield self.finding(
                "second_stage_changed",
                Severity.WARNING if fewer else Severity.INFO,
                fields=[_PREFIX + name for name, _, _ in changed],
                found=", ".join(f"{name} {ours:g}" for name, ours, _ in changed),
                expected=", ".join(f"{name} {theirs:g}" for name, _, theirs in changed),
                why="These set which regions the losses see and at what resolution they are "
                "cropped; published numbers for them alone are lacking.",
                loss_ap=1.0 if fewer else 0.3,  # judged
                fix=[
                    FieldFix(_PREFIX + name, int(theirs) if theirs == int(theirs) else theirs)
                    for name, _, theirs in changed
                ],
            )

    def _refused(self, subject: Subject) -> Iterator[Finding]:
        regions = _number(subject.pipeline, "second_stage_batch_size")
        proposals = _number(subject.pipeline, "first_stage_max_proposals")
        if regions > proposals:
            yield self.finding(
                "second_stage_refused",
                Severity.FATAL,
                fields=[
                    f"{_PREFIX}second_stage_batch_size",
                    f"{_PREFIX}first_stage_max_proposals",
                ],
                found=f"{regions:g} regions are sampled from {proposals:g} proposals",
                expected="second_stage_batch_size (64 by default) at most "
                "first_stage_max_proposals",
                why="The OD API stops while it builds the model.",
                fix=[FieldFix(f"{_PREFIX}second_stage_batch_size", int(max(proposals, 1)))],
            )
        unset = [name for name in _CROPS if _number(subject.pipeline, name) <= 0]
        if unset and _number(subject.pipeline, "number_of_stages") >= 2:
            yield self.finding(
                "second_stage_refused",
                Severity.FATAL,
                fields=[_PREFIX + name for name in unset],
                found=", ".join(f"{name} is 0" for name in unset),
                expected="all three set; their defaults are 0",
                why="A crop of no size or a pooling of no size cannot be built.",
                fix=[
                    FieldFix(_PREFIX + name, int(_number(subject.reference_pipeline, name)))
                    for name in unset
                ]
                if subject.same_architecture
                else [],
            )

    def _proposals(self, subject: Subject) -> Iterator[Finding]:
        name = "first_stage_max_proposals"
        ours = _number(subject.pipeline, name)
        theirs = _number(subject.reference_pipeline, name)
        if ours == theirs:
            return
        few = ours < 0.7 * theirs
        loss_ap, evidence = _proposals_cost(ours) if few else (0.0, ())
        yield self.finding(
            "proposals_changed",
            Severity.WARNING if few else Severity.INFO,
            fields=[_PREFIX + name],
            found=f"{ours:g} proposals an image",
            expected=f"{theirs:g}",
            why="An object without a proposal cannot be found, and crowded images run out first."
            if few
            else "More proposals cost time and seldom AP; a few fewer hardly show.",
            loss_ap=loss_ap,
            evidence=evidence,
            fix=[FieldFix(_PREFIX + name, int(theirs))],
        )


def _proposals_cost(proposals: float) -> tuple[float, tuple[Evidence, ...]]:
    """AP lost against 300 proposals, after the two published points."""
    if proposals <= 20:
        return 6.4, published("proposals_300_10")
    return (1.4 if proposals <= 75 else 0.7), published("proposals_300_50")


def _number(pipeline: Pipeline, name: str) -> float:
    return rounded(descend(pipeline.model, name))


def _differences(subject: Subject, names: tuple[str, ...]) -> list[tuple[str, float, float]]:
    pairs = [
        (name, _number(subject.pipeline, name), _number(subject.reference_pipeline, name))
        for name in names
    ]
    return [(name, ours, theirs) for name, ours, theirs in pairs if abs(ours - theirs) > 1e-6]
