"""Global batch size, at a constant number of images seen."""

from __future__ import annotations

from fractions import Fraction

from odapi_repro.factors.factor import AmountFactor, Level, Setting, whole


class BatchSize(AmountFactor):
    """How many images one step averages over."""

    name = "batch_size"
    also_called = "batch bs batchsize global_batch global_batch_size train_batch_size images"
    summary = "global batch size (train_config.batch_size)"
    owns = ("global_batch_size",)
    unit = "images in a global batch"
    holds = (
        "images seen, warm-up images and the schedule's shape are held: num_steps, total_steps and "
        "warmup_steps move with the batch. Learning rates are left to lr_scaling, so a smaller "
        "batch takes more steps at the same rate."
    )
    # The default levels as shares of the reference: a quarter is where people land with one GPU
    # of eight, an eighth to a sixteenth is the batch of two that the issues are about.
    default_shares = (Fraction(1), Fraction(1, 4), Fraction(1, 8))

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The reference, a quarter and an eighth of it (at least 1 an image a replica)."""
        reference = setting.recipe.global_batch_size
        replicas = setting.recipe.num_replicas
        sizes = {
            max(replicas, round(reference * share / replicas) * replicas)
            for share in self.default_shares
        }
        return tuple(map(whole, sorted(sizes, reverse=True)))
