"""Another backbone, or a smaller neck or head, than the reference's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.model_parts import box_predictor, is_smaller_part
from odapi_repro.diagnosis.rules.model.restoring import restoring
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend
from odapi_repro.reference import REFERENCES, Reference


@dataclass(frozen=True)
class _Width:
    """A number that sets how large a part of the network is.

    Attributes:
        path: dotted path.
        words: the part.
        restored: the weakest checkpoint type that restores it, in backticks.
    """

    path: str
    words: str
    value: float
    restored: str = "`detection`"


class BackboneChanged(Rule):
    """The network is not the one that the reference's number was reported for.

    Anti-pattern

        feature_extractor { type: "ssd_efficientnet-b0_bifpn_keras" }

    compared with the number of EfficientDet-D3; or a BiFPN of fewer filters under a checkpoint
    whose BiFPN has more.

    Best practice

    Compare with the reference of the same feature extractor (`--reference`; left out, the nearest
    is taken). In EfficientDet, backbone, BiFPN, head and image size belong together.

    Source

    TF2 detection zoo: differences between members of one family. Tan et al. 2020, arXiv 1911.09070,
    table 1. builders/model_builder._build_ssd_feature_extractor, and
    models/ssd_efficientnet_bifpn_feature_extractor, which cannot be built without `bifpn`.
    """

    code: ClassVar[str] = "MOD014"
    name: ClassVar[str] = "model.backbone"
    causes: ClassVar[tuple[str, ...]] = ("backbone_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the type of the feature extractor, then the widths and depths around it."""
        ours, theirs = _type(subject.pipeline), _type(subject.reference_pipeline)
        needs_bifpn = subject.pipeline.meta_architecture == "ssd" and "_bifpn" in ours
        if needs_bifpn and not _extractor(subject.pipeline).HasField("bifpn"):
            yield self._without_bifpn(subject)
        if not subject.same_architecture:
            yield self.finding(
                "backbone_changed",
                Severity.INFO,
                fields=["model"],
                found=f"a {subject.pipeline.meta_architecture} model",
                expected=f"{subject.reference_pipeline.meta_architecture}, as in "
                f"{subject.reference.name}",
                why="Models of two kinds share few settings, so little of the two configs can be "
                "compared, and the reported number is of another model.",
            )
        elif ours != theirs:
            yield self._other(subject, ours, theirs)
        else:
            yield from self._widths(subject)

    def _without_bifpn(self, subject: Subject) -> Finding:
        path = "model.ssd.feature_extractor.bifpn"
        same = _type(subject.reference_pipeline) == _type(subject.pipeline)
        known = _extractor(subject.reference_pipeline) if same else None
        names = ("min_level", "max_level", "num_iterations", "num_filters")
        return self.finding(
            "backbone_changed",
            Severity.FATAL,
            fields=["model.ssd.feature_extractor"],
            found="an EfficientNet extractor without bifpn",
            expected="bifpn { min_level max_level num_iterations num_filters }",
            why="The extractor's constructor asks for these four; the OD API stops.",
            fix=[FieldFix(f"{path}.{name}", int(getattr(known.bifpn, name))) for name in names]
            if known is not None
            else [],
        )

    def _other(self, subject: Subject, ours: str, theirs: str) -> Finding:
        own = _reference_with(ours, subject.reference)
        difference = None
        expected_ap = subject.reference.reported_value("AP")
        if own is not None and expected_ap is not None:
            own_ap = own.reported_value("AP")
            difference = own_ap - expected_ap if own_ap is not None else None
        smaller = difference is not None and difference < -0.3
        evidence: tuple[Evidence, ...] = ()
        if own is not None and difference is not None:
            evidence = (
                Evidence(
                    round(difference, 1),
                    own.reported[0].source,
                    f"{subject.reference.name} -> {own.name}, reported",
                ),
            )
        return self.finding(
            "backbone_changed",
            Severity.WARNING if smaller else Severity.INFO,
            fields=[f"model.{subject.pipeline.meta_architecture}.feature_extractor.type"],
            found=f"feature extractor {ours or '(unset)'}",
            expected=theirs,
            why="The reported number is of another network"
            + (f"; for this one {own.name} is the reference." if own is not None else "."),
            loss_ap=abs(difference) if difference is not None and smaller else 0.0,
            evidence=evidence,
        )

    def _widths(self, subject: Subject) -> Iterator[Finding]:
        theirs = {one.path: one for one in _widths(subject.reference_pipeline)}
        changed = [
            (one, theirs[one.path])
            for one in _widths(subject.pipeline)
            if one.path in theirs and one.value != theirs[one.path].value
        ]
        if not changed:
            return
        smaller = any(is_smaller_part(one.value, other.value) for one, other in changed)
        held = min((one.restored for one, _ in changed), default="`full`")
        yield self.finding(
            "backbone_changed",
            Severity.WARNING if smaller else Severity.INFO,
            fields=[one.path for one, _ in changed],
            found=", ".join(f"{one.words} {one.value:g}" for one, _ in changed),
            expected=", ".join(f"{other.words} {other.value:g}" for _, other in changed),
            why="The network is of another size than the one that was reported."
            + restoring(subject, "these layers", held),
            loss_ap=1.3 if smaller else 0.0,  # judged, as one step of backbone depth
            evidence=published("backbone_101_50") if smaller else (),
            fix=[
                FieldFix(
                    other.path,
                    other.value if other.value != int(other.value) else int(other.value),
                )
                for _, other in changed
            ],
        )


