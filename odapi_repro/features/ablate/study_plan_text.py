"""What is printed before anything runs: cells, what is held, how many trials, how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from odapi_repro.features.ablate.plan import Plan
from odapi_repro.foreign_text import shown
from odapi_repro.page.numbers import duration
from odapi_repro.reference import reference_of
from odapi_repro.trials.cost import CostEstimate
from odapi_repro.trials.trial import Trial

__all__ = ["plan_text"]


def plan_text(plan: Plan, *, study: str, todo: Sequence[Trial], cost: CostEstimate) -> str:
    """Gives the plan of a study as text for a terminal."""
    request, data = plan.request, plan.data
    lines = [
        f"study {study}: {', '.join(f.name for f in request.factors)} on {plan.pipeline.path}",
        f"  scale     {_scale(plan)}",
        f"  data      {data.source.name}: {data.train.num_examples} training and "
        f"{data.eval.num_examples} evaluation images, {len(data.label_map.items)} classes",
        f"  device    {request.device}, {_replicas(plan)}, "
        f"{'deterministic' if request.deterministic else 'not deterministic'}",
    ]
    reference = reference_of(plan.pipeline)
    if reference:
        reported = ", ".join(f"{m.metric} {m.value:g}" for m in reference.reported)
        lines.append(f"  reported  {reference.name}: {reported}")
    recipe = plan.setting.recipe
    lines.append(
        f"  reference cell: batch {recipe.global_batch_size}, {recipe.num_steps} steps, "
        f"{recipe.images_seen:,} images seen"
    )
    lines.append("")
    for axis in plan.axes:
        levels = []
        for level in axis.levels:
            full = axis.factor.at_full_scale(level, plan.setting)
            label = level.label
            if request.scale != "full" and full != level.label:
                label += f" [{full} at full scale]"
            levels.append(label)
        lines.append(f"{axis.factor.name}: {', '.join(levels)}")
        at = ", ".join(f"{name} = {level.label}" for name, level in axis.at.items())
        lines.append(f"  held: {axis.factor.holds}" + (f" Studied at {at}." if at else ""))
    if plan.scaled.notes:
        lines += ["", "what this scale changes (kept: the relation is the pipeline's own):"]
        for note in plan.scaled.notes:
            mark = "kept" if note.kept else "clipped"
            lines.append(f"  {note.what}: {note.full} -> {note.here} ({mark}: {note.why})")
    cells = len(plan.trials) // max(1, len(request.seeds))
    expected = "unknown" if cost.seconds is None else f"about {duration(cost.seconds)}"
    lines += [
        "",
        f"{len(plan.trials)} trials ({cells} cells x {len(request.seeds)} seeds), "
        f"{len(plan.trials) - len(todo)} finished before, {len(todo)} to run; "
        f"expected time: {expected} ({cost.source})",
    ]
    for cell, other in dict.fromkeys((_cell(c), _cell(o)) for c, o in plan.merged):
        lines.append(f"  {cell} is the same training as {other}: no row of its own")
    if len(request.seeds) < 2:
        lines.append("one seed: differences will have no interval; --seeds 3 gives one")
    return "\n".join(map(shown, lines)) + "\n"


def _cell(cell: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={level}" for name, level in cell.items())


def _scale(plan: Plan) -> str:
    return {
        "full": "full: the pipeline as it is",
        "proxy": "proxy: the family shrunk to minutes; read differences only, not COCO AP",
        "smoke": "smoke: a few steps that prove the plumbing; the numbers mean nothing",
    }[plan.request.scale]


def _replicas(plan: Plan) -> str:
    count = plan.request.num_replicas
    return "1 replica" if count == 1 else f"{count} replicas"
