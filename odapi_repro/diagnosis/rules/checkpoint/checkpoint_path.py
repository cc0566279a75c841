"""Rules about where a checkpoint is named, and what lies there.

What the path of a checkpoint gives away: which archive of the zoos it was unpacked from.

Names are those of the TF2 detection zoo, the TF2 classification zoo and the TF1 zoo
(g3doc/tf2_detection_zoo.md, tf2_classification_zoo.md, tf1_detection_zoo.md).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of, is_placeholder, parts_of, unopenable

Kind = Literal["detection", "classification", "tf1"]

_RESNETS = "(50|101|152)"
# Folder names of detection archives, most specific first, and the feature extractors whose
# weights they hold. D7 is built on B6, as D6 is; CenterNet ResNet-101 v1 FPN is resnet_v2_101 in
# configs/tf2 and resnet_v1_101_fpn by its name.
_DETECTION: tuple[tuple[str, Callable[[re.Match[str]], frozenset[str]]], ...] = (
    (
        r"efficientdet[_-]?d([0-7])",
        lambda m: frozenset({f"ssd_efficientnet-b{min(int(m[1]), 6)}_bifpn_keras"}),
    ),
    (r"ssd_mobilenet_v1_fpn", lambda m: frozenset({"ssd_mobilenet_v1_fpn_keras"})),
    (r"ssd_mobilenet_v2_fpn(?:lite)?", lambda m: frozenset({"ssd_mobilenet_v2_fpn_keras"})),
    (r"ssd_mobilenet_v2", lambda m: frozenset({"ssd_mobilenet_v2_keras"})),
    (rf"ssd_resnet{_RESNETS}_v1_fpn", lambda m: frozenset({f"ssd_resnet{m[1]}_v1_fpn_keras"})),
    (
        rf"faster_rcnn_resnet{_RESNETS}(?:_v1)?_fpn",
        lambda m: frozenset({f"faster_rcnn_resnet{m[1]}_fpn_keras"}),
    ),
    (
        rf"faster_rcnn_resnet{_RESNETS}",
        lambda m: frozenset({f"faster_rcnn_resnet{m[1]}_keras"}),
    ),
    (
        r"(?:faster|mask)_rcnn_inception_resnet_v2",
        lambda m: frozenset({"faster_rcnn_inception_resnet_v2_keras"}),
    ),
    (r"centernet_(?:hg|hourglass_?)104", lambda m: frozenset({"hourglass_104"})),
    (r"centernet_resnet50_v1_fpn", lambda m: frozenset({"resnet_v1_50_fpn"})),
    (
        r"centernet_resnet101_v1_fpn",
        lambda m: frozenset({"resnet_v1_101_fpn", "resnet_v2_101"}),
    ),
    (r"centernet_resnet50_v2", lambda m: frozenset({"resnet_v2_50"})),
    (
        r"centernet_mobilenet_?v2_?fpn",
        lambda m: frozenset({"mobilenet_v2_fpn", "mobilenet_v2_fpn_sep_conv"}),
    ),
    (r"extremenet", lambda m: frozenset({"hourglass_104"})),
)
# The published archives end like this; a folder that somebody named after a model does not.
_PUBLISHED = re.compile(r"_coco17_|_kpts|_(?:tpu|gpu)-\d+|^extremenet$")
# Folder and file names of the classification zoo, whose own spelling is mobilnet.
_CLASSIFICATION = (
    (re.compile(r"^efficientnet[_-]b([0-7])(?:[_.-].*)?$"), "efficientnet_b{}"),
    (re.compile(rf"^resnet_?{_RESNETS}(?:_v1)?(?:\.ckpt.*)?$"), "resnet{}_v1"),
    (re.compile(r"^mobile?net_v([12])(?:\.ckpt.*)?$"), "mobilenet_v{}"),
    (re.compile(r"^inception_resnet_v2(?:\.ckpt.*)?$"), "inception_resnet_v2"),
)
# Words that are easily mistyped, and one that is near to them and another network's.
_WORDS = ("mobilenet", "efficientnet", "efficientdet", "inception", "centernet", "hourglass")
_OTHER_WORDS = frozenset({*_WORDS, "mobiledet"})
# How people write the parts that the zoos write in one way.
_SPELLINGS = (
    (re.compile(r"mobilenet[_-]?v([12])(?![\d.])"), r"mobilenet_v\1"),
    (re.compile(rf"resnet[_-]?v1[_-]?{_RESNETS}"), r"resnet\1_v1"),
    (re.compile(rf"resnet[_-]?{_RESNETS}(?:[_-]?(v[12]))?(?!\d)"), r"resnet\1_\2"),
    (re.compile(r"efficientnet[_-]?b(?=[0-7])"), "efficientnet_b"),
    (re.compile(r"inception[_-]?resnet[_-]?v2"), "inception_resnet_v2"),
    (re.compile(r"(faster|mask)[_-]?rcnn"), r"\1_rcnn"),
    (re.compile(r"^ssd-"), "ssd_"),
    (re.compile(r"(?<=_v[12])-(?=fpn)"), "_"),
    (re.compile(r"_(?=_|\.|$)"), ""),
)
_TF1 = re.compile(r"_20(?:1[678]|19|20)_\d\d_\d\d$")
_TF1_FILE = re.compile(r"^model\.ckpt(?:-\d+)?$")


@dataclass(frozen=True)
class Archive:
    """An archive that a path names.

    Attributes:
        name: the part of the path that names it.
        kind: whose zoo it is from: `detection`, `classification`, or TensorFlow 1's.
        fits: for `detection` the feature extractors that its weights fit, for `classification`
            its backbone.
        published: whether the name is a published archive's own, or is only like one.
    """

    name: str
    kind: Kind
    fits: frozenset[str]
    published: bool = True


def archive_of(path: str) -> Archive | None:
    """Gives the archive that a checkpoint's path names; None where no part does.

    The part nearest to the file counts: `models/efficientdet_d0/efficientnet_b0/ckpt-0` is a
    classification checkpoint.
    """
    parts = parts_of(path[:4000])
    for part in reversed(parts):
        name = part.lower().removesuffix(".tar.gz")
        if _TF1.search(name) or (part == parts[-1] and _TF1_FILE.match(name)):
            return Archive(part, "tf1", frozenset())
        # As it stands first: what is only like a zoo's name is not sure to be it.
        for written in dict.fromkeys((name, spelt(name))):
            if archive := _archive_called(part, written, exact=written == name):
                return archive
    return None


def _archive_called(part: str, name: str, *, exact: bool) -> Archive | None:
    for pattern, backbone in _CLASSIFICATION:
        if match := pattern.match(name):
            fits = frozenset({backbone.format(*match.groups())})
            return Archive(part, "classification", fits, exact)
    for prefix, held in _DETECTION:
        if match := re.match(prefix, name.replace("-coco17", "_coco17")):
            published = exact and bool(_PUBLISHED.search(name))
            return Archive(part, "detection", held(match), published)
    return None


def spelt(name: str) -> str:
    """Gives the name of a model as the zoos write it: `mobilnetv2` is `mobilenet_v2`."""

    def corrected(match: re.Match[str]) -> str:
        word = match[0]
        if match[1] and word[-1] in "bdv":  # of b0, d0, v1
            word = word[:-1]
        if not 7 <= len(word) <= 14 or word in _OTHER_WORDS:
            return match[0]
        alike = difflib.get_close_matches(word, _OTHER_WORDS, n=1, cutoff=0.87)
        return alike[0] + match[0][len(word) :] if alike and alike[0] in _WORDS else match[0]

    name = re.sub(r"[a-z]+(?=(\d)?)", corrected, name.lower())
    for pattern, written in _SPELLINGS:
        name = pattern.sub(written, name)
    return name


def base_name(path: str) -> str:
    """Gives the last part of a path; empty for an empty one."""
    return (parts_of(path[-4000:]) or [""])[-1]


def backbone_of(feature_extractor: str) -> str:
    """Gives the classification zoo's name of a feature extractor's backbone; empty if it has none.

    CenterNet's ResNets and Hourglass are trained elsewhere, and are left out.
    """
    name = spelt(feature_extractor)
    if match := re.match(r"ssd_efficientnet_b([0-7])", name):
        return f"efficientnet_b{match[1]}"
    if match := re.match(rf"(?:ssd|faster_rcnn)_resnet{_RESNETS}", name):
        return f"resnet{match[1]}_v1"
    if match := re.match(r"ssd_mobilenet_v([12])", name):
        return f"mobilenet_v{match[1]}"
    return "inception_resnet_v2" if "inception_resnet_v2" in name else ""


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


_PATH = "train_config.fine_tune_checkpoint"
# train_loop saves ckpt-1 before the first step; nobody starts from that.
_SAVED_BY_TRAINING = re.compile(r"^ckpt-(?:[2-9]|[1-9]\d{1,8})$")


class CheckpointInModelDir(Rule):
    """fine_tune_checkpoint lies where a training writes, and that folder cannot be --model_dir.

    Anti-pattern

        # model_main_tf2 --model_dir=models/my_ssd
        fine_tune_checkpoint: "models/my_ssd/ckpt-11"

    Somebody wants to go on from where the training stopped. model_main_tf2 does that by itself
    when it is started with the same --model_dir; naming the checkpoint makes it stop.

    Best practice

        # model_main_tf2 --model_dir=models/my_ssd_2
        fine_tune_checkpoint: "models/my_ssd/ckpt-11"
        fine_tune_checkpoint_type: "full"

    The same --model_dir and the old fine_tune_checkpoint to go on; another --model_dir to start
    a second training from the first.

    Source

    utils/variables_helper.ensure_checkpoint_supported: RuntimeError when the folders are the
    same. A config does not know its --model_dir, so this is a reminder, and a warning where the
    config itself lies in the folder and a training has written there.
    """

    code = "CKP006"
    name = "checkpoint.in_model_dir"
    causes = ("ckpt_in_model_dir",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the checkpoint lies in a folder that training has written to."""
        path = str(subject.pipeline.proto.train_config.fine_tune_checkpoint)
        if not path or is_placeholder(path):
            return
        folder = folder_of(path, look=subject.circumstances.look_at_disk)
        own_folder = os.path.dirname(os.path.abspath(subject.text.path))
        beside = folder is not None and os.path.abspath(folder) == own_folder
        archive = archive_of(path)
        of_a_zoo = archive is not None and archive.published
        saved_there = bool(_SAVED_BY_TRAINING.match(base_name(path))) and not of_a_zoo
        if not beside and not saved_there:
            return
        written = beside and os.path.isdir(os.path.join(own_folder, "train"))
        if beside:
            found = "fine_tune_checkpoint lies in the folder of this config"
            found += ", where a training has written" if written else ""
        else:
            found = f"fine_tune_checkpoint is numbered as a training's own: {path}"
        yield self.finding(
            "ckpt_in_model_dir",
            Severity.WARNING if written else Severity.INFO,
            fields=(_PATH,),
            found=found,
            expected="another folder as --model_dir",
            why=(
                "Where --model_dir is that folder, training stops with `Checkpoint dir and "
                "model_dir cannot be same`; to go on with a training, leave fine_tune_checkpoint "
                "as it was."
            ),
            # It stops, but only under a flag that is not known here.
            loss_ap=10.0 if written else 0.0,
        )
