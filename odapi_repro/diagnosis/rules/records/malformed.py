"""Records that are no Example, or whose lists do not belong together."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

_TOLD = {
    "not_example": (
        "are no tf.train.Example",
        "records that hold serialised tf.train.Example messages",
        "Parsing stops at the first.",
        "write them with dataset_tools or `data convert`; SequenceExamples are not read",
    ),
    "no_image": (
        "have no image/encoded",
        "the compressed image under image/encoded",
        "Decoding stops at the first.",
        "write them again; the tool that wrote them did not find the image",
    ),
    "wrong_kind": (
        "hold a feature of the wrong kind",
        "floats for boxes, integers for labels and sizes, bytes for texts and images",
        "Parsing stops at the first.",
        "write them again with the feature's right type",
    ),
    "lists_differ": (
        "have lists of unequal length under image/object",
        "one value an object in every list under image/object",
        "The input stops, or boxes get the classes of their neighbours.",
        "write them again; a list was filtered and its neighbours were not",
    ),
}


class MalformedRecords(RecordRule):
    """Records hold something else than an image with lists of one length.

    Anti-pattern

        image/object/bbox/xmin: 0.1 0.4 0.7
        image/object/bbox/xmax: 0.3 0.6
        image/object/class/label: 1 1 2

    Somebody left out a box that was too small, and left its other values where they were.

    Best practice

        image/object/bbox/xmin: 0.1 0.4
        image/object/bbox/xmax: 0.3 0.6
        image/object/class/label: 1 2

    One value an object in every list, or the list left out whole.

    Source

    data_decoders/tf_example_decoder.py, keys_to_features (kinds and keys) and
    slim.tfexample_decoder.BoundingBox, which joins the four lists of corners.
    """

    code = "REC003"
    name = "records.malformed"
    causes = ("record_malformed",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields a finding for each way in which records of a split are malformed."""
        for split in subject.census.splits:
            for kind, (found, expected, why, mend) in _TOLD.items():
                tally = split.faults.get(kind)
                if tally is None:
                    continue
                told = f" ({tally.detail})" if tally.detail else ""
                yield self.told(
                    subject,
                    split,
                    "record_malformed",
                    Severity.FATAL,
                    found=f"{tally.count:,} of {split.records:,} records {found}{told}",
                    expected=expected,
                    why=why,
                    mend=mend,
                    count=tally.count,
                    counted="records",
                    examples=tally.examples,
                    loss_ap=95.0,
                )
