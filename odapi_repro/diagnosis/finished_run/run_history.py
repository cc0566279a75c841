"""The history of a training, read from its folder, and what it says.

Reads `model_dir` of model_main_tf2.py and the folder of one of our own trials, finished, failed or
still running, without TensorFlow.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from odapi_repro.diagnosis.finished_run.event_files import (
    EventFile,
    Scalar,
    is_event_file,
    merge_restarts,
    read_event_file,
)
from odapi_repro.diagnosis.finished_run.run_checkpoints import (
    STATE_FILE,
    CheckpointOnDisk,
    is_checkpoint_file,
    list_checkpoints,
)
from odapi_repro.diagnosis.finished_run.run_evaluations import (
    Evaluation,
    evaluations_of,
    images_bounds,
    is_evaluation_tag,
    read_evaluation_logs,
    read_loss_columns,
    undamaged,
)
from odapi_repro.errors import UserError
from odapi_repro.files.trial_files import LOSSES, METRICS, STATE, read_metrics, read_state

# --- The history of a training, read from its folder: losses, rates, evaluations, checkpoints ---


Series = tuple[tuple[int, float], ...]

TOTAL_LOSS = "total_loss"
_LOSS = "Loss/"
_LEARNING_RATE = "learning_rate"
# TF2's and TF1's names.
_SPEEDS = ("steps_per_sec", "global_step/sec")


_CONFIG = "pipeline.config"
_EXPECTED = (
    "the --model_dir of a training (it holds train/events.out.tfevents.* and ckpt-N.index), "
    "or the folder of a trial, runs/<trial_id>"
)


@dataclass(frozen=True)
class RunFiles:
    """The files of one training folder; those of a trial of ours need not exist.

    Attributes:
        folder: the training folder.
        train_events: event files in `train`; its folders are those of the profiler and of other
            workers (model_lib_v2.py: get_filepath).
        eval_events: event files under `eval*`, each with the name of its reader (the folder under
            `eval`, or the name of another folder such as `eval_0`).
        direct_events: event files in the folder itself.
        logs: `*.log` in the folder.
        losses_csv: of a trial of ours.
        state: of a trial of ours.
        metrics: of a trial of ours.
        config_path: `pipeline.config` in the folder or else its parent.
    """

    folder: Path
    train_events: tuple[Path, ...]
    eval_events: tuple[tuple[str, Path], ...]
    direct_events: tuple[Path, ...]
    logs: tuple[Path, ...]
    config_path: Path | None


def find_run_files(folder: Path) -> RunFiles:
    """Looks through a training folder.

    Raises:
        UserError: no such folder, not a folder, not readable, or nothing of a training in it.
    """
    names = _names(folder)
    files = RunFiles(
        folder=folder,
        train_events=tuple(_events_in(folder / "train", _names(folder / "train")))
        if (folder / "train").is_dir()
        else (),
        eval_events=tuple(
            (_reader(path.parent.relative_to(folder)), path)
            for name in names
            if name.startswith("eval") and (folder / name).is_dir()
            for path in _events_under(folder / name)
        ),
        direct_events=tuple(_events_in(folder, names)),
        logs=tuple(
            folder / name for name in names if name.endswith(".log") and (folder / name).is_file()
        ),
        config_path=next(
            (place / _CONFIG for place in (folder, folder.parent) if (place / _CONFIG).is_file()),
            None,
        ),
    )
    is_trial = any((folder / name).is_file() for name in (LOSSES, STATE, METRICS))
    has_checkpoint = any(map(is_checkpoint_file, names)) or (folder / STATE_FILE).is_file()
    has_events = files.train_events or files.eval_events or files.direct_events
    if not (is_trial or has_checkpoint or has_events):
        nearest = next((name for name in names if (folder / name / "train").is_dir()), "")
        raise UserError(
            "nothing of a training is in this folder",
            expected=_EXPECTED,
            mend=f"try {folder / nearest}" if nearest else "name the folder that was trained into",
            where=str(folder),
        )
    return files


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError as error:
        raise UserError(
            "no such folder",
            expected=_EXPECTED,
            mend="check the path; a relative one begins where the command is run",
            where=str(folder),
        ) from error
    except NotADirectoryError as error:
        raise UserError(
            "this is a file",
            expected=_EXPECTED,
            mend=f"try {folder.parent}",
            where=str(folder),
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"the folder cannot be read: {getattr(error, 'strerror', None) or error}",
            expected=_EXPECTED,
            mend="change its permissions, or name another folder",
            where=str(folder),
        ) from error


def _events_under(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from _events_in(Path(place), sorted(names))


def _events_in(folder: Path, names: list[str]) -> Iterator[Path]:
    return (p for p in (folder / name for name in names) if is_event_file(p) and p.is_file())


def _reader(place: Path) -> str:
    """Gives the reader's name: what is below `eval`, or the folder where it is called otherwise."""
    parts = place.parts
    return "/".join(parts[1:] if parts[0] == "eval" else parts)


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


