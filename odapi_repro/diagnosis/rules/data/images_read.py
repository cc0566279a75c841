"""Rules about which images are read, how many of them, and in which order."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import count_shards
from odapi_repro.pipeline.named_paths import folder_of, input_patterns, is_placeholder, parts_of
from odapi_repro.pipeline.quantities import COCO_TRAIN_IMAGES, COCO_VAL_IMAGES

# Share of train2017 and what it cost, at the keys named below.
_PUBLISHED = (
    (0.3, "data_30_percent"),
    (0.1, "data_10_percent"),
    (0.05, "data_5_percent"),
    (0.01, "data_1_percent"),
)
_WHOLE = 0.95  # shards differ a little in size, and a shard or two is no matter


@dataclass(frozen=True)
class _Reading:
    """Shards (or examples) read of those that exist, and how that was told."""

    read: int
    whole: int
    told_by: str

    @property
    def share(self) -> float:
        return self.read / self.whole


class ShardsRead(Rule):
    """Only some shards of a data set are read.

    Anti-pattern

        tf_record_input_reader {
          input_path: "coco_train.record-00000-of-00100"
        }

    The first file of the listing was named, and training runs on a hundredth of the data, without
    a word: only no file at all is an error. `sample_1_of_n_examples` on the training reader does
    the same. With one evaluation shard, the metric is that of few images.

    Best practice

        tf_record_input_reader {
          input_path: "coco_train.record-?????-of-00100"
        }

    Source

    builders/dataset_builder.py. Shares of train2017 and AP: microsoft/SoftTeacher's table of
    supervised baselines, and He et al. 2018 (arXiv 1811.08883), section 5.2.
    In tensorflow/models issue 10530 it is one shard of 100, and 14 AP instead of 45.
    """

    code = "DAT002"
    name = "data.shards"
    causes = ("single_train_shard", "partial_shards", "single_eval_shard", "train_subsampled")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields findings for training shards, sampled training examples, evaluation shards."""
        yield from self._train(subject)
        yield from self._sampled(subject)
        yield from self._evaluation(subject)

    def _train(self, subject: Subject) -> Iterator[Finding]:
        patterns = input_patterns(subject.pipeline)
        reading = _reading(subject, patterns)
        if reading is None or reading.share >= _WHOLE:
            return
        single = reading.read == 1 and reading.told_by == "names"
        loss, evidence = loss_of_share(reading.share)
        yield self.finding(
            "single_train_shard" if single else "partial_shards",
            _severity(reading.share),
            fields=("train_input_reader.tf_record_input_reader.input_path",),
            found=f"training reads {_told(reading)}{_images(patterns, reading, 'train')}",
            expected=f"all {reading.whole}, e.g. {_all_shards(patterns[0])}",
            why=(
                "The other shards are never seen, and nothing says so. The same images come round "
                f"{1 / reading.share:.3g} times as often."
            ),
            loss_ap=loss,
            evidence=evidence,
        )

    def _sampled(self, subject: Subject) -> Iterator[Finding]:
        step = int(subject.pipeline.proto.train_input_reader.sample_1_of_n_examples)
        if step <= 1:
            return
        loss, evidence = loss_of_share(1 / step)
        yield self.finding(
            "train_subsampled",
            _severity(1 / step),
            fields=("train_input_reader.sample_1_of_n_examples",),
            found=f"training reads 1 of {step} examples",
            expected="all: sample_1_of_n_examples 1 or unset",
            why="The others are never seen; the field is meant for evaluation and counts here too.",
            loss_ap=loss,
            evidence=evidence,
        )

    def _evaluation(self, subject: Subject) -> Iterator[Finding]:
        patterns = input_patterns(subject.pipeline, evaluation=True)
        reading = _reading(subject, patterns)
        if reading is None or reading.share >= _WHOLE:
            return
        single = reading.read == 1 and reading.told_by == "names"
        yield self.finding(
            "single_eval_shard" if single else "partial_shards",
            # Half the images still rank two models; the number is not the reference's, though.
            Severity.WARNING if reading.share <= 0.5 else Severity.INFO,
            fields=("eval_input_reader[0].tf_record_input_reader.input_path",),
            found=f"the evaluation reads {_told(reading)}{_images(patterns, reading, 'val')}",
            expected=f"all {reading.whole}, e.g. {_all_shards(patterns[0])}",
            why=(
                "The metric covers these images alone. It scatters more and cannot be compared "
                "with a number for the whole set."
            ),
            loss_ap=2.0,
        )


