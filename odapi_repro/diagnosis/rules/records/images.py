"""Images that do not decode, of another size than recorded, or turned by a tag nobody reads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

# Sides that differ by a pixel or two were rounded; boxes are shares, and move by less than that.
_ROUNDING = 0.01


class BrokenImages(RecordRule):
    """Images do not decode, or are not of the size that the record says.

    Anti-pattern

        image/height: 480                # image/encoded is a JPEG of 640 x 480, cut at 50 KB
        image/width: 640

    A truncated image stops training when it comes round. A recorded size of other proportions
    means that boxes were divided by the sides of another image: of one that was turned (a camera's
    EXIF tag, which annotation tools obey and TensorFlow does not), or cut.

    Best practice

    Open every image once and write the size of its pixels; turn images for good before they are
    annotated (`PIL.ImageOps.exif_transpose`).

    Source

    data_decoders/tf_example_decoder.py: `tf.io.decode_image` and the decoded image's own shape
    (original_image_spatial_shape); tf.io.decode_jpeg refuses truncated data and knows no EXIF.
    """

    code = "REC004"
    name = "records.images"
    causes = ("image_not_decodable", "image_size_mismatch", "image_orientation_ignored")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for images that do not decode, other sizes, and orientation tags."""
        for split in subject.census.splits:
            yield from self._broken(subject, split)
            yield from self._sizes(subject, split)
            yield from self._turned(subject, split)

    def _broken(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        tally = split.faults.get("not_decodable")
        if tally is None:
            return
        yield self.told(
            subject,
            split,
            "image_not_decodable",
            Severity.FATAL,
            found=f"{tally.count:,} of {len(split.images):,} images do not decode ({tally.detail})",
            expected="a whole JPEG or PNG under image/encoded",
            why="Training stops with an InvalidArgumentError when such an image comes round; an "
            "evaluation ends there, and its number is that of the images before.",
            mend="write these records again from images that open",
            count=tally.count,
            counted="images",
            examples=tally.examples,
            loss_ap=95.0,
        )

    def _sizes(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        images = split.images
        both = images.decodes & (images.recorded_size > 0).all(axis=1)
        differs = both & (images.recorded_size != images.decoded_size).any(axis=1)
        if not differs.any():
            return
        recorded = images.recorded_size.astype(np.float64)
        decoded = np.maximum(images.decoded_size, 1).astype(np.float64)
        ratio = recorded / decoded
        proportions = differs & (np.abs(ratio[:, 0] - ratio[:, 1]) > _ROUNDING * ratio.max(axis=1))
        turned = differs & (images.recorded_size == images.decoded_size[:, ::-1]).all(axis=1)
        first = int(np.flatnonzero(proportions if proportions.any() else differs)[0])
        told = ", of other proportions" if proportions.any() else ", of the same proportions"
        if turned.any():
            told = f", {int(turned.sum()):,} of them turned by a quarter"
        yield self.told(
            subject,
            split,
            "image_size_mismatch",
            Severity.CRITICAL if proportions.any() else Severity.INFO,
            found=f"{int(differs.sum()):,} of {len(images):,} images are not of their recorded size"
            f"{told}: {images.name(first)} is {_size(images.decoded_size[first])}, recorded as "
            f"{_size(images.recorded_size[first])}",
            expected="image/height and image/width of the encoded image",
            why="Boxes were divided by sides that the image does not have, and lie beside their "
            "objects."
            if proportions.any()
            else "Boxes are shares and fit all the same; areas in pixels and masks are those of "
            "the other size.",
            mend="write the records again with the size of the decoded image",
            count=int(differs.sum()),
            counted="images",
            examples=images.names(np.flatnonzero(differs)[:5]),
            loss_ap=20.0 if proportions.any() else 0.0,
        )

    def _turned(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        turned = split.images.orientation > 1
        if not turned.any():
            return
        yield self.told(
            subject,
            split,
            "image_orientation_ignored",
            Severity.WARNING,
            found=f"{int(turned.sum()):,} of {len(split.images):,} images have an EXIF tag that "
            "turns or mirrors them",
            expected="images whose pixels stand as they are to be seen",
            why="TensorFlow does not read the tag. Where boxes were drawn on the turned view they "
            "lie elsewhere.",
            mend="look at some with `data show`; turn the pixels (ImageOps.exif_transpose) and "
            "write the records again",
            count=int(turned.sum()),
            counted="images",
            examples=split.images.names(np.flatnonzero(turned)[:5]),
            loss_ap=5.0,
        )


def _size(size: NDArray[np.int32]) -> str:
    return f"{size[0]} x {size[1]}"
