"""What records and a finished run hold, as sections of a page and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from odapi_repro.diagnosis.outcome import Diagnosis
from odapi_repro.diagnosis.render.diagnosis_wording import labelled
from odapi_repro.diagnosis.rule import RunSubject
from odapi_repro.page.blocks import Facts, Section, Table, code
from odapi_repro.page.numbers import count_of

if TYPE_CHECKING:
    from odapi_repro.datasets.census.split_census import DataFacts, SplitFacts
    from odapi_repro.diagnosis.finished_run import RunHistory


# --- What records hold, as a section of a page and as JSON ---


_HEADS = {"train": "training", "eval": "evaluation"}
_MOST_CLASSES = 12
_WIDEST = 60  # letters of a cell; a class may have thousands


def data_section(data: DataFacts) -> Section:
    """Gives the numbers of each split, then what was and what was not looked at."""
    cells = [_cells(one) for one in data.splits]
    names = dict.fromkeys(name for one in cells for name in one)
    rows = tuple((name, *(one.get(name, "-") for one in cells)) for name in names)
    header = ("", *(_HEADS[one.split] for one in data.splits))
    return Section(
        f"Records: {data.name}", [Table(header, rows, widest=_WIDEST), Facts(tuple(_notes(data)))]
    )


def data_json(data: DataFacts) -> dict[str, Any]:
    """Gives the facts for programs."""
    return {
        "name": data.name,
        "label_map": data.label_map or None,
        "splits": {one.split: _split_json(one) for one in data.splits},
        "compared_with": list(data.compared),
        "not_looked_at": list(data.not_looked_at),
    }


def _notes(data: DataFacts) -> Iterator[tuple[str, str]]:
    if data.pipeline:
        yield "pipeline", code(data.pipeline)
    if data.label_map:
        yield "label map", code(data.label_map)
    yield from labelled("compared", data.compared)
    yield from labelled("not looked at", data.not_looked_at)


def _split_json(facts: SplitFacts) -> dict[str, Any]:
    content = asdict(facts)
    del content["split"]
    return content


def _cells(facts: SplitFacts) -> dict[str, str]:
    shards = f" of {facts.shards_named:,} named" if facts.shards_named > facts.files else ""
    cells = {
        "files": f"{facts.files:,}{shards}",
        "size": f"{facts.bytes / 1e6:,.1f} MB",
        "records": f"{facts.records:,}",
        "images": f"{facts.images:,}",
        "that decode": f"{facts.images_decoded:,}",
        "without boxes": _share(facts.images_empty, facts.images),
    }
    if facts.image_sizes is not None:
        for side, (low, middle, high) in zip(("height", "width"), facts.image_sizes, strict=True):
            cells[f"{side}, pixels"] = f"{low:,} - {high:,}, median {middle:,}"
    median, ninth, most = facts.boxes_per_image
    cells |= {
        "boxes": f"{facts.boxes:,}",
        "an image, median": f"{median:,}",
        "an image, 90 % up to": f"{ninth:,}",
        "an image, most": f"{most:,}",
        "crowd": _share(facts.crowd, facts.boxes),
        "with mask": _share(facts.masks, facts.boxes),
    }
    for word, count in facts.boxes_by_size.items():
        cells[word] = _share(count, facts.boxes)
    classes = facts.objects_by_class
    cells["classes"] = f"{sum(1 for count in classes.values() if count):,} of {len(classes):,}"
    if len(classes) <= _MOST_CLASSES:
        cells |= {f"of {code(name)}": f"{count:,}" for name, count in classes.items()}
    if facts.unknown_class:
        cells["of no class"] = _share(facts.unknown_class, facts.boxes)
    return cells


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({100 * count / whole:.1f} %)" if whole and count else f"{count:,}"


# --- What a finished run's files say, in a few lines and as JSON ---


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
