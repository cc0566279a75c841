"""How many of the training images there are."""

from __future__ import annotations

import dataclasses

from odapi_repro.factors.factor import Factor, Level, Setting
from odapi_repro.factors.share import parse_share
from odapi_repro.pipeline import Recipe

__all__ = ["TrainFraction"]


class TrainFraction(Factor):
    """Share of the training images that is kept, drawn at random."""

    name = "train_fraction"
    summary = "share of the training images that is kept, drawn at random (1, 0.5, 10%)"
    owns = ("train_fraction",)
    holds = (
        "images seen are held, so the fewer images there are, the more often each is seen. Which "
        "are kept follows the seed, a smaller share out of the larger; the evaluation records, "
        "batch and schedule are held."
    )
    default_shares = (1.0, 0.5, 0.1)

    def reference_level(self, setting: Setting) -> Level:
        """All of them."""
        del setting
        return _level(1.0)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """All, a half and a tenth."""
        del setting
        return tuple(map(_level, self.default_shares))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A share of the images, above 0."""
        del setting
        share = parse_share(text, factor=self.name, of="the training images", zero=False, one=True)
        return _level(share)

    def edit(self, recipe: Recipe, level: Level) -> Recipe:
        """Sets the share."""
        assert isinstance(level.value, float)
        return dataclasses.replace(recipe, train_fraction=level.value)


def _level(share: float) -> Level:
    return Level(f"{share:g}", share)
