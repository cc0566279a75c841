"""Levels that are shares: typed as 0.2, 20% or 1/5."""

from __future__ import annotations

from fractions import Fraction

from odapi_repro.errors import UserError

__all__ = ["parse_share"]


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
