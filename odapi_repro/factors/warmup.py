"""Length of the learning-rate warm-up, in steps at the reference's batch and length of run."""

from __future__ import annotations

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Level, Setting, TrainedFactor, parse_amount


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
