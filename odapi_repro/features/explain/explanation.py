"""What an explanation is made of: its record, its design and its race.

What an explanation is made of: the record that its report, and its next trial, follow from.

The record and the table of trials are all that a report reads, so that a committed study can be
reported again where none of its trainings are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from odapi_repro.analysis.attribution import Combination, StudiedDeviation
from odapi_repro.features.explain.designs import (
    MOST_EXACT,
    AblationPath,
    Bisection,
    BothEnds,
    Design,
    FractionalFactorial,
    FullFactorial,
    Grid,
    Race,
    SampledShapley,
    Shapley,
)
from odapi_repro.files import json_text
from odapi_repro.reference import ReportedMetric
from odapi_repro.trials.record_file import RecordFile
from odapi_repro.trials.scales import ScaleNote

# --- What an explanation is made of: the record that its report, and its next trial, follow from
# ---


EXPLANATION_VERSION = 1
UNVARIED_KINDS: Final = {
    "evaluation": "changes what is measured, not what is learned",
    "unexpressed": "may matter; no factor varies it",
    "at_this_scale": "this scale cannot vary it",
    "held": "left out on request",
    "left_open": "the reference leaves it to the user",
    "inert": "has no effect",
}
"""Why a deviation is not varied, those that may matter first."""


@dataclass(frozen=True)
class MappedLevel:
    """What a factor's deviation is in the configs, and what it is in the trials.

    Attributes:
        factor: its name.
        full_reference, full_user: labels in the configs.
        reference, user: labels in the trials; equal where the scale cannot vary it.
        kept: the relation that was kept.
        why: why that one.
        clipped: whether the ratio of the two levels is not that of the configs.
        holds: what stays constant while the factor varies.
        settings: what to write into the user's config to have the reference's level, field and
            value as text; of factors that move together all, with the first of them.
    """

    factor: str
    full_reference: str
    full_user: str
    reference: str
    user: str
    kept: str
    why: str
    clipped: bool
    holds: str
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ComparedField:
    """A field in which the configs differ, both values as text; empty where it is not set."""

    path: str
    user: str
    reference: str


@dataclass(frozen=True)
class UnvariedDeviation:
    """A deviation that no trial varies.

    Attributes:
        factor: what it is about.
        kind: `unexpressed`, `evaluation`, `left_open`, `inert` (see `explain.user_deviations`),
            `at_this_scale` (the scale cannot vary it) or `held` (left out on request).
        fields: in which the configs differ.
        why: one sentence.
    """

    factor: str
    kind: str
    fields: tuple[ComparedField, ...]
    why: str

    @property
    def reason(self) -> str:
        """Why it is not varied, in a few words where the kind says it all."""
        told = UNVARIED_KINDS[self.kind]
        return told if self.kind in ("held", "left_open", "inert") else self.why


@dataclass(frozen=True)
class RaceChoice:
    """A race: replicates of a cell at each look, and how many trials it may add (None: any)."""

    replicates: tuple[int, ...]
    max_trials: int | None


@dataclass(frozen=True)
class DesignChoice:
    """Which design, with all that decides its cells and estimates.

    Attributes:
        name: of `explain.designs`.
        seeds: replicates that effects are estimated from.
        order_seeds: replicates that a path or a bisection decides by.
        margin: half-width of equivalence, and what counts as restored, in points.
        orders: pairs of orders of `sampled_shapley`.
        resolution: of `fractional`.
        race: the policy that adds replicates, None without one.
    """

    name: str
    seeds: tuple[int, ...]
    order_seeds: tuple[int, ...]
    margin: float
    orders: int
    resolution: int
    race: RaceChoice | None


@dataclass(frozen=True)
class Explanation:
    """The record of an explanation, `results/<study>/explanation.json`.

    Attributes:
        study: its name.
        command: the exact command line.
        pipeline, reference: what they are called: a file's name, a catalogue entry.
        scale: `full`, `proxy` or `smoke`.
        metric: what is attributed, a column of trials.csv.
        deviations: what is varied; the levels by their labels in the trials.
        mapped: one for every factor of `deviations`, and for those the scale cannot vary.
        unvaried: all other deviations.
        design: which cells are run.
        same: cells that come to the trainings of another one, and that one.
        reported: published for the reference; may be empty.
        claimed: the user's own number in points, None where it was not told.
        checkpoint: AP of the published checkpoint as evaluated here, None where it was not told.
        data: what AP was measured on, "160 shapes images".
        num_train_images, num_eval_images: of the data.
        scale_notes: what became of the reference at this scale.
        hours: of the budget, None without one.
        cost_per_hour: what an hour costs, None where it was not told.
        eval_share: of the evaluation shards that the user reads; None unless it is less than the
            reference's.
        foundation: field -> value of everything that all trials share.
    """

    study: str
    command: str
    pipeline: str
    reference: str
    scale: str
    metric: str
    deviations: tuple[StudiedDeviation, ...]
    mapped: tuple[MappedLevel, ...]
    unvaried: tuple[UnvariedDeviation, ...]
    design: DesignChoice
    reported: tuple[ReportedMetric, ...]
    claimed: float | None
    checkpoint: float | None
    data: str
    num_train_images: int
    num_eval_images: int
    scale_notes: tuple[ScaleNote, ...] = ()
    same: tuple[tuple[Combination, Combination], ...] = ()
    hours: float | None = None
    cost_per_hour: float | None = None
    eval_share: float | None = None
    foundation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors that are varied, each a column of trials.csv."""
        return tuple(factor for one in self.deviations for factor in one.factors)

    def to_json(self) -> str:
        """The text of explanation.json."""
        return json_text({"version": EXPLANATION_VERSION, **dataclasses.asdict(self)})


