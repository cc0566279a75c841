"""Rules about what is restored from a checkpoint, and whether it fits the model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.checkpoint.checkpoint_path import (
    archive_of,
    backbone_of,
    base_name,
    spelt,
)
from odapi_repro.diagnosis.rules.config.required_parts import (
    TF1_FEATURE_EXTRACTORS,
    TF2_FEATURE_EXTRACTORS,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of, is_placeholder, parts_of

_PATH, _TYPE = "train_config.fine_tune_checkpoint", "train_config.fine_tune_checkpoint_type"
_NUMBERED = re.compile(r"^ckpt-(\d+)$")


@dataclass(frozen=True)
class _Kind:
    """`detection` or `classification`, what tells it, and whether that is beyond doubt."""

    name: str
    told_by: str
    certain: bool


class CheckpointKind(Rule):
    """The checkpoint type does not fit the checkpoint, and the restore fails.

    Anti-pattern

        fine_tune_checkpoint: "ssd_mobilenet_v2_320x320_coco17_tpu-8/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "classification"

    The file in configs/tf2 starts from a classification backbone and says so; a downloaded
    detection model needs the other type. `detection` with an archive of the classification zoo is
    the same mistake the other way round.

    Best practice

        fine_tune_checkpoint: "ssd_mobilenet_v2_320x320_coco17_tpu-8/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "detection"

    Source

    `classification` asks the checkpoint for an object `feature_extractor`, `detection` and `full`
    for `model` (restore_from_objects of the meta-architectures), and
    model_lib_v2.load_fine_tune_checkpoint asserts that every object was found; utils/
    variables_helper.ensure_checkpoint_supported refuses `detection` with a `feature_extractor`.
    tensorflow/models issues 8875 and 9172 are reports of it.
    """

    code = "CKP004"
    name = "checkpoint.kind"
    causes = (
        "ckpt_type_classification_on_detection_ckpt",
        "ckpt_type_detection_on_classification_ckpt",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the kind of the checkpoint is known and its type is the other."""
        path = str(subject.pipeline.proto.train_config.fine_tune_checkpoint)
        restore = _asked_for(subject)
        if not path or is_placeholder(path) or not restore:
            return
        kind = _kind_of(subject, path)
        if kind is None or (kind.name == "classification") == (restore == "classification"):
            return
        backbone = restore == "classification"
        given = str(subject.pipeline.proto.train_config.fine_tune_checkpoint_type)
        said = f"is {restore!r}" if given else f"is not set, which means {restore!r},"
        yield self.finding(
            self.causes[0] if backbone else self.causes[1],
            Severity.FATAL if kind.certain else Severity.WARNING,
            fields=(_TYPE, _PATH),
            found=(
                f"fine_tune_checkpoint_type {said} and {path} is a {kind.name} checkpoint "
                f"({kind.told_by})"
            ),
            expected=f"fine_tune_checkpoint_type: {kind.name!r}",
            why=(
                "The backbone is looked for where this checkpoint has none: training stops with an "
                "AssertionError (no object was matched) when it restores."
                if backbone
                else "It holds a backbone and no detection model: training stops when it restores."
            ),
            loss_ap=100.0 if kind.certain else 20.0,
            evidence=(
                Evidence(
                    None,
                    "https://github.com/tensorflow/models/issues/8875",
                    "a zoo model with the type of the config: it cannot be restored",
                ),
            )
            if backbone
            else (),
            fix=(FieldFix(_TYPE, kind.name),),
        )


def _asked_for(subject: Subject) -> str:
    """Gives the type that is restored; empty where the type itself is refused (CKP002)."""
    train = subject.pipeline.proto.train_config
    given = str(train.fine_tune_checkpoint_type)
    if not given:
        return "detection" if train.from_detection_checkpoint else "classification"
    return given if given in ("classification", "detection", "full") else ""


