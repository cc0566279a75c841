"""A sweep of factors that need no training, before anything runs: its cells and forward passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odapi_repro.errors import UserError
from odapi_repro.factors.axes import DESIGNS, Axis, cells_of, make_axes
from odapi_repro.factors.post_hoc import (
    AS_CONFIGURED,
    DetectionPlan,
    PostHocFactor,
    PostHocSetting,
)
from odapi_repro.features.sweep.sweep_cells import PassPlan, PostHocCell, make_cell


@dataclass(frozen=True)
class PostHocRequest:
    """What the command line asks for.

    Attributes:
        factors: in the order named.
        levels: factor name -> levels as typed; the defaults where absent.
        design: `one_at_a_time` or `grid`.
    """

    factors: tuple[PostHocFactor, ...]
    levels: Mapping[str, Sequence[str]]
    design: str = DESIGNS[0]


@dataclass(frozen=True)
class PostHocPlan:
    """A sweep ready to run.

    Attributes:
        request: what was asked for.
        setting: where the factors are studied.
        axes: factors with their levels.
        cells: the reference first, every one with detections of its own.
        passes: the forward passes of all cells, each once.
        merged: levels of a cell and of the one whose detections it shares.
    """

    request: PostHocRequest
    setting: PostHocSetting
    axes: tuple[Axis, ...]
    cells: tuple[PostHocCell, ...]
    passes: tuple[PassPlan, ...]
    merged: tuple[tuple[Mapping[str, str], Mapping[str, str]], ...]


def make_post_hoc_plan(
    setting: PostHocSetting, request: PostHocRequest, checkpoint_digests: Sequence[str]
) -> PostHocPlan:
    """Gives the plan of a sweep.

    Args:
        setting: the pipeline and the number of checkpoints.
        request: what was asked for.
        checkpoint_digests: one a checkpoint, in their order; they enter the names of the passes,
            so that a pass made for one sweep is found by the next.

    Raises:
        UserError: a factor does not apply, a level is none, or a grid would fuse in two ways.
    """
    axes, levels = make_axes(request.factors, request.levels, {}, setting, request.design)
    passes: dict[str, PassPlan] = {}
    cells: dict[str, PostHocCell] = {}
    merged = []
    for one in cells_of(axes, levels, setting):
        plans = [factor.plan(one[factor.name], setting) for factor in request.factors]
        labels = {name: level.label for name, level in one.items()}
        cell = make_cell(labels, _combined(plans), setting, checkpoint_digests, passes)
        if cells.setdefault(cell.recipe, cell) is not cell:
            merged.append((cell.levels, cells[cell.recipe].levels))
    return PostHocPlan(
        request, setting, axes, tuple(cells.values()), tuple(passes.values()), tuple(merged)
    )


def _combined(plans: Sequence[DetectionPlan]) -> DetectionPlan:
    """Gives one plan that asks for what all of them ask for."""
    steps = list(dict.fromkeys(plan.step for plan in plans if plan.step is not None))
    members = [p.checkpoints for p in plans if p.checkpoints != AS_CONFIGURED.checkpoints]
    if len(steps) > 1 or len(members) > 1:
        names = " and ".join(step.method for step in steps) or "fusion and swa"
        raise UserError(
            f"a grid would combine {names} in one cell",
            expected="at most one way to fuse detections, and one choice of checkpoints, in a cell",
            mend="leave --design grid out, or vary these factors in sweeps of their own",
        )
    return DetectionPlan(
        post_processing={k: v for plan in plans for k, v in plan.post_processing.items()},
        model={k: v for plan in plans for k, v in plan.model.items()},
        flips=next((p.flips for p in plans if p.flips != AS_CONFIGURED.flips), (False,)),
        scales=next((p.scales for p in plans if p.scales != AS_CONFIGURED.scales), (1.0,)),
        checkpoints=members[0] if members else AS_CONFIGURED.checkpoints,
        step=steps[0] if steps else None,
    )
