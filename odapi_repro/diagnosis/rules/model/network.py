"""Rules about the network: its backbone, layers and heads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from google.protobuf.message import Message

from odapi_repro.diagnosis.filled_fields import FieldValue, filled_fields
from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.learning_rate import number, run_steps, start_of
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend
from odapi_repro.reference import REFERENCES, Reference


@dataclass(frozen=True)
class Part:
    """One choice of a oneof: what was chosen, its message, and where it lies.

    Attributes:
        kind: name of the chosen field; empty when none is.
        message: the chosen message; None when none is.
        path: dotted path of the message that holds the oneof.
    """

    kind: str
    message: Any
    path: str

    @property
    def chosen_path(self) -> str:
        """Path of the chosen message, or of the message that should hold one."""
        return f"{self.path}.{self.kind}" if self.kind else self.path

    def at(self, field: str) -> str:
        """Path of a field of the chosen message."""
        return f"{self.chosen_path}.{field}"


def choice(message: Message, oneof: str, path: str) -> Part:
    """Gives what is chosen in a oneof of a message that lies at `path`."""
    kind = message.WhichOneof(oneof)
    return Part(str(kind or ""), getattr(message, kind) if kind else None, path)


def classification_loss(pipeline: Pipeline) -> Part:
    """Gives the loss of the classes; Faster R-CNN's second stage, where unset means softmax."""
    if pipeline.meta_architecture == "ssd":
        loss, path = "loss.classification_loss", "model.ssd.loss.classification_loss"
    elif pipeline.meta_architecture == "faster_rcnn":
        loss = "second_stage_classification_loss"
        path = f"model.faster_rcnn.{loss}"
    elif pipeline.meta_architecture == "center_net":
        loss = "object_center_params.classification_loss"
        path = f"model.center_net.{loss}"
    else:
        return Part("", None, "model")
    found = choice(descend(pipeline.model, loss), "classification_loss", path)
    if not found.kind and pipeline.meta_architecture == "faster_rcnn":
        # losses_builder.build_faster_rcnn_classification_loss
        return Part("weighted_softmax", found.message, path)
    return found


def localization_loss(pipeline: Pipeline) -> Part:
    """Gives the loss of the boxes; Faster R-CNN's is fixed and has no field."""
    if pipeline.meta_architecture == "ssd":
        loss, path = "loss.localization_loss", "model.ssd.loss.localization_loss"
    elif pipeline.meta_architecture == "center_net":
        loss = "object_detection_task.localization_loss"
        path = f"model.center_net.{loss}"
    else:
        return Part("", None, "model")
    return choice(descend(pipeline.model, loss), "localization_loss", path)


def box_predictor(pipeline: Pipeline) -> Part:
    """Gives SSD's box predictor, or that of Faster R-CNN's second stage."""
    if pipeline.meta_architecture == "ssd":
        name = "box_predictor"
    elif pipeline.meta_architecture == "faster_rcnn":
        name = "second_stage_box_predictor"
    else:
        return Part("", None, "model")
    path = f"model.{pipeline.meta_architecture}.{name}"
    return choice(descend(pipeline.model, name), "box_predictor_oneof", path)


def anchor_generator(pipeline: Pipeline) -> Part:
    """Gives SSD's anchors, or those of Faster R-CNN's first stage."""
    if pipeline.meta_architecture == "ssd":
        name = "anchor_generator"
    elif pipeline.meta_architecture == "faster_rcnn":
        name = "first_stage_anchor_generator"
    else:
        return Part("", None, "model")
    path = f"model.{pipeline.meta_architecture}.{name}"
    return choice(descend(pipeline.model, name), "anchor_generator_oneof", path)


def image_resizer(pipeline: Pipeline) -> Part:
    """Gives the resizer; experimental models have none."""
    if pipeline.meta_architecture not in ("ssd", "faster_rcnn", "center_net"):
        return Part("", None, "model")
    path = f"model.{pipeline.meta_architecture}.image_resizer"
    return choice(descend(pipeline.model, "image_resizer"), "image_resizer_oneof", path)


def ratio(value: float, reference: float) -> float:
    """Gives value / reference; NaN where it means nothing, so that no comparison holds."""
    if not reference or not math.isfinite(value) or not math.isfinite(reference):
        return math.nan
    return value / reference


def rounded(value: float) -> float:
    """Gives a float as it would be written: float32 holds 7 significant digits."""
    return float(f"{value:.7g}")


def is_smaller_part(value: float, reference: float, share: float = 0.95) -> bool:
    """Whether a value is below `share` of the reference's."""
    return ratio(value, reference) < share


_REACH = {"detection": ("`detection`",), "full": ("`detection`", "`full`")}


