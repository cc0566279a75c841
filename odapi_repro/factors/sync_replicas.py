"""How many replicas share the global batch."""

from __future__ import annotations

import dataclasses

from odapi_repro.factors.factor import Factor, Level, Setting, parse_amount
from odapi_repro.pipeline import Recipe

__all__ = ["SyncReplicas"]


class SyncReplicas(Factor):
    """Replicas in sync; not the proto's field of that name, which is inert in TF2."""

    name = "sync_replicas"
    summary = "replicas that share the global batch (the proto's sync_replicas is inert in TF2)"
    owns = ("num_replicas",)
    holds = (
        "global batch, images seen and the schedule are held. Each replica takes batch-norm "
        "statistics and the loss normaliser over its own share of the batch, and clips its own "
        "gradients before they are summed. Logical devices stand in for missing ones; "
        "train_config.sync_replicas and replicas_to_aggregate have no effect under model_main_tf2."
    )

    def reference_level(self, setting: Setting) -> Level:
        """The replicas the study was started with."""
        return _level(setting.recipe.num_replicas)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The reference, and 2 and 4 replicas where they can share the batch."""
        recipe = setting.recipe
        counts = {recipe.num_replicas} | {
            replicas for replicas in (1, 2, 4) if recipe.global_batch_size % replicas == 0
        }
        return tuple(_level(replicas) for replicas in sorted(counts))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A number of replicas, or a multiple of the reference's."""
        return _level(
            parse_amount(
                text,
                setting.recipe.num_replicas,
                factor=self.name,
                unit="replicas",
                at_least=1,
            )
        )

    def edit(self, recipe: Recipe, level: Level) -> Recipe:
        """Sets the replicas."""
        assert isinstance(level.value, int)
        return dataclasses.replace(recipe, num_replicas=level.value)


def _level(replicas: int) -> Level:
    return Level(str(replicas), replicas)