def loss_of_share(share: float) -> tuple[float, tuple[Evidence, ...]]:
    """Gives the AP that a share of the training data costs, and the published value nearest to it.

    Between published shares it is linear in the logarithm of the share; under 1 % it is that of
    1 %.
    """
    if share >= 1 or share <= 0:
        return 0.0, ()
    points = [(1.0, 0.0)]
    points += [(known, -(published(key)[0].effect_ap or 0.0)) for known, key in _PUBLISHED]
    loss = points[-1][1]
    for (above, lost), (below, lost_more) in pairwise(points):
        if below <= share <= above:
            part = math.log(above / share) / math.log(above / below)
            loss = lost + part * (lost_more - lost)
            break
    _, key = min(_PUBLISHED, key=lambda one: abs(math.log(one[0] / share)))
    return loss, published(key)


def _severity(share: float) -> Severity:
    return Severity.CRITICAL if share <= 0.3 else Severity.WARNING


def _reading(subject: Subject, patterns: list[str]) -> _Reading | None:
    """Gives what is read by the names, or by this disk where files of the set are missing on it."""
    # A name says how many shards there are, whatever folder is still to be filled in before it.
    if not patterns or any(is_placeholder(os.path.basename(one)) for one in patterns):
        return None
    shards = count_shards(patterns, look_at_disk=subject.circumstances.look_at_disk)
    if shards.read is None or not shards.named or not shards.read:
        return None
    if shards.read < shards.named:
        return _Reading(shards.read, shards.named, "names")
    if shards.files and shards.files < shards.named:
        return _Reading(shards.files, shards.named, "disk")
    return _Reading(shards.read, shards.named, "names")


def _told(reading: _Reading) -> str:
    found = f"{reading.read} of {reading.whole} shards ({100 * reading.share:.3g} %)"
    return found + (", the others are not on this disk" if reading.told_by == "disk" else "")


def _images(patterns: list[str], reading: _Reading, split: str) -> str:
    whole = COCO_TRAIN_IMAGES if split == "train" else COCO_VAL_IMAGES
    if not all(f"{split}2017" in one or f"coco_{split}" in one for one in patterns):
        return ""
    return f": about {round(whole * reading.share):,} of COCO's {whole:,} images"


def _all_shards(pattern: str) -> str:
    head, _, tail = pattern.rpartition("-of-")
    stem, _, index = head.rpartition("-")
    return (
        f"{stem}-{'?' * max(len(index), 1)}-of-{tail}" if index.isdigit() else f"{stem}-*-of-{tail}"
    )


# From ImageNet's backbone on COCO, He et al. 2018: 10,000 images 26 AP, 1,000 images 10 AP.
_FEW, _VERY_FEW = 10_000, 1_000
# After COCO (`detection`) much less will do; a judgement, from what custom data sets get by with.
_FEW_AFTER_COCO = 500
_PER_CLASS = 50


