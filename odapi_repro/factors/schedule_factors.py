"""Factors of the schedule: its rates, its warmup and its length."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from odapi_repro.errors import UserError
from odapi_repro.factors.batch_factors import BatchSize
from odapi_repro.factors.factor import (
    AmountFactor,
    Level,
    Setting,
    TrainedFactor,
    parse_amount,
    parse_rate,
)
from odapi_repro.pipeline import LR_RULES, Recipe

# --- Peak learning rate, all else held ---


class LearningRate(TrainedFactor):
    """The rate after warm-up, from which the schedule decays."""

    name = "learning_rate"
    also_called = "lr base_lr lr0 learning_rate_base initial_learning_rate peak_lr rate"
    summary = "peak learning rate, literal or relative to the reference's (0.01, 1/8, 2x)"
    owns = ("base_lr",)
    holds = (
        "batch size, images seen and the schedule's shape are held, and so is the rate at which "
        "the warm-up starts (lowered to the peak where it would be above); rates to which a "
        "schedule decays keep their ratio to the peak. Where lr_scaling is set too, it multiplies "
        "what this factor sets."
    )
    # The default levels as shares of the reference: a step of two to either side.
    default_shares = (Fraction(2), Fraction(1), Fraction(1, 2))

    def check_applies(self, setting: Setting) -> None:
        """Only a schedule with a rate above 0 has something to be a multiple of."""
        if setting.recipe.base_lr is None:
            raise self.not_for(
                setting.pipeline,
                "its schedule has no rate above 0",
                "a pipeline whose schedule trains, e.g. pipelines/effdet_d3.config or "
                "pipelines/mask_rcnn.config",
                "set the rate of its schedule, or choose another factor",
            )

    def reference_level(self, setting: Setting) -> Level:
        """The pipeline's own peak."""
        return _level(_peak(setting.recipe))

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """Twice the reference's, the reference's, half of it."""
        reference = _peak(setting.recipe)
        return tuple(self._relative(share, reference) for share in self.default_shares)

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A rate, or a multiple of the reference's."""
        return _level(parse_rate(text, _peak(setting.recipe), factor=self.name))

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The rate that is the same multiple of the pipeline's own."""
        assert isinstance(level.value, float)
        reference, full = setting.recipe.base_lr, setting.full_recipe.base_lr
        if full is None or level.value == reference:
            return level.label if full is None else f"{full:.7g}"
        ratio = level.value / _peak(setting.recipe)
        return f"{ratio * full:.3g} ({ratio:.3g} x {full:.7g})"

    def _relative(self, share: Fraction, reference: float) -> Level:
        return _level(float(share) * reference)


def _level(rate: float) -> Level:
    # The proto holds a float32, which is seven digits.
    label = f"{rate:.7g}"
    return Level(label, float(label))


def _peak(recipe: Recipe) -> float:
    assert recipe.base_lr is not None  # check_applies comes first
    return recipe.base_lr


# --- How the learning rate follows the batch: not at all, linearly, or by the square root ---


class LrScaling(TrainedFactor):
    """The rule by which rates move when the batch is not the reference's."""

    name = "lr_scaling"
    summary = "learning-rate rule against the reference's batch: none, linear, sqrt"
    owns = ("lr_rule",)
    holds = (
        "batch size, images seen and the schedule's shape are held; all rates of the schedule "
        "(peak and warm-up start) are multiplied by batch / reference batch (linear) or its "
        "square root. At the reference's batch the rules are one, so it is studied at another."
    )

    def reference_level(self, setting: Setting) -> Level:
        """`none`: the pipeline's own rates."""
        del setting
        return Level("none", "none")

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """All three rules."""
        del setting
        return tuple(Level(rule, rule) for rule in LR_RULES)

    def parse_level(self, text: str, setting: Setting) -> Level:
        """One of `none`, `linear`, `sqrt`."""
        del setting
        return self.named(text, LR_RULES)

    def default_at(self, setting: Setting) -> Mapping[str, str]:
        """The smallest of batch_size's default levels."""
        return {BatchSize.name: BatchSize().default_levels(setting)[-1].label}


