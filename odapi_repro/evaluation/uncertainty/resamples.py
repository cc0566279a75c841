"""What a data set scores in resamples of its images and in its halves, class by class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.scoring.matching import Matches
from odapi_repro.evaluation.uncertainty.weighted_metrics import images_with_truth, weighted_metrics

_Array = NDArray[np.float64]

_NUM_SPLITS: Final = 25
_AREA_OF_METRIC: Final = [0, 0, 0, 1, 2, 3, 0, 0, 0, 1, 2, 3]


@dataclass(frozen=True, eq=False)
class Resampled:
    """Scores of the set and of what was drawn from it, in points.

    K classes, R resamples; the 12 metrics by `METRIC_NAMES`.

    Attributes:
        num_images: I.
        values: [12, K], NaN where the set has nothing to score.
        replicates: [12, K, R], in the resamples; that of the set where a class vanished.
        vanished: bool [12, K, R], the resample has nothing of the class to score.
        halves: [12, K], the mean over halves of the set, vanished classes likewise.
        images: int64 [12, K], images with ground truth that counts.
        is_difference: of two models.
    """

    num_images: int
    values: _Array
    replicates: _Array
    vanished: NDArray[np.bool_]
    halves: _Array
    images: NDArray[np.int64]
    is_difference: bool = False

    def minus(self, other: Resampled) -> Resampled:
        """Gives the differences, of two models on the same images, resampled with one seed."""
        return replace(
            self,
            values=self.values - other.values,
            replicates=self.replicates - other.replicates,
            halves=self.halves - other.halves,
            is_difference=True,
        )


def resample(
    matches: Matches, resamples: int = 1000, seed: int = 0, *, sizes: bool = True
) -> Resampled:
    """Scores a set, `resamples` resamples of its images, and 25 splits of it into halves.

    An image drawn k times counts k times. What is drawn depends on the number of images and on the
    seed alone, so that two models on the same images get the same weights.

    Args:
        matches: of one model.
        resamples: R.
        seed: of what is drawn.
        sizes: as in `weighted_metrics`.
    """
    random = np.random.default_rng(seed)
    weights = np.concatenate(
        [
            np.ones((1, matches.num_images), np.int64),
            _halves(matches.num_images, random),
            _draws(matches.num_images, resamples, random),
        ]
    )
    metrics = weighted_metrics(matches, weights, sizes=sizes)
    values, drawn = metrics[:, :, 0], metrics[:, :, 1:]
    vanished = np.isnan(drawn)
    kept = np.where(vanished, values[:, :, None], drawn)
    return Resampled(
        num_images=matches.num_images,
        values=values,
        replicates=kept[:, :, 2 * _NUM_SPLITS :],
        vanished=vanished[:, :, 2 * _NUM_SPLITS :],
        halves=kept[:, :, : 2 * _NUM_SPLITS].mean(axis=-1),
        images=images_with_truth(matches)[_AREA_OF_METRIC],
    )


def _draws(num_images: int, resamples: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Gives how often each image is drawn, [R, I], when as many are drawn as there are."""
    return np.stack(
        [
            np.bincount(random.integers(0, max(num_images, 1), num_images), minlength=num_images)
            for _ in range(resamples)
        ]
    )


def _halves(num_images: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Gives halves of the images, drawn without replacement, [2 * splits, I].

    Both halves of every split, so that easy and hard images even out.
    """
    base = (np.arange(num_images) < num_images // 2).astype(np.int64)
    firsts = np.stack([random.permutation(base) for _ in range(_NUM_SPLITS)])
    return np.concatenate([firsts, 1 - firsts])