def restoring(subject: Subject, part: str, kind: str) -> str:
    """Gives a sentence where the checkpoint holds the part, which then no longer fits; or nothing.

    Args:
        subject: the config.
        part: what was changed, e.g. `the BiFPN`.
        kind: the weakest checkpoint type that restores it, in backticks.
    """
    if kind not in _REACH.get(subject.quantities.checkpoint_restore, ()):
        return ""
    return (
        f" A checkpoint of the reference's model holds {part} in its own shape, which cannot be "
        "restored into another."
    )


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


_LAYER = re.compile(
    r"hyperparams\.(activation|force_use_bias|initializer|regularizer|regularize_depthwise)"
    r"|\.(use_dropout|dropout_keep_probability|override_base_feature_extractor_hyperparams)$"
    r"|batch_norm\.(epsilon|center|scale)$"
    r"|box_predictor\.(kernel_size|use_depthwise|share_prediction_tower)$"
)
_L2 = re.compile(r"l2_regularizer\.weight$|l1_regularizer\.weight$")
_SPREAD = re.compile(r"(random|truncated)_normal_initializer\.stddev$")
# Reference weights are at most 4e-4, and their spreads at most 0.03.
_HIGHEST_L2 = 0.02
_HIGHEST_SPREAD = 0.3
_MOST_TOLD = 4


