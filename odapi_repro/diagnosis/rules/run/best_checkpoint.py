"""RUN003: an earlier checkpoint evaluated better than the last."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.finished_run import RunHistory, best_and_last
from odapi_repro.diagnosis.run_rule import RunRule, RunSubject

# Runs of one config differ by 0.15 AP (standard deviation, 3 to 15 runs of published models);
# the best of many evaluations of one run lies above its last by as much, by chance.
_NOISE_AP = 0.5
_TELLING_AP = 2.0


class BestCheckpointNotLast(RunRule):
    """The last evaluation is worse than an earlier one: overfitting, or a rate that never fell.

    A cosine schedule that ends with the run makes the last checkpoint the best or nearly so. Where
    it is not, the training went on for too long on little data, or the rate was still high.

    Anti-pattern

        step 20000  AP 31.2
        step 60000  AP 24.7    (the one that is exported)

    Best practice

    Export the best one, if it is still on disk: model_main_tf2 keeps the seven newest. Report it as
    chosen on the evaluation set, which flatters it. Better, shorten the run or let the schedule end
    with it.

    Source

    object_detection/model_lib_v2.py: CheckpointManager with checkpoint_max_to_keep=7, and no memory
    of the best.
    """

    code = "RUN003"
    name = "run.best_checkpoint_not_last"
    causes = ("best_checkpoint_not_last",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding where the best evaluation is better by more than noise."""
        scored = best_and_last(subject.history)
        if scored is None or scored.lost < _NOISE_AP:
            return
        best, last = scored.best, scored.last
        yield self.finding(
            "best_checkpoint_not_last",
            Severity.WARNING if scored.lost >= _TELLING_AP else Severity.INFO,
            fields=("train_config.num_steps",),
            found=(
                f"AP {last.metrics['AP']:.1f} at the last step evaluated, {last.step:,}, and "
                f"{best.metrics['AP']:.1f} at step {best.step:,}"
                f"{_whereabouts(subject.history, best.step)}"
            ),
            expected="the last checkpoint to be the best, within the noise of half a point",
            why=(
                "Whoever exports the last checkpoint loses the difference. It is a sign of "
                "overfitting, or of a learning rate that was still high at the end."
            ),
            loss_ap=scored.lost,
        )


def _whereabouts(history: RunHistory, step: int) -> str:
    held = [one.prefix.name for one in history.checkpoints if one.step == step and one.is_complete]
    if held:
        return f", which is still here as {held[-1]}"
    return ", which is no longer here" if history.checkpoints else ""
