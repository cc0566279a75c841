"""Whether the classes of detections are those of the objects under other ids.

The boxes lie on the objects and the classes are wrong, each in the same way: the label map of the
model is not that of the ground truth. Which permutation fits is the assignment of detected classes
to classes that puts most objects right (the Hungarian method, `scipy.optimize`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.coco_data import Detections, GroundTruth
from odapi_repro.evaluation.error_analysis.match_outcomes import Outcome, Outcomes
from odapi_repro.evaluation.scoring.detection_matching import match
from odapi_repro.page.numbers import count_of

# All classes: the permutation puts this share of the objects right that have a box on them, and
# those that are right without it are no more than a quarter of these.
_LEAST_FITTING, _MOST_RIGHT = 0.6, 0.25
_CLEAR = 0.5  # of a class's objects, and of the detected class's
# Some classes among others that are right: each of so many objects, nearly all of them exchanged.
_LEAST_OF_CLASS, _NEARLY_ALL = 3, 0.8
_LEAST_OTHER = (
    5  # objects of other classes, and half of all: detections of one class say no classes
)
_CHANCE = 1e-3  # that classes drawn at random fit some permutation as well


@dataclass(frozen=True)
class MovedClass:
    """A class that is detected as another one.

    Attributes:
        truth, detected: the names.
        count: objects with this class of which the most confident detection has that class.
    """

    truth: str
    detected: str
    count: int


@dataclass(frozen=True)
class PermutedClasses:
    """A permutation of the classes under which the detections fit the objects.

    Attributes:
        pattern: the rule that it follows, as a clause; empty without one.
        moved: the classes that it moves, those with most objects first.
        objects: that are to be found.
        found: of them at IoU 0.5, as it is.
        found_then: of them, with the permutation undone.
    """

    pattern: str
    moved: tuple[MovedClass, ...]
    objects: int
    found: int
    found_then: int


@dataclass(frozen=True)
class OneClass:
    """All detections have one class, and the objects that they lie on have several.

    Attributes:
        name: of the class.
        objects: with a detection on them, at IoU 0.5.
        other: of them, of another class.
    """

    name: str
    objects: int
    other: int


def one_class(truth: GroundTruth, detections: Detections, outcomes: Outcomes) -> OneClass | None:
    """Gives the one class of all detections, None where they have several or it is mostly right."""
    classes = np.unique(detections.categories)
    if len(classes) != 1:
        return None
    of = _detected_as(outcomes, truth.num_categories)[:, classes[0]]
    objects, other = int(of.sum()), int(of.sum() - of[classes[0]])
    if np.count_nonzero(of) < 2 or other < max(_LEAST_OTHER, objects / 2):
        return None
    return OneClass(truth.category_names[classes[0]], objects, other)


def permuted_classes(
    truth: GroundTruth, detections: Detections, outcomes: Outcomes, iou_type: str
) -> PermutedClasses | None:
    """Gives the permutation of the classes that fits, None where they are right or only confused.

    Args:
        truth, detections, iou_type: what `outcomes` was made from.
        outcomes: at IoU 0.5.
    """
    counts = _detected_as(outcomes, truth.num_categories)
    moves = _moves(counts)
    if not moves:
        return None
    right_class = np.arange(truth.num_categories)
    right_class[[to for _, to in moves]] = [of for of, _ in moves]
    left = sorted({of for of, _ in moves} - {to for _, to in moves})
    right_class[left] = sorted({to for _, to in moves} - {of for of, _ in moves})
    then = dataclasses.replace(
        detections, categories=right_class[detections.categories].astype(np.int32)
    )
    matches = match(truth, then, iou_type)
    hit = matches.matched[0, 0] & ~matches.ignored[0, 0]
    names = truth.category_names
    found, found_then = (
        int(outcomes.found_objects().sum()),
        len(np.unique(matches.ground_truth[0][hit])),
    )
    if found_then <= found:
        return None
    moved = (MovedClass(names[of], names[to], int(counts[of, to])) for of, to in moves)
    return PermutedClasses(
        pattern=_pattern(moves, truth),
        moved=tuple(sorted(moved, key=lambda one: -one.count)),
        objects=int((~matches.truth_ignored[0]).sum()),
        found=found,
        found_then=found_then,
    )


def _detected_as(outcomes: Outcomes, num_categories: int) -> NDArray[np.int64]:
    """Gives [K, K]: objects of a class, by the class of the most confident detection on them."""
    matches = outcomes.matches
    rows = np.flatnonzero(np.isin(outcomes.kinds, (Outcome.FOUND, Outcome.CLASSIFICATION)))
    rows = rows[np.argsort(-matches.scores[rows], kind="stable")]
    objects, first = np.unique(outcomes.objects[rows], return_index=True)
    counts = np.zeros((num_categories, num_categories), np.int64)
    np.add.at(counts, (matches.truth_categories[objects], matches.categories[rows[first]]), 1)
    return counts


def _moves(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Gives the classes that are clearly moved: the place of each, and that of the detected one."""
    from scipy.optimize import linear_sum_assignment

    # Where nothing tells, a class stays where it is.
    of, to = linear_sum_assignment(counts + 1e-6 * np.eye(len(counts)), maximize=True)
    there = counts[of, to]
    moved = (of != to) & (there > 0)
    share = np.minimum(
        there / np.maximum(counts.sum(axis=1), 1), there / np.maximum(counts.sum(axis=0)[to], 1)
    )
    pairs = list(zip(of.tolist(), to.tolist(), strict=True))
    clear = {pairs[place] for place in np.flatnonzero(moved & (share > _CLEAR)).tolist()}
    fitting = int(there[moved].sum())
    few_right = np.trace(counts) <= _MOST_RIGHT * fitting
    if few_right and fitting >= _LEAST_FITTING * counts.sum() and _is_no_chance(counts, clear):
        return sorted(clear)
    sure = moved & (share >= _NEARLY_ALL) & (there >= _LEAST_OF_CLASS)
    exchanged = _closed({pairs[place] for place in np.flatnonzero(sure).tolist()})
    return sorted(exchanged) if _is_no_chance(counts, exchanged) else []


