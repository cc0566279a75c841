"""How many of the training images are copies of others."""

from __future__ import annotations

import dataclasses

from odapi_repro.factors.factor import Factor, Level, Setting
from odapi_repro.factors.share import parse_share
from odapi_repro.pipeline import Recipe

__all__ = ["DuplicateShare"]


class DuplicateShare(Factor):
    """Share of the training images that are copies of other training images."""

    name = "duplicate_share"
    summary = "share of the training images that are copies of others (0, 0.5, 90%)"
    owns = ("duplicate_share",)
    holds = (
        "the number of records and images seen are held: copies take the place of other images, "
        "which are then never seen. Which, follows the seed; the evaluation records, batch and "
        "schedule are held."
    )
    default_shares = (0.0, 0.5, 0.9)

    def reference_level(self, setting: Setting) -> Level:
        """None: the records as they are."""
        del setting
        return _level(0.0)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """None, a half and nine tenths."""
        del setting
        return tuple(map(_level, self.default_shares))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A share of the images, below 1."""
        del setting
        share = parse_share(text, factor=self.name, of="the training images", zero=True, one=False)
        return _level(share)

    def edit(self, recipe: Recipe, level: Level) -> Recipe:
        """Sets the share."""
        assert isinstance(level.value, float)
        return dataclasses.replace(recipe, duplicate_share=level.value)


def _level(share: float) -> Level:
    return Level(f"{share:g}", share)