# --- What a training's history says about it: pure functions on `RunHistory` ---


_CLASSIFICATION = "classification_loss"
_REGULARIZATION = "regularization_loss"
_FEWEST_REPORTS = 6
# A sigmoid focal loss that only learns how rare objects are falls by about an eighth; the worst
# training of the embedded shapes that learnt anything (AP 4.6) by three tenths.
_LEAVES_BY = 0.25
_EXPLODES_BY = 3.0
# The share of the peak rate below which a difference is rounding: the OD API computes a cosine in
# float32, whose error of 6e-8 of the peak is all there is of a rate near the end.
_RATE_FLOOR = 1e-3


@dataclass(frozen=True)
class Plateau:
    """A loss that never left its starting level.

    Attributes:
        loss: `classification_loss`, or `total_loss` (then without the regularisation).
        start_level: median of the first reports.
        lowest_level: the lowest median of a window of later reports.
        first_step: of the reports that were looked at.
        last_step: of the same.
        reports: their number.
    """

    loss: str
    start_level: float
    lowest_level: float
    first_step: int
    last_step: int
    reports: int

    @property
    def fall(self) -> float:
        """The share of the starting level by which it fell at most; negative where it rose."""
        return 1.0 - self.lowest_level / self.start_level


@dataclass(frozen=True)
class LearningRateMismatch:
    """The report whose learning rate differs most from the config's schedule.

    Attributes:
        step: as logged.
        logged: the rate that the run had after `step` steps.
        expected: the schedule's at `step`.
        relative: their difference as a share of the larger one.
        reports_off: how many of the reports differ by more than the tolerance.
        reports: how many there are.
    """

    step: int
    logged: float
    expected: float
    relative: float
    reports_off: int
    reports: int


@dataclass(frozen=True)
class Divergence:
    """A training that blew up.

    Attributes:
        kind: `not_finite` for NaN or infinity, `exploded` for a total loss that stays at more than
            three times its lowest level and above its starting level to the end.
        step: of the first bad report.
        last_good_step: of the report before; None where the first report is bad. The first bad
            step lies between, because only the last step of each report is logged.
        losses: which went first, where the report tells them apart.
    """

    kind: Literal["not_finite", "exploded"]
    step: int
    last_good_step: int | None
    losses: tuple[str, ...]


@dataclass(frozen=True)
class BestAndLast:
    """The best and the last evaluation of a run by one metric."""

    metric: str
    best: Evaluation
    last: Evaluation

    @property
    def lost(self) -> float:
        """Points by which the last is worse than the best."""
        return self.best.metrics[self.metric] - self.last.metrics[self.metric]


