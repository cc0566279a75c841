"""Rules about the classes in records."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import UNKNOWN_CLASS
from odapi_repro.datasets.census import NO_LABEL, NO_NAME, Census, SplitCensus
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share

_MOST_NAMED = 4


class ClassIds(RecordRule):
    """Class ids are numbered from 0, are not in the label map, or are not those of their names.

    Anti-pattern

        image/object/class/label: 0 2 1      # label map: ids 1 to 3

    Id 0 is the background: its boxes get no class, and all other objects that of their neighbour.

    Best practice

        image/object/class/label: 1 3 2
        image/object/class/text: 'cat' 'dog' 'bird'

    Source

    inputs.transform_input_data: `tf.one_hot(id - 1, num_classes)` is all zeros for id 0 and for ids
    above num_classes. data_decoders/tf_example_decoder.py: where a record has class texts the label
    map decides by them, and labels are not looked at.
    """

    code = "REC011"
    name = "records.class_ids"
    causes = ("label_id_offset", "class_id_unknown", "label_id_disagrees")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for labels that decide, then for those that names overrule."""
        label_map = subject.census.label_map
        for split in subject.census.splits:
            labelled = split.boxes.label != NO_LABEL
            named = split.boxes.name != NO_NAME
            decided = labelled & ~named if label_map is not None else labelled
            yield from self._deciding(subject, split, label_map, decided)
            if label_map is not None:
                yield from self._overruled(subject, split, label_map, labelled & named)

    def _deciding(
        self,
        subject: RecordSubject,
        split: SplitCensus,
        label_map: LabelMap | None,
        decided: NDArray[np.bool_],
    ) -> Iterator[Finding]:
        labels = split.boxes.label
        known = np.array(sorted(label_map.items), np.int64) if label_map else None
        below = decided & (labels < 1)
        unknown = below if known is None else decided & ~np.isin(labels, known)
        if not unknown.any():
            return
        used = np.unique(labels[decided])
        highest = int(known[-1]) if known is not None else int(used[-1])
        from_zero = bool(used[0] == 0)
        one_above = known is not None and used[0] > 1 and used[-1] == highest + 1
        if from_zero or one_above:
            start = 0 if from_zero else int(used[0])
            unfit = int(unknown.sum())
            yield self.told(
                subject,
                split,
                "label_id_offset",
                Severity.FATAL,
                found=f"{int(decided.sum()):,} boxes are numbered {start} to {int(used[-1])}"
                + (
                    f", and the label map from {int(known[0])} to {highest}"
                    if known is not None
                    else ""
                )
                + f": {unfit:,} in {split.images_told(unknown)} have an id that no class "
                "has",
                expected="ids from 1, as the label map has them",
                why="Id 0 is the background: its boxes have no class, and every other object is "
                "trained as the class beside its own.",
                mend="write the records again with ids from 1",
                count=int(decided.sum()),
                counted="boxes",
                examples=split.examples(unknown),
                loss_ap=85.0,
            )
            return
        ids = ", ".join(map(str, np.unique(labels[unknown])[:_MOST_NAMED]))
        yield self.told(
            subject,
            split,
            "class_id_unknown",
            Severity.FATAL if 2 * unknown.sum() > decided.sum() else Severity.CRITICAL,
            found=f"{int(unknown.sum()):,} of {int(decided.sum()):,} boxes in "
            f"{split.images_told(unknown)} have ids that the label map does not have: "
            f"{ids}",
            expected="ids of the label map",
            why="Above num_classes a box has no class in training and counts as class 1 in the "
            "evaluation.",
            mend="use the label map that the records were written with",
            count=int(unknown.sum()),
            counted="boxes",
            examples=split.examples(unknown),
            loss_ap=40.0,
        )

    def _overruled(
        self,
        subject: RecordSubject,
        split: SplitCensus,
        label_map: LabelMap,
        both: NDArray[np.bool_],
    ) -> Iterator[Finding]:
        by_name = split.class_ids(label_map)
        differs = both & (by_name != UNKNOWN_CLASS) & (by_name != split.boxes.label)
        if not differs.any():
            return
        offsets = np.unique(split.boxes.label[differs] - by_name[differs])
        one = int(np.flatnonzero(differs)[0])
        told = (
            f"all lower by {-int(offsets[0])}"
            if len(offsets) == 1 and offsets[0] < 0
            else f"'{split.vocabulary[split.boxes.name[one]]}' has label "
            f"{int(split.boxes.label[one])}, and id {int(by_name[one])} in the label map"
        )
        yield self.told(
            subject,
            split,
            "label_id_disagrees",
            Severity.INFO if len(offsets) == 1 else Severity.WARNING,
            found=f"{int(differs.sum()):,} of {int(both.sum()):,} boxes in "
            f"{split.images_told(differs)} have another label than their name: {told}",
            expected="the id that the label map gives the name",
            why="With this label map the names decide. A reader without one takes the labels, and "
            "one of the two is wrong.",
            mend="write label and text from the same table",
            count=int(differs.sum()),
            counted="boxes",
            examples=split.examples(differs),
            loss_ap=2.0,
        )


