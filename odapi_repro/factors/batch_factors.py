"""Factors of the batch: its images, its replicas, and the regions of an image."""

from __future__ import annotations

from fractions import Fraction

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import AmountFactor, Level, Setting, whole
from odapi_repro.pipeline import Pipeline, descend

# --- Global batch size, at a constant number of images seen ---


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


# --- How many replicas share the global batch ---


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


# --- How many proposals of an image the second stage is trained on ---


_FIELD = "second_stage_batch_size"


class RoisPerImage(AmountFactor):
    """Regions of interest sampled in an image for the second (and the mask) stage's losses.

    Source: OD API, `faster_rcnn_meta_arch.FasterRCNNMetaArch._sample_box_classifier_batch`. At
    inference nothing is sampled: all of `first_stage_max_proposals` are classified.
    """

    name = "rois_per_image"
    also_called = "roi rois num_rois second_stage_batch_size"
    summary = "proposals of an image that the second stage is trained on (second_stage_batch_size)"
    owns = ("rois_per_image",)
    unit = "regions sampled in an image"
    holds = (
        "everything else is held: proposals at inference (first_stage_max_proposals), the share of "
        "positives among the sampled (second_stage_balance_fraction), batch, images seen and rates."
    )
    # The default levels as shares of the reference.
    default_shares = (Fraction(1), Fraction(1, 2), Fraction(1, 4))

    def check_applies(self, setting: Setting) -> None:
        """Only Faster and Mask R-CNN sample proposals, and not while they mine hard examples."""
        pipeline = setting.pipeline
        if setting.recipe.rois_per_image is None:
            raise self.not_for(
                pipeline,
                "it has no second stage",
                "a Faster R-CNN or Mask R-CNN pipeline (faster_rcnn with "
                "number_of_stages 2 or 3), e.g. pipelines/mask_rcnn.config",
                "choose another factor, or a two-stage pipeline",
            )
        if pipeline.model.HasField("hard_example_miner"):
            raise self.not_for(
                pipeline,
                f"with a hard_example_miner every proposal is trained on and {_FIELD} is not read",
                "a pipeline without model.faster_rcnn.hard_example_miner",
                "remove the hard_example_miner, or choose another factor",
            )

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A number of regions, or a share of the reference's; at most the proposals."""
        level = super().parse_level(text, setting)
        proposals = _max_proposals(setting.pipeline)
        if int(level.label) > proposals:
            raise UserError(
                f"level '{text}' of {self.name} comes to {level.label} of {proposals} proposals",
                expected=f"at most first_stage_max_proposals, {proposals} here: the OD API stops "
                "while it builds the model",
                mend=f"choose {proposals} or less, or a pipeline with more proposals",
            )
        return level


def _max_proposals(pipeline: Pipeline) -> int:
    return int(descend(pipeline.model, "first_stage_max_proposals"))
