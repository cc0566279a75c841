"""The history of a training, read from its folder: losses, rates, evaluations, checkpoints.

Reads `model_dir` of model_main_tf2.py and the folder of one of our own trials, finished, failed or
still running, without TensorFlow.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from odapi_repro.diagnosis.finished_run.checkpoints import CheckpointOnDisk, list_checkpoints
from odapi_repro.diagnosis.finished_run.evaluations import (
    Evaluation,
    evaluations_of,
    images_bounds,
    is_evaluation_tag,
)
from odapi_repro.diagnosis.finished_run.event_files import (
    EventFile,
    Scalar,
    merge_restarts,
    read_event_file,
)
from odapi_repro.diagnosis.finished_run.run_files import RunFiles, find_run_files
from odapi_repro.diagnosis.finished_run.run_logs import (
    read_evaluation_logs,
    read_loss_columns,
    undamaged,
)
from odapi_repro.files.trial_files import LOSSES, read_metrics, read_state

Series = tuple[tuple[int, float], ...]

TOTAL_LOSS = "total_loss"
_LOSS = "Loss/"
_LEARNING_RATE = "learning_rate"
# TF2's and TF1's names.
_SPEEDS = ("steps_per_sec", "global_step/sec")


@dataclass(frozen=True)
class RunHistory:
    """What a training folder tells.

    Attributes:
        path: the folder.
        steps_reached: the last step that is logged, saved or evaluated; None before the first.
        learning_rates: (step, rate), by step. The OD API counts the step up before it logs, so
            the rate at `step` is that of the step to come: the schedule's value at `step`
            (model_lib_v2.py: train_loop). Steps `step - 1` and before were trained with others.
        losses: (step, loss) by tag without `Loss/`, e.g. `total_loss`, `classification_loss`,
            `RPNLoss/objectness_loss`; each is of the last of the (100) steps of a report.
        first_nonfinite_step: step of the first report with a NaN or infinite loss; for a trial
            of ours stopped within a report, the report's first step. The first bad step lies
            after the report before.
        first_nonfinite_losses: the losses that were not finite then, without the total where
            another was; empty with `first_nonfinite_step` None.
        steps_per_second: median of the reports, the first of every start left out where there
            are more, because it holds the tracing.
        evaluations: by step; of one step and reader the last.
        images_evaluated: in the last evaluation, where it is known exactly (our own trials).
        images_evaluated_bounds: at least and at most, also from a log; the second None where the
            batch size is not known. None where nothing tells.
        evaluation_stopped_by: the exception that cut the last logged evaluation short, which the
            OD API swallows; empty where none is logged.
        checkpoints: by number, incomplete ones too.
        restarts: starts after the first, those that died before their first report too.
        config_path: `pipeline.config` in the folder or its parent.
        damage: what is there and could not be read, a sentence each.
    """

    path: Path
    steps_reached: int | None
    learning_rates: Series
    losses: Mapping[str, Series]
    first_nonfinite_step: int | None
    first_nonfinite_losses: tuple[str, ...]
    steps_per_second: float | None
    evaluations: tuple[Evaluation, ...]
    images_evaluated: int | None
    images_evaluated_bounds: tuple[int, int | None] | None
    evaluation_stopped_by: str
    checkpoints: tuple[CheckpointOnDisk, ...]
    restarts: int
    config_path: Path | None
    damage: tuple[str, ...]

    @property
    def last_checkpoint(self) -> CheckpointOnDisk | None:
        """The whole checkpoint of the highest step; None where there is none."""
        whole = [one for one in self.checkpoints if one.is_complete and one.step is not None]
        return max(whole, key=lambda one: (one.step or 0, one.number), default=None)


def read_run(model_dir: Path) -> RunHistory:
    """Reads the history of a training from its folder.

    Args:
        model_dir: what model_main_tf2.py was given as `--model_dir`, or `runs/<trial_id>`.

    Raises:
        UserError: there is no such folder, or it holds nothing of a training.
    """
    files = find_run_files(model_dir)
    damage: list[str] = []
    train, eval_files = _read_events(files, damage)
    scalars, restarts = merge_restarts(train)
    series = _series(scalars)
    _fill_from_losses_csv(series, read_loss_columns(files.folder / LOSSES, damage))
    state = undamaged(read_state, files.folder, damage)
    checkpoints = list_checkpoints(files.folder, damage)
    logs = read_evaluation_logs(list(files.logs), damage)
    metrics = undamaged(read_metrics, files.folder, damage)
    losses = {tag: points for tag, points in series.items() if tag != _LEARNING_RATE}
    reached = [step for points in series.values() for step, _ in points]
    saved = [one.step for one in checkpoints if one.step is not None and one.is_complete]
    evaluated = max(saved or reached, default=0)
    evaluations = evaluations_of(eval_files, restarts, metrics, trial_step=evaluated)
    reached += saved + [one.step for one in evaluations]
    nonfinite_step, nonfinite_losses = _first_nonfinite(losses)
    if nonfinite_step is None and state is not None and state.state == "diverged":
        nonfinite_step, nonfinite_losses = state.step, (TOTAL_LOSS,)
    exact = metrics.num_images if metrics is not None else None
    return RunHistory(
        path=files.folder,
        steps_reached=max(reached, default=None),
        learning_rates=series.get(_LEARNING_RATE, ()),
        losses=losses,
        first_nonfinite_step=nonfinite_step,
        first_nonfinite_losses=nonfinite_losses,
        steps_per_second=_speed(train),
        evaluations=evaluations,
        images_evaluated=exact,
        images_evaluated_bounds=images_bounds(exact, logs, files.config_path),
        evaluation_stopped_by=logs[-1].stopped_by if logs else "",
        checkpoints=checkpoints,
        restarts=max(0, len(train) - 1),
        config_path=files.config_path,
        damage=tuple(damage),
    )


def _read_events(
    files: RunFiles, damage: list[str]
) -> tuple[list[EventFile], list[tuple[str, EventFile]]]:
    """Gives the event files of the training, and those of evaluations with their readers."""
    train = [read_event_file(path, _is_training_tag) for path in files.train_events]
    evaluation = [(name, read_event_file(path)) for name, path in files.eval_events]
    for path in files.direct_events:
        # TF1 wrote the training's events here, and so does a user who names `train` or `eval`.
        events = read_event_file(path)
        if any(is_evaluation_tag(scalar.tag) for scalar in events.scalars):
            evaluation.append(("", events))
        else:
            train.append(events)
    for events in (*train, *(events for _, events in evaluation)):
        damage.extend(events.damage)
    return train, evaluation


def _is_training_tag(tag: str) -> bool:
    return tag.startswith(_LOSS) or tag == _LEARNING_RATE or tag in _SPEEDS


def _series(scalars: Iterable[Scalar]) -> dict[str, Series]:
    """Gives losses and rates by tag, each by step; of one step the last."""
    by_tag: dict[str, dict[int, float]] = {}
    for scalar in scalars:
        if scalar.tag.startswith(_LOSS) or scalar.tag == _LEARNING_RATE:
            by_tag.setdefault(scalar.tag.removeprefix(_LOSS), {})[scalar.step] = scalar.value
    return {tag: tuple(sorted(points.items())) for tag, points in by_tag.items()}


def _fill_from_losses_csv(
    series: dict[str, Series], columns: Mapping[str, Mapping[int, float]]
) -> None:
    """Adds the rows of losses.csv that no event tells: a killed writer loses what it buffered."""
    for tag, column in columns.items():
        points = {**column, **dict(series.get(tag, ()))}
        series[tag] = tuple(sorted(points.items()))


def _first_nonfinite(losses: Mapping[str, Series]) -> tuple[int | None, tuple[str, ...]]:
    firsts = {
        tag: next((step for step, value in points if not math.isfinite(value)), None)
        for tag, points in losses.items()
    }
    first = min((step for step in firsts.values() if step is not None), default=None)
    if first is None:
        return None, ()
    went = sorted(tag for tag, step in firsts.items() if step == first)
    return first, tuple(tag for tag in went if tag != TOTAL_LOSS) or tuple(went)


def _speed(files: Sequence[EventFile]) -> float | None:
    speeds: list[float] = []
    first: list[float] = []
    for file in files:
        found = [one.value for one in file.scalars if one.tag in _SPEEDS and one.value > 0]
        speeds += found[1:]
        first += found[:1]
    known = [speed for speed in speeds or first if math.isfinite(speed)]
    return statistics.median(known) if known else None
