"""From what a user names to one checkpoint: its prefix, its own pipeline.config, its digest."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from odapi_repro.diagnosis.finished_run import (
    CheckpointIndex,
    checkpoint_kind,
    list_checkpoints,
    read_checkpoint_state,
    read_index,
)
from odapi_repro.errors import DataError
from odapi_repro.files import damaged, read_json, typed
from odapi_repro.files.trial_files import SPEC

EXPECTED = (
    "a training folder, a ckpt-N prefix, an unpacked archive of the TF2 detection zoo, "
    "a SavedModel folder or a trial's folder"
)
_PART = re.compile(r"\.(index|data-\d{5}-of-\d{5}|meta)$")
_ARCHIVE = re.compile(r"\.(tar(\.gz)?|tgz|zip)$", re.IGNORECASE)
_CONFIG = "pipeline.config"
_SAVED_MODEL = "saved_model.pb"
_MOST_LISTED = 3
# Folders looked at below the one named, to say where checkpoints are.
_MOST_SEEN = 2000


@dataclass(frozen=True)
class CheckpointSource:
    """One checkpoint, however it was named.

    Attributes:
        kind: `checkpoint` (a prefix), `training` (a folder that `train_loop` filled), `trial` (of
            the trial store), `zoo` (an unpacked archive) or `saved_model`.
        given: what the user named.
        prefix: path without `.index`; empty for a SavedModel.
        saved_model: folder of a SavedModel; empty for a checkpoint.
        own_pipeline: the pipeline.config that lies with it; None where none does.
        digest: 16 hex digits that stand for its values: a checkpoint's index has a checksum of
            every tensor (tensorflow/core/util/tensor_bundle).
        step: training steps stored in it; None where it holds none.
        extensions: training extensions that its model was built with.
    """

    kind: str
    given: str
    prefix: str
    saved_model: str
    own_pipeline: Path | None
    digest: str
    step: int | None
    extensions: tuple[str, ...] = ()


def find_checkpoint(given: str | os.PathLike[str]) -> CheckpointSource:
    """Gives the checkpoint that a path names; of a folder its latest.

    Raises:
        DataError: none there, one of TensorFlow 1, a classification backbone, a frozen graph, an
            archive that is still packed, or one whose data are missing or cut short.
    """
    text = os.path.expanduser(os.fspath(given))
    path = Path(text)
    if path.is_dir():
        return _of_folder(path, os.fspath(given))
    if _ARCHIVE.search(path.name) and path.is_file():
        raise DataError(
            "this is a packed archive", expected=EXPECTED, mend="unpack it first", where=text
        )
    if path.suffix == ".pb" and path.is_file():
        if path.name == _SAVED_MODEL:
            return _saved_model(path.parent, os.fspath(given))
        raise DataError(
            "this is a frozen graph of TensorFlow 1",
            expected=EXPECTED,
            mend="name the TF2 checkpoint; a TF1 model has to be converted or trained again",
            where=text,
        )
    if path.name == _CONFIG and path.is_file():
        raise DataError(
            "this is a pipeline.config",
            expected=EXPECTED,
            mend=f"name its folder, {path.parent}, or give it as --pipeline",
            where=text,
        )
    prefix = path.with_name(_PART.sub("", path.name))
    return _of_prefix(prefix, os.fspath(given), "checkpoint", _own_pipeline(prefix.parent))


def checkpoint_digest(prefix: str | os.PathLike[str]) -> str:
    """Gives 16 hex digits that stand for a checkpoint's values: of its index, which sums them.

    Raises:
        OSError: there is none.
    """
    return _digest(Path(f"{os.fspath(prefix)}.index").read_bytes())


def _of_folder(folder: Path, given: str) -> CheckpointSource:
    if (folder / SPEC).is_file():
        return _of_prefix(_latest(folder), given, "trial", _config_in(folder))
    if _has_checkpoints(folder):
        return _of_prefix(_latest(folder), given, "training", _own_pipeline(folder))
    inner = folder / "checkpoint"
    if inner.is_dir() and _has_checkpoints(inner):
        return _of_prefix(_latest(inner), given, "zoo", _config_in(folder))
    for saved_model in (folder, folder / "saved_model"):
        if (saved_model / _SAVED_MODEL).is_file():
            return _saved_model(saved_model, given)
    raise _none_in(folder)


def _of_prefix(prefix: Path, given: str, kind: str, own_pipeline: Path | None) -> CheckpointSource:
    if not Path(f"{prefix}.index").is_file():
        if checkpoint_kind(prefix) == "tf1":
            raise _of_tf1(prefix)
        raise _none_at(prefix)
    index = read_index(prefix)
    found = checkpoint_kind(prefix)
    if found == "tf1":
        raise _of_tf1(prefix)
    if found == "classification":
        raise DataError(
            "this checkpoint holds a classification backbone and no detector",
            expected="a checkpoint of a detection model",
            mend="train a detector from it first",
            where=str(prefix),
        )
    if found == "unknown":
        raise DataError(
            f"this checkpoint holds {', '.join(index.children()) or 'no objects'}",
            expected="the object `model` of a detector, as model_main_tf2 and exporter_main_v2 "
            "save it",
            where=str(prefix),
        )
    fault = index.missing_data()
    if fault:
        raise DataError(
            f"the checkpoint is not whole: {fault}",
            expected="all of its .data files",
            mend="copy or download it again",
            where=str(prefix),
        )
    return CheckpointSource(
        kind=kind,
        given=given,
        prefix=str(prefix),
        saved_model="",
        own_pipeline=own_pipeline,
        digest=checkpoint_digest(prefix),
        step=_step(index),
        extensions=_extensions(prefix.with_name(SPEC)),
    )


def _saved_model(folder: Path, given: str) -> CheckpointSource:
    variables = folder / "variables" / "variables"
    parts = [(folder / _SAVED_MODEL).read_bytes()]
    if Path(f"{variables}.index").is_file():
        fault = read_index(variables).missing_data()
        if fault:
            raise DataError(
                f"the SavedModel is not whole: {fault}",
                expected="all files of its folder variables/",
                mend="copy or download it again",
                where=str(folder),
            )
        parts.append(Path(f"{variables}.index").read_bytes())
    return CheckpointSource(
        kind="saved_model",
        given=given,
        prefix="",
        saved_model=str(folder),
        own_pipeline=_own_pipeline(folder),
        digest=_digest(*parts),
        step=None,
    )


def _extensions(trial_json: Path) -> tuple[str, ...]:
    """Gives the training extensions of the trial whose checkpoint it is; none without a trial."""
    if not trial_json.is_file():
        return ()
    fields = read_json(trial_json, mend="bring it back, or delete it: the checkpoint is then any")
    try:
        return typed(fields.get("extensions", ()), tuple[str, ...])
    except ValueError as error:
        raise damaged(trial_json, str(error), "bring it back") from error


def _step(index: CheckpointIndex) -> int | None:
    step = index.scalar("step/.ATTRIBUTES/VARIABLE_VALUE")
    return None if step is None else int(step)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def _has_checkpoints(folder: Path) -> bool:
    return any(folder.glob("*.index"))


def _latest(folder: Path) -> Path:
    """Gives the prefix that TensorFlow would restore, or that of the highest number.

    What the text file `checkpoint` names may be gone, or lie under the folder's name on another
    machine.

    Raises:
        DataError: there is no checkpoint.
    """
    state = read_checkpoint_state(folder)
    if state is not None and state.latest is not None:
        here = folder / state.latest.name
        if Path(f"{here}.index").is_file():
            return here
    numbered = list_checkpoints(folder, [])
    if numbered:
        return max(numbered, key=lambda one: one.number).prefix
    unnumbered = sorted(folder.glob("*.index"))
    if len(unnumbered) == 1:
        return unnumbered[0].with_suffix("")
    raise _none_in(folder)


def _config_in(folder: Path) -> Path | None:
    path = folder / _CONFIG
    return path if path.is_file() else None


def _own_pipeline(folder: Path) -> Path | None:
    """Gives the pipeline.config beside a checkpoint, or above it as in an exported folder."""
    own = _config_in(folder)
    if own is None and folder.name in ("checkpoint", "saved_model"):
        own = _config_in(folder.parent)
    return own


def _of_tf1(prefix: Path) -> DataError:
    return DataError(
        "this is a checkpoint of TensorFlow 1",
        expected="a TF2 checkpoint, which holds objects and not variable names",
        mend="use the model's archive of the TF2 detection zoo, or train it under TF2",
        where=str(prefix),
    )


def _none_at(prefix: Path) -> DataError:
    folder = prefix.parent
    if not folder.is_dir():
        return DataError(
            f"there is no checkpoint, and no folder {folder}",
            expected=EXPECTED,
            mend="correct the path",
            where=str(prefix),
        )
    names = [path.name.removesuffix(".index") for path in sorted(folder.glob("*.index"))]
    near = difflib.get_close_matches(prefix.name, names, n=_MOST_LISTED, cutoff=0.3) or names
    return DataError(
        "there is no checkpoint",
        expected=EXPECTED,
        mend=_listed("found beside it:", [str(folder / name) for name in near[:_MOST_LISTED]])
        or _listed("folders near with checkpoints:", _folders_below(folder))
        or "correct the path",
        where=str(prefix),
    )


def _none_in(folder: Path) -> DataError:
    return DataError(
        "there is no checkpoint in this folder",
        expected=EXPECTED,
        mend=_listed("folders near with checkpoints:", _folders_below(folder))
        or _listed("folders near with checkpoints:", _folders_below(folder.parent))
        or "name the folder that holds ckpt-N.index",
        where=str(folder),
    )


def _listed(lead: str, names: Sequence[str]) -> str:
    return f"{lead} {', '.join(names)}" if names else ""


def _folders_below(folder: Path) -> list[str]:
    """Gives folders up to two levels below that hold a checkpoint or a SavedModel."""
    found: set[str] = set()
    seen = 0
    for pattern in ("*", "*/*", "*/*/*"):
        for path in folder.glob(pattern):
            seen += 1
            if path.name == _SAVED_MODEL or path.suffix == ".index":
                inside = path.parent.name in ("checkpoint", "saved_model", "variables")
                found.add(str(path.parent.parent if inside else path.parent))
            if seen > _MOST_SEEN or len(found) >= _MOST_LISTED:
                return sorted(found)
    return sorted(found)
