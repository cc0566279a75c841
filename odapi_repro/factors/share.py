"""Factors whose levels are shares: typed as 0.2, 20% or 1/5."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Level, Setting, TrainedFactor


class ShareFactor(TrainedFactor):
    """A factor that owns one share of the recipe, of the training images.

    Attributes:
        reference_share: 0 or 1, the records as they are; the other of the two is no level.
        default_shares: studied when none are named, the reference's first.
    """

    reference_share: ClassVar[float]
    default_shares: ClassVar[tuple[float, ...]]

    def reference_level(self, setting: Setting) -> Level:
        """The records as they are."""
        del setting
        return _level(self.reference_share)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The reference, and two others."""
        del setting
        return tuple(map(_level, self.default_shares))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A share of the training images."""
        del setting
        one = self.reference_share == 1
        share = parse_share(text, factor=self.name, of="the training images", zero=not one, one=one)
        return _level(share)


def _level(share: float) -> Level:
    return Level(f"{share:g}", share)


def parse_share(
    text: str, *, factor: str, of: str, zero: bool, one: bool, prefix: str = ""
) -> float:
    """Gives a share, to six digits, from `0.2`, `20%` or `1/5`.

    Args:
        text: as typed.
        factor: its name, for the message.
        of: what it is a share of.
        zero, one: whether 0 and 1 are levels, too.
        prefix: what stands before the share in the level.

    Raises:
        UserError: no number, or out of range.
    """
    cleaned = text.strip()
    try:
        percent = cleaned.endswith("%")
        exact = Fraction(cleaned.removesuffix("%").strip()) / (100 if percent else 1)
        share = float(f"{float(exact):.6g}")
    except (ValueError, ZeroDivisionError, OverflowError):
        share = -1.0
    if not (0 < share < 1 or (zero and share == 0) or (one and share == 1)):
        low = "0" if zero else "above 0"
        high = "1" if one else "below 1"
        raise UserError(
            f"'{prefix}{text}' is no level of {factor}",
            expected=f"a share of {of}, {low} to {high}: 0.2, 20% or 1/5",
            mend=f"e.g. --levels {prefix}0.2",
        )
    return share
