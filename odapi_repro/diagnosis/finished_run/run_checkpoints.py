"""The checkpoints of a run: which are there and whole, at which step, and of which kind.

`train_loop` saves `tf.train.Checkpoint(step=, model=, optimizer=)` as `ckpt-N`, N counting the
savings, keeps the last seven and names them in a text file `checkpoint` (model_lib_v2.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from google.protobuf import text_format

from odapi_repro.diagnosis.finished_run import event_files
from odapi_repro.diagnosis.finished_run.tensor_bundle import (
    FOOTER_BYTES,
    CheckpointIndex,
    ends_like_a_table,
    read_index,
)
from odapi_repro.errors import DataError
from odapi_repro.files import write_whole

CheckpointKind = Literal["classification", "detection", "training", "tf1", "unknown"]

STATE_FILE = "checkpoint"
_MOST_STATE_BYTES = 1 << 20
_NUMBERED = re.compile(r"^(.*\D)-(\d{1,12})\.(index|data-\d{5}-of-\d{5})$")
# TF2 by the OD API's own attribute, TF1 by the variable's name.
_STEP_KEYS = ("step/.ATTRIBUTES/VARIABLE_VALUE", "global_step")
# What `restore_from_objects` of SSD and CenterNet, and of Faster and Mask R-CNN, asks of the
# object `model` (meta_architectures/*.py).
_FEATURE_EXTRACTORS = frozenset(
    {
        "_feature_extractor",
        "_feature_extractor_for_box_classifier_features",
        "_feature_extractor_for_proposal_features",
    }
)


@dataclass(frozen=True)
class CheckpointState:
    """What the text file `checkpoint` says.

    Attributes:
        latest: path of the newest checkpoint, a relative one resolved against the folder.
        kept: paths of all that are kept, oldest first.
        saved_at: seconds since the epoch for each of `kept`, empty where it does not say.
    """

    latest: Path | None
    kept: tuple[Path, ...]
    saved_at: tuple[float, ...]


@dataclass(frozen=True)
class CheckpointOnDisk:
    """One checkpoint of a folder.

    Attributes:
        prefix: its path without `.index`.
        number: N of `ckpt-N`, which counts savings and not steps.
        step: training steps stored in it; None where they cannot be read.
        fault: why it cannot be restored; empty for a whole one.
        in_state: whether the file `checkpoint` names it, so that a restart would see it.
        size_bytes: of its files.
        saved_at: seconds since the epoch, from `checkpoint` or the file's own time.
    """

    prefix: Path
    number: int
    step: int | None
    fault: str
    in_state: bool
    size_bytes: int
    saved_at: float

    @property
    def is_complete(self) -> bool:
        """Whether its index and all its data are there."""
        return not self.fault


def is_checkpoint_file(name: str) -> bool:
    """Whether a file's name is that of a part of a numbered checkpoint."""
    return _NUMBERED.match(name) is not None


def read_checkpoint_state(folder: Path) -> CheckpointState | None:
    """Reads the file `checkpoint` of a folder; None where there is none.

    Raises:
        DataError: it is there and is no CheckpointState.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    state = event_files.CheckpointState()
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_STATE_BYTES).decode("utf-8")
        text_format.Parse(text, state, allow_unknown_field=True)
    except (OSError, ValueError, text_format.ParseError) as error:
        raise DataError(
            f"cannot be read as the state of checkpoints ({error})",
            expected="a text that begins with model_checkpoint_path",
            mend="remove it to start over, or write it again; TensorFlow finds no checkpoint "
            "without it",
            where=str(path),
        ) from error
    kept = tuple(folder / name for name in state.all_model_checkpoint_paths)
    times = tuple(state.all_model_checkpoint_timestamps)
    return CheckpointState(
        latest=folder / state.model_checkpoint_path if state.model_checkpoint_path else None,
        kept=kept,
        saved_at=times if len(times) == len(kept) else (),
    )


def checkpoint_fault(one: CheckpointOnDisk) -> str:
    """Says why a checkpoint cannot be restored, every value held against its checksum."""
    if one.fault:
        return one.fault
    try:
        return read_index(one.prefix).damaged_data()
    except DataError as error:
        return f"its index: {error.found}"


def write_checkpoint_state(folder: Path, kept: Sequence[CheckpointOnDisk]) -> None:
    """Has the file `checkpoint` name these, oldest first, and the last as the one to restore.

    Nothing is written where it names just these, and it is removed where there is none to name.
    """
    names = [one.prefix.relative_to(folder).as_posix() for one in kept]
    try:
        state = read_checkpoint_state(folder)
    except DataError:
        state = None
    if state is not None and [*state.kept, state.latest] == [
        folder / name for name in (*names, *names[-1:])
    ]:
        return
    if not names:
        (folder / STATE_FILE).unlink(missing_ok=True)
        return
    message = event_files.CheckpointState(
        model_checkpoint_path=names[-1],
        all_model_checkpoint_paths=names,
        all_model_checkpoint_timestamps=[one.saved_at for one in kept],
        last_preserved_timestamp=kept[0].saved_at,
    )
    write_whole(folder / STATE_FILE, text_format.MessageToString(message))


def resolve_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Gives the prefix that TensorFlow would read for `path`: of a folder, its latest checkpoint.

    Raises:
        DataError: a folder whose file `checkpoint` names none.
    """
    path = Path(path)
    if not os.path.isdir(path):
        return path
    state = read_checkpoint_state(path)
    if state is None or state.latest is None:
        raise DataError(
            "this folder has no file `checkpoint` that names a checkpoint",
            expected="the path of a checkpoint, such as .../ckpt-0",
            mend="name the checkpoint itself, without .index",
            where=str(path),
        )
    return state.latest


