"""The report of a study: what it is made of, and how it is made of the trials on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from odapi_repro.analysis.level_effects import Contrast, contrasts
from odapi_repro.analysis.trial_table import BOX_METRICS, MASK_METRICS, check_trials, ordered_trials
from odapi_repro.factors import FACTORS, factor_named
from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.study_plan import Plan
from odapi_repro.features.ablate.study_record import StudyRecord
from odapi_repro.files.trial_files import LOSSES, read_losses
from odapi_repro.page.blocks import code, marked
from odapi_repro.reference import ReportedMetric, reference_of
from odapi_repro.trials.record_file import trial_row
from odapi_repro.trials.scales import ScaleNote
from odapi_repro.trials.trial_store import TrialStore

# --- What a study's report is made of, as its command knows it when the trials have run ---


@dataclass(frozen=True, eq=False)
class StudyReport:
    """Everything that results/<study>/ says.

    Attributes:
        study: the name of the study, which is that of its folder.
        command: the exact command line.
        pipeline: the pipeline that was ablated.
        scale: `full`, `proxy` or `smoke`.
        trials: see `odapi_repro.analysis.trial_table`.
        axes: the factors with their levels in order.
        data: what AP was measured on, as the axis of the plot says it ("80 shapes images").
        reference_name: the catalogue's name of the reference; empty when there is none.
        reported: published numbers of the reference.
        scale_notes: relations kept and clipped at this scale.
        level_mapping: levels of the pipeline and of these trials, where they differ.
        held: a sentence for each thing that a factor holds constant.
        seeds: the seeds asked for.
        loss_curves: by trial id, points in order; tuples (step, images_seen, loss) will do.
        wall_seconds: from the first trial's start to the last one's end.
        versions: package to version.
        caveats: sentences about what may not be concluded, beyond those that every report has.
        num_train_images, num_eval_images: sizes of the data, None where unknown.
        margin: half-width in AP points of what is called equivalent.
        confidence: of the intervals.
    """

    study: str
    command: str
    pipeline: str
    scale: str
    trials: pd.DataFrame
    axes: tuple[Axis, ...]
    data: str = "the evaluation set"
    reference_name: str = ""
    reported: tuple[ReportedMetric, ...] = ()
    scale_notes: tuple[ScaleNote, ...] = ()
    level_mapping: tuple[tuple[str, str, str], ...] = ()
    held: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    loss_curves: Mapping[str, Sequence[tuple[int, float, float]]] = field(default_factory=dict)
    wall_seconds: float = float("nan")
    versions: Mapping[str, str] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    num_train_images: int | None = None
    num_eval_images: int | None = None
    margin: float = 0.5
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_trials(self.trials, self.factors)

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors, in the order of their columns."""
        return tuple(axis.name for axis in self.axes)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The trials with documented columns, by level in its order, then by seed."""
        levels = {axis.name: axis.levels for axis in self.axes}
        return ordered_trials(self.trials, levels)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are compared: those of boxes, and those of masks where there are any."""
        masks = MASK_METRICS if MASK_METRICS[0] in self.table.columns else ()
        return (*BOX_METRICS, *masks)

    @cached_property
    def effects(self) -> list[Contrast]:
        """Every level against the reference level of its factor, on every metric."""
        return contrasts(
            self.table,
            self.axes,
            metrics=self.metrics,
            margin=self.margin,
            confidence=self.confidence,
        )

    def status_counts(self) -> dict[str, int]:
        """How many trials have each status that occurs."""
        counts = self.table["status"].value_counts(sort=False)
        return {str(status): int(count) for status, count in counts.items()}


# --- From a study's record and its trials on disk to the report ---


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
        return f"{code(name)} is not varied. It is set where another factor is studied."
    at = "".join(f" Studied at {other} = {level}." for other, level in axis["at"].items())
    return f"{code(name)}: {marked(factor_named(name).holds)}{at}"


def _caveats(plan: Plan) -> tuple[str, ...]:
    caveats = []
    data = plan.data
    if data.train.digest == data.eval.digest:
        caveats.append("Training and evaluation read the same records: AP measures memorisation.")
    if data.eval.num_examples < 100:
        caveats.append(
            f"{data.eval.num_examples} evaluation images: with so few, AP depends on which images "
            "they are."
        )
    if not plan.request.deterministic:
        caveats.append(
            "Ops were not deterministic: the same seed gives slightly different numbers."
        )
    if not plan.request.checkpoint and plan.pipeline.proto.train_config.fine_tune_checkpoint:
        caveats.append(
            "Trials start from random weights, the reference from a pretrained checkpoint."
        )
    return tuple(caveats)


def _loss_curve(store: TrialStore, trial_id: str, batch: int) -> list[tuple[int, float, float]]:
    losses = read_losses(store.folder(trial_id) / LOSSES).series()
    return [(step, float(step * batch), loss) for step, loss in losses]
