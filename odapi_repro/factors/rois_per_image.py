"""How many proposals of an image the second stage is trained on."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Factor, Level, Setting, parse_amount
from odapi_repro.pipeline import Pipeline, Recipe, descend

__all__ = ["RoisPerImage"]

_FIELD = "second_stage_batch_size"


class RoisPerImage(Factor):
    """Regions of interest sampled in an image for the second (and the mask) stage's losses.

    Source: OD API, `faster_rcnn_meta_arch.FasterRCNNMetaArch._sample_box_classifier_batch`. At
    inference nothing is sampled: all of `first_stage_max_proposals` are classified.
    """

    name = "rois_per_image"
    summary = "proposals of an image that the second stage is trained on (second_stage_batch_size)"
    owns = ("rois_per_image",)
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
            raise UserError(
                f"{self.name} does not apply to {pipeline.path}: it has no second stage",
                expected="a Faster R-CNN or Mask R-CNN pipeline (faster_rcnn with "
                "number_of_stages 2 or 3), e.g. pipelines/mask_rcnn.config",
                mend="choose another factor, or a two-stage pipeline",
            )
        if pipeline.model.HasField("hard_example_miner"):
            raise UserError(
                f"{self.name} does not apply to {pipeline.path}: with a hard_example_miner every "
                f"proposal is trained on and {_FIELD} is not read",
                expected="a pipeline without model.faster_rcnn.hard_example_miner",
                mend="remove the hard_example_miner, or choose another factor",
            )

    def reference_level(self, setting: Setting) -> Level:
        """The pipeline's own `second_stage_batch_size` (64 where it is not written)."""
        return _level(_reference(setting.recipe))

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The reference, half and a quarter of it (at least 1)."""
        reference = _reference(setting.recipe)
        counts = {max(1, round(reference * share)) for share in self.default_shares}
        return tuple(_level(count) for count in sorted(counts, reverse=True))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A number of regions, or a share of the reference's; at most the proposals."""
        count = parse_amount(
            text,
            _reference(setting.recipe),
            factor=self.name,
            unit="regions sampled in an image",
            at_least=1,
        )
        proposals = _max_proposals(setting.pipeline)
        if count > proposals:
            raise UserError(
                f"level '{text}' of {self.name} comes to {count} of {proposals} proposals",
                expected=f"at most first_stage_max_proposals, {proposals} here: the OD API stops "
                "while it builds the model",
                mend=f"choose {proposals} or less, or a pipeline with more proposals",
            )
        return _level(count)

    def edit(self, recipe: Recipe, level: Level) -> Recipe:
        """Sets the regions."""
        assert isinstance(level.value, int)
        return dataclasses.replace(recipe, rois_per_image=level.value)

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The regions that are the same share of the pipeline's own."""
        assert isinstance(level.value, int)
        share = Fraction(level.value, _reference(setting.recipe))
        reference = _reference(setting.full_recipe)
        full = f"{float(share * reference):g}"
        return full if share == 1 else f"{full} ({share} of {reference})"


def _level(count: int) -> Level:
    return Level(str(count), count)


def _reference(recipe: Recipe) -> int:
    assert recipe.rois_per_image is not None  # check_applies comes first
    return recipe.rois_per_image


def _max_proposals(pipeline: Pipeline) -> int:
    return int(descend(pipeline.model, "first_stage_max_proposals"))