# --- Length of the learning-rate warm-up, in steps at the reference's batch and length of run ---


class Warmup(TrainedFactor):
    """How long the rate climbs before it decays."""

    name = "warmup"
    also_called = "warmup_steps warm_up warmup_length warmup_epochs"
    summary = "warm-up length in steps at the reference's batch (0: none)"
    owns = ("warmup_images",)
    holds = (
        "batch size, images seen, peak and warm-up start rates and the end of the schedule are "
        "held; a longer warm-up takes its images from the decay. Levels are steps at the "
        "reference's batch and are kept as images when the batch differs, as a share of the run "
        "when its length does."
    )

    def check_applies(self, setting: Setting) -> None:
        """Only the cosine schedule has a linear warm-up of a length of its own."""
        if setting.recipe.warmup_images is None:
            raise self.not_for(
                setting.pipeline,
                "its schedule has no warm-up",
                "a pipeline with cosine_decay_learning_rate, e.g. "
                "pipelines/effdet_d3.config or pipelines/mask_rcnn.config",
                "choose another factor, or give the pipeline a cosine schedule",
            )

    def reference_level(self, setting: Setting) -> Level:
        """The pipeline's own warm-up."""
        return self._level(_steps(setting), setting)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """None, the reference's, and a tenth of the run or twice the reference's."""
        reference = _steps(setting)
        steps = setting.recipe.num_steps
        longer = min(max(2 * reference, steps // 10, 1), steps - 1)
        return tuple(self._level(steps, setting) for steps in sorted({0, reference, longer}))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A number of steps, or a multiple of the reference's warm-up."""
        steps = parse_amount(
            text, _steps(setting), factor=self.name, unit="warm-up steps", at_least=0
        )
        if steps >= setting.recipe.num_steps:
            raise UserError(
                f"a warm-up of {steps} steps does not fit a run of {setting.recipe.num_steps}",
                expected="fewer steps than the run has",
                mend="choose a smaller level, or more --steps",
            )
        return self._level(steps, setting)

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The steps that are the same share of the pipeline's own run."""
        assert isinstance(level.value, int)
        share = level.value / setting.recipe.images_seen
        return f"{share * setting.full_recipe.num_steps:.0f} steps ({share:.1%} of the run)"

    def _level(self, steps: int, setting: Setting) -> Level:
        return Level(str(steps), steps * setting.recipe.global_batch_size)


def _steps(setting: Setting) -> int:
    return round((setting.recipe.warmup_images or 0) / setting.recipe.global_batch_size)


# --- How long is trained: images seen over the whole run ---


class ScheduleLength(AmountFactor):
    """Images seen; the schedule is stretched with them."""

    name = "schedule_length"
    also_called = (
        "epochs epoch steps num_steps num_train_steps total_steps iterations iters "
        "max_iter schedule horizon lr_schedule training_length duration"
    )
    summary = "images seen over the whole run, literal or relative to the reference's (880, 1/4)"
    owns = ("images_seen",)
    unit = "images seen over the whole run (num_steps x batch_size)"
    holds = (
        "batch size, rates and the schedule's shape are held: num_steps, total_steps and "
        "warmup_steps move together, so that the rate ends where the training ends and the warm-up "
        "keeps its share of the run. The training records are held, so epochs move."
    )
    # The default levels as shares of the reference.
    default_shares = (Fraction(1), Fraction(1, 2), Fraction(1, 4))

    def least(self, setting: Setting) -> int:
        """A step."""
        return setting.recipe.global_batch_size

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The images that are the same share of the pipeline's own run."""
        assert isinstance(level.value, int)
        share = Fraction(level.value, setting.recipe.images_seen)
        reference = setting.full_recipe.images_seen
        full = f"{round(share * reference):,}"
        part = str(share) if share.denominator <= 1000 else f"{float(share):.3g}"
        return full if share == 1 else f"{full} ({part} of {reference:,})"