class LayerSettings(Rule):
    """Layers are initialised, regularised or activated otherwise than in the reference.

    The protos' own defaults are traps: an l2_regularizer without a weight has 1.0, an initializer
    without a stddev has 1.0.

    Anti-pattern

        regularizer { l2_regularizer { } }
        initializer { truncated_normal_initializer { } }

    Best practice

    Copy the whole conv_hyperparams block, with its numbers, from the reference. Where the weight
    decay of the backbone is meant, note that it follows this block only with
    `override_base_feature_extractor_hyperparams: true`.

    Source

    protos/hyperparams.proto (defaults), builders/hyperparams_builder._build_keras_regularizer and
    _build_initializer. No published number was found for any of these alone.
    """

    code: ClassVar[str] = "MOD017"
    name: ClassVar[str] = "model.layer_settings"
    causes: ClassVar[tuple[str, ...]] = ("layer_settings_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for the traps, then lists what differs."""
        if subject.pipeline.meta_architecture not in ("ssd", "faster_rcnn"):
            return
        ours = _layers(filled_fields(subject.pipeline))
        traps = list(self._traps(ours))
        yield from traps
        if not subject.same_architecture:
            return
        theirs = _layers(filled_fields(subject.reference_pipeline))
        differing = [path for path in ours if path in theirs and _differ(ours[path], theirs[path])]
        # What stands on one side only belongs to another kind of initializer or predictor.
        exchanged = [path for path in ours if path not in theirs and "initializer." in path]
        told_before = {path for trap in traps for path in trap.fields}
        told = [path for path in differing + exchanged if path not in told_before]
        if not told:
            return
        yield self.finding(
            "layer_settings_changed",
            Severity.INFO,
            fields=told,
            found=_listed([_shown(path, ours[path]) for path in told]),
            expected=_listed([_shown(path, theirs[path]) for path in told if path in theirs])
            or "the reference's initializer",
            why="Published numbers for these alone are lacking; a checkpoint that is restored "
            "keeps its weights, whatever the initializer.",
            loss_ap=0.2,  # judged
            fix=[FieldFix(path, _written(theirs[path])) for path in told if path in theirs],
            count=len(told),
        )

    def _traps(self, ours: Mapping[str, FieldValue]) -> Iterator[Finding]:
        for pattern, highest, words, usual in (
            (_L2, _HIGHEST_L2, "weight decay", "4e-05 or so; without a weight it is 1"),
            (_SPREAD, _HIGHEST_SPREAD, "initial weights with a spread", "0.01 to 0.03; unset is 1"),
        ):
            paths = [
                path
                for path, value in ours.items()
                if pattern.search(path) and isinstance(value, float) and not value <= highest
            ]
            if not paths:
                continue
            yield self.finding(
                "layer_settings_changed",
                Severity.CRITICAL,
                fields=paths,
                found=f"{words} of {ours[paths[0]]:g}",
                expected=usual,
                why="The weights are pulled to zero faster than they learn."
                if pattern is _L2
                else "Layers of hundreds of inputs then give values tens of times too large; "
                "training diverges.",
                loss_ap=20.0,  # judged
                fix=[FieldFix(path, 4e-5 if pattern is _L2 else 0.01) for path in paths],
                count=len(paths),
            )


def _layers(fields: Mapping[str, FieldValue]) -> dict[str, FieldValue]:
    return {path: value for path, value in fields.items() if _LAYER.search(path)}


def _differ(one: FieldValue, other: FieldValue) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return not abs(one - other) <= 1e-6 * max(abs(one), abs(other))
    return one != other


def _written(value: FieldValue) -> FieldValue:
    return rounded(value) if isinstance(value, float) else value


def _shown(path: str, value: FieldValue) -> str:
    shown = str(value).lower() if isinstance(value, bool) else value
    shown = f"{shown:g}" if isinstance(shown, float) else shown
    return f"{'.'.join(path.split('.')[-2:])} {shown}"


def _listed(words: list[str]) -> str:
    kept = list(dict.fromkeys(words))
    more = len(kept) - _MOST_TOLD
    return ", ".join(kept[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")


_DECAY = re.compile(r"^model\..*batch_norm\.decay$")
_USUAL = 0.99
_SHORT = 0.5  # below it, an average is of less than two batches
_LEFT = 0.3  # share of the starting values at the end from which they still decide

_Outcome = tuple[Severity, float, str, str]


class BatchnormDecay(Rule):
    """The averages of batch norm do not fit the run.

    Training normalises with the batch's own statistics, evaluation with their moving averages. The
    decay says how much of the average stays at a step: at 0 it is the last batch's, at 0.9997 it
    takes 10,000 steps to arrive, at 1 it never moves.

    Anti-pattern

        batch_norm { decay: 0.0 }
        batch_norm { decay: 0.9997 }     # in a run of 2,000 steps

    Best practice

    0.97 to 0.997, as in the reference configs; the shorter the run, the lower.

    Source

    builders/hyperparams_builder.KerasLayerHyperparams: decay is Keras' momentum, so that a share of
    decay ** steps of the starting values is left at the end: those of the checkpoint in layers that
    it restores, mean 0 and variance 1 in others. Unset is 0.999. It reaches FPN, heads and, with
    override_base_feature_extractor_hyperparams, the backbone. No published number was found.
    """

    code: ClassVar[str] = "MOD021"
    name: ClassVar[str] = "model.batchnorm_decay"
    causes: ClassVar[tuple[str, ...]] = ("layer_settings_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Tells the fields with one decay together."""
        if subject.quantities.batchnorm == "frozen":
            return
        ours = _decays(filled_fields(subject.pipeline))
        theirs = _decays(filled_fields(subject.reference_pipeline))
        # NaN equals nothing, itself included: values are told apart as they are written.
        for shown in sorted({f"{value:g}" for value in ours.values()}):
            decay = float(shown)
            paths = [path for path, value in ours.items() if f"{value:g}" == shown]
            usual = {path: theirs.get(path, _USUAL) for path in paths}
            outcome = _outcome(subject, decay, max(usual.values()))
            if outcome is None:
                continue
            severity, loss_ap, found, why = outcome
            yield self.finding(
                "layer_settings_changed",
                severity,
                fields=paths,
                found=f"batch_norm.decay {decay:g}: {found}",
                expected=f"{usual[paths[0]]:g}",
                why=why,
                loss_ap=loss_ap,  # judged
                fix=[FieldFix(path, usual[path]) for path in paths if usual[path] != decay],
                count=len(paths),
            )


def _decays(fields: Mapping[str, FieldValue]) -> dict[str, float]:
    return {
        path: rounded(value)
        for path, value in fields.items()
        if _DECAY.search(path) and isinstance(value, float)
    }


def _outcome(subject: Subject, decay: float, usual: float) -> _Outcome | None:
    """Severity, AP at stake, what the decay does and what follows; None where it fits."""
    steps, restored = run_steps(subject), start_of(subject.pipeline) == "detector"
    if not 0 <= decay <= 1:
        return (
            Severity.CRITICAL,
            30.0,
            "the averages are no numbers"
            if math.isnan(decay)
            else "the averages grow without bound"
            if decay > 1
            else "the averages swing",
            "Evaluation normalises with these averages, which are then no statistics of the data.",
        )
    if decay < _SHORT:
        return (
            Severity.WARNING,
            2.0,
            "the averages are those of the last batch" + ("" if decay == 0 else " or two"),
            "Evaluation normalises with what the last images happened to be, not with an average "
            "over the data.",
        )
    left = decay**steps if steps else 0.0
    if left < _LEFT or (restored and decay <= usual):
        return None
    found = (
        "the averages never move"
        if decay == 1
        else f"after {number(steps)} steps {left:.0%} of the averages are their starting values"
    )
    why = (
        "Evaluation normalises with the statistics of the checkpoint's data and weights, training "
        "with those of its own."
        if restored
        else "Evaluation normalises with them: mean 0 and variance 1 in layers that start from "
        "random weights, while training uses each batch's own."
    )
    severity = Severity.CRITICAL if decay == 1 and not restored else Severity.WARNING
    return severity, 1.0 if restored else 5.0, found, why
