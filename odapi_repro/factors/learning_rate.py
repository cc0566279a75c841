"""Peak learning rate, all else held."""

from __future__ import annotations

from fractions import Fraction

from odapi_repro.factors.factor import Level, Setting, TrainedFactor, parse_rate
from odapi_repro.pipeline import Recipe


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
