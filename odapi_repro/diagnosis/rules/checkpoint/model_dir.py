"""A checkpoint in the folder that training writes to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.checkpoint.archives import archive_of, base_name
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of, is_placeholder

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
