"""The levels at which a user's config stands, and the rules that bring them to another scale.

A proxy has an eighth of the batch and a ten-thousandth of the images, so that ratios as large as
users have (64 times the batch, 32 times the images) do not fit it. Each rule keeps the relation
that decides most, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from odapi_repro.factors import FACTORS, Level, Setting
from odapi_repro.factors.augmentation_factor import AUGMENTATIONS
from odapi_repro.pipeline import Pipeline, Recipe, ShardCount, count_shards, derive_quantities
from odapi_repro.trials.scales import proxy_for, shrink_augmentation

# --- The levels at which a user's config stands, in the factors of its reference ---


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


# --- The rules by which a user's levels come to a smaller scale, one a factor ---


SHORTEST_RUN = Fraction(1, 4)
"""Of the proxy's images: with fewer next to nothing is learned, and all effects look alike."""
LONGEST_RUN = Fraction(2)
"""Of the proxy's images: a trial is to take minutes."""
_LR_RULES = {0.0: "left alone", 0.5: "the square-root rule", 1.0: "the linear rule"}
_NEAR_RULE = 0.02
_COUNTED_IN_IMAGES = ("schedule_length", "warmup")


@dataclass(frozen=True)
class LevelAtScale:
    """A user's level at a study's scale; the rest as in `LevelMapping`."""

    level: Level
    kept: str
    why: str
    clipped: bool


