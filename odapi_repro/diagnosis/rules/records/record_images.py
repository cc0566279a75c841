"""Rules about record files, and the images in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share
from odapi_repro.diagnosis.rules.data.images_read import loss_of_share


class UnreadableRecords(RecordRule):
    """A record file is truncated, corrupt, empty or no record file at all.

    Anti-pattern

        train-00017-of-00100.tfrecord     # 31 MB, its neighbours have 200

    A copy that was interrupted, a full disk, a json under the name of a record. Training stops with
    a DataLossError when it gets there, which may be after hours. A file without records is read
    without a word.

    Best practice

    Compare sizes and checksums after a copy (`sha256sum`), and write the file again.

    Source

    tensorflow/core/lib/io/record_reader.cc: a checksum that does not match and a record that goes
    beyond the end of the file are DataLoss. builders/dataset_builder.py passes no ignore_errors.
    """

    code = "REC001"
    name = "records.unreadable"
    causes = ("records_unreadable",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for files that stop, records of wrong checksum, and empty files."""
        for split in subject.census.splits:
            yield from self._stopping(subject, split)
            yield from self._corrupt(subject, split)
            yield from self._empty(subject, split)

    def _stopping(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        faulty = [file for file in split.files if file.fault]
        if not faulty:
            return
        read = sum(file.records for file in faulty)
        yield self.told(
            subject,
            split,
            "records_unreadable",
            Severity.FATAL,
            found=f"{len(faulty)} of {len(split.files)} files cannot be read to the end; "
            f"{faulty[0].path.name}: {faulty[0].fault}",
            expected="files whose lengths and checksums hold",
            why=f"Training stops with a DataLossError when it gets there, after {read:,} records "
            "of these files.",
            mend="copy or write these files again",
            count=len(faulty),
            counted="files",
            examples=[file.path.name for file in faulty[:5]],
            loss_ap=100.0,
        )

    def _corrupt(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        tally = split.faults.get("corrupt")
        if tally is None:
            return
        yield self.told(
            subject,
            split,
            "records_unreadable",
            Severity.FATAL,
            found=f"the checksum of {tally.count:,} of {split.records:,} records does not match",
            expected="records whose checksums hold",
            why="Training stops with a DataLossError when it gets there.",
            mend="copy or write these files again",
            count=tally.count,
            counted="records",
            examples=tally.examples,
            loss_ap=100.0,
        )

    def _empty(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        empty = [file for file in split.files if not file.records and not file.fault]
        if not empty:
            return
        whole = len(empty) == len(split.files)
        yield self.told(
            subject,
            split,
            "records_unreadable",
            Severity.FATAL if whole else Severity.WARNING,
            found=f"{len(empty)} of {len(split.files)} files hold no record",
            expected="records in every file",
            why="There is nothing to read, and no first batch."
            if whole
            else "What was to be in them is missing, and nothing says so.",
            mend="write them again; fewer shards where there are fewer images than shards",
            count=len(empty),
            counted="files",
            examples=[file.path.name for file in empty[:5]],
            loss_ap=100.0 if whole else 1.0,
        )


# Images are dealt out by turns, so shards differ by one record; sizes of one class each, or an
# interrupted last shard, differ by far more. A judgement: nobody published a price.
_UNBALANCED = 2.0
_LEAST_RECORDS = 20


class ShardsMissing(RecordRule):
    """Records are not read: shards are missing, patterns match nothing, samples are drawn.

    Anti-pattern

        train-00000-of-00100.tfrecord ... train-00041-of-00100.tfrecord      # and no more

    A pattern of question marks matches what is there, and training runs on 42 % of the images
    without a word.

    Best practice

    All shards in one folder, and about as many records in each: files are read side by side, and
    a long one is read alone at the end of every round.

    Source

    builders/dataset_builder.py: RuntimeError only where nothing matches at all; files are read side
    by side (parallel_interleave), then `dataset.shard(sample_1_of_n_examples, 0)`. Shares of
    train2017 and AP: see DAT002.
    """

    code = "REC002"
    name = "records.shards"
    causes = (
        "partial_shards",
        "input_pattern_matches_nothing",
        "train_subsampled",
        "eval_subsampled",
        "shards_unbalanced",
    )

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for missing shards and files, records left out, uneven shards."""
        for split in subject.census.splits:
            yield from self._missing(subject, split)
            yield from self._unmatched(subject, split)
            yield from self._sampled(subject, split)
            yield from self._uneven(subject, split)

    def _missing(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        for shards in split.inventory.shard_sets:
            missing = shards.missing
            if not missing:
                continue
            share = len(shards.present) / shards.total
            training = split.split == "train"
            loss, evidence = loss_of_share(share) if training else (2.0, ())
            severity = Severity.CRITICAL if training and share <= 0.3 else Severity.WARNING
            listed = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
            yield self.finding(
                "partial_shards",
                severity,
                fields=subject.field_of(split, "tf_record_input_reader.input_path"),
                found=f"{'training' if training else 'evaluation'}: {len(missing)} of "
                f"{shards.total} shards of {shards.name} are not there: number {listed}",
                expected=f"all {shards.total} shards",
                why="Their images are never read, and nothing says so.",
                loss_ap=loss,
                evidence=evidence,
                count=len(missing),
                counted="shards",
                mend="copy or write the missing shards",
            )

    def _unmatched(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        unmatched = split.inventory.unmatched
        if not unmatched:
            return
        yield self.told(
            subject,
            split,
            "input_pattern_matches_nothing",
            Severity.WARNING if split.files else Severity.FATAL,
            found=f"{len(unmatched)} patterns match no file: {unmatched[0]}"
            if len(unmatched) > 1
            else f"{unmatched[0]} matches no file",
            expected="patterns of files that are there",
            why="What they were to name is left out silently."
            if split.files
            else "The OD API stops with a RuntimeError when it builds this input.",
            mend="correct the pattern, or copy the files",
            count=len(unmatched),
            counted="patterns",
            loss_ap=5.0 if split.files else 100.0,
        )

    def _sampled(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        reader = subject.reader(split)
        step = int(reader.sample_1_of_n_examples) if reader is not None else 1
        read = -(-split.records // max(step, 1))
        if step <= 1 or read == split.records:
            return
        training = split.split == "train"
        loss, evidence = loss_of_share(1 / step) if training else (2.0, ())
        severity = Severity.CRITICAL if step > 3 else Severity.WARNING
        yield self.finding(
            "train_subsampled" if training else "eval_subsampled",
            severity if training else Severity.INFO,
            fields=subject.field_of(split, "sample_1_of_n_examples"),
            found=f"{'training' if training else 'evaluation'}: {split.records - read:,} of "
            f"{split.records:,} records are left out by sample_1_of_n_examples: {step}",
            expected="all records: sample_1_of_n_examples 1 or unset",
            why="They are never seen."
            if training
            else "The metric covers fewer images and scatters more.",
            loss_ap=loss,
            evidence=evidence,
            fix=(FieldFix(subject.field_of(split, "sample_1_of_n_examples")[0], 1),),
            count=split.records - read,
            counted="records",
        )

    def _uneven(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        whole = [file for file in split.files if file.records and not file.fault]
        if len(whole) < 2:
            return
        records = np.array([file.records for file in whole])
        if records.max() < _LEAST_RECORDS or records.max() <= _UNBALANCED * records.min():
            return
        fewest, most = whole[int(records.argmin())], whole[int(records.argmax())]
        uneven = int((records * _UNBALANCED < np.median(records)).sum())
        uneven += int((records > _UNBALANCED * np.median(records)).sum())
        yield self.told(
            subject,
            split,
            "shards_unbalanced",
            Severity.INFO,
            found=f"files hold {records.min():,} to {records.max():,} records "
            f"(median {np.median(records):,.0f})",
            expected="about as many records in each file",
            why="Files are read side by side: images of a long file are seen beside each other "
            "more often, and a batch is less of a mixture.",
            mend="write the records again, images dealt out by turns",
            count=max(uneven, 1),
            counted="files",
            examples=(fewest.path.name, most.path.name),
        )


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
            "evaluation ends there, and its number covers the images before it.",
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
            why="On these the metric measures what was learned by heart.",
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
                "the log: its number covers fewer images."
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
