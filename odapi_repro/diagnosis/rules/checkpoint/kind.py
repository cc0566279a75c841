"""A checkpoint of one kind, restored as another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.checkpoint.archives import archive_of, base_name
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
        from odapi_repro.diagnosis.finished_run.checkpoints import checkpoint_kind

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
