"""Global batch size, at a constant number of images seen."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from odapi_repro.factors.factor import Factor, Level, Setting, parse_amount
from odapi_repro.pipeline import Recipe

__all__ = ["BatchSize"]


class BatchSize(Factor):
    """How many images one step averages over."""

    name = "batch_size"
    summary = "global batch size (train_config.batch_size)"
    owns = ("global_batch_size",)
    holds = (
        "images seen, warm-up images and the schedule's shape are held: num_steps, total_steps and "
        "warmup_steps move with the batch. Learning rates are left to lr_scaling, so a smaller "
        "batch takes more steps at the same rate."
    )
    # The default levels as shares of the reference: a quarter is where people land with one GPU
    # of eight, an eighth to a sixteenth is the batch of two that the issues are about.
    default_shares = (Fraction(1), Fraction(1, 4), Fraction(1, 8))

    def reference_level(self, setting: Setting) -> Level:
        """The pipeline's own batch."""
        return _level(setting.recipe.global_batch_size)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The reference, a quarter and an eighth of it (at least 1 an image a replica)."""
        reference = setting.recipe.global_batch_size
        replicas = setting.recipe.num_replicas
        sizes = {
            max(replicas, round(reference * share / replicas) * replicas)
            for share in self.default_shares
        }
        return tuple(_level(size) for size in sorted(sizes, reverse=True))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A number of images, or a share of the reference's batch."""
        return _level(
            parse_amount(
                text,
                setting.recipe.global_batch_size,
                factor=self.name,
                unit="images in a global batch",
                at_least=1,
            )
        )

    def edit(self, recipe: Recipe, level: Level) -> Recipe:
        """Sets the global batch."""
        assert isinstance(level.value, int)
        return dataclasses.replace(recipe, global_batch_size=level.value)

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The batch that is the same share of the pipeline's own."""
        assert isinstance(level.value, int)
        share = Fraction(level.value, setting.recipe.global_batch_size)
        reference = setting.full_recipe.global_batch_size
        full = f"{float(share * reference):g}"
        return full if share == 1 else f"{full} ({share} of {reference})"


def _level(size: int) -> Level:
    return Level(str(size), size)