def _kind_of(subject: Subject, path: str) -> _Kind | None:
    if folder_of(path, look=subject.circumstances.look_at_disk):
        # Imported here: few configs name a checkpoint that is on this disk.
        from odapi_repro.diagnosis.finished_run.run_checkpoints import checkpoint_kind

        held = checkpoint_kind(path)
        if held == "classification":
            return _Kind("classification", "by the objects in it", True)
        if held in ("detection", "training"):
            return _Kind("detection", "by the objects in it", True)
        if held == "tf1":
            return None  # CKP001's
    archive = archive_of(path)
    numbered = _NUMBERED.match(base_name(path))
    in_checkpoint_folder = numbered is not None and "checkpoint" in parts_of(path)[-2:-1]
    # train_loop saves ckpt-1, ckpt-2 ...; of the classification zoo only EfficientNet has a ckpt-0,
    # and a backbone saved by hand is a ckpt-1. A run's folder may be called by its backbone.
    of_a_run = numbered is not None and int(numbered[1][:9]) > 1
    if archive is not None and archive.kind == "classification" and not of_a_run:
        told = f"{archive.name} is {'' if archive.published else 'nearly '}a name of the "
        kind = _Kind("classification", f"{told}classification zoo's", archive.published)
        # The zoo's backbones lie in no checkpoint/, and a model may be called by its backbone.
        return None if in_checkpoint_folder else kind
    if archive is not None and archive.kind == "detection":
        told = f"{archive.name} is a detection model"
        return _Kind("detection", told, archive.published or in_checkpoint_folder)
    if in_checkpoint_folder:
        return _Kind("detection", "checkpoint/ckpt-N is how detection models are exported", True)
    if of_a_run:
        return _Kind("detection", "train_loop numbers its checkpoints like this", False)
    return None


_TYPES = ("classification", "detection", "full")
_FIELD = "train_config.fine_tune_checkpoint_type"


