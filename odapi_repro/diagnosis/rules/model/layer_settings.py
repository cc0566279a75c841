"""Activation, initialization, weight decay and dropout of the layers that the proto sets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from odapi_repro.diagnosis.filled_fields import FieldValue, filled_fields
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.model_parts import rounded
from odapi_repro.diagnosis.subject import Subject

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
