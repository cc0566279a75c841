"""Batch-norm averages that move too fast, too slowly for the run, or not at all."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from odapi_repro.diagnosis.filled_fields import FieldValue, filled_fields
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.model_parts import rounded
from odapi_repro.diagnosis.rules.schedule.comparison import number, run_steps, start_of
from odapi_repro.diagnosis.subject import Subject

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