@dataclass(frozen=True)
class LevelRules:
    """The rules for one config; a rule may look at the levels of other factors.

    Attributes:
        levels: factor -> (reference's, user's) level at the pipeline's own scale.
        full: the reference at its own scale.
        setting: the reference at the study's.
        scale: the study's.
        user_replicas: that share the user's batch.
    """

    levels: Mapping[str, tuple[Level, Level]]
    full: Pipeline
    setting: Setting
    scale: str
    user_replicas: int

    def at_scale(self, factor: str) -> LevelAtScale:
        """Gives the user's level of a factor at the study's scale."""
        reference, user = self.levels[factor]
        if self.scale == "full" and factor not in {*_COUNTED_IN_IMAGES, "train_shards"}:
            return LevelAtScale(user, "the level itself", "full scale", clipped=False)
        rules = {
            "batch_size": self._batch_size,
            "learning_rate": self._learning_rate,
            "schedule_length": self._schedule_length,
            "train_shards": self._train_shards,
            "warmup": self._warmup,
            "rois_per_image": self._rois_per_image,
            "sync_replicas": self._sync_replicas,
            "augmentation": self._augmentation,
        }
        return rules[factor](reference, user)

    def _batch_size(self, reference: Level, user: Level) -> LevelAtScale:
        """Keeps the images of a batch-norm replica; their ratio where that does not fit."""
        recipe, ours, theirs = self.setting.recipe, _whole(user), _whole(reference)
        ratio = Fraction(ours, theirs)
        per_replica = max(1, ours // self.user_replicas)
        absolute = per_replica * recipe.num_replicas
        frozen = derive_quantities(self.full).batchnorm == "frozen"
        if ratio < 1 and absolute < recipe.global_batch_size and not frozen:
            share = Fraction(absolute, recipe.global_batch_size)
            return LevelAtScale(
                self._parsed("batch_size", absolute),
                f"images per batch-norm replica, {per_replica}",
                "what a small batch does to batch statistics depends on their number; "
                f"{ratio} of the reference's batch becomes {share}",
                clipped=share != ratio,
            )
        replicas = recipe.num_replicas
        batch = max(1, round(ratio * recipe.global_batch_size / replicas)) * replicas
        share = Fraction(batch, recipe.global_batch_size)
        return LevelAtScale(
            self._parsed("batch_size", batch),
            f"the ratio to the reference's batch, {ratio}" if share == ratio else "the direction",
            "batch norm is frozen at full scale"
            if frozen
            else f"{per_replica} images a replica are not on that side of the reference here",
            clipped=share != ratio,
        )

    def _learning_rate(self, reference: Level, user: Level) -> LevelAtScale:
        """Keeps the power of the batch that the rate followed; its ratio at the same batch."""
        ratio = _rate(user) / _rate(reference)
        base = self.setting.recipe.base_lr or 0.0
        batch, here = 1.0, 1.0
        if "batch_size" in self.levels:
            theirs, ours = self.levels["batch_size"]
            batch = _whole(ours) / _whole(theirs)
            mapped = self._batch_size(theirs, ours).level
            here = _whole(mapped) / self.setting.recipe.global_batch_size
        if 1.0 in (batch, here):
            return LevelAtScale(
                self._parsed("learning_rate", f"{base * ratio:.3g}"),
                f"the ratio to the reference's rate, {ratio:.3g}",
                "the batch is the reference's",
                clipped=False,
            )
        exponent = math.log(ratio) / math.log(batch)
        near = min(_LR_RULES, key=lambda known: abs(known - exponent))
        by_rule = abs(near - exponent) <= _NEAR_RULE
        scaled = here ** (near if by_rule else exponent)
        return LevelAtScale(
            self._parsed("learning_rate", f"{base * scaled:.3g}"),
            f"the rate as the batch to the power of {exponent:.2f}"
            + (f", {_LR_RULES[near]}" if by_rule else ""),
            f"{_part(ratio)} of the rate at {_part(batch)} of the batch becomes {_part(scaled)} "
            f"at {_part(here)}",
            clipped=not math.isclose(scaled, ratio, rel_tol=0.01),
        )

    def _schedule_length(self, reference: Level, user: Level) -> LevelAtScale:
        """Keeps the ratio of images seen, within what trains something in minutes."""
        ratio = Fraction(_whole(user), _whole(reference))
        here = ratio if self.scale == "full" else min(max(ratio, SHORTEST_RUN), LONGEST_RUN)
        level = self._parsed("schedule_length", round(here * self.setting.recipe.images_seen))
        if here == ratio:
            kept = f"the ratio of images seen, {_part(ratio)}"
            return LevelAtScale(level, kept, "it fits this scale", clipped=False)
        limit = (
            "with fewer images next to nothing is learned in a run this short"
            if ratio < here
            else "more would not fit into minutes"
        )
        return LevelAtScale(
            level, "the direction", f"{_part(ratio)} of the images becomes {here}: {limit}", True
        )

    def _train_shards(self, reference: Level, user: Level) -> LevelAtScale:
        """Keeps the share of the shards."""
        share = Fraction(int(user.label), int(reference.label))
        files = self.setting.num_train_files or 1
        count = max(1, round(share * files))
        return self._by_ratio("train_shards", "share of the shards", share, count, files)

    def _warmup(self, reference: Level, user: Level) -> LevelAtScale:
        """Keeps the ratio of the warm-ups' shares of their runs; the share where one is 0."""
        recipe, full = self.setting.recipe, self.setting.full_recipe
        ours, theirs = _whole(user), _whole(reference)
        own = (recipe.warmup_images or 0) / recipe.global_batch_size
        by_ratio = bool(theirs and own)
        wanted = own * ours / theirs if by_ratio else ours / full.images_seen * recipe.num_steps
        steps = min(round(wanted), recipe.num_steps - 1)
        return LevelAtScale(
            self._parsed("warmup", steps),
            f"the ratio of the warm-ups' shares of the run, {_part(Fraction(ours, theirs))}"
            if by_ratio
            else "the share of the run",
            f"{ours / full.images_seen:.2%} of the run becomes {steps / recipe.num_steps:.2%}",
            clipped=abs(steps - wanted) > 0.5,
        )

    def _rois_per_image(self, reference: Level, user: Level) -> LevelAtScale:
        """Keeps the ratio to the reference's regions."""
        ratio = Fraction(_whole(user), _whole(reference))
        own = self.setting.recipe.rois_per_image or 1
        count = max(1, round(ratio * own))
        return self._by_ratio("rois_per_image", "ratio to the reference's", ratio, count, own)

    def _sync_replicas(self, reference: Level, user: Level) -> LevelAtScale:
        """Leaves replicas alone: the images that one of them sees are in `batch_size`."""
        del reference, user
        return LevelAtScale(
            FACTORS["sync_replicas"].reference_level(self.setting),
            "nothing",
            "what a replica's share of the batch does is part of batch_size here",
            clipped=True,
        )

    def _augmentation(self, reference: Level, user: Level) -> LevelAtScale:
        """Keeps the options, fitted to the input as the reference's are."""
        del reference
        if user.label != AS_GIVEN:
            level = self._parsed("augmentation", user.label)
            return LevelAtScale(level, "the options", "they know no scale", clipped=False)
        assert isinstance(user.value, tuple)
        proto: Any = pipeline_pb2.TrainEvalPipelineConfig()
        options = proto.train_config.data_augmentation_options
        for option in user.value:
            text_format.Parse(option, options.add())
        notes = shrink_augmentation(proto, proxy_for(self.full).input_size)
        texts = tuple(text_format.MessageToString(one, as_one_line=True) for one in options)
        return LevelAtScale(
            Level(AS_GIVEN, texts),
            "the options",
            "; ".join(f"{note.what} {note.full} becomes {note.here}" for note in notes)
            or "they know no scale",
            clipped=bool(notes),
        )

    def _by_ratio(
        self, factor: str, what: str, ratio: Fraction, count: int, own: int
    ) -> LevelAtScale:
        exact = Fraction(count, own) == ratio
        return LevelAtScale(
            self._parsed(factor, count),
            f"the {what}, {_part(ratio)}" if exact else "the direction",
            f"{count} of {own} here",
            clipped=not exact,
        )

    def _parsed(self, factor: str, amount: object) -> Level:
        return FACTORS[factor].parse_level(str(amount), self.setting)


def _whole(level: Level) -> int:
    assert isinstance(level.value, int)
    return level.value


def _rate(level: Level) -> float:
    assert isinstance(level.value, float)
    return level.value


def _part(share: Fraction | float) -> str:
    """Writes a ratio as a fraction where it is a plain one, else to three digits."""
    plain = Fraction(share).limit_denominator(1000)
    return str(plain) if math.isclose(plain, share, rel_tol=1e-6) else f"{float(share):.3g}"
