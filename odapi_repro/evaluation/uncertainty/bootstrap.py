"""How sure COCO's numbers are: a paired bootstrap over the images.

The images of a set are a sample. Drawing as many of them again, with replacement, shows how far a
metric varies from sample to sample; an image drawn k times counts k times. Whole images are drawn,
not objects: those of one image share its light, its crowding and its annotator.

Four things stand between resamples and an interval that covers. docs/uncertainty.md has what was
measured of each, and of the intervals that were left aside.

- **Classes that vanish.** A resample may lack a rare class, and the mean over the rest would be
  another quantity. Such a class keeps there the value it has in the set. Which classes are averaged
  is decided once, by the set.
- **Rare classes.** A class seen in m images shows too little spread in resamples when m is 2 or 3:
  the variance of a mean of m numbers comes out (m - 1) / m too small (Efron and Tibshirani, An
  Introduction to the Bootstrap, 1993, section 5.3), too large again for the number of such images
  varies, and 0 where they vanish. What a mean would need is put right class by class. A single
  image says nothing of its own spread: the class gets the average of the others, image for image.
- **Few images.** Standard errors are estimates too: quantiles are Student's t, with Welch's and
  Satterthwaite's degrees of freedom over the classes. The interval is centred on the value: the
  resamples' own mean and quantiles carry the excess described next a second time.
- **AP falls as a set grows.** Interpolated precision is the highest precision from a recall on, and
  a maximum over noise is high. The excess falls as n^(-1/2) where precision is flat and as n^(-2/3)
  where it is steep, so that it never becomes small beside the standard error, and classes share it.
  Two numbers from sets of one size have it both; the AP of unlimited images does not. That has an
  interval of its own: resamples show only a third of the excess, but halves of the set show it, and
  twice what they score above the set is taken off. In differences of two models it cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from odapi_repro.errors import UserError
from odapi_repro.evaluation.scoring.detection_matching import Matches
from odapi_repro.evaluation.scoring.metrics import METRIC_NAMES
from odapi_repro.evaluation.uncertainty.weighted_metrics import images_with_truth, weighted_metrics

# --- What a data set scores in resamples of its images and in its halves, class by class ---


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


# --- How sure COCO's numbers are: intervals from a paired bootstrap over the images ---


# An excess that falls as n^(-2/3) is 1.7 times the step from n images to half of them, one that
# falls as n^(-1/2) 2.4 times. Which of the two holds depends on how steep precision is.
_EXCESS_FACTOR: Final = 2.0
_EXCESS_FACTOR_SD: Final = 0.4


@dataclass(frozen=True, eq=False)
class ClassMean:
    """One metric of the P classes that are averaged, in the set and in what was drawn from it.

    Attributes:
        values: [P], in the set.
        replicates: [P, R], in resamples; `values` where a class vanished.
        halves: [P], the mean over halves of the set, likewise.
        images: int64 [P], images that a class is seen in.
        num_images: of the set.
    """

    values: _Array
    replicates: _Array
    halves: _Array
    images: NDArray[np.int64]
    num_images: int

    def variance(self) -> tuple[float, float]:
        """Gives the variance of the mean, and its degrees of freedom (Satterthwaite 1946).

        At least one class must be seen in two images. Those seen in one have the variance that an
        average image of the others has.
        """
        often = self.images > 1
        images = self.images[often]
        corrections = np.array([_correction(int(m), self.num_images) for m in images])
        # From the value, not from the mean: what never varies leaves exact zeros.
        deviations = self.replicates[often] - self.values[often, None]
        deviations *= np.sqrt(corrections)[:, None]
        variances = deviations.var(axis=1, ddof=1)
        borrowed = np.count_nonzero(~often) * float((variances * images).mean())
        variance = float(deviations.sum(axis=0).var(ddof=1)) + borrowed
        dfs = images - 1
        df = float(dfs.sum())
        doubt = float((variances**2 / dfs).sum()) + borrowed**2 / df
        if doubt:
            df = (float(variances.sum()) + borrowed) ** 2 / doubt
        return variance / len(self.values) ** 2, df

    def excess(self) -> tuple[float, float]:
        """Gives by how much the mean lies above its limit, and the variance of that estimate.

        Of AP alone. The variance has two parts: noise, which classes have each for itself, so that
        their spread shows it, and that of the factor.
        """
        steps = self.halves - self.values
        step = float(steps.mean())
        noise = float(steps.var(ddof=1)) / len(steps) if len(steps) > 1 else 0.0
        return _EXCESS_FACTOR * step, _EXCESS_FACTOR**2 * noise + (_EXCESS_FACTOR_SD * step) ** 2


@cache
def _correction(images: int, num_images: int) -> float:
    """What the resampled variance of a mean over `images` images is too small by, a factor.

    Of n images M are drawn, Binomial(n, images / n). Given M, the variance is that of one image
    divided by M, or 0 where M is 0; and of one image it is (images - 1) / images of its unbiased
    estimate. It should be that estimate divided by `images`.
    """
    drawn = np.arange(1.0, num_images + 1)
    share = images / num_images
    log_chance = (
        special.gammaln(num_images + 1)
        - special.gammaln(drawn + 1)
        - special.gammaln(num_images - drawn + 1)
        + special.xlogy(drawn, share)
        + special.xlog1py(num_images - drawn, -share)
    )
    return 1 / ((images - 1) * float((np.exp(log_chance) / drawn).sum()))


@dataclass(frozen=True)
class Interval:
    """One metric, or one difference of two models, and how sure it is. Points.

    Attributes:
        metric: COCO's name.
        value: COCO's figure, or the difference; None where there is nothing to score.
        se: the standard error of `value`: how far it varies among sets of as many such images.
        low, high: the interval of what such sets give on average. None where the images cannot say.
        excess: by how much AP lies, by estimate, above that of unlimited images of this kind; None
            for recall and differences, where it is nothing to speak of.
        limit_low, limit_high: the interval of AP on unlimited images, around `value - excess`.
        df: degrees of freedom of `se`.
        confidence: of each interval, between 0 and 1.
        num_resamples, num_images: what it was made from.
        note: why there is no interval, or what to mind about it; empty otherwise.
    """

    metric: str
    value: float | None
    se: float | None
    low: float | None
    high: float | None
    excess: float | None
    limit_low: float | None
    limit_high: float | None
    df: float | None
    confidence: float
    num_resamples: int
    num_images: int
    note: str = ""


@dataclass(frozen=True, eq=False)
class Intervals(Mapping[str, Interval]):
    """The 12 metrics over all classes, by name, and those of each class.

    Attributes:
        overall: what this mapping shows.
        per_class: the same for each class alone, by its index.
    """

    overall: Mapping[str, Interval]
    per_class: tuple[Mapping[str, Interval], ...]

    def __getitem__(self, metric: str) -> Interval:
        return self.overall[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self.overall)

    def __len__(self) -> int:
        return len(self.overall)


def interval(
    matches: Matches, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Intervals:
    """Gives the 12 metrics with intervals.

    Args:
        matches: of the detections with the ground truth.
        resamples: how many.
        confidence: of each interval alone, two-sided.
        seed: of the resamples; the same seed gives the same intervals.

    Raises:
        UserError: fewer than two resamples, or a confidence that is none.
    """
    _check(resamples, confidence)
    return intervals_of(resample(matches, resamples, seed), confidence=confidence)


def difference(
    first: Matches,
    second: Matches,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Gives the 12 metrics of `first` less those of `second`, with intervals.

    Both are resampled with the same weights: what makes an image hard for both cancels.

    Args:
        first, second: matches of two sets of detections with one ground truth.
        resamples, confidence, seed: as in `interval`.

    Raises:
        UserError: different ground truth, fewer than two resamples, or a confidence that is none.
    """
    _check(resamples, confidence)
    if not _same_truth(first, second):
        raise UserError(
            "the two models were matched with different ground truth",
            expected="detections of the same images, scored with the same annotations",
            mend="evaluate both on one data set",
        )
    ours = resample(first, resamples, seed)
    theirs = ours if first is second else resample(second, resamples, seed)
    return intervals_of(ours.minus(theirs), confidence=confidence)


