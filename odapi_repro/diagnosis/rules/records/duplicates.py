"""Images that are there twice, within a split and in both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share

# A judgement: nobody published what a share costs.
_MANY = 0.05


class DuplicateImages(RecordRule):
    """Images are in a split more than once.

    Anti-pattern

        cat train_a.json train_b.json      # and both hold the same images

    Best practice

    Each image once. To show some more often, weight data sets (`sample_from_datasets_weights`).

    Source

    A copy counts twice in the loss, and in the evaluation not at all: coco_evaluation keeps the
    first image of an id. Told by the encoded bytes (exact), or by 16 x 16 cells of the picture
    (near: encoded again or resized; cut, mirrored or recoloured ones are not found).
    """

    code = "REC015"
    name = "records.duplicate_images"
    causes = ("duplicate_images",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with copies."""
        start = 0
        for split in subject.census.splits:
            own = slice(start, start + len(split.images))
            start = own.stop
            count, exact, copies = _copies(subject.likeness.exact[own], subject.likeness.near[own])
            if not count:
                continue
            share = count / len(split.images)
            yield self.told(
                subject,
                split,
                "duplicate_images",
                by_share(share, warning=_MANY, critical=0.5),
                found=f"{count:,} of {len(split.images):,} images are copies of others: "
                f"{exact:,} of the same bytes, {count - exact:,} of the same picture",
                expected="each image once",
                why="Copies count as often as they are there; the set is smaller than it looks.",
                mend="write the records again without them",
                count=count,
                counted="images",
                examples=split.images.names(copies[:20]),
                loss_ap=5.0 * share,
            )


class EvalImagesInTraining(RecordRule):
    """Images of the evaluation are trained on.

    Anti-pattern

        # one folder of images, split by annotation instead of by image

    Best practice

    Split by image, and frames of one film by film; then look again.

    Source

    Told by the images themselves, whatever files and ids are called: by their encoded bytes, or by
    16 x 16 cells of the picture where it was encoded again or resized.
    """

    code = "REC016"
    name = "records.eval_train_overlap"
    causes = ("eval_train_overlap", "train_eq_eval")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding when evaluation images are in training."""
        train, evaluation = subject.census.split("train"), subject.census.split("eval")
        if train is None or evaluation is None or not len(evaluation.images):
            return
        size = len(train.images)
        exact = np.isin(subject.likeness.exact[size:], np.arange(size))
        near = np.isin(subject.likeness.near[size:], subject.likeness.near[:size])
        shared = exact | near
        count = int(shared.sum())
        if not count:
            return
        whole = count == len(shared)
        share = count / len(shared)
        severity = Severity.CRITICAL if share >= 0.1 else Severity.WARNING
        yield self.told(
            subject,
            evaluation,
            "train_eq_eval" if whole else "eval_train_overlap",
            Severity.FATAL if whole else severity,
            found=f"{'all' if whole else f'{count:,} of'} {len(shared):,} images are trained on: "
            f"{int(exact.sum()):,} of the same bytes, {count - int(exact.sum()):,} of the same "
            "picture",
            expected="images that training never sees",
            why="On these the metric measures what was learnt by heart.",
            mend="leave these images out of the training records, or out of the evaluation's",
            count=count,
            counted="images",
            examples=evaluation.images.names(np.flatnonzero(shared)[:20]),
            loss_ap=60.0 * share,
        )


class SourceIdsRepeated(RecordRule):
    """Different images have one source id, and the evaluation counts only the first.

    Anti-pattern

        image/source_id: '0'        # in every record

    Best practice

        image/source_id: '397133'

    The id of the annotations, or the file's name: another one for every image. An empty one is
    replaced by a random number and does no harm.

    Source

    metrics/coco_evaluation.CocoDetectionEvaluator: `Ignoring ground truth with image id ... since
    it was previously added`; inputs._replace_empty_string_with_random_number.
    """

    code = "REC018"
    name = "records.source_ids_repeated"
    causes = ("source_ids_repeated",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split in which different images share an id."""
        start = 0
        for split in subject.census.splits:
            own = slice(start, start + len(split.images))
            start = own.stop
            first: dict[str, int] = {}
            repeated = []
            for index, source_id in enumerate(split.images.source_id):
                if not source_id:
                    continue
                known = first.setdefault(source_id, index)
                same = subject.likeness.exact[own][known] == subject.likeness.exact[own][index]
                if known != index and not same:
                    repeated.append(index)
            if not repeated:
                continue
            evaluates = split.split == "eval"
            share = len(repeated) / len(split.images)
            yield self.told(
                subject,
                split,
                "source_ids_repeated",
                Severity.CRITICAL if evaluates else Severity.INFO,
                found=f"{len(repeated):,} of {len(split.images):,} images have the source id of "
                "another image",
                expected="another source id for every image",
                why="The evaluation leaves out all but the first image of an id, with a warning in "
                "the log: its number is that of fewer images."
                if evaluates
                else "Training does not look at ids; an evaluation on these records would leave "
                "these images out.",
                mend="write the records again with the annotations' image ids",
                count=len(repeated),
                counted="images",
                examples=split.images.names(repeated),
                loss_ap=30.0 * share if evaluates else 0.0,
            )


def _copies(
    exact: NDArray[np.int64], near: NDArray[np.int64]
) -> tuple[int, int, NDArray[np.int64]]:
    """Gives how many images are copies, how many of them of the same bytes, and which."""
    _, first = np.unique(near, return_index=True)
    copies = np.setdiff1d(np.arange(len(near)), first)
    return len(copies), len(exact) - len(np.unique(exact)), copies
