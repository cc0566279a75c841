"""The levels at which a user's config stands, in the factors of its reference."""

from __future__ import annotations

import math
from typing import TypeAlias

from odapi_repro.factors import FACTORS, Level, Setting
from odapi_repro.factors.augmentation import AUGMENTATIONS
from odapi_repro.pipeline import Pipeline, Recipe, ShardCount, count_shards

AS_GIVEN = "as_given"
"""Label of a level that has no name of its own and cannot be typed."""

Levels: TypeAlias = dict[str, tuple[Level, Level]]
"""Factor -> (reference's, user's) level."""

_SAME_RATE = 1e-6


def train_shards_of(pipeline: Pipeline) -> ShardCount:
    """Gives what the training reader's patterns read, by their names alone."""
    reader = pipeline.proto.train_input_reader.tf_record_input_reader
    return count_shards(list(reader.input_path), look_at_disk=False)


def both_told(one: ShardCount, other: ShardCount) -> bool:
    """Gives whether the names of both tell their share of the shards."""
    return one.share is not None and other.share is not None


def typed_levels(name: str, text: str, setting: Setting) -> tuple[Level, Level]:
    """Gives the reference's level of a factor and the one that the text names."""
    factor = FACTORS[name]
    return factor.reference_level(setting), factor.parse_level(text, setting)


def recipe_levels(user: Recipe, full: Setting, *, differs: bool) -> Levels:
    """Gives the levels of each factor whose quantity differs in the recipes.

    A warm-up that outlasts the user's run is no level: no run is made of warm-up alone.

    Args:
        user: the user's recipe.
        full: the reference at its own scale.
        differs: whether the augmentations differ when defaults are filled in.
    """
    reference = full.recipe
    levels: Levels = {}
    for name, field in (("batch_size", "global_batch_size"), ("schedule_length", "images_seen")):
        if (value := getattr(user, field)) != getattr(reference, field):
            # Not by parse_level: a run of less than one reference batch is a level, too.
            levels[name] = (FACTORS[name].reference_level(full), Level(str(value), value))
    if (
        user.base_lr
        and reference.base_lr
        and not math.isclose(user.base_lr, reference.base_lr, rel_tol=_SAME_RATE)
    ):
        levels["learning_rate"] = typed_levels("learning_rate", f"{user.base_lr:.7g}", full)
    warmups = user.warmup_images, reference.warmup_images
    if None not in warmups and (user.warmup_images or 0) < user.images_seen:
        # The factor's images are those of the reference's run: the share of the run is what counts.
        images = (user.warmup_images or 0) * reference.images_seen / user.images_seen
        if round(images) != reference.warmup_images:
            steps = round(images / reference.global_batch_size)
            level = Level(str(steps), round(images))
            levels["warmup"] = (FACTORS["warmup"].reference_level(full), level)
    regions = user.rois_per_image
    if regions and reference.rois_per_image and regions != reference.rois_per_image:
        level = Level(str(regions), regions)
        levels["rois_per_image"] = (FACTORS["rois_per_image"].reference_level(full), level)
    if differs and user.augmentation != reference.augmentation:
        level = Level(_augmentation_name(user, full), user.augmentation)
        levels["augmentation"] = (FACTORS["augmentation"].reference_level(full), level)
    return levels


def _augmentation_name(user: Recipe, full: Setting) -> str:
    """Gives the name of the level that has the user's options, `as_given` where none has."""
    own = ["".join(option.split()) for option in user.augmentation]
    for name, options in AUGMENTATIONS.items():
        if any("SIZE" in option for option in options):
            continue  # its name stands for a size that may not be the user's
        if ["".join(option.split()) for option in options] == own:
            return name
    return AS_GIVEN


def shard_levels(user: ShardCount, reference: ShardCount, full: Setting) -> tuple[Level, Level]:
    """Gives the levels in the user's shards: the share counts, not the names of the files."""
    assert user.named
    assert reference.share is not None
    factor = FACTORS["train_shards"]
    of_reference = max(1, round(reference.share * user.named))
    return (
        factor.parse_level(str(of_reference), full),
        factor.parse_level(str(user.read), full),
    )
