"""A study before anything runs: its trials, what they are made of, what is held constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from odapi_repro.factors import Setting, TrainedFactor
from odapi_repro.factors.axes import Axis, Levels, cells_of, make_axes
from odapi_repro.pipeline import Pipeline
from odapi_repro.trials.groundwork import TrialConditions, lay_groundwork
from odapi_repro.trials.scales import Scaled
from odapi_repro.trials.study_data import StudyData
from odapi_repro.trials.trial import Trial


@dataclass(frozen=True, kw_only=True)
class StudyRequest(TrialConditions):
    """What the command line asks for.

    Attributes:
        factors: in the order named.
        levels: factor name -> levels as typed.
        at: factor name -> level as typed where factors that are not varied stand.
        design: one of `factors.axes.DESIGNS`.
        seeds: replicates.
        held_before: factor name -> other factor -> level, as an earlier command of the same study
            held them.
    """

    factors: tuple[TrainedFactor, ...]
    levels: Mapping[str, Sequence[str]]
    at: Mapping[str, str]
    design: str
    seeds: tuple[int, ...]
    held_before: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A study ready to run.

    Attributes:
        request: what was asked for.
        pipeline: as the user gave it.
        data: its records.
        scaled: the pipeline at the study's scale.
        setting: where factors are studied.
        axes: factors with the labels of their levels.
        levels: what the labels stand for.
        trials: every cell with every seed, reference cell first, seed by seed.
        foundation: field -> value of everything that all trials share; a study of the same name
            must have the same.
        merged: a cell and the one whose training it shares, because both render to the same; it
            has no row of its own and takes no part in effects.
    """

    request: StudyRequest
    pipeline: Pipeline
    data: StudyData
    scaled: Scaled
    setting: Setting
    axes: tuple[Axis, ...]
    levels: Levels
    trials: tuple[Trial, ...]
    foundation: Mapping[str, object]
    merged: tuple[tuple[Mapping[str, str], Mapping[str, str]], ...] = ()


def make_plan(pipeline: Pipeline, data: StudyData, request: StudyRequest) -> Plan:
    """Gives the plan of a study.

    Raises:
        UserError: a factor or level that does not apply, or replicas that cannot share a batch.
    """
    ground = lay_groundwork(pipeline, data, request)
    axes, levels = make_axes(
        request.factors,
        request.levels,
        request.at,
        ground.setting,
        request.design,
        held_before=request.held_before,
    )
    trials: dict[str, Trial] = {}
    merged: list[tuple[Mapping[str, str], Mapping[str, str]]] = []
    for seed in request.seeds:
        for cell in cells_of(axes, levels, ground.setting):
            # Two cells may come to the same training (a learning-rate rule at the reference's
            # batch): it runs once, in the cell named first.
            trial = ground.trial(cell, seed)
            if trials.setdefault(trial.trial_id, trial) is not trial:
                merged.append((trial.cell, trials[trial.trial_id].cell))
    foundation: dict[str, object] = {
        **ground.foundation,
        **{f"held.{axis.name}.{other}": label for axis in axes for other, label in axis.at.items()},
    }
    return Plan(
        request,
        pipeline,
        data,
        ground.scaled,
        ground.setting,
        axes,
        levels,
        tuple(trials.values()),
        foundation,
        tuple(merged),
    )