class ClassNames(RecordRule):
    """Class names of the records are not in the label map, and their boxes are dropped.

    Anti-pattern

        image/object/class/text: 'Traffic Light'
        item { id: 10 name: 'traffic light' }

    Best practice

        image/object/class/text: 'traffic light'
        item { id: 10 name: 'traffic light' }

    Letter by letter: case and spaces count.

    Source

    data_decoders/tf_example_decoder._ClassTensorHandler gives -1 for a name that the label map does
    not have, even where the record holds a label too; utils/ops.filter_unrecognized_classes drops
    such boxes, in training and in the evaluation, without a word.
    """

    code = "REC012"
    name = "records.class_names"
    causes = ("label_name_mismatch",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with names that the label map does not have."""
        label_map = subject.census.label_map
        if label_map is None:
            return
        for split in subject.census.splits:
            named = split.boxes.name != NO_NAME
            unknown = named & (split.class_ids(label_map) == UNKNOWN_CLASS)
            count = int(unknown.sum())
            if not count:
                continue
            positions = np.unique(split.boxes.name[unknown])
            names = [split.vocabulary[int(one)] for one in positions]
            pairs = {name: near for name in names if (near := _same_but_for_form(name, label_map))}
            told = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            alike = next(iter(pairs.items()), None)
            have = ", ".join(f"'{name}'" for name in list(label_map.items.values())[:3])
            yield self.told(
                subject,
                split,
                "label_name_mismatch",
                Severity.FATAL if count == len(unknown) else Severity.CRITICAL,
                found=f"{count:,} of {len(unknown):,} boxes in {split.images_told(unknown)} "
                f"have a name that the label map does not have: {told}{more}",
                expected=f"names of the label map: {have} ..."
                if alike is None
                else f"'{alike[1]}' as the label map has it, and not '{alike[0]}'",
                why="The OD API drops these boxes silently, even where the record has a label too. "
                "Their objects are background in training and missing in the metric.",
                mend="name the label map that the records were written with"
                if alike is None
                else "write the names of the label map, letter by letter",
                count=count,
                counted="boxes",
                examples=split.examples(unknown),
                loss_ap=90.0 * count / len(unknown),
                name="label_map_path",
            )


def _same_but_for_form(name: str, label_map: LabelMap) -> str:
    """Gives the name of the label map that differs by case, spaces and dashes alone."""
    wanted = _bare(name)
    names = [*label_map.items.values(), *label_map.display_names.values()]
    return next((one for one in names if _bare(one) == wanted), "")


def _bare(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name).casefold()


_MUCH_LARGER, _FAR_LARGER = 3.0, 10.0
# The chance that equal splits differ so, of all classes together.
_CHANCE = 1e-3


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


# train2017 has 262,465 people and 198 hair driers, 1,300 to 1, and its references are trained so.
_RATIO = 1000.0
_FEW_OBJECTS = 10
# Of train2017's 118,287 images 1,021 have no object (0.9 %); 10,052 of its 860,001 objects are
# crowds.
_MANY_EMPTY, _MOSTLY_EMPTY = 0.3, 0.8
_MANY_CROWDS = 0.05
_MOST_RARE = 5


class ClassBalance(RecordRule):
    """Classes of the label map have no objects, hardly any, or far more than others.

    Anti-pattern

        # 40,000 objects of class car, 6 of class ambulance

    AP is the mean over classes: one that cannot be learned from six objects costs as much as any.

    Best practice

    More images of the rare classes; a data set of them alone, mixed in by
    `sample_from_datasets_weights`; or fewer classes.

    Source

    COCO's train2017 spans 1,300 to 1 between its most and least frequent class, and its references
    are trained on it as it is: only more than 1,000 to 1 is told, and fewer than 10 objects.
    Classes without objects in the evaluation have no AP and are left out of the mean (pycocotools:
    -1).
    """

    code = "REC017"
    name = "records.class_balance"
    causes = ("class_imbalance", "classes_without_objects")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for absent classes and for an imbalance beyond COCO's."""
        label_map = subject.census.label_map
        if label_map is None:
            return
        told = [one.class_id for one in classes_apart(subject.census)]  # by REC028
        for split in subject.census.splits:
            ids = split.class_ids(label_map)
            known = np.array(sorted(label_map.items), np.int64)
            counts = np.array([(ids == one).sum() for one in known])
            named = {int(one): label_map.items[int(one)] for one in known}
            if len(ids) and counts.sum() == len(
                ids
            ):  # else names or ids are wrong, which other rules tell
                absent = known[(counts == 0) & ~np.isin(known, told)].tolist()
                yield from self._absent(subject, split, absent, named)
            if split.split == "train":
                yield from self._uneven(subject, split, known, counts, named)

    def _absent(
        self, subject: RecordSubject, split: SplitCensus, absent: list[int], named: dict[int, str]
    ) -> Iterator[Finding]:
        if not absent:
            return
        training = split.split == "train"
        told = ", ".join(f"{named[one]} ({one})" for one in absent[:_MOST_RARE])
        yield self.told(
            subject,
            split,
            "classes_without_objects",
            Severity.WARNING if training else Severity.INFO,
            found=f"{len(absent)} of {len(named)} classes have no object: {told}"
            + (" ..." if len(absent) > _MOST_RARE else ""),
            expected="objects of every class of the label map",
            why="They cannot be learned, and each counts as AP 0 where the evaluation has them."
            if training
            else "They have no AP, and the mean is over the others.",
            mend="add images of them, or leave them out of the label map",
            count=len(absent),
            counted="classes",
            loss_ap=2.0,
            name="label_map_path",
        )

    def _uneven(
        self,
        subject: RecordSubject,
        split: SplitCensus,
        known: NDArray[np.int64],
        counts: NDArray[np.int64],
        named: dict[int, str],
    ) -> Iterator[Finding]:
        present = counts > 0
        if not present.any():
            return
        known, counts = known[present], counts[present]
        rare = counts < np.maximum(_FEW_OBJECTS, counts.max() / _RATIO)
        if not rare.any():
            return
        order = np.argsort(counts[rare], kind="stable")
        told = ", ".join(
            f"{named[int(known[rare][i])]} {int(counts[rare][i]):,}" for i in order[:_MOST_RARE]
        )
        most = int(counts.argmax())
        yield self.told(
            subject,
            split,
            "class_imbalance",
            Severity.INFO,
            found=f"{int(rare.sum())} of {len(named)} classes are rare: {told}; "
            f"{named[int(known[most])]} has {int(counts[most]):,} objects",
            expected=f"at least {_FEW_OBJECTS} objects a class, and no more than "
            f"{_RATIO:,.0f} to 1 between classes",
            why="AP is the mean over classes: one that cannot be learned costs as much as any.",
            mend="add images of the rare classes",
            count=int(rare.sum()),
            counted="classes",
        )


class EmptyImages(RecordRule):
    """Many images have no object.

    Anti-pattern

        # frames of a camera that sees nothing for most of the day: 94 % of the images are empty

    Or annotations that were lost on the way: images keep their names and lose their boxes.

    Best practice

    Some empty images teach what is background. Where most are, steps are spent on nothing:
    leave out some of them, or compare with the annotations (--annotations).

    Source

    0.9 % of COCO's train2017 has no object. The thresholds, 30 % and 80 %, are a judgement.
    """

    code = "REC019"
    name = "records.images_without_boxes"
    causes = ("images_without_boxes",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split of which a large share is empty."""
        for split in subject.census.splits:
            empty = split.images.num_boxes[split.images.num_boxes >= 0] == 0
            if not len(empty) or empty.mean() < _MANY_EMPTY:
                continue
            share = float(empty.mean())
            whole = bool(empty.all())
            yield self.told(
                subject,
                split,
                "images_without_boxes",
                Severity.FATAL if whole else by_share(share, warning=_MOSTLY_EMPTY),
                found=f"{int(empty.sum()):,} of {len(empty):,} images ({100 * share:.0f} %) have no"
                " box",
                expected="boxes in most images, or a reason for empty ones",
                why="There is nothing to learn from, and nothing to score."
                if whole
                else "A step on an empty image teaches background alone; so many of them often mean"
                " that annotations were lost.",
                mend="compare with the annotations: --annotations FILE.json",
                count=int(empty.sum()),
                counted="images",
                examples=split.images.names(np.flatnonzero(split.images.num_boxes == 0)[:5]),
                loss_ap=100.0 if whole else 2.0,
            )


class CrowdShare(RecordRule):
    """Many boxes are crowd regions, which are trained as single objects.

    Anti-pattern

        image/object/is_crowd: 1 1 1 1 1 0     # a tool that marks whatever overlaps as crowd

    Best practice

        image/object/is_crowd: 0 0 0 0 0 0

    A crowd region is one box around many objects that nobody drew one by one.

    Source

    The OD API trains crowd regions as ordinary objects, and its metric leaves them out
    (meta_architectures/ssd_meta_arch.py does not look at groundtruth_is_crowd). 1.2 % of COCO's
    objects are crowds, and leaving them out was seen to make no difference: DAT010.
    """

    code = "REC020"
    name = "records.crowd_share"
    causes = ("crowd_trained_as_positive",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with more than a few crowd regions."""
        for split in subject.census.splits:
            crowd = split.boxes.crowd
            if not len(crowd) or crowd.mean() < _MANY_CROWDS:
                continue
            share = float(crowd.mean())
            training = split.split == "train"
            yield self.told(
                subject,
                split,
                "crowd_trained_as_positive",
                by_share(share, warning=0.2, critical=0.8),
                found=f"{int(crowd.sum()):,} of {len(crowd):,} boxes ({100 * share:.0f} %) are "
                "crowd regions",
                expected="a few in a hundred: COCO has 1.2 %",
                why="Each is trained as one large object."
                if training
                else "The metric ignores them: it scores the other boxes alone.",
                mend="check what wrote is_crowd; leave the regions out of the training records",
                count=int(crowd.sum()),
                counted="boxes",
                examples=split.examples(crowd),
                loss_ap=5.0 * share,
            )


class LabelMapUnusable(RecordRule):
    """The label map cannot be used, or is not there.

    Anti-pattern

        item { id: 0 name: 'cat' }

    Best practice

        item { id: 1 name: 'cat' }

    Ids from 1, each once, each with the name that the records hold.

    Source

    utils/label_map_util._validate_label_map; see DAT004 for what parses and means something else.
    """

    code = "REC010"
    name = "records.label_map"
    causes = ("label_map_malformed",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding for a label map that is named and cannot be used."""
        error = subject.census.label_map_error
        if error is None:
            return
        yield self.finding(
            "label_map_malformed",
            Severity.FATAL,
            fields=("train_input_reader.label_map_path",) if subject.config else (),
            found=f"the label map cannot be used: {error.found}",
            expected=error.expected,
            why="The OD API stops, or reads other classes than were meant; names and ids of the "
            "records could not be checked against it.",
            loss_ap=95.0,
            where=error.where,
            mend=error.mend,
        )


class ClassesBeyondModel(RecordRule):
    """Objects have ids above the model's num_classes.

    Anti-pattern

        model { ssd { num_classes: 5 } }       # and boxes of class 6 in the records

    Best practice

        model { ssd { num_classes: 6 } }

    Source

    inputs.transform_input_data: the one-hot class of an id above num_classes is all zeros; see
    DAT005 for num_classes against the label map alone.
    """

    code = "REC013"
    name = "records.num_classes"
    causes = ("num_classes_mismatch",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with objects that the model has no output for."""
        if subject.config is None or not hasattr(subject.config.pipeline.model, "num_classes"):
            return
        given = subject.config.pipeline.num_classes
        for split in subject.census.splits:
            ids = split.class_ids(subject.census.label_map)
            above = ids > given
            if not above.any():
                continue
            highest = int(ids.max())
            field = f"model.{subject.meta_architecture}.num_classes"
            yield self.finding(
                "num_classes_mismatch",
                Severity.FATAL,
                fields=(field, *subject.field_of(split, "label_map_path")),
                found=f"{int(above.sum()):,} of {len(above):,} boxes in "
                f"{split.images_told(above)} have ids above num_classes {given}, up to "
                f"{highest}",
                expected=f"num_classes: {highest}",
                why="They have no class in training, and count as class 1 in the evaluation.",
                loss_ap=70.0,
                fix=(FieldFix(field, highest),),
                count=int(above.sum()),
                counted="boxes",
                examples=split.examples(above),
            )
