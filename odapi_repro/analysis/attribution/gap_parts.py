"""The gap between a published number and a user's, in four parts.

gap = (reported - our evaluation of the published checkpoint)                    evaluation
    + (published checkpoint - our training of the reference)                     environment
    + (our training of the reference - our training of the user's config)        config
    + (our training of the user's config - the user's own number)                theirs

A part is known where both its numbers are; the others are unknown, and so is every sum with one of
them. Only `config` is attributed to deviations. Parts are positive where AP is lost on the way, the
opposite sign of an attribution, which is user's level minus reference's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from odapi_repro.analysis.intervals import moments_of, t_estimate

PartName = Literal["evaluation", "environment", "config", "theirs"]

GAP_PARTS: Final[tuple[PartName, ...]] = ("evaluation", "environment", "config", "theirs")

_NUMBERS: Final = (
    "the published number",
    "our evaluation of the published checkpoint",
    "our training of the reference",
    "our training of the user's config",
    "the user's own number",
)


@dataclass(frozen=True)
class KnownNumber:
    """One of the five numbers that the gap runs through, in points.

    Attributes:
        value: the number.
        variance: of it, between replicates; 0 for what has no replicates (a published number, or
            one checkpoint evaluated), NaN where a single training says nothing about it.
        df: degrees of freedom of `variance`.
        full_scale: whether it may be compared with published numbers; a proxy's may not.
    """

    value: float
    variance: float = 0.0
    df: float = math.inf
    full_scale: bool = True

    @staticmethod
    def of_replicates(values: Sequence[float], *, full_scale: bool) -> KnownNumber:
        """The mean of trainings, at least one, a diverged one as 0."""
        found = moments_of(values)
        return KnownNumber(found.mean, found.variance / found.n, found.n - 1, full_scale)


@dataclass(frozen=True)
class GapPart:
    """One part of the gap.

    Attributes:
        name: one of `GAP_PARTS`.
        value: in points, positive where AP is lost; None where it is unknown.
        se, low, high: of the noise between replicates; None where the part is unknown or a single
            training does not tell, and 0 and the value itself where nothing in it was trained.
        unknown: why it is unknown; empty where it is known.
        full_scale: whether it was measured at full scale. A part of a proxy is shown at the
            proxy's own scale and enters no sum.
    """

    name: PartName
    value: float | None
    se: float | None = None
    low: float | None = None
    high: float | None = None
    unknown: str = ""
    full_scale: bool = True

    @property
    def summed(self) -> float | None:
        """What it adds to the gap of published numbers; None where that is not known."""
        return self.value if self.full_scale else None


@dataclass(frozen=True)
class GapParts:
    """The whole gap and its parts.

    Attributes:
        parts: all four, in the order of `GAP_PARTS`.
        total: the published number minus the user's; None where one is unknown.
        explained: the sum of the parts that are known at full scale.
        remainder: total - explained, what all other parts together come to; 0 where every part is
            known, None where the total is unknown.
    """

    parts: tuple[GapPart, ...]
    total: float | None
    explained: float
    remainder: float | None

    def __post_init__(self) -> None:
        known = _sum(self.parts)
        whole = all(part.summed is not None for part in self.parts)
        if not math.isclose(known, self.explained, abs_tol=1e-9) or (
            whole and self.total is not None and abs(self.total - known) > 1e-6
        ):
            raise ValueError(
                f"the parts sum to {known}, not to {self.explained} of {self.total}: {self.parts}"
            )

    def part(self, name: PartName) -> GapPart:
        """One part by its name."""
        return self.parts[GAP_PARTS.index(name)]


def gap_parts(
    *,
    reported: float | None = None,
    checkpoint: KnownNumber | None = None,
    reference: KnownNumber | None = None,
    user: KnownNumber | None = None,
    claimed: float | None = None,
    confidence: float = 0.95,
) -> GapParts:
    """The four parts of the gap, from whichever of its five numbers are known.

    Args:
        reported: the published number, in points.
        checkpoint: our evaluation of the published checkpoint.
        reference: our training of the reference.
        user: our training of the user's config.
        claimed: the user's own number, in points.
        confidence: of the intervals.
    """
    numbers = (
        None if reported is None else KnownNumber(reported),
        checkpoint,
        reference,
        user,
        None if claimed is None else KnownNumber(claimed),
    )
    parts = tuple(
        _part(name, place, numbers[place], numbers[place + 1], confidence)
        for place, name in enumerate(GAP_PARTS)
    )
    known = _sum(parts)
    if reported is None or claimed is None:
        return GapParts(parts, None, known, None)
    total = reported - claimed
    whole = all(part.summed is not None for part in parts)
    return GapParts(parts, total, known, 0.0 if whole else total - known)


def _part(
    name: PartName,
    place: int,
    above: KnownNumber | None,
    below: KnownNumber | None,
    confidence: float,
) -> GapPart:
    missing = [
        _NUMBERS[place + side] for side, number in enumerate((above, below)) if number is None
    ]
    if above is None or below is None:
        return GapPart(name, None, unknown=f"not known: {' and '.join(missing)}")
    if above.full_scale != below.full_scale:
        return GapPart(
            name,
            None,
            unknown="trained at another scale, whose AP is not compared with published numbers",
        )
    full = above.full_scale
    value = above.value - below.value
    variance = above.variance + below.variance
    if math.isnan(variance):
        return GapPart(name, value, full_scale=full)
    if not variance:
        return GapPart(name, value, 0.0, value, value, full_scale=full)
    inverse = sum((one.variance / variance) ** 2 / one.df for one in (above, below) if one.variance)
    found = t_estimate(value, variance, 1 / inverse, method="welch", confidence=confidence)
    return GapPart(name, value, found.se, found.low, found.high, full_scale=full)


def _sum(parts: Sequence[GapPart]) -> float:
    return math.fsum(part.summed for part in parts if part.summed is not None)
