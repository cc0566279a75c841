"""Classes that are frequent in one split and rare or absent in the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from odapi_repro.datasets.census import Census
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

_MUCH_LARGER, _FAR_LARGER = 3.0, 10.0
# The chance that equal splits differ so, of all classes together.
_CHANCE = 1e-3
_MOST_NAMED = 4


@dataclass(frozen=True)
class ClassPair:
    """The objects of a class in both splits.

    Attributes:
        class_id, name: as in the label map.
        train, evaluation: objects.
        train_share, evaluation_share: of the objects of the split.
    """

    class_id: int
    name: str
    train: int
    evaluation: int
    train_share: float
    evaluation_share: float

    @property
    def times(self) -> float:
        """The larger share over the smaller; infinite where a split has none."""
        low, high = sorted((self.train_share, self.evaluation_share))
        return high / low if low else math.inf


class ClassShares(RecordRule):
    """Classes have a much larger share in one split than in the other.

    Anti-pattern

        # sorted by name: the first 80 % of the files are the training, all of them by day

    AP is then measured on what was hardly trained, or leaves out what was.

    Best practice

    Draw the evaluation at random from what the model will see: by scene or by day, where images of
    one scene are alike (REC015 finds those that are in both).

    Source

    Shares of objects and of images with objects, both at least 3 to 1 apart, where equal splits
    would differ so by chance less than once in 1,000 (likelihood ratio of the images that show the
    class, over all classes): a few images are not accused. `warning` from 10 to 1, or where a split
    has none. The two ratios are judgements: train2017 and val2017 are drawn alike.
    """

    code = "REC028"
    name = "records.class_shares"
    causes = ("class_shares_differ",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding for all classes that are apart."""
        apart = classes_apart(subject.census)
        if not apart:
            return
        worst = apart[0].times
        untrained = [one for one in apart if not one.train]
        told = "; ".join(
            f"{one.name} {_share(one.train, one.train_share)} of training, "
            f"{_share(one.evaluation, one.evaluation_share)} of evaluation"
            for one in apart[:_MOST_NAMED]
        )
        count = len(apart)
        reader = subject.census.split("eval")
        assert reader is not None
        yield self.finding(
            "class_shares_differ",
            Severity.WARNING if worst >= _FAR_LARGER else Severity.INFO,
            fields=subject.field_of(reader, "tf_record_input_reader.input_path"),
            found=f"{count} {'class has' if count == 1 else 'classes have'} another share of the "
            f"objects in training than in evaluation: {told}"
            + (" ..." if count > _MOST_NAMED else ""),
            expected=f"shares that differ by less than {_MUCH_LARGER:g} to 1",
            why="What is not trained counts as AP 0 in the evaluation."
            if untrained
            else "The evaluation measures other classes than those that were trained.",
            mend="draw both splits from the same images at random, by scene; look whether a class "
            "was lost on the way",
            count=count,
            counted="classes",
            loss_ap=2.0 if worst >= _FAR_LARGER else 0.0,
        )


def classes_apart(census: Census) -> list[ClassPair]:
    """Gives the classes whose shares differ by more than chance, the farthest apart first.

    None without a label map, without both splits, or where a split has ids that the label map does
    not hold: other rules tell those.
    """
    train, evaluation = census.split("train"), census.split("eval")
    if census.label_map is None or train is None or evaluation is None:
        return []
    items = census.label_map.items
    ids = [split.class_ids(census.label_map) for split in (train, evaluation)]
    known = np.array(sorted(items), np.int64)
    if not all(len(one) and np.isin(one, known).all() for one in ids):
        return []
    shown = [len(np.unique(split.boxes.image)) for split in (train, evaluation)]
    images = [
        np.unique(of * len(split.images) + split.boxes.image) // len(split.images)
        for split, of in zip((train, evaluation), ids, strict=True)
    ]
    found = []
    for one in known.tolist():
        objects = [int((of == one).sum()) for of in ids]
        shares = [count / len(of) for count, of in zip(objects, ids, strict=True)]
        pair = ClassPair(one, items[one], *objects, *shares)
        hits = [int((of == one).sum()) for of in images]
        low, high = sorted(hit / of for hit, of in zip(hits, shown, strict=True))
        apart = high > 0 and pair.times >= _MUCH_LARGER and high >= _MUCH_LARGER * low
        if apart and _chance(hits, shown) * len(known) < _CHANCE:
            found.append(pair)
    return sorted(found, key=lambda pair: (-pair.times, -pair.train - pair.evaluation))


def _chance(hits: list[int], of: list[int]) -> float:
    """Gives the chance that two samples of one population differ so: likelihood ratio, 1 degree."""
    expected = sum(hits) / sum(of)
    ratio = 0.0
    for hit, size in zip(hits, of, strict=True):
        for seen, hoped in ((hit, size * expected), (size - hit, size * (1 - expected))):
            ratio += seen * math.log(seen / hoped) if seen else 0.0
    return math.erfc(math.sqrt(max(ratio, 0.0)))


def _share(count: int, share: float) -> str:
    return f"{count:,} ({100 * share:.2g} %)" if count else "none"
