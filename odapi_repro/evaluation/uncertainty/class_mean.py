"""The mean of a metric over classes: how far it varies, and by how much it exceeds its limit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

_Array = NDArray[np.float64]

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