def checkpoint_kind(prefix: str | os.PathLike[str]) -> CheckpointKind:
    """Tells what a checkpoint can be restored as, from the objects that it holds.

    `training` and `detection` hold `model` with a feature extractor, and serve
    `fine_tune_checkpoint_type: "detection"` and `"full"`; `training` has the optimizer too, as
    `train_loop` saves it. `classification` holds `feature_extractor`, a backbone by itself. `tf1`
    is one by variable names, which TF2 refuses. `unknown` is anything else: no checkpoint, one
    that cannot be read, or objects that the OD API does not look for.

    Args:
        prefix: as `fine_tune_checkpoint` has it, or a folder with a file `checkpoint`. Nothing
            is raised, whatever it is.
    """
    try:
        index = read_index(resolve_checkpoint(prefix))
    except (DataError, OSError, ValueError):
        # TF1's first format is one file, a table by itself, as our own index is.
        is_index = os.fspath(prefix).endswith(".index")
        return "tf1" if _is_table(prefix) and not is_index else "unknown"
    return _kind(index)


def list_checkpoints(folder: Path, damage: list[str]) -> tuple[CheckpointOnDisk, ...]:
    """Gives the numbered checkpoints of a folder by their number, whole or not.

    What the file `checkpoint` names and what is not there, and an index that cannot be read, are
    added to `damage`.
    """
    state = CheckpointState(None, (), ())
    try:
        state = read_checkpoint_state(folder) or state
    except DataError as error:
        damage.append(f"{STATE_FILE}: {error.found}")
    saved_at = dict(zip((path.name for path in state.kept), state.saved_at, strict=False))
    named = {path.name for path in (*state.kept, *filter(None, (state.latest,)))}
    files: dict[tuple[int, str], list[Path]] = {}
    for path in folder.iterdir():
        found = _NUMBERED.match(path.name)
        if found and path.is_file():
            name = path.name[: found.end(2)]
            files.setdefault((int(found.group(2)), name), []).append(path)
    on_disk = []
    for (number, name), paths in sorted(files.items()):
        step, fault = _step_and_fault(folder / name)
        sizes, times = zip(*map(_size_and_time, paths), strict=True)
        on_disk.append(
            CheckpointOnDisk(
                prefix=folder / name,
                number=number,
                step=step,
                fault=fault,
                in_state=name in named,
                size_bytes=sum(sizes),
                saved_at=saved_at.get(name, max(times)),
            )
        )
    damage.extend(f"{one.prefix.name}: {one.fault}" for one in on_disk if one.fault)
    gone = sorted(named - {one.prefix.name for one in on_disk})
    damage.extend(f"{STATE_FILE}: names {name}, which is not there" for name in gone)
    return tuple(on_disk)


def _step_and_fault(prefix: Path) -> tuple[int | None, str]:
    try:
        index = read_index(prefix)
    except DataError as error:
        return None, f"its index: {error.found}"
    steps = (index.scalar(key) for key in _STEP_KEYS)
    step = next((int(step) for step in steps if step is not None), None)
    return step, index.missing_data()


def _size_and_time(path: Path) -> tuple[int, float]:
    try:
        found = path.stat()
    except OSError:  # deleted by a training that goes on
        return 0, 0.0
    return found.st_size, found.st_mtime


def _kind(index: CheckpointIndex) -> CheckpointKind:
    if not index.is_object_based:
        return "tf1" if index.variables else "unknown"
    root = index.children()
    if _FEATURE_EXTRACTORS.intersection(index.children("model")):
        return "training" if "optimizer" in root else "detection"
    return "classification" if "feature_extractor" in root else "unknown"


def _is_table(path: str | os.PathLike[str]) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(-FOOTER_BYTES, os.SEEK_END)
            return ends_like_a_table(file.read(FOOTER_BYTES))
    except (OSError, ValueError):
        return False
