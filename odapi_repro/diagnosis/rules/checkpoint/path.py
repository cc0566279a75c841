"""Checkpoint paths that name a file or a folder instead of a checkpoint, or nothing at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.named_paths import folder_of, is_placeholder
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.checkpoint.archives import base_name
from odapi_repro.diagnosis.subject import Subject

__all__ = ["CheckpointPath"]

_FIELD = "train_config.fine_tune_checkpoint"
_SUFFIX = re.compile(r"\.(?:index|meta|data-\d{5}-of-\d{5})$")
_OTHER = re.compile(
    r"\.(?:pb|pbtxt|h5|hdf5|keras|tflite|pth?|onnx|weights|tar\.gz|tgz|zip|config)$"
)


class CheckpointPath(Rule):
    """The path is a file's or a folder's, where the common prefix of a checkpoint belongs.

    Anti-pattern

        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0.index"

    A checkpoint is two files, `ckpt-0.index` and `ckpt-0.data-00000-of-00001`, and is named by
    what they share. The folder `checkpoint/`, an archive and a SavedModel do not work either.

    Best practice

        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0"

    Source

    model_lib_v2.load_fine_tune_checkpoint. Tried with TensorFlow 2.20: `.index` opens as a table
    without the objects (AssertionError on restore), `.data-...` and a folder are DataLossError,
    `.meta` and a name without files NotFoundError.
    """

    code = "CKP003"
    name = "checkpoint.path"
    causes = ("ckpt_path_has_file_suffix", "ckpt_not_found")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields one finding at most: the path's form first, then what lies there."""
        path = str(subject.pipeline.proto.train_config.fine_tune_checkpoint)
        if not path or is_placeholder(path):
            return
        look = subject.circumstances.look_at_disk
        here = folder_of(path, look=look) is not None
        if suffix := _SUFFIX.search(path):
            yield self._form(f"ends in {suffix.group()}", path[: suffix.start()])
        elif other := _OTHER.search(path.lower()):
            yield self._form(f"ends in {other.group()}, which is no checkpoint", None)
        elif path.endswith(("/", "\\")) or base_name(path) == "checkpoint":
            yield self._form("is a folder", _prefix_in(path) if here else None)
        elif here and os.path.isdir(path):
            yield self._form("is a folder", _prefix_in(path))
        elif here and not os.path.isfile(path + ".index") and not os.path.isfile(path):
            yield self.finding(
                "ckpt_not_found",
                Severity.FATAL,
                fields=(_FIELD,),
                found=f"there is no {path}.index, and the folder is here",
                expected=_there_is(path),
                why="Training stops with a NotFoundError when it restores.",
                loss_ap=100.0,
            )

    def _form(self, found: str, prefix: str | None) -> Finding:
        return self.finding(
            "ckpt_path_has_file_suffix",
            Severity.FATAL,
            fields=(_FIELD,),
            found=f"fine_tune_checkpoint {found}",
            expected=prefix or "the prefix that .index and .data share, such as .../ckpt-0",
            why="TensorFlow restores by that prefix, and training stops when it finds no objects.",
            loss_ap=100.0,
            fix=(FieldFix(_FIELD, prefix),) if prefix else (),
        )


def _prefixes(folder: str) -> list[str]:
    """Gives the checkpoints of a folder by their prefix, the newest number last."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [name.removesuffix(".index") for name in names if name.endswith(".index")]
    return sorted(found, key=lambda name: (len(name), name))


def _prefix_in(folder: str) -> str | None:
    found = _prefixes(folder)
    return os.path.join(folder, found[-1]) if found else None


def _there_is(path: str) -> str:
    found = _prefixes(os.path.dirname(path))
    if not found:
        return "a checkpoint; that folder holds none"
    return f"one that is there: {', '.join(found[-3:])}"
