"""Checkpoint types that the model cannot restore."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

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