def _check(resamples: int, confidence: float) -> None:
    if resamples < 2:
        raise UserError(
            f"{resamples} resamples", expected="two or more; 1,000 give steady intervals"
        )
    if not 0 < confidence < 1:
        raise UserError(f"a confidence of {confidence:g}", expected="between 0 and 1, such as 0.95")


def _same_truth(first: Matches, second: Matches) -> bool:
    return (first.num_images, first.num_categories) == (
        second.num_images,
        second.num_categories,
    ) and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("truth_images", "truth_categories", "truth_ignored")
    )


def intervals_of(resampled: Resampled, *, confidence: float = 0.95) -> Intervals:
    """Gives the 12 metrics with intervals from resamples at hand."""

    def of(metric: int, classes: NDArray[np.intp]) -> Interval:
        scored = classes[~np.isnan(resampled.values[metric, classes])]
        return _interval(
            METRIC_NAMES[metric],
            ClassMean(
                resampled.values[metric, scored],
                resampled.replicates[metric, scored],
                resampled.halves[metric, scored],
                resampled.images[metric, scored],
                resampled.num_images,
            ),
            confidence,
            resampled.is_difference,
        )

    num_classes = resampled.values.shape[1]
    metrics = range(len(METRIC_NAMES))
    return Intervals(
        {METRIC_NAMES[metric]: of(metric, np.arange(num_classes)) for metric in metrics},
        tuple(
            {METRIC_NAMES[metric]: of(metric, np.array([category])) for metric in metrics}
            for category in range(num_classes)
        ),
    )


def _interval(metric: str, mean: ClassMean, confidence: float, is_difference: bool) -> Interval:
    value = float(mean.values.mean()) if len(mean.values) else None
    bare = Interval(
        metric=metric,
        value=value,
        se=None,
        low=None,
        high=None,
        excess=None,
        limit_low=None,
        limit_high=None,
        df=None,
        confidence=confidence,
        num_resamples=mean.replicates.shape[1],
        num_images=mean.num_images,
    )
    if value is None:
        return replace(bare, note="nothing to score")
    if mean.images.max() < 2:
        return replace(bare, note="no class is seen on two images: nothing says how far it varies")
    variance, df = mean.variance()
    quantile = float(special.stdtrit(df, (1 + confidence) / 2))
    least = -100.0 if is_difference else 0.0

    def ends(centre: float, variance: float) -> tuple[float, float]:
        reach = quantile * math.sqrt(variance)
        return max(centre - reach, least), min(centre + reach, 100.0)

    low, high = ends(value, variance)
    result = replace(bare, se=math.sqrt(variance), low=low, high=high, df=df, note=_note(mean))
    if is_difference or not metric.startswith("AP"):
        return result
    excess, doubt = mean.excess()
    limit_low, limit_high = ends(value - excess, variance + doubt)
    return replace(result, excess=excess, limit_low=limit_low, limit_high=limit_high)


def _note(mean: ClassMean) -> str:
    once = int((mean.images < 2).sum())
    if (mean.replicates == mean.values[:, None]).all():
        return "the same in every resample"
    if once:
        return (
            f"{once} of {len(mean.values)} classes are seen on one image only; their spread is "
            "taken from the others"
        )
    return ""
