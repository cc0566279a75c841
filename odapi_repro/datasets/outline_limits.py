"""What pycocotools can draw: it takes anything, and crashes or fills the memory beyond this."""

from __future__ import annotations

__all__ = ["MOST_MASK_PIXELS", "furthest_corner"]

MOST_MASK_PIXELS = 2**32
"""A mask has fewer: run lengths are unsigned and of 32 bits (`uint` in maskApi.h)."""

_FURTHEST_SIDES, _FURTHEST_PIXELS = 100.0, 1e7


def furthest_corner(height: int, width: int) -> float:
    """Gives how many pixels a polygon's corner may lie away from the corner of its image.

    `rleFrPoly` (maskApi.c) takes memory for the whole way there, five points a pixel.
    """
    return min(_FURTHEST_SIDES * max(height, width), _FURTHEST_PIXELS)
