"""How many proposals of an image the second stage is trained on."""

from __future__ import annotations

from fractions import Fraction

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import AmountFactor, Level, Setting
from odapi_repro.pipeline import Pipeline, descend

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
