"""A study before anything runs, and the page that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from odapi_repro.factors import Setting, TrainedFactor, factor_named
from odapi_repro.factors.axes import Axis, Levels, cells_of, make_axes
from odapi_repro.features.report_sections import data_fact, price_line, scale_fact
from odapi_repro.page.blocks import Bullets, Facts, Headline, Note, Page, Section, marked
from odapi_repro.page.numbers import count_of
from odapi_repro.pipeline import Pipeline
from odapi_repro.reference import reference_of
from odapi_repro.trials.groundwork import StudyData, TrialConditions, lay_groundwork
from odapi_repro.trials.scales import Scaled
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_cost import CostEstimate

# --- A study before anything runs: its trials, what they are made of, what is held constant ---


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
            # Two cells may amount to the same training (a learning-rate rule at the reference's
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


# --- The page that is printed before a study runs: cells, what is held, how many trials, how long
# ---


def study_plan_page(plan: Plan, *, study: str, todo: Sequence[Trial], cost: CostEstimate) -> Page:
    """Gives the plan of a study."""
    names = ", ".join(factor.name for factor in plan.request.factors)
    cells = len(plan.trials) // max(1, len(plan.request.seeds))
    seeds = len(plan.request.seeds)
    trials = (
        f"{count_of(len(plan.trials), 'trial')} "
        f"({count_of(cells, 'cell')} x {count_of(seeds, 'seed')})"
    )
    merged = dict.fromkeys((_cell(cell), _cell(other)) for cell, other in plan.merged)
    scaled = tuple(
        f"{note.what}: {note.full} → {note.here} ({'kept' if note.kept else 'clipped'}: {note.why})"
        for note in plan.scaled.notes
    )
    single = "differences will have no interval; --seeds 3 gives one"
    return Page(
        study,
        (
            Headline(f"study {study}: {names} on {plan.pipeline.path}"),
            Facts(tuple(_facts(plan))),
            *(_axis(axis, plan) for axis in plan.axes),
            Section(
                "What this scale changes (kept: the relation is the pipeline's own)",
                [Bullets(scaled)],
            ),
            Section(
                "Price",
                [
                    Bullets(
                        (
                            price_line(trials, len(plan.trials) - len(todo), len(todo), cost),
                            *(
                                f"{cell} is the same training as {other} and has no row of its own"
                                for cell, other in merged
                            ),
                        )
                    ),
                    Note("note", f"one seed: {single}") if seeds < 2 else None,
                ],
            ),
        ),
    )


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    request, recipe = plan.request, plan.setting.recipe
    yield scale_fact(request.scale)
    yield data_fact(plan.data)
    same = "deterministic" if request.deterministic else "not deterministic"
    yield "device", f"{request.device}, {count_of(request.num_replicas, 'replica')}, {same}"
    reference = reference_of(plan.pipeline)
    if reference:
        reported = ", ".join(f"{one.metric} {one.value:g}" for one in reference.reported)
        yield "reported", f"{reference.name}: {reported}"
    yield (
        "reference cell",
        f"batch {recipe.global_batch_size}, {recipe.num_steps:,} steps, "
        f"{recipe.images_seen:,} images seen",
    )


def _axis(axis: Axis, plan: Plan) -> Section:
    factor, levels = factor_named(axis.name), []
    for label in axis.levels:
        full = factor.at_full_scale(plan.levels[axis.name][label], plan.setting)
        scaled = plan.request.scale != "full" and full != label
        levels.append(f"{label} [{full} at full scale]" if scaled else label)
    held = marked(factor.holds)
    if axis.at:
        held += f" Studied at {', '.join(f'{k} = {label}' for k, label in axis.at.items())}."
    return Section("", [Facts(((axis.name, ", ".join(levels)), ("held", held)))])


def _cell(cell: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={level}" for name, level in cell.items())
