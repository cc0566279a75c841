"""AP on parts of a set, held against scoring those parts as sets of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_sets import columns, random_set

from odapi_repro.evaluation.coco_data import detections_of, ground_truth_of
from odapi_repro.evaluation.scoring.detection_matching import match
from odapi_repro.evaluation.scoring.metrics import score
from odapi_repro.features.explain.explain_trials import subset_scores


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("metric", ["AP", "AP50", "APm", "AR100"])
def test_a_part_scores_as_coco_scores_it_alone(seed: int, metric: str) -> None:
    data, found = random_set(seed)
    matches = match(*columns(data, found))
    images = len(data["images"]) - 2
    one = subset_scores(matches, images=images, draws=1, metric=metric, seed=seed)
    drawn = np.random.default_rng(seed).choice(len(data["images"]), images, replace=False)
    ids = {data["images"][place]["id"] for place in drawn}
    part = {
        **data,
        "images": [image for image in data["images"] if image["id"] in ids],
        "annotations": [item for item in data["annotations"] if item["image_id"] in ids],
    }
    truth = ground_truth_of(part)
    alone = score(truth, detections_of([f for f in found if f["image_id"] in ids], truth))
    expected = alone.metrics[metric]
    if expected is None:
        assert one.draws == 0
    else:
        assert one.whole + one.mean_delta == pytest.approx(expected, abs=1e-9)


def test_the_whole_set_as_its_own_part_differs_by_nothing() -> None:
    data, found = random_set(3)
    same = subset_scores(match(*columns(data, found)), images=len(data["images"]), draws=5)
    assert same.mean_delta == pytest.approx(0.0, abs=1e-9)
    assert same.sd == pytest.approx(0.0, abs=1e-9)
    assert not math.isnan(same.whole)


@pytest.mark.parametrize("images", [0, 1000])
def test_parts_larger_than_the_set_or_empty_are_refused(images: int) -> None:
    data, found = random_set(1)
    with pytest.raises(ValueError, match=f"{images} of"):
        subset_scores(match(*columns(data, found)), images=images)
