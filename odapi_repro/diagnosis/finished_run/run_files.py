"""Which files of a training folder say what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from odapi_repro.diagnosis.finished_run.checkpoints import STATE_FILE, is_checkpoint_file
from odapi_repro.diagnosis.finished_run.event_files import is_event_file
from odapi_repro.errors import UserError
from odapi_repro.files.trial_files import LOSSES, METRICS, STATE

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
