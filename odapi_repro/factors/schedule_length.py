"""How long is trained: images seen over the whole run."""

from __future__ import annotations

from fractions import Fraction

from odapi_repro.factors.factor import AmountFactor, Level, Setting


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
