"""A part of a data set that keeps the shares of its classes and object sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BATCH = 256
_ROUNDS_PER_IMAGE = 4
_LEAST_ROUNDS, _MOST_ROUNDS = 400, 20_000
_PATIENCE = 200
_DIGITS = 9


@dataclass(frozen=True)
class SubsetFit:
    """How far the shares in a subset are from those in the whole.

    Attributes:
        class_share: largest difference of a class's share of the objects, as a fraction of 1.
        worst_class: that class's id.
        size_share: largest difference of a size's share.
        worst_size: number of that size.
        boxes_per_image: objects an image in the subset, over those in the whole.
    """

    class_share: float
    worst_class: int
    size_share: float
    worst_size: int
    boxes_per_image: float


def choose_images(
    image_ids: Sequence[str],
    owners: NDArray[np.int64],
    labels: NDArray[np.int64],
    count: int,
    seed: int,
) -> NDArray[np.bool_]:
    """Gives which images are chosen, bool [images]: `count` of them, by the seed alone.

    It begins with the images of lowest hash of seed and id, whatever their order in the json, and
    exchanges one for another as long as that brings the counts of labels nearer to their shares,
    each weighted by one over what is expected (Pearson's chi-squared).

    Args:
        image_ids: ids of the images that can be chosen.
        owners: [M] number of the image of each object.
        labels: [M, K] labels of each object, from 0, numbered apart: a class's and a size's.
        count: how many images to choose.
        seed: another one gives another choice.
    """
    images = len(image_ids)
    keys = [hashlib.sha256(f"{seed}:{one}".encode()).digest()[:8] for one in image_ids]
    order = np.argsort(np.frombuffer(b"".join(keys), ">u8"), kind="stable")
    chosen = np.zeros(images, np.bool_)
    chosen[order[:count]] = True
    if count in (0, images) or not len(labels):
        return chosen
    table = _Labels.of(images, owners, labels)
    target = table.totals * (count / images)
    weight = 1 / np.maximum(target, 1)
    excess = table.counts(np.flatnonzero(chosen)) - target
    # Mersenne's twister of numpy's old interface: its stream will not change.
    random = np.random.RandomState(seed % 2**32)
    inside, outside = order[:count].copy(), order[count:].copy()
    rounds = int(np.clip(_ROUNDS_PER_IMAGE * count, _LEAST_ROUNDS, _MOST_ROUNDS))
    idle = 0
    for _ in range(rounds):
        out, into = (
            random.randint(len(inside), size=_BATCH),
            random.randint(len(outside), size=_BATCH),
        )
        change = table.rows(outside[into]) - table.rows(inside[out])
        gain = ((2 * excess + change) * change * weight).sum(axis=1)
        best = int(np.argmin(np.round(gain, _DIGITS)))
        if gain[best] >= -(0.1**_DIGITS):
            idle += 1
            if idle >= _PATIENCE:
                break
            continue
        idle = 0
        excess += change[best]
        one, other = out[best], into[best]
        inside[one], outside[other] = outside[other], inside[one]
    chosen[:] = False
    chosen[inside] = True
    return chosen


def fit_of(
    chosen: NDArray[np.bool_],
    owners: NDArray[np.int64],
    classes: NDArray[np.int64],
    sizes: NDArray[np.int8],
) -> SubsetFit:
    """Gives how far a choice of images is from the whole; arguments as of `choose_images`."""
    here = chosen[owners]
    ids = np.unique(classes)
    if not len(ids) or not here.any():
        return SubsetFit(0.0, 0, 0.0, 0, 0.0)
    by_class = np.abs(_shares(classes, ids) - _shares(classes[here], ids))
    kinds = np.arange(3)
    by_size = np.abs(_shares(sizes, kinds) - _shares(sizes[here], kinds))
    density = here.sum() / chosen.sum() / (len(owners) / len(chosen))
    return SubsetFit(
        class_share=float(by_class.max()),
        worst_class=int(ids[by_class.argmax()]),
        size_share=float(by_size.max()),
        worst_size=int(by_size.argmax()),
        boxes_per_image=float(density),
    )


def _shares(values: NDArray[np.integer], kinds: NDArray[np.integer]) -> NDArray[np.float64]:
    counts = np.bincount(np.searchsorted(kinds, values), minlength=len(kinds))
    return counts / max(len(values), 1)


@dataclass(frozen=True, eq=False)
class _Labels:
    """Counts of labels by image, sparse: those of image i are entries[first[i]:first[i + 1]]."""

    first: NDArray[np.int64]
    entries: NDArray[np.int64]
    amounts: NDArray[np.float64]
    totals: NDArray[np.float64]

    @classmethod
    def of(cls, images: int, owners: NDArray[np.int64], labels: NDArray[np.int64]) -> _Labels:
        # One more label: an image without objects, whose share is kept as well.
        kinds = int(labels.max()) + 2
        empty = np.setdiff1d(np.arange(images), owners)
        cells = np.concatenate(
            [
                (owners[:, None] * kinds + labels).reshape(-1),
                empty * kinds + kinds - 1,
            ]
        )
        cells, amounts = np.unique(cells, return_counts=True)
        return cls(
            first=np.searchsorted(cells // kinds, np.arange(images + 1)),
            entries=cells % kinds,
            amounts=amounts.astype(np.float64),
            totals=np.bincount(cells % kinds, weights=amounts, minlength=kinds).astype(np.float64),
        )

    def rows(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        """Gives the counts of some images, [images, labels]."""
        lengths = self.first[images + 1] - self.first[images]
        row = np.repeat(np.arange(len(images)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        place = np.repeat(self.first[images], lengths) + within
        counts = np.zeros((len(images), len(self.totals)))
        counts[row, self.entries[place]] = self.amounts[place]
        return counts

    def counts(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        """Gives the counts of some images together, [labels]."""
        total = np.zeros(len(self.totals))
        for part in np.array_split(images, max(len(images) // 1000, 1)):
            total += self.rows(part).sum(axis=0)
        return total
