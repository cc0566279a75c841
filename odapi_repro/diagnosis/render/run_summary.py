"""What a finished run's files say, in a few lines and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from odapi_repro.diagnosis.outcome import Diagnosis
from odapi_repro.diagnosis.run_rule import RunSubject
from odapi_repro.page.numbers import count_of

if TYPE_CHECKING:
    from odapi_repro.diagnosis.finished_run import RunHistory


def run_facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Gives (label, text) pairs: how far it came, its loss and rate, metrics, checkpoints.

    Nothing without a run.
    """
    history = diagnosis.history
    if history is None:
        return []
    facts = [("folder", str(history.path))]
    reached = "-" if history.steps_reached is None else f"{history.steps_reached:,}"
    speed = history.steps_per_second
    pace = f", {speed:.3g} steps a second" if speed else ""
    starts = f", {count_of(history.restarts, 'restart')}" if history.restarts else ""
    facts.append(("reached", f"step {reached}{pace}{starts}"))
    losses = history.losses.get("total_loss", ())
    finite = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    if finite:
        (first, start), (last, end) = finite[0], finite[-1]
        facts.append(("loss", f"{start:.4g} at step {first:,}, {end:.4g} at step {last:,}"))
    if history.learning_rates:
        rates = [rate for _, rate in history.learning_rates]
        step, rate = history.learning_rates[-1]
        facts.append(("rate", f"up to {max(rates):.4g}; {rate:.4g} at step {step:,}"))
    scored = [(one.step, one.metrics["AP"]) for one in history.evaluations if "AP" in one.metrics]
    if scored:
        best = max(scored, key=lambda one: one[1])
        told = f"{scored[-1][1]:.1f} at step {scored[-1][0]:,}"
        if best[0] != scored[-1][0]:
            told += f"; best {best[1]:.1f} at step {best[0]:,}"
        facts.append(("AP", told + _gap(diagnosis, history, scored[-1][1])))
    if history.checkpoints:
        saved = history.last_checkpoint
        last_saved = f", the last of step {saved.step:,}" if saved and saved.step else ""
        facts.append(("saved", f"{count_of(len(history.checkpoints), 'checkpoint')}{last_saved}"))
    facts.extend(("unread", note) for note in history.damage)
    return facts


def _gap(diagnosis: Diagnosis, history: RunHistory, ap: float) -> str:
    """Gives how far the reported AP is, where both are of COCO's val2017 by the file names."""
    reported = diagnosis.reference.reported_value("AP") if diagnosis.reference else None
    if reported is None or not RunSubject(history, diagnosis.subject).evaluates_coco:
        return ""
    side = "below" if ap < reported else "above"
    return f"; {abs(reported - ap):.1f} {side} the reported {reported:g}"


def run_json(history: RunHistory) -> dict[str, Any]:
    """Gives the facts of the run for programs; every number as it is in the files."""
    return {
        "model_dir": str(history.path),
        "steps_reached": history.steps_reached,
        "steps_per_second": history.steps_per_second,
        "first_nonfinite_step": history.first_nonfinite_step,
        "restarts": history.restarts,
        "images_evaluated": history.images_evaluated,
        "evaluations": [
            {"step": one.step, "reader": one.reader, "metrics": dict(one.metrics)}
            for one in history.evaluations
        ],
        "checkpoints": [
            {"prefix": str(one.prefix), "step": one.step, "fault": one.fault}
            for one in history.checkpoints
        ],
        "damage": list(history.damage),
    }
