"""A hard example miner in a two-stage model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.schedule.comparison import number
from odapi_repro.diagnosis.subject import Subject

_PATH = "model.faster_rcnn.hard_example_miner"


class HardExampleMinerInTwoStages(Rule):
    """A hard example miner trains the second stage on one image of each batch.

    The OD API's loop over the images of a batch returns in its first round. The loss of the second
    stage is then that of the first image, divided by the whole batch; the other images train the
    proposals alone. No ground truth is sampled among the regions any more, either.

    Anti-pattern

        faster_rcnn { hard_example_miner { num_hard_examples: 64 } }
        train_config { batch_size: 16 }

    Best practice

    Leave it out: regions are sampled, a quarter of them objects. With a miner, one image a replica.

    Source

    faster_rcnn_meta_arch._unpad_proposals_and_apply_hard_mining (the return inside the loop),
    _postprocess_rpn (no sampling), max_num_proposals. Run with one, two and four images in a batch,
    the first the same: both losses of the second stage were 1, 1/2 and 1/4, to six digits.
    """

    code: ClassVar[str] = "MOD022"
    name: ClassVar[str] = "model.hard_example_miner"
    causes: ClassVar[tuple[str, ...]] = ("hard_examples_of_one_image",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the images of a replica, which share one loss."""
        if subject.pipeline.meta_architecture != "faster_rcnn":
            return
        model, images = (
            subject.pipeline.proto.model.faster_rcnn,
            subject.quantities.images_per_replica,
        )
        if not model.HasField("hard_example_miner") or model.number_of_stages == 1:
            return
        one = images <= 1
        yield self.finding(
            "hard_examples_of_one_image",
            Severity.INFO if one else Severity.CRITICAL if images >= 4 else Severity.WARNING,
            fields=[_PATH, "train_config.batch_size"],
            found="a hard example miner in place of sampled regions"
            if one
            else f"of the {number(images)} images of a replica's batch the first alone trains the "
            "second stage (hard_example_miner)",
            expected="no hard_example_miner",
            why="The hardest regions train the second stage, without ground truth among them; "
            "published numbers for it in this code are lacking."
            if one
            else "The OD API's loop over the images returns in its first round, and its loss is "
            "divided by the whole batch.",
            loss_ap=0.5 if one else min(2.0 * images, 15.0),  # judged
            fix=[FieldFix(_PATH, None)],
        )
