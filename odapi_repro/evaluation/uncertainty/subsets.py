"""What a set of fewer images would have said: AP on random parts of the evaluation images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from odapi_repro.evaluation.scoring.matching import Matches
from odapi_repro.evaluation.scoring.metrics import METRIC_NAMES
from odapi_repro.evaluation.uncertainty.weighted_metrics import weighted_metrics


@dataclass(frozen=True)
class SubsetScores:
    """A metric on random parts of a set, against the whole set. Points.

    Attributes:
        images: in each part.
        draws: how many parts.
        whole: the metric on all images.
        mean_delta: mean over the parts, minus `whole`.
        sd: standard deviation among the parts.
    """

    images: int
    draws: int
    whole: float
    mean_delta: float
    sd: float


def subset_scores(
    matches: Matches, *, images: int, draws: int = 200, metric: str = "AP", seed: int = 0
) -> SubsetScores:
    """Scores random parts of a set, drawn without replacement, as COCO would score each alone.

    Classes of which a part has no object are not averaged there, as in COCO's own figure for it.
    Parts of less than half of the set hardly overlap, and their spread is that of fresh sets of
    as many images; of larger ones it is smaller (the finite population correction).

    Args:
        matches: of the detections on all images.
        images: in each part.
        draws: how many parts.
        metric: one of COCO's twelve.
        seed: of the draws.

    Raises:
        ValueError: more images than there are, or none.
    """
    if not 0 < images <= matches.num_images:
        raise ValueError(f"{images} of {matches.num_images} images")
    random = np.random.default_rng(seed)
    weights = np.zeros((draws + 1, matches.num_images), np.int64)
    weights[0] = 1
    for draw in range(1, draws + 1):
        weights[draw, random.choice(matches.num_images, images, replace=False)] = 1
    place = METRIC_NAMES.index(metric)
    by_class = weighted_metrics(matches, weights, sizes=metric[-1] in "sml")[place]
    known = ~np.isnan(by_class)
    counts = known.sum(axis=0)
    values = np.where(counts, np.nansum(by_class, axis=0) / np.maximum(counts, 1), np.nan)
    whole, parts = float(values[0]), values[1:]
    parts = parts[~np.isnan(parts)]
    if not len(parts):
        return SubsetScores(images, 0, whole, math.nan, math.nan)
    sd = float(parts.std(ddof=1)) if len(parts) > 1 else math.nan
    return SubsetScores(images, len(parts), whole, float(parts.mean()) - whole, sd)
