"""How many replicas share the global batch."""

from __future__ import annotations

from odapi_repro.factors.factor import AmountFactor, Level, Setting, whole


class SyncReplicas(AmountFactor):
    """Replicas in sync; not the proto's field of that name, which is inert in TF2."""

    name = "sync_replicas"
    also_called = "replicas gpus num_gpus num_replicas sync_bn syncbn workers"
    summary = "replicas that share the global batch (the proto's sync_replicas is inert in TF2)"
    owns = ("num_replicas",)
    unit = "replicas"
    holds = (
        "global batch, images seen and the schedule are held. Each replica takes batch-norm "
        "statistics and the loss normaliser over its own share of the batch, and clips its own "
        "gradients before they are summed. Logical devices stand in for missing ones; "
        "train_config.sync_replicas and replicas_to_aggregate have no effect under model_main_tf2."
    )

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The reference, and 2 and 4 replicas where they can share the batch."""
        recipe = setting.recipe
        counts = {recipe.num_replicas} | {
            replicas for replicas in (1, 2, 4) if recipe.global_batch_size % replicas == 0
        }
        return tuple(map(whole, sorted(counts)))

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The same number: a replica is no smaller at another scale."""
        del setting
        return level.label
