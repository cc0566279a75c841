"""How much of a sharded data set is read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from odapi_repro.diagnosis.finding import Evidence, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import count_shards
from odapi_repro.pipeline.named_paths import input_patterns, is_placeholder
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
                "The other shards are never seen, and nothing says so: the same images come round "
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
                "The metric is that of these images alone: it scatters more, and compares with no "
                "number of the whole set."
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
