"""What a person sees while a study runs: a moving line on a terminal, few plain ones elsewhere."""

from __future__ import annotations

import time
from typing import Any, TextIO

from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import duration
from odapi_repro.trials.trial import Trial


class Progress:
    """Shows the trials of a study as their events come in.

    Args:
        total: trials of the study.
        done: of them finished before.
        stream: where to; a terminal gets a line that is rewritten, anything else a line when a
            trial begins and ends and at most one a minute between.
        expected_seconds: of one trial, for the time left before one has finished.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        total: int,
        done: int,
        *,
        stream: TextIO | None = None,
        expected_seconds: float | None = None,
        clock: Any = time.monotonic,
    ) -> None:
        self._line = LiveLine(stream, clock=clock)
        self._total, self._done = total, done
        self._expected = expected_seconds
        self._clock = clock
        self._began = clock()
        self._trial_began = clock()
        self._ended_trials = 0
        self._recent: list[tuple[float, int]] = []

    def stage(self, text: str) -> None:
        """Shows what goes on between trials."""
        self._line.update(text, news=True)

    def expect(self, left: int) -> None:
        """Takes how many trials are left, as far as is known."""
        self._total = self._done + left

    def __call__(self, trial: Trial, event: dict[str, Any]) -> None:
        """Takes one event of a trial."""
        name = event["event"]
        if name == "trial_started":
            self._trial_began = self._clock()
            self._recent = []
            self._line.line(f"{self._head(trial)}: starting ({trial.num_steps} steps)")
            self._line.count_from_now()
        elif name == "imported":
            self._line.update(f"{self._head(trial)}: building the model, tracing the training step")
        elif name == "step":
            self._step(trial, event)
        elif name == "trained":
            self._line.update(f"{self._head(trial)}: trained, loading the checkpoint to evaluate")
        elif name == "evaluating":
            self._line.update(f"{self._head(trial)}: evaluating, {event['images']} images done")
        elif name == "note":
            self._line.line(f"{self._head(trial)}: {event['text']}")
        elif name == "waiting":
            self._line.line(f"{self._head(trial)}: another process runs it; waiting for its end")
        elif name == "trial_ended":
            self._ended(trial, event)

    def _step(self, trial: Trial, event: dict[str, Any]) -> None:
        now = self._clock()
        self._recent = [*self._recent[-20:], (now, int(event["step"]))]
        (first_time, first_step), (_, last_step) = self._recent[0], self._recent[-1]
        elapsed = now - first_time
        rate = (last_step - first_step) / elapsed if elapsed > 0 else 0.0
        # The first report holds the tracing; the rate shows from the second on. What a narrow
        # terminal has no room for comes last.
        left = f"  {duration((trial.num_steps - last_step) / rate)} left" if rate else ""
        speed = f"  {rate * trial.global_batch_size:.1f} images/s" if rate else ""
        loss = event["loss"]
        text = (
            f"{self._head(trial)}: step {last_step}/{trial.num_steps}{left}  "
            f"loss {loss if isinstance(loss, str) else format(loss, '.3f')}  "
            f"LR {event['learning_rate']:.3g}{speed}"
        )
        study_left = self._study_left()
        self._line.update(text + (f"  (study: {study_left} left)" if study_left else ""))

    def _ended(self, trial: Trial, event: dict[str, Any]) -> None:
        now = self._clock()
        took, self._trial_began = now - self._trial_began, now
        self._ended_trials += 1
        self._done += 1
        left = self._study_left()
        self._line.line(
            f"{self._head(trial, ended=True)}: {event['state']} after {duration(took)}"
            + (f": {event['message'].splitlines()[0]}" if event["message"] else "")
            + (f"  (study: {left} left)" if left else "")
        )

    def _study_left(self) -> str:
        per_trial = self._expected
        now = self._clock()
        if self._ended_trials:
            per_trial = (self._trial_began - self._began) / self._ended_trials or per_trial
        remaining = self._total - self._done
        if per_trial is None or remaining <= 0:
            return ""
        return duration(max(0.0, per_trial * remaining - (now - self._trial_began)))

    def _head(self, trial: Trial, *, ended: bool = False) -> str:
        cell = ", ".join(f"{name}={level}" for name, level in trial.cell.items())
        number = min(self._total, self._done + (0 if ended else 1))
        return f"[{number}/{self._total}] {cell} seed={trial.spec.seed}"
