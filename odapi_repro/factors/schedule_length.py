"""How long is trained: images seen over the whole run."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from odapi_repro.factors.factor import Factor, Level, Setting, parse_amount
from odapi_repro.pipeline import Recipe

__all__ = ["ScheduleLength"]


class ScheduleLength(Factor):
    """Images seen; the schedule is stretched with them."""

    name = "schedule_length"
    summary = "images seen over the whole run, literal or relative to the reference's (880, 1/4)"
    owns = ("images_seen",)
    holds = (
        "batch size, rates and the schedule's shape are held: num_steps, total_steps and "
        "warmup_steps move together, so that the rate ends where the training ends and the warm-up "
        "keeps its share of the run. The training records are held, so epochs move."
    )
    # The default levels as shares of the reference.
    default_shares = (Fraction(1), Fraction(1, 2), Fraction(1, 4))

    def reference_level(self, setting: Setting) -> Level:
        """The images that the pipeline's own run sees."""
        return _level(setting.recipe.images_seen)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The reference's, half and a quarter of it (at least a step)."""
        recipe = setting.recipe
        images = {
            max(recipe.global_batch_size, round(recipe.images_seen * share))
            for share in self.default_shares
        }
        return tuple(_level(seen) for seen in sorted(images, reverse=True))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A number of images, or a multiple of what the reference sees."""
        return _level(
            parse_amount(
                text,
                setting.recipe.images_seen,
                factor=self.name,
                unit="images seen over the whole run (num_steps x batch_size)",
                at_least=setting.recipe.global_batch_size,
            )
        )

    def edit(self, recipe: Recipe, level: Level) -> Recipe:
        """Sets the images seen."""
        assert isinstance(level.value, int)
        return dataclasses.replace(recipe, images_seen=level.value)

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The images that are the same share of the pipeline's own run."""
        assert isinstance(level.value, int)
        share = Fraction(level.value, setting.recipe.images_seen)
        reference = setting.full_recipe.images_seen
        full = f"{round(share * reference):,}"
        part = str(share) if share.denominator <= 1000 else f"{float(share):.3g}"
        return full if share == 1 else f"{full} ({part} of {reference:,})"


def _level(images: int) -> Level:
    return Level(str(images), images)
