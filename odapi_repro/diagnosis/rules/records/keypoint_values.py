"""Keypoints that are no shares of the image, or whose visibility is not read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.datasets.census.columns import UNKNOWN_COUNT, images_told
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

# keypoint_ops.to_absolute_coordinates asserts that no coordinate is above this.
_MOST_COORDINATE = 1.01
# A share above this is no share: such keypoints are in pixels.
_MOST_SHARE = 2.0

_STOPS = "The loss stops at the first: 'maximum keypoint coordinate value is larger than 1.01'."


class KeypointValues(RecordRule):
    """Keypoints are in pixels or outside the image, or their visibility list does not fit them.

    Anti-pattern

        image/object/keypoint/x: 217.0 402.5
        image/object/keypoint/visibility: 2        # one for the object instead of each keypoint

    Best practice

        image/object/keypoint/x: 0.339 0.629       # 217.0 / image/width
        image/object/keypoint/visibility: 2 2

    Of a keypoint that is not labelled 0 in visibility, or NaN in x and y.

    Source

    core/target_assigner._preprocess_keypoints_and_weights calls
    keypoint_ops.to_absolute_coordinates, which asserts 1.01; keypoints that are not labelled are 0
    by then, and below 0 nothing stops. core/preprocessor: crops prune keypoints that are outside,
    each to NaN. tf_example_decoder._reshape_keypoint_visibilities takes a list of another length
    for none, with which all that is not NaN is visible.
    """

    code = "REC031"
    name = "records.keypoint_values"
    causes = ("keypoint_values_not_normalized", "keypoint_visibility_unread")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for each split, but where the reader or the model wants no keypoints."""
        for split in subject.census.splits:
            reader = subject.reader(split)
            if reader is not None and not (
                reader.num_keypoints
                and subject.config is not None
                and subject.config.pipeline.keypoint_tasks
            ):
                continue
            most = np.nan_to_num(split.images.keypoint_most.astype(np.float64), nan=0.0)
            beyond = most > _MOST_COORDINATE
            if beyond.any():
                yield self._beyond(subject, split, beyond, float(most.max()))
            yield from self._visibility(subject, split)

    def _beyond(
        self, subject: RecordSubject, split: SplitCensus, beyond: NDArray[np.bool_], most: float
    ) -> Finding:
        pixels = most > _MOST_SHARE
        cropped = subject.config is not None and split.split == "train" and _crops(subject)
        why = _STOPS
        if subject.config is None:
            why = f"A model of boxes takes no notice. {_STOPS.replace('The', 'Of keypoints the')}"
        elif cropped:
            why = (
                "The crop in the augmentation drops keypoints outside the image, and nothing "
                "learns from them; where an image is left as it is the loss stops at 1.01."
            )
        fatal = pixels and subject.config is not None and not cropped
        with_keypoints = int((~np.isnan(split.images.keypoint_most)).sum())
        return self.told(
            subject,
            split,
            "keypoint_values_not_normalized",
            Severity.FATAL
            if fatal
            else Severity.CRITICAL
            if pixels or (subject.config is not None and not cropped)
            else Severity.WARNING,
            found=f"{int(beyond.sum()):,} of {images_told(with_keypoints)} with keypoints "
            f"{'has' if beyond.sum() == 1 else 'have'} some above 1, up to {most:,.6g}",
            expected="shares of the image's sides, 0 to 1",
            why=why,
            mend="divide keypoint/y by the image's height, keypoint/x by its width"
            if pixels
            else "give keypoints outside the image 0 in visibility",
            count=int(beyond.sum()),
            counted="images",
            examples=split.images.names(np.flatnonzero(beyond)[:5]),
            loss_ap=80.0 if pixels else 5.0,
        )

    def _visibility(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        images = split.images
        given = (images.keypoints > 0) & (images.visibilities != 0)
        other = given & (images.visibilities != images.keypoints)
        if not other.any():
            return
        kind = other & (images.visibilities == UNKNOWN_COUNT)
        first = int(np.flatnonzero(kind if kind.any() else other)[0])
        shown = (
            "no integers"
            if kind.any()
            else f"{images.visibilities[first]:,} for {images.keypoints[first]:,} keypoints"
        )
        stops = bool(kind.any()) and subject.config is not None
        yield self.told(
            subject,
            split,
            "keypoint_visibility_unread",
            Severity.FATAL if stops else Severity.CRITICAL,
            found=f"{images_told(int(other.sum()))} {'has' if other.sum() == 1 else 'have'} not "
            f"one visibility for each keypoint ({images.name(first)}: {shown})",
            expected="as many integers in keypoint/visibility as values in keypoint/x",
            why="A reader with num_keypoints stops where they are no integers."
            if kind.any()
            else "The list is left unread: every keypoint that is not NaN counts as visible, those "
            "that were not labelled, too.",
            mend="write 0, 1 or 2 for each keypoint of each object, or leave the list out and "
            "write NaN for what is not labelled",
            count=int(other.sum()),
            counted="images",
            examples=images.names(np.flatnonzero(other)[:5]),
            loss_ap=90.0 if stops else 5.0,
        )


def _crops(subject: RecordSubject) -> bool:
    assert subject.config is not None
    options = subject.config.pipeline.proto.train_config.data_augmentation_options
    return any("crop" in (one.WhichOneof("preprocessing_step") or "") for one in options)