def loss_plateau(history: RunHistory) -> Plateau | None:
    """Gives the starting plateau that the loss never left, None where it did or none can tell.

    The loss is the classification loss of a one-stage detector, else the total without the
    regularisation, which moves by itself. Its starting level is the median of the first reports
    (a tenth of them, three to five); its lowest level is the lowest median of a window of later
    reports (a tenth, at least three). It has left when the lowest is at least a quarter below the
    start. Both are levels of the same loss, so scale, loss weights and batch size cancel, and a
    single lucky report moves no median.

    A detector that starts from random heads and stays on its plateau did not train. One that
    continues from a checkpoint of the same task has nowhere to fall, and a first report that comes
    late (100 steps) may lie below the fall: read the plateau beside the AP.

    At least six finite reports are needed; those from the first that is not finite on are left out.
    """
    loss, points = _judged_loss(history)
    points = _until_not_finite(points)
    if len(points) < _FEWEST_REPORTS:
        return None
    values = [value for _, value in points]
    first = min(5, max(3, len(values) // 10))
    start = statistics.median(values[:first])
    lowest = min(_window_medians(values[first:], max(3, len(values) // 10)))
    if start <= 0 or lowest <= (1.0 - _LEAVES_BY) * start:
        return None
    return Plateau(loss, start, lowest, points[0][0], points[-1][0], len(points))


def applied_lr_mismatch(
    history: RunHistory, lr_at: Callable[[int], float], *, tolerance: float = 0.01
) -> LearningRateMismatch | None:
    """Gives the largest relative difference between logged rates and a schedule.

    The OD API counts the step up and then logs, so the rate logged at `step` is compared with
    `lr_at(step)`, the rate of the step to come. Rates under a thousandth of the peak are compared
    with that thousandth.

    Args:
        history: of the run.
        lr_at: the rate of each step, counted from 0; NaN where there is none.
        tolerance: the relative difference up to which they agree.

    Returns:
        None where no rate is logged or all agree.
    """
    pairs = [(step, rate, lr_at(step)) for step, rate in history.learning_rates]
    pairs = [pair for pair in pairs if math.isfinite(pair[1]) and math.isfinite(pair[2])]
    floor = _RATE_FLOOR * max((max(abs(a), abs(b)) for _, a, b in pairs), default=0.0)
    if floor == 0:
        return None
    relative = [abs(a - b) / max(abs(a), abs(b), floor) for _, a, b in pairs]
    worst = max(range(len(pairs)), key=lambda place: relative[place])
    if relative[worst] <= tolerance:
        return None
    off = sum(one > tolerance for one in relative)
    return LearningRateMismatch(*pairs[worst], relative[worst], off, len(pairs))


def divergence(history: RunHistory) -> Divergence | None:
    """Gives where a training blew up, None where it did not."""
    total = history.losses.get(TOTAL_LOSS, ())
    if history.first_nonfinite_step is not None:
        step = history.first_nonfinite_step
        good = [at for points in history.losses.values() for at, _ in points if at < step]
        return Divergence(
            "not_finite", step, max(good, default=None), history.first_nonfinite_losses
        )
    values = [value for _, value in total]
    if len(values) < _FEWEST_REPORTS:
        return None
    lowest = min(_window_medians(values, 3))
    limit = max(_EXPLODES_BY * abs(lowest), *values[:3])
    bad = len(values)
    while bad and values[bad - 1] > limit:
        bad -= 1
    # One high report at the end may be a spike.
    if len(values) - bad < 3:
        return None
    return Divergence("exploded", total[bad][0], total[bad - 1][0], (TOTAL_LOSS,))


def best_and_last(
    history: RunHistory, metric: str = "AP", *, reader: str | None = None
) -> BestAndLast | None:
    """Gives the best and the last evaluation, None where none has the metric.

    Args:
        history: of the run.
        metric: by COCO's names, e.g. `AP50`, `mask_AP`.
        reader: whose evaluations; by default those of the reader that was evaluated last, since
            metrics on different images are not compared.
    """
    having = [one for one in history.evaluations if metric in one.metrics]
    if not having:
        return None
    wanted = having[-1].reader if reader is None else reader
    of_reader = [one for one in having if one.reader == wanted]
    if not of_reader:
        return None
    best = max(of_reader, key=lambda one: (one.metrics[metric], -one.step))
    return BestAndLast(metric, best, of_reader[-1])


def steps_missing(history: RunHistory, num_steps: int) -> int:
    """Gives how many of `num_steps` steps the run has not reached; 0 where it has."""
    return max(0, num_steps - (history.steps_reached or 0))


def steps_not_saved(history: RunHistory) -> int:
    """Gives how many steps were trained after the last whole checkpoint, and are lost."""
    last = history.last_checkpoint
    return max(0, (history.steps_reached or 0) - ((last.step or 0) if last else 0))


def _judged_loss(history: RunHistory) -> tuple[str, Series]:
    points = history.losses.get(_CLASSIFICATION, ())
    if points:
        return _CLASSIFICATION, points
    regularization = dict(history.losses.get(_REGULARIZATION, ()))
    total = history.losses.get(TOTAL_LOSS, ())
    return TOTAL_LOSS, tuple((step, value - regularization.get(step, 0.0)) for step, value in total)


def _until_not_finite(points: Series) -> Series:
    bad = (place for place, (_, value) in enumerate(points) if not math.isfinite(value))
    return points[: next(bad, len(points))]


def _window_medians(values: Sequence[float], width: int) -> list[float]:
    """Gives the medians of windows of `width` values, a quarter apart; of all where fewer."""
    width = min(width, len(values))
    ends = range(len(values), width - 1, -max(1, width // 4))
    return [statistics.median(values[end - width : end]) for end in ends]