class CheckpointTypeUnsupported(Rule):
    """The checkpoint type is one that the meta-architecture refuses.

    Anti-pattern

        center_net { ... }
        fine_tune_checkpoint_type: "fine_tune"

    `fine_tune` was CenterNet's old name for `detection`. Misspelt types, `classification` for a
    CenterNet on Hourglass, which has no classification backbone, and
    `load_all_detection_checkpoint_vars`, which was TensorFlow 1's way to `full`, stop as well.

    Best practice

        fine_tune_checkpoint_type: "detection"

    `classification` restores the backbone, `detection` the feature extractor with its pyramid,
    `full` everything, the heads included.

    Source

    restore_from_objects in meta_architectures/ssd_meta_arch.py, faster_rcnn_meta_arch.py and
    center_net_meta_arch.py; model_lib_v2.train_loop.
    """

    code = "CKP002"
    name = "checkpoint.type_unsupported"
    causes = ("ckpt_type_unsupported",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for the type, and one for load_all_detection_checkpoint_vars."""
        train = subject.pipeline.proto.train_config
        if train.load_all_detection_checkpoint_vars:
            yield self._finding(
                "train_config.load_all_detection_checkpoint_vars",
                "load_all_detection_checkpoint_vars is true",
                'fine_tune_checkpoint_type: "full" for all variables',
                "Training stops with `unsupported in TF2` before it builds a model.",
                None,
            )
        given = str(train.fine_tune_checkpoint_type)
        if not train.fine_tune_checkpoint or not given:
            return
        if given not in _TYPES:
            close = "detection" if given == "fine_tune" else ""
            close = (
                close or (difflib.get_close_matches(given[:80], _TYPES, n=1) or ["detection"])[0]
            )
            yield self._finding(
                _FIELD,
                f"fine_tune_checkpoint_type is {given[:80]!r}",
                f"{close!r}, or another of {', '.join(_TYPES)}",
                "Training stops with a ValueError when it restores.",
                close,
            )
        elif given == "classification" and _has_no_backbone(subject):
            yield self._finding(
                _FIELD,
                "fine_tune_checkpoint_type is 'classification' for an Hourglass",
                "'detection', with the checkpoint of ExtremeNet or of a CenterNet",
                "Hourglass has no classification backbone: training stops with a "
                "NotImplementedError when it restores.",
                "detection",
            )

    def _finding(self, field: str, found: str, expected: str, why: str, value: object) -> Finding:
        return self.finding(
            "ckpt_type_unsupported",
            Severity.FATAL,
            fields=(field,),
            found=found,
            expected=expected,
            why=why,
            loss_ap=100.0,
            fix=(FieldFix(field, value),),
        )


def _has_no_backbone(subject: Subject) -> bool:
    model = subject.pipeline.proto.model
    return subject.pipeline.meta_architecture == "center_net" and str(
        model.center_net.feature_extractor.type
    ).startswith("hourglass")


class CheckpointVersion(Rule):
    """The checkpoint is read as TensorFlow 1's, which training refuses.

    Anti-pattern

        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "detection"

    `fine_tune_checkpoint_version` is not set, and its default in the proto is V1. The other form
    is a checkpoint of the TF1 zoo, `ssd_mobilenet_v2_coco_2018_03_29/model.ckpt`, which no
    setting makes readable.

    Best practice

        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "detection"
        fine_tune_checkpoint_version: V2

    Source

    protos/train.proto; model_lib_v2.load_fine_tune_checkpoint: ValueError for V1, IOError for a
    checkpoint that is not object-based.
    """

    code = "CKP001"
    name = "checkpoint.version"
    causes = ("ckpt_version_v1",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for the version, and one for a checkpoint of TensorFlow 1."""
        train = subject.pipeline.proto.train_config
        path = str(train.fine_tune_checkpoint)
        if not path:
            return
        versions = train.DESCRIPTOR.fields_by_name["fine_tune_checkpoint_version"].enum_type
        version = versions.values_by_number[train.fine_tune_checkpoint_version].name
        field = "train_config.fine_tune_checkpoint_version"
        if version != "V2":
            unset = not train.HasField("fine_tune_checkpoint_version")
            yield self.finding(
                "ckpt_version_v1",
                Severity.FATAL,
                fields=(field,),
                found=(
                    "fine_tune_checkpoint_version is not set, and its default is V1"
                    if unset
                    else f"fine_tune_checkpoint_version is {version}"
                ),
                expected="V2",
                why="Training stops with `Checkpoint version should be V2` when it restores.",
                loss_ap=100.0,
                fix=(FieldFix(field, "V2"),),
            )
        if not is_placeholder(path) and _is_tf1(subject, path):
            yield self.finding(
                "ckpt_version_v1",
                Severity.FATAL,
                fields=("train_config.fine_tune_checkpoint",),
                found=f"{path} is a checkpoint of TensorFlow 1",
                expected="one of the TF2 zoo, such as <archive>/checkpoint/ckpt-0",
                why=(
                    "It holds variables by name instead of objects, and training stops with "
                    "`Checkpoint is expected to be an object-based checkpoint`."
                ),
                loss_ap=100.0,
            )


def _is_tf1(subject: Subject, path: str) -> bool:
    if folder_of(path, look=subject.circumstances.look_at_disk):
        # Imported here: few configs name a checkpoint that is on this disk.
        from odapi_repro.diagnosis.finished_run.run_checkpoints import checkpoint_kind

        kind = checkpoint_kind(path)
        if kind != "unknown":
            return kind == "tf1"
    archive = archive_of(path)
    return archive is not None and archive.kind == "tf1"


_CKPT_TYPE = "train_config.fine_tune_checkpoint_type"
# Every detection model of the zoo was trained on COCO, with its ids up to 90.
_ZOO_CLASSES = 90


class FullRestoreOfOtherClasses(Rule):
    """`full` restores the heads too, and the zoo's have 90 classes.

    Anti-pattern

        ssd { num_classes: 3 }
        fine_tune_checkpoint: "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "full"

    Best practice

        ssd { num_classes: 3 }
        fine_tune_checkpoint: "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "detection"

    `detection` restores the feature extractor with its pyramid, and the heads start anew. `full`
    is for the same classes in the same order, to go on with a training.

    Source

    restore_from_objects of the meta-architectures ({'model': self} for `full`); TensorFlow's
    restore raises ValueError where shapes differ.
    """

    code = "CKP008"
    name = "checkpoint.full_with_other_classes"
    causes = ("ckpt_full_with_other_classes",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when a zoo model is restored in full into another number of classes."""
        train = subject.pipeline.proto.train_config
        path = str(train.fine_tune_checkpoint)
        classes = subject.pipeline.num_classes
        if train.fine_tune_checkpoint_type != "full" or not path or is_placeholder(path):
            return
        if not hasattr(subject.pipeline.model, "num_classes") or classes == _ZOO_CLASSES:
            return
        archive = archive_of(path)
        exported = base_name(path) == "ckpt-0" and "checkpoint" in parts_of(path)[-2:-1]
        of_the_zoo = archive is not None and archive.kind == "detection" and archive.published
        if not of_the_zoo and not exported:
            return
        yield self.finding(
            "ckpt_full_with_other_classes",
            Severity.FATAL if of_the_zoo else Severity.WARNING,
            fields=(_CKPT_TYPE, f"model.{subject.pipeline.meta_architecture}.num_classes"),
            found=f"`full` of {path} into {classes} classes",
            expected="`detection`, or the 90 classes that the zoo's models have",
            why=(
                "The class heads have other shapes than the checkpoint's: training stops with a "
                "ValueError when it restores."
                if of_the_zoo
                else "If it is a model of the zoo, its heads have 90 classes and do not fit."
            ),
            loss_ap=100.0 if of_the_zoo else 20.0,
            fix=(FieldFix(_CKPT_TYPE, "detection"),),
        )


_CKPT = "train_config.fine_tune_checkpoint"


class CheckpointOfOtherArchitecture(Rule):
    """The checkpoint's name is that of another model, whose weights do not fit.

    Anti-pattern

        feature_extractor { type: "ssd_efficientnet-b3_bifpn_keras" }
        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0"

    Best practice

        feature_extractor { type: "ssd_efficientnet-b3_bifpn_keras" }
        fine_tune_checkpoint: "efficientdet_d3_coco17_tpu-32/checkpoint/ckpt-0"

    The same feature extractor at another image size fits: Faster R-CNN and SSD ResNet share a
    checkpoint between 640 and 1024 pixels, Faster R-CNN with Inception ResNet v2 gives Mask R-CNN
    its extractor (`detection`), and EfficientDet-D6 and D7 have one backbone.

    Source

    The zoos' archive names (g3doc/tf2_detection_zoo.md, tf2_classification_zoo.md). Restoring
    checks that all objects match (model_lib_v2.load_fine_tune_checkpoint) and that shapes do.
    """

    code = "CKP005"
    name = "checkpoint.other_architecture"
    causes = ("ckpt_from_other_architecture",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the path names an archive of another extractor or backbone."""
        path = str(subject.pipeline.proto.train_config.fine_tune_checkpoint)
        archive = archive_of(path) if path and not is_placeholder(path) else None
        extractor = getattr(subject.pipeline.model, "feature_extractor", None)
        given = str(getattr(extractor, "type", ""))
        if archive is None or not given or _unheard_of(subject.pipeline.meta_architecture, given):
            return  # CFG006 tells of a name that no model has
        if archive.kind == "classification":
            backbone = backbone_of(given)
            if not backbone or backbone in archive.fits:
                return
            expected = f"a checkpoint of {backbone}"
        elif archive.kind == "detection" and _plain(given) not in map(_plain, archive.fits):
            expected = f"a checkpoint of a model with {given}"
        else:
            return
        held = ", ".join(sorted(archive.fits))
        yield self.finding(
            "ckpt_from_other_architecture",
            Severity.FATAL if archive.published else Severity.WARNING,
            fields=(_CKPT, f"model.{subject.pipeline.meta_architecture}.feature_extractor.type"),
            found=f"the model is built on {given}, and by its name {archive.name} holds {held}",
            expected=expected,
            why=(
                "Layers are missing or have other shapes: training stops with an AssertionError or "
                "a ValueError when it restores."
            ),
            loss_ap=100.0 if archive.published else 20.0,
        )


def _unheard_of(meta_architecture: str, extractor: str) -> bool:
    known = TF2_FEATURE_EXTRACTORS.get(meta_architecture, frozenset())
    return _plain(extractor) not in map(_plain, known | TF1_FEATURE_EXTRACTORS)


def _plain(extractor: str) -> str:
    """The name without slips and TensorFlow 2's suffix: what is wrong with those is CFG006's."""
    return spelt(extractor).removesuffix("_keras")


# He et al. 2018 (arXiv 1811.08883): 90,000 steps of 16 images are one schedule.
_SCHEDULE_IMAGES = 90_000 * 16
_FEW_IMAGES = 10_000


class TrainedFromScratch(Rule):
    """No checkpoint is restored, while the reference starts from one.

    Anti-pattern

        train_config {
          batch_size: 8
          num_steps: 20000
          fine_tune_checkpoint: ""
        }

    Random weights need a schedule several times as long. On a small data set, or with batch norm
    frozen at its initial statistics, they do not get there at all. Where a type is set and no path,
    the path may have been taken out of a config before it was shown: that is asked, not claimed.

    Best practice

        train_config {
          fine_tune_checkpoint: "efficientnet_b3/ckpt-0"
          fine_tune_checkpoint_version: V2
          fine_tune_checkpoint_type: "classification"
        }

    A detection checkpoint of the zoo (`detection`) where the classes are alike, a backbone
    (`classification`) otherwise.

    Source

    He et al. 2018, Rethinking ImageNet Pre-training (arXiv 1811.08883): on COCO random weights
    are level after 6 schedules (8.6 million images), 3.5 AP short after 2, and far short with
    3,500 images or fewer.
    """

    code = "CKP007"
    name = "checkpoint.trained_from_scratch"
    causes = ("trained_from_scratch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding whose severity is the images seen, in the paper's schedules."""
        theirs = subject.reference_pipeline.proto.train_config.fine_tune_checkpoint
        if subject.pipeline.proto.train_config.fine_tune_checkpoint or not theirs:
            return
        found = subject.quantities
        seen, images = found.images_seen, found.train_images
        schedules = seen / _SCHEDULE_IMAGES
        few = images is not None and images < _FEW_IMAGES
        frozen = found.batchnorm == "frozen"
        # Published up to 2 schedules; under that, and with frozen statistics, a judgement.
        if frozen:
            severity, loss = Severity.CRITICAL, 25.0
        elif few or schedules < 1:
            severity, loss = Severity.CRITICAL, 15.0 if schedules < 0.1 else 10.0
        elif schedules < 6:
            severity, loss = Severity.WARNING, 3.5
        else:
            severity, loss = Severity.INFO, 0.0
        train = subject.pipeline.proto.train_config
        typed = str(train.fine_tune_checkpoint_type)
        meant = repr(typed) if typed else "detection" if train.from_detection_checkpoint else ""
        if meant and severity < Severity.WARNING:
            severity = Severity.WARNING
        why = (
            f"{_count(seen)} images are {schedules:.2g} of the schedules of 1.44 million after "
            "which random weights caught up with ImageNet's in the sixth, on COCO."
        )
        if few:
            why += f" With {images} training images they never did."
        if frozen:
            why = (
                "Batch norm is frozen: at random weights its statistics are those of nothing, and "
                "no layer is normalised. " + why
            )
        keys = ["scratch_2x", "scratch_6x"] + (["scratch_3500_images"] if few else [])
        yield self.finding(
            "trained_from_scratch",
            severity,
            fields=("train_config.fine_tune_checkpoint",),
            found="no fine_tune_checkpoint: training starts from random weights"
            + (f", though the type is {meant}; was the path taken out?" if meant else ""),
            expected=_expected(subject),
            why=why,
            loss_ap=loss,
            evidence=published(*keys),
        )


def _expected(subject: Subject) -> str:
    kind = subject.reference_quantities.checkpoint_restore
    what = {"classification": "a backbone trained on ImageNet"}.get(kind, f"a {kind} checkpoint")
    return f"{what}, as {subject.reference.name} does"


def _count(images: int) -> str:
    return f"{images / 1e6:.3g} million" if images >= 1_000_000 else f"{images:,}"
