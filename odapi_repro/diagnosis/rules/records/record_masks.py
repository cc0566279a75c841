"""Masks that are missing, do not decode, are empty or of another size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from odapi_repro.datasets.census import (
    MASK_EMPTY,
    MASK_NONE,
    MASK_OTHER_SIZE,
    MASK_UNREADABLE,
    SplitCensus,
)
from odapi_repro.datasets.census.record_columns import MASK_NUMERICAL
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

_PNG = 2  # InstanceMaskType.PNG_MASKS in protos/input_reader.proto


class MasksUnfit(RecordRule):
    """Masks are missing, unreadable, empty, of another size, or of a kind the reader does not take.

    Anti-pattern

        mask = mask.resize((512, 512))       # the image beside it keeps 640 x 480
        image/object/mask: PNG of 512 x 512

    Best practice

    One PNG an object, of the image's height and width, with something in it; `--include_masks` with
    the OD API's converter, and in the config

        load_instance_masks: true
        mask_type: PNG_MASKS

    Source

    data_decoders/tf_example_decoder._decode_png_instance_masks: masks are decoded as they are, one
    of another size too; masks of several sizes in one image stop it.
    meta_architectures/faster_rcnn_meta_arch.py: ValueError without masks.
    """

    code = "REC008"
    name = "records.masks"
    causes = (
        "masks_missing",
        "mask_not_decodable",
        "mask_size_mismatch",
        "masks_empty",
        "mask_type_mismatch",
    )

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for each way in which masks of a split do not fit."""
        for split in subject.census.splits:
            if not len(split.boxes):
                continue
            reader = subject.reader(split)
            loaded = bool(reader is not None and reader.load_instance_masks)
            yield from self._missing(subject, split, loaded)
            yield from self._kind(subject, split, reader, loaded)
            yield from self._bad(subject, split, loaded)

    def _missing(
        self, subject: RecordSubject, split: SplitCensus, loaded: bool
    ) -> Iterator[Finding]:
        missing = split.boxes.mask_state == MASK_NONE
        count = int(missing.sum())
        if not count or (count == len(missing) and not loaded):
            return
        yield self.told(
            subject,
            split,
            "masks_missing",
            Severity.FATAL if loaded else Severity.INFO,
            found=f"{count:,} of {len(missing):,} boxes in {split.images_told(missing)} "
            "have no mask",
            expected="a mask for every object"
            + (": the reader loads masks" if loaded else ", or none at all"),
            why="Training stops where boxes come without masks."
            if loaded
            else "A model with masks cannot be trained on these images.",
            mend="write the records again with masks (--include_masks)",
            count=count,
            counted="boxes",
            examples=split.examples(missing),
            loss_ap=90.0 if loaded else 0.0,
            name="load_instance_masks",
        )

    def _kind(
        self, subject: RecordSubject, split: SplitCensus, reader: object, loaded: bool
    ) -> Iterator[Finding]:
        states = split.boxes.mask_state
        numerical = states == MASK_NUMERICAL
        png = (states != MASK_NUMERICAL) & (states != MASK_NONE)
        reads_png = loaded and getattr(reader, "mask_type", 0) == _PNG
        wrong = numerical if reads_png else png
        if not loaded or not wrong.any():
            return
        kinds = ("numbers", "PNG_MASKS") if reads_png else ("PNG", "NUMERICAL_MASKS")
        fields = subject.field_of(split, "mask_type")
        yield self.told(
            subject,
            split,
            "mask_type_mismatch",
            Severity.FATAL,
            found=f"{int(wrong.sum()):,} masks are {kinds[0]}, and the reader takes {kinds[1]}",
            expected="the reader's mask_type as the records have it",
            why="Parsing stops at the first record: the feature is of another kind.",
            mend="",
            count=int(wrong.sum()),
            counted="masks",
            loss_ap=90.0,
            name="mask_type",
            fix=[FieldFix(fields[0], "NUMERICAL_MASKS" if reads_png else "PNG_MASKS")],
        )

    def _bad(self, subject: RecordSubject, split: SplitCensus, loaded: bool) -> Iterator[Finding]:
        # A mask on an image that does not decode has nothing to be of the size of.
        decodes = split.images.decodes[split.boxes.image]
        told = (
            (
                MASK_UNREADABLE,
                "mask_not_decodable",
                "do not decode",
                "PNG masks that open",
                "Decoding stops at the first.",
                Severity.FATAL,
            ),
            (
                MASK_OTHER_SIZE,
                "mask_size_mismatch",
                "are not of their image's size",
                "masks of the image's height and width",
                "Masks are stretched over the image, and a crop cuts them elsewhere than the "
                "image; where sizes differ within an image, decoding stops.",
                Severity.CRITICAL,
            ),
            (
                MASK_EMPTY,
                "masks_empty",
                "are empty",
                "masks with at least a pixel",
                "The object is trained as a box without anything in it.",
                Severity.WARNING,
            ),
        )
        for state, cause, found, expected, why, severity in told:
            bad = (split.boxes.mask_state == state) & decodes
            if not np.any(bad):
                continue
            yield self.told(
                subject,
                split,
                cause,
                severity if loaded or subject.config is None else Severity.INFO,
                found=f"{int(bad.sum()):,} of {len(bad):,} masks in {split.images_told(bad)} "
                f"{found}",
                expected=expected,
                why=why,
                mend="write these records again with the masks of their images",
                count=int(bad.sum()),
                counted="masks",
                examples=split.examples(bad),
                loss_ap=30.0,
                name="load_instance_masks",
            )