def _is_no_chance(counts: NDArray[np.int64], pairs: set[tuple[int, int]]) -> bool:
    """Whether classes drawn at random would hardly fit any permutation as well as they fit this.

    The chance is bounded by that of one permutation (binomial) times their number.
    """
    from scipy.special import bdtrc, gammaln

    if not pairs:
        return False
    classes = sorted({of for of, _ in pairs})
    objects = int(counts[classes].sum())
    fitting = sum(int(counts[pair]) for pair in pairs)
    num = max(len({place for pair in pairs for place in pair}), 2)
    chance = bdtrc(fitting - 1, objects, 1 / num)
    return bool(np.log(max(chance, 1e-300)) + gammaln(num + 1) < np.log(_CHANCE))


def _closed(pairs: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Gives the pairs that lie on circles: the classes change places among themselves."""
    while True:
        ends = {of for of, _ in pairs} & {to for _, to in pairs}
        kept = {pair for pair in pairs if set(pair) <= ends}
        if kept == pairs:
            return kept
        pairs = kept


def _pattern(moves: Sequence[tuple[int, int]], truth: GroundTruth) -> str:
    """Gives the rule that all the moves follow, as a clause; empty without one."""
    ids, names, count = truth.category_ids, truth.category_names, truth.num_categories
    if len(moves) == 2 and moves[0] == moves[1][::-1]:
        return "two classes are exchanged"
    if len(moves) < 2:
        return ""
    steps = {ids[to] - ids[of] for of, to in moves}
    if len(steps) == 1:
        step = steps.pop()
        return f"every id is {abs(step)} too {'high' if step > 0 else 'low'}"
    turns = {(to - of) % count for of, to in moves}
    if len(turns) == 1:
        turn = turns.pop()
        step = turn if 2 * turn <= count else turn - count
        places = count_of(abs(step), "place")
        return f"the classes are shifted by {places}, round the end of the list"
    by_name = sorted(range(count), key=names.__getitem__)
    if all(by_name[to] == of for of, to in moves):
        return "the detections' ids number the classes by the alphabet"
    if all(of + to == count - 1 for of, to in moves):
        return "the detections' ids number the classes from the end"
    if {move[::-1] for move in moves} == set(moves):
        return "classes are exchanged in pairs"
    return ""
