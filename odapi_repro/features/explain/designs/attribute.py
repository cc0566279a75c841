"""From a design and what has been measured to its attributions."""

from __future__ import annotations

from dataclasses import dataclass

from odapi_repro.analysis.attribution import Attribution, Outcomes, attributions
from odapi_repro.features.explain.designs.base import Design, WantedCell
from odapi_repro.features.explain.designs.racing import (
    RACE_CONFIDENCE,
    Race,
    RaceState,
    evidence_of,
)


@dataclass(frozen=True)
class DesignResult:
    """What a design says as its trials stand.

    Attributes:
        rows: the attributions, the gap first; cells that lack data have rows without estimates.
        wanted: trials that it still waits for; none when it is done.
        race: where its race stands, None without one.
    """

    rows: tuple[Attribution, ...]
    wanted: tuple[WantedCell, ...]
    race: RaceState | None


def attribute(
    design: Design,
    outcomes: Outcomes,
    *,
    margin: float = 0.5,
    race: Race | None = None,
    simultaneous: bool = False,
) -> DesignResult:
    """The attributions of a design, from the replicates that it and its race asked for.

    Args:
        design: that chose the cells.
        outcomes: of all trials that have finished.
        margin: half-width of equivalence, in the metric's unit; a race has its own.
        race: the policy that added replicates, if one did.
        simultaneous: whether the intervals of a family hold jointly.
    """
    if race is None:
        rows = attributions(
            design.effects(outcomes),
            design.counted(outcomes),
            margin=margin,
            simultaneous=simultaneous,
            evidence=design.evidence(outcomes),
        )
        return DesignResult(rows, design.next_cells(outcomes), None)
    state = race.state(design, outcomes)
    rows = attributions(
        design.effects(outcomes),
        outcomes.restricted(state.seeds),
        margin=race.margin,
        confidence=RACE_CONFIDENCE,
        alpha=state.level,
        simultaneous=simultaneous,
        evidence=evidence_of(design.planned(outcomes), state.seeds, outcomes),
    )
    return DesignResult(rows, state.wanted, state)