EXPLANATION_FILE: Final = RecordFile(
    "explanation.json",
    Explanation,
    EXPLANATION_VERSION,
    "bring it back from version control, or remove the folder and give the study's own command "
    "again: trials that have run are in the runs folder",
)


# --- From the record of an explanation to its design and its race ---


AUTO: Final = "auto"
REORDERING_DESIGNS: Final = (AblationPath.name, Bisection.name)
"""Those that decide by replicates of their own."""
EXPLAINING_DESIGNS: Final = (
    AUTO,
    *(
        design.name
        for design in (
            BothEnds,
            AblationPath,
            FullFactorial,
            FractionalFactorial,
            Shapley,
            SampledShapley,
            Bisection,
            Grid,
        )
    ),
)
# All combinations of so many deviations cost no more than twice what both ends do.
_FEW = 4


def chosen_design(count: int) -> str:
    """The design for so many deviations where none was asked for.

    Shapley values share out the whole gap and tell interactions, for 2^k cells; with more than
    four deviations one factor at a time from both ends costs less than half of that.
    """
    assert _FEW <= MOST_EXACT
    if count == 1:
        return str(BothEnds.name)
    return str(Shapley.name) if count <= _FEW else str(BothEnds.name)


def design_of(choice: DesignChoice, deviations: Sequence[StudiedDeviation]) -> Design:
    """The design that a record names.

    Raises:
        UserError: it does not take so many deviations.
    """
    seeds, order_seeds = choice.seeds, choice.order_seeds
    for deciding in (AblationPath, Bisection):
        if choice.name == deciding.name:
            return deciding(deviations, seeds=seeds, order_seeds=order_seeds, margin=choice.margin)
    if choice.name == SampledShapley.name:
        return SampledShapley(deviations, seeds=seeds, orders=choice.orders)
    if choice.name == FractionalFactorial.name:
        return FractionalFactorial(deviations, seeds=seeds, resolution=choice.resolution)
    plain = {one.name: one for one in (BothEnds, FullFactorial, Shapley, Grid)}
    return plain[choice.name](deviations, seeds=seeds)


def race_of(choice: DesignChoice) -> Race | None:
    """The race that a record names."""
    if choice.race is None:
        return None
    return Race(choice.race.replicates, choice.margin, choice.race.max_trials)
