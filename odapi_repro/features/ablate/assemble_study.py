"""From a study's record and its trials on disk to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from odapi_repro.factors import FACTORS, factor_named
from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.plan import Plan
from odapi_repro.features.ablate.study_record import StudyRecord
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.files.losses_csv import read_losses
from odapi_repro.files.trial_files import LOSSES
from odapi_repro.page.blocks import code, marked
from odapi_repro.reference import reference_of
from odapi_repro.trials.store import TrialStore
from odapi_repro.trials.trial_rows import trial_row


def assemble_report(
    record: StudyRecord, plan: Plan, store: TrialStore, *, study: str, command: str
) -> StudyReport:
    """Gives the report of a study as its trials stand now."""
    rows = trial_rows(record, plan, store, study)
    reference = reference_of(plan.pipeline)
    axes = tuple(_axis(name, record, plan) for name in _factor_order(record))
    wall = sum(row["wall_seconds"] or 0.0 for row in rows)
    scale, data = plan.request.scale, plan.data
    noun = "shapes images" if data.source.name == "embedded" else f"images of {data.source.name}"
    evaluated = next((r["num_eval_images"] for r in rows if r["num_eval_images"]), None)
    return StudyReport(
        study=study,
        command=command,
        pipeline=plan.pipeline.path,
        scale=scale,
        trials=pd.DataFrame(rows),
        axes=axes,
        data=f"{evaluated or data.eval.num_examples} {noun}",
        reference_name=reference.name if reference else "",
        reported=reference.reported if reference else (),
        scale_notes=plan.scaled.notes,
        level_mapping=tuple(
            (name, record.axes[name]["full_scale"][level], level)
            for name in _factor_order(record)
            if name in record.axes
            for level in record.axes[name]["levels"]
            if record.axes[name]["full_scale"].get(level, level) != level
        )
        if scale != "full"
        else (),
        held=tuple(_held(name, record) for name in _factor_order(record)),
        seeds=tuple(sorted({trial["seed"] for trial in record.trials.values()})),
        loss_curves={
            trial_id: _loss_curve(store, trial_id, trial["global_batch_size"])
            for trial_id, trial in record.trials.items()
        },
        wall_seconds=wall,
        versions={
            name.removeprefix("stack."): str(value)
            for name, value in record.foundation.items()
            if name.startswith("stack.")
        },
        caveats=_caveats(plan),
        num_train_images=data.train.num_examples,
        num_eval_images=data.eval.num_examples,
    )


def trial_rows(
    record: StudyRecord, plan: Plan, store: TrialStore, study: str
) -> list[dict[str, Any]]:
    """Gives a row a trial, in the columns of `analysis.trials`; cells name every factor."""
    factors = _factor_order(record)
    return [
        trial_row(
            store,
            trial_id,
            trial,
            cell={
                name: trial["cell"].get(name, _reference(name, record, plan)) for name in factors
            },
            foundation=record.foundation,
            study=study,
            pipeline=Path(plan.pipeline.path).stem,
        )
        for trial_id, trial in record.trials.items()
    ]


def _factor_order(record: StudyRecord) -> list[str]:
    named = {*record.axes, *(n for t in record.trials.values() for n in t["cell"])}
    return [name for name in FACTORS if name in named]


def _axis(name: str, record: StudyRecord, plan: Plan) -> Axis:
    axis = record.axes.get(name)
    levels = list(axis["levels"]) if axis else [_reference(name, record, plan)]
    cells = {t["cell"][name] for t in record.trials.values() if name in t["cell"]}
    levels += sorted(cells - set(levels))
    return Axis(
        name=name,
        reference_level=levels[0],
        levels=tuple(levels),
        at=dict(axis["at"]) if axis else {},
        design=record.design,
    )


def _reference(name: str, record: StudyRecord, plan: Plan) -> str:
    if name in record.axes:
        return str(record.axes[name]["levels"][0])
    # A factor that is only held somewhere.
    return factor_named(name).reference_level(plan.setting).label


def _held(name: str, record: StudyRecord) -> str:
    axis = record.axes.get(name)
    if axis is None:
        return f"{code(name)} is not varied; it stands where another factor is studied."
    at = "".join(f" Studied at {other} = {level}." for other, level in axis["at"].items())
    return f"{code(name)}: {marked(factor_named(name).holds)}{at}"


def _caveats(plan: Plan) -> tuple[str, ...]:
    caveats = []
    data = plan.data
    if data.train.digest == data.eval.digest:
        caveats.append("Training and evaluation read the same records: AP measures memorising.")
    if data.eval.num_examples < 100:
        caveats.append(
            f"{data.eval.num_examples} evaluation images: AP moves by points from image to image."
        )
    if not plan.request.deterministic:
        caveats.append("Ops were not deterministic: the same seed gives slightly other numbers.")
    if not plan.request.checkpoint and plan.pipeline.proto.train_config.fine_tune_checkpoint:
        caveats.append(
            "Trials start from random weights, the reference from a pretrained checkpoint."
        )
    return tuple(caveats)


def _loss_curve(store: TrialStore, trial_id: str, batch: int) -> list[tuple[int, float, float]]:
    losses = read_losses(store.folder(trial_id) / LOSSES).series()
    return [(step, float(step * batch), loss) for step, loss in losses]
