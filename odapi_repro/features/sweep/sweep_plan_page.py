"""The plan of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from odapi_repro.factors import POST_HOC_FACTORS
from odapi_repro.features.sweep.sweep import Sweep, checkpoint_label
from odapi_repro.page.blocks import Bullets, Facts, Headline, Note, Page, Section, marked
from odapi_repro.page.numbers import count_of


def sweep_plan_page(sweep: Sweep, *, study: str, warnings: Sequence[str] = ()) -> Page:
    """Gives the plan of a sweep.

    Args:
        sweep: the plan and what it is to be run on.
        study: its name.
        warnings: what the user should know of the checkpoints.
    """
    plan = sweep.plan
    checkpoints = (
        (
            f"checkpoint {index}",
            checkpoint_label(source) + ("" if source.step is None else f", step {source.step:,}"),
        )
        for index, source in enumerate(sweep.sources, start=1)
    )
    axes = (
        Facts(
            (
                (axis.name, ", ".join(axis.levels)),
                ("held", marked(POST_HOC_FACTORS[axis.name].holds)),
            )
        )
        for axis in plan.axes
    )
    same = tuple(f"{_text(levels)} is the same as {_text(into)}" for levels, into in plan.merged)
    passes = tuple(
        f"{sweep.about(one)}: {count_of(len(one.variants), 'post-processing')}"
        for one in plan.passes
    )
    cells = count_of(len(plan.cells), "cell is", "cells are")
    price = (
        f"{count_of(len(plan.passes), 'forward pass', 'forward passes')} in one process, without "
        f"those that earlier commands have made; then {cells} scored and compared on the same "
        "images"
    )
    return Page(
        study,
        (
            Headline(f"study {study}: {count_of(len(plan.cells), 'cell')} without training"),
            Facts(
                (
                    ("pipeline", sweep.pipeline.path),
                    *checkpoints,
                    ("data", sweep.data.description),
                )
            ),
            *(Note("warning", warning) for warning in warnings),
            Section("Factors (the pipeline's own level first)", [*axes, Bullets(same)]),
            Section(
                f"Forward passes over {sweep.truth.num_images:,} images each", [Bullets(passes)]
            ),
            Section("Price", [Bullets((price,))]),
        ),
    )


def _text(levels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {label}" for name, label in levels.items())