def _extractor(pipeline: Pipeline) -> Any:
    return descend(pipeline.model, "feature_extractor")


def _type(pipeline: Pipeline) -> str:
    if pipeline.meta_architecture not in ("ssd", "faster_rcnn", "center_net"):
        return ""
    return str(_extractor(pipeline).type)


def _reference_with(extractor: str, near: Reference) -> Reference | None:
    """Gives the reference with an extractor that is nearest in size and task to another one."""
    fitting = [
        one
        for one in REFERENCES.values()
        if one.feature_extractor == extractor and one.recipe == near.recipe
    ]
    height = near.image_size[0]
    return min(
        fitting,
        key=lambda one: (
            one.predicts_masks != near.predicts_masks,
            one.predicts_keypoints != near.predicts_keypoints,
            abs(one.image_size[0] - height),
        ),
        default=None,
    )


def _widths(pipeline: Pipeline) -> Iterator[_Width]:
    """Gives the widths and depths of neck and head, where the proto has them."""
    architecture = pipeline.meta_architecture
    if architecture not in ("ssd", "faster_rcnn"):
        return
    extractor = _extractor(pipeline)
    path = f"model.{architecture}.feature_extractor"
    if architecture == "ssd":
        yield _Width(f"{path}.depth_multiplier", "depth multiplier", extractor.depth_multiplier)
        if extractor.HasField("bifpn"):
            bifpn = extractor.bifpn
            yield _Width(f"{path}.bifpn.num_iterations", "BiFPN layers", bifpn.num_iterations)
            yield _Width(f"{path}.bifpn.num_filters", "BiFPN filters", bifpn.num_filters)
    if extractor.HasField("fpn"):
        depth = extractor.fpn.additional_layer_depth
        yield _Width(f"{path}.fpn.additional_layer_depth", "FPN filters", depth)
    predictor = box_predictor(pipeline)
    for name, words in (
        ("depth", "head filters"),
        ("num_layers_before_predictor", "head layers"),
        ("mask_prediction_num_conv_layers", "mask head layers"),
    ):
        if predictor.message is not None and hasattr(predictor.message, name):
            value = float(getattr(predictor.message, name))
            yield _Width(predictor.at(name), words, value, "`full`")
    if architecture == "faster_rcnn":
        depth = descend(pipeline.model, "first_stage_box_predictor_depth")
        where = "model.faster_rcnn.first_stage_box_predictor_depth"
        yield _Width(where, "proposal head filters", float(depth), "`full`")