class DatasetTooSmall(Rule):
    """The training set is too small for what the model starts from.

    Anti-pattern

        # 800 images
        fine_tune_checkpoint: "efficientnet_b3/ckpt-0"
        fine_tune_checkpoint_type: "classification"

    Best practice

        # 800 images
        fine_tune_checkpoint: "efficientdet_d3_coco17_tpu-32/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "detection"

    With little data, start from a detector trained on COCO, restore its feature extractor, train
    a few thousand steps at a low rate, and add images before anything else.

    Source

    He et al. 2018 (arXiv 1811.08883), section 5.2: from ImageNet, 35,000 images of COCO give
    36.3 AP, 10,000 give 26.0, 3,500 give 16.0 and 1,000 give 9.9.
    How many images there are is told by --train_images; shares of COCO are DAT002's.
    """

    code = "DAT006"
    name = "data.dataset_too_small"
    causes = ("dataset_too_small",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the number of images was given and is small."""
        images = subject.circumstances.train_images
        if images is None or images < 0:
            return
        restore = subject.quantities.checkpoint_restore
        classes = max(subject.pipeline.num_classes, 1)
        per_class = images / classes
        if restore in ("detection", "full"):
            if images >= _FEW_AFTER_COCO and (per_class >= _PER_CLASS or images >= _FEW):
                return
            start, severity, loss = "a detection checkpoint", Severity.WARNING, 5.0
        elif images < _VERY_FEW:
            start, severity, loss = _start(restore), Severity.CRITICAL, 30.0
        elif images < _FEW:
            start, severity, loss = _start(restore), Severity.WARNING, 15.0
        else:
            return
        yield self.finding(
            "dataset_too_small",
            severity,
            fields=("train_input_reader.tf_record_input_reader.input_path",),
            found=(
                f"{images:,} training images for {classes} classes ({per_class:.3g} each), "
                f"starting from {start}"
            ),
            expected=(
                f"{_FEW_AFTER_COCO} images and {_PER_CLASS} a class"
                if restore in ("detection", "full")
                else "a detection checkpoint to start from, or more than 10,000 images"
            ),
            why=(
                "The images come round many times, and the model learns them by heart. From a "
                "backbone, 10,000 images of COCO gave 26 AP and 1,000 gave 10, all of them 41."
            ),
            loss_ap=loss,
            evidence=published("data_1_percent" if images < 3_000 else "data_10_percent"),
        )


def _start(restore: str) -> str:
    return "random weights" if restore == "none" else "a classification backbone"


_FIELDS = (
    "eval_input_reader[0].tf_record_input_reader.input_path",
    "train_input_reader.tf_record_input_reader.input_path",
)
_WILD = re.compile(r"[*?\[]")
# More than any config lists; a list against a list is quadratic in patterns, linear in names.
_MOST_FILES, _MOST_PATTERNS = 5_000, 50


class TrainEqualsEval(Rule):
    """The evaluation reads training records, and its number says nothing about other images.

    Anti-pattern

        train_input_reader {
          tf_record_input_reader { input_path: "data/*.record" }
        }
        eval_input_reader {
          tf_record_input_reader { input_path: "data/test.record" }
        }

    The same file in both readers, or a training pattern that matches the evaluation's files too.

    Best practice

        train_input_reader {
          tf_record_input_reader { input_path: "data/train.record" }
        }
        eval_input_reader {
          tf_record_input_reader { input_path: "data/test.record" }
        }

    Source

    model_lib_v2.eval_continuously reads eval_input_reader[0] as it stands. configs/tf2/
    centernet_hourglass104_512x512_kpts evaluates on train2017 itself, a slip in the published
    file.
    """

    code = "DAT003"
    name = "data.train_eq_eval"
    causes = ("train_eq_eval",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when some evaluation pattern, or file on this disk, is trained on."""
        look = subject.circumstances.look_at_disk
        train = _files_or_patterns(input_patterns(subject.pipeline), look)
        evaluation = _files_or_patterns(input_patterns(subject.pipeline, evaluation=True), look)
        trained, wild = set(train), _wild(train)
        shared = [one for one in evaluation if one in trained or any(_within(one, w) for w in wild)]
        partly = [
            one
            for one in _wild(evaluation)
            if one not in shared and any(_within(other, one) for other in train)
        ]
        if not shared and not partly:
            return
        whole = len(shared) == len(evaluation)
        as_published = _is_the_references_own(subject)
        number = "all" if whole else f"{len(shared) + len(partly)} of {len(evaluation)}"
        severity = Severity.FATAL if whole else Severity.CRITICAL
        yield self.finding(
            "train_eq_eval",
            Severity.INFO if as_published else severity,
            fields=_FIELDS,
            found=f"{number} of the evaluation's records are trained on: {(shared + partly)[0]}"
            + (", as in the published config" if as_published else ""),
            expected="records of images that training never sees",
            why=(
                "The metric measures what was learned by heart. It rises while the model gets no "
                "better on other images."
            ),
            loss_ap=60.0 if whole else 20.0,
            count=len(shared) + len(partly),
        )


def _files_or_patterns(patterns: Sequence[str], look: bool) -> list[str]:
    """Gives the files on this disk that patterns match, and the patterns that are not here."""
    found: list[str] = []
    for pattern in patterns[:_MOST_FILES]:
        if is_placeholder(pattern) or not _names_records(pattern):
            continue
        files = []
        if folder_of(pattern, look=look) is not None:
            files = glob.glob(pattern, include_hidden=True)[:_MOST_FILES]
        found += [os.path.normpath(one) for one in files or [pattern]]
    return list(dict.fromkeys(found))


def _names_records(pattern: str) -> bool:
    """Whether it is more than the bare word that a template's placeholder was replaced with."""
    return bool(re.search(r"[./\\*?\d]", pattern))


def _wild(patterns: Sequence[str]) -> list[str]:
    return [one for one in patterns if _WILD.search(one)][:_MOST_PATTERNS]


def _within(one: str, other: str) -> bool:
    """Whether everything that `one` matches is matched by `other` too, by their texts.

    A wildcard of `one` has to lie under one of `other`; no wildcard reaches over a folder.
    """
    inner, outer = parts_of(one), parts_of(other)
    if len(inner) != len(outer) or one[:1] != other[:1]:
        return False
    return all(map(fnmatchcase, inner, outer))


def _is_the_references_own(subject: Subject) -> bool:
    """Whether the reference reads the same records in both, and the config reads those."""
    reference = subject.reference_pipeline
    theirs = [input_patterns(reference), input_patterns(reference, evaluation=True)]
    if not theirs[0] or theirs[0] != theirs[1]:
        return False
    names = [os.path.basename(one) for one in theirs[0]]
    own = input_patterns(subject.pipeline, evaluation=True)
    return [os.path.basename(one) for one in own] == names


# The default is 2,048 serialised examples; under this a buffer holds a few batches at most.
_SMALL_BUFFER = 64


class ShuffleDisabled(Rule):
    """Training examples are not shuffled, so that batches hold what lies together in the records.

    Anti-pattern

        train_input_reader {
          shuffle: false
          num_readers: 1
        }

    Often copied from the eval reader. Records are written class by class, video by video, or by
    image number; every epoch then repeats the same order.

    Best practice

        train_input_reader {
          shuffle: true
        }

    The default, with a buffer of 2,048 examples and 64 readers.

    Source

    builders/dataset_builder._read_dataset_internal: `shuffle` shuffles file names and examples
    (shuffle_buffer_size) and lets readers run ahead of each other.
    """

    code = "DAT009"
    name = "data.shuffle_disabled"
    causes = ("shuffle_disabled",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for shuffling switched off, or for a buffer that hardly shuffles."""
        reader = subject.pipeline.proto.train_input_reader
        theirs = subject.reference_pipeline.proto.train_input_reader
        if not reader.shuffle and theirs.shuffle:
            alone = int(reader.num_readers) == 1
            yield self.finding(
                "shuffle_disabled",
                Severity.WARNING,
                fields=("train_input_reader.shuffle",),
                found="the training reader does not shuffle"
                + (", and has one reader" if alone else ""),
                expected="shuffle: true, the default",
                why=(
                    "Neighbours in the records share their batches in every epoch; where records "
                    "are sorted, batch norm and gradients see one kind of image at a time."
                ),
                loss_ap=4.0 if alone else 3.0,  # judged: no published number
                fix=(FieldFix("train_input_reader.shuffle", True),),
            )
            return
        buffer, batch = (
            int(reader.shuffle_buffer_size),
            int(subject.pipeline.proto.train_config.batch_size),
        )
        usual = int(theirs.shuffle_buffer_size)
        if reader.shuffle and buffer < min(usual, max(_SMALL_BUFFER, 2 * batch)):
            single = int(reader.num_readers) == 1
            yield self.finding(
                "shuffle_disabled",
                Severity.WARNING if single or buffer < batch else Severity.INFO,
                fields=("train_input_reader.shuffle_buffer_size",),
                found=f"the training reader shuffles within {buffer} examples at batch {batch}"
                + (", and has one reader" if single else ""),
                expected=f"{usual}, the default",
                why="So few examples are hardly mixed: batches hold neighbours of the records.",
                loss_ap=2.0,  # judged: no published number
                fix=(FieldFix("train_input_reader.shuffle_buffer_size", usual),),
            )


# A record of COCO has about 160 kB.
_RECORD_BYTES = 100_000
# tf.data makes an empty slot of the buffer with the buffer (measured on TF 2.20: 4.6 GB for 2e8).
_SLOT_BYTES = 24
_FLOAT_BYTES, _CHANNELS = 4, 3
_SOME_GB, _MANY_GB = 16.0, 1000.0
_GB = 1e9


class ReaderBuffers(Rule):
    """The training reader keeps more records or batches in memory than there may be room for.

    Anti-pattern

        train_input_reader { shuffle_buffer_size: 4294967295 }      # "shuffle everything"
        train_input_reader { num_prefetch_batches: 1000000 }

    The files are read again and again, and shuffled behind that: the buffer holds as many records
    as it says before the first batch comes, however few there are in the files.

    Best practice

    Leave both out: 2048 records and 2 batches. Files are shuffled by their names, too, so that
    several shards do more than a larger buffer.

    Source

    builders/dataset_builder._read_dataset_internal (repeat, then shuffle; num_epochs ends it) and
    build (prefetch). Run on TF 2.20: 1,000,000 records of 5 kB are read from a file of 12 before
    the first batch, in 5.4 GB; 4,294,967,295 end the process where 24 GB are all. Millions of
    num_readers, num_parallel_batches and read_block_length take nothing.
    """

    code = "DAT014"
    name = "data.reader_buffers"
    causes = ("reader_buffer_too_large",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the buffers of records, of the files' names and of batches."""
        reader = subject.pipeline.proto.train_input_reader
        if reader.shuffle:
            yield from self._shuffled("shuffle_buffer_size", reader, endless=not reader.num_epochs)
            yield from self._shuffled("filenames_shuffle_buffer_size", reader, endless=False)
        known, batches = subject.quantities, int(reader.num_prefetch_batches)
        pixels = (known.input_height or 0) * (known.input_width or 0)
        batch = max(0, known.global_batch) * pixels * _CHANNELS * _FLOAT_BYTES / _GB
        if batch * batches > _SOME_GB:
            yield self._told(
                "num_prefetch_batches",
                batches,
                2,
                batch * batches,
                f"A batch has up to {batch:,.2g} GB at this input size, and the input reads ahead "
                f"while training is slower: up to {batch * batches:,.3g} GB.",
            )

    def _shuffled(self, field: str, reader: object, *, endless: bool) -> Iterator[Finding]:
        size = int(getattr(reader, field))
        slots, records = size * _SLOT_BYTES / _GB, size * _RECORD_BYTES / _GB
        default = 2048 if field == "shuffle_buffer_size" else 100
        if endless and records > _SOME_GB:
            yield self._told(
                field,
                size,
                default,
                records,
                "So many records are read before the first batch, over and over where the files "
                f"hold fewer: {records:,.3g} GB at 100 kB a record.",
            )
        elif slots > _SOME_GB:
            why = f"The empty buffer alone takes {slots:,.3g} GB."
            yield self._told(field, size, default, _MANY_GB, why)

    def _told(self, field: str, value: int, default: int, gigabytes: float, why: str) -> Finding:
        path = f"train_input_reader.{field}"
        return self.finding(
            "reader_buffer_too_large",
            Severity.CRITICAL if gigabytes >= _MANY_GB else Severity.WARNING,
            fields=(path,),
            found=f"{field} is {value:,}",
            expected=f"what fits into memory; {default:,} if left out",
            why=why,
            loss_ap=60.0 if gigabytes >= _MANY_GB else 1.0,  # judged: it runs or it does not
            fix=(FieldFix(path, default),),
        )
