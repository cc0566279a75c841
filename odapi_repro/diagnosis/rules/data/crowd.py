"""COCO's crowd regions in training."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import input_patterns


class CrowdTrainedAsPositive(Rule):
    """COCO's crowd regions are trained as if each were one object.

    Anti-pattern

        tf_record_input_reader {
          input_path: "coco_train.record-?????-of-00100"
        }

    `iscrowd` is read from the records and used by the metrics only: a region of many people is a
    positive example of one large person. All of configs/tf2 does so, and its numbers include it.

    Best practice

    Leave it as it is to compare with the zoo. To leave crowds out, write records without them; no
    field of a config does it.

    Source

    dataset_tools/create_coco_tf_record.py writes crowds; meta_architectures/ssd_meta_arch.py and
    faster_rcnn_meta_arch.py do not look at groundtruth_is_crowd. Maintainers of tensorpack saw no
    difference from leaving them out.
    """

    code = "DAT010"
    name = "data.crowd_trained_as_positive"
    causes = ("crowd_trained_as_positive",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a reminder where the training records are named as COCO's are."""
        patterns = input_patterns(subject.pipeline)
        if not patterns or subject.pipeline.meta_architecture not in ("ssd", "faster_rcnn"):
            return
        if not all("train2017" in one or "coco_train" in one for one in patterns):
            return
        yield self.finding(
            "crowd_trained_as_positive",
            Severity.INFO,
            fields=("train_input_reader.tf_record_input_reader.input_path",),
            found="COCO's crowd regions are trained as single objects",
            expected="nothing to change; the reference does the same",
            why="Some other code bases leave them out, which was seen to make no difference.",
            evidence=published("crowd"),
        )
