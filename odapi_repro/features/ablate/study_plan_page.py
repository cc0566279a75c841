"""The page that is printed before a study runs: cells, what is held, how many trials, how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from odapi_repro.factors import factor_named
from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.plan import Plan
from odapi_repro.features.report_sections import data_fact, price_line, scale_fact
from odapi_repro.page.blocks import Bullets, Facts, Headline, Note, Page, Section, marked
from odapi_repro.page.numbers import count_of
from odapi_repro.reference import reference_of
from odapi_repro.trials.cost import CostEstimate
from odapi_repro.trials.trial import Trial


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
                                f"{cell} is the same training as {other}: no row of its own"
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
