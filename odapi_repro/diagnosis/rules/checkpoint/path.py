"""Checkpoint paths that name a file or a folder instead of a checkpoint, or nothing at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.checkpoint.archives import archive_of, base_name
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of, is_placeholder, parts_of, unopenable

_FIELD = "train_config.fine_tune_checkpoint"
_SUFFIX = re.compile(r"\.(?:index|meta|data(?:-\d+(?:-of-\d+)?)?)$")
_OTHER = re.compile(
    r"\.(?:pb|pbtxt|h5|hdf5|keras|tflite|pth?|onnx|weights|tar\.gz|tgz|zip|config)$"
)
_GLOB = re.compile(r"[*?]|\[[^/\\]*$")
_ARCHIVE = re.compile(r"_(?:tpu|gpu)-\d+$|_coco17_(?:od|kpts)$|^extremenet$")


class CheckpointPath(Rule):
    """The path is a file's or a folder's, where the common prefix of a checkpoint belongs.

    Anti-pattern

        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0.index"

    A checkpoint is two files, `ckpt-0.index` and `ckpt-0.data-00000-of-00001`, and is named by
    what they share. The folder `checkpoint/`, that of the archive, an archive, a SavedModel and its
    variables, a pattern, `ckpt` without its number and `~` do not work either.

    Best practice

        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0"

    Source

    model_lib_v2.load_fine_tune_checkpoint, whose is_object_based_checkpoint lists the variables
    first. Tried with TensorFlow 2.20: `.index` opens as a table without the objects (AssertionError
    on restore), `.data-...` and `checkpoint/` are DataLossError, the folder of an archive and of a
    SavedModel ValueError, a pattern OpError, `.meta` and a name without files NotFoundError.
    `variables/variables` holds `_model` (exporter_lib_v2.DetectionInferenceModule) where restoring
    asks for `model`.
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
        parts = parts_of(_SUFFIX.sub("", path))
        if told := unopenable(path):
            yield self._not_found(Severity.FATAL, *told)
        elif saved := _saved_model(parts):
            yield self._form(saved, _beside_saved_model(path, look=look))
        elif suffix := _SUFFIX.search(path):
            yield self._form(f"ends in {suffix.group()}", path[: suffix.start()])
        elif other := _OTHER.search(path.lower()):
            yield self._form(f"ends in {other.group()}, which is no checkpoint", None)
        elif here and os.path.isfile(path + ".index"):
            return
        elif _GLOB.search(path):
            found = f"{path} is a pattern, which TensorFlow does not resolve for a checkpoint"
            yield self._not_found(Severity.FATAL, found, "one checkpoint, such as .../ckpt-0", "")
        elif path.endswith(("/", "\\")) or (here and os.path.isdir(path)):
            yield self._form("is a folder", _prefix_in(path) if here else None)
        elif base_name(path) == "checkpoint":
            found = "ends in checkpoint, a folder of checkpoints or the file that lists them"
            yield self._form(found, _prefix_in(os.path.dirname(path)) if here else None)
        elif _names_archive(base_name(path)):
            found = f"ends in {base_name(path)}, the folder of an archive"
            yield self._form(found, _in_archive(path))
        elif inside := _in_backbones_folder(base_name(path)):
            # Who saves a backbone by hand may have called its files like that.
            found = f"ends in {base_name(path)}, by its name the folder of a backbone"
            yield self._form(found, f"{path}/{inside}", Severity.WARNING)
        elif parts and parts[-1] in ("ckpt", "ckpt-"):
            # tf.train.Checkpoint.write can make a `ckpt`; exporter and train_loop number theirs.
            sure = here or parts[-2:-1] == ["checkpoint"]
            found = f"{path} lacks the number that checkpoints are saved with"
            severity = Severity.FATAL if sure else Severity.WARNING
            known = _there_is(path) if here else "such as .../ckpt-0"
            yield self._not_found(severity, found, known, "")
        elif here and not os.path.isfile(path):
            found = f"there is no {path}.index, and the folder is here"
            yield self._not_found(Severity.FATAL, found, _there_is(path), "")

    def _not_found(self, severity: Severity, found: str, expected: str, mended: str) -> Finding:
        return self.finding(
            "ckpt_not_found",
            severity,
            fields=(_FIELD,),
            found=found,
            expected=expected,
            why="TensorFlow finds no checkpoint by that name: training stops when it restores."
            if severity is Severity.FATAL
            else "Unless a file is called like that, training stops when it restores.",
            loss_ap=100.0 if severity is Severity.FATAL else 20.0,
            fix=(FieldFix(_FIELD, mended),) if mended else (),
        )

    def _form(self, found: str, prefix: str | None, severity: Severity = Severity.FATAL) -> Finding:
        return self.finding(
            "ckpt_path_has_file_suffix",
            severity,
            fields=(_FIELD,),
            found=f"fine_tune_checkpoint {found}",
            expected=prefix or "the prefix that .index and .data share, such as .../ckpt-0",
            why="TensorFlow restores by that prefix, and training stops when it finds no objects.",
            loss_ap=100.0 if severity is Severity.FATAL else 20.0,
            fix=(FieldFix(_FIELD, prefix),) if prefix else (),
        )


def _saved_model(parts: list[str]) -> str:
    """What of a SavedModel a path names; empty where none."""
    if parts[-2:] == ["variables", "variables"]:
        return "names variables/variables of a SavedModel, whose objects are called otherwise"
    if parts[-1:] == ["saved_model"] or parts[-2:] == ["saved_model", "variables"]:
        return "is the folder of a SavedModel"
    return ""


def _beside_saved_model(path: str, *, look: bool) -> str | None:
    """The checkpoint that was exported with a SavedModel: beside it, or the archive's."""
    if "saved_model" not in path:
        return None
    head = path[: path.rindex("saved_model")]
    if folder_of(f"{head}checkpoint/ckpt", look=look):
        return _prefix_in(f"{head}checkpoint")
    return _in_archive(head.rstrip("/\\")) if _names_archive(base_name(head)) else None


def _names_archive(name: str) -> bool:
    archive = archive_of(name)
    detection = archive is not None and archive.kind == "detection"
    return detection and bool(_ARCHIVE.search(name.lower()))


def _in_archive(path: str) -> str | None:
    """The checkpoint in an archive's folder; None where its number is not sure."""
    return f"{path}/checkpoint/ckpt-0" if re.search(r"-\d+$", path) else None


def _in_backbones_folder(name: str) -> str:
    """The checkpoint in a folder of the classification zoo; empty where it names none."""
    archive = archive_of(name)
    if archive is None or archive.kind != "classification" or not archive.published or "." in name:
        return ""
    backbone = next(iter(archive.fits))
    numbered = f"{backbone.removesuffix('_v1') if 'resnet' in backbone else backbone}.ckpt-1"
    return "ckpt-0" if backbone.startswith("efficientnet") else numbered


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
