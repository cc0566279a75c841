"""Boxes that may be those of resized images are asked about, and places that repeat are not."""

from __future__ import annotations

import numpy as np
import pytest
from columns_of_boxes import split_of

from odapi_repro.datasets.census import Census
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.record_rule import RecordSubject
from odapi_repro.diagnosis.rules.records.record_boxes import BoxesAlreadyResized

FRAME = (1080, 1920)


def drawn(places: int = 900, *, seed: int = 0) -> np.ndarray:
    """Shares of boxes, float64 [900, 4], at so many places; a fifth end at each border."""
    rng = np.random.default_rng(seed)
    side = rng.uniform(0.05, 0.3, (places, 2))
    first = rng.uniform(0, 1, (places, 2)) * (1 - side)
    second = np.where(rng.random((places, 2)) < 0.2, 1, first + side)
    first = np.where(rng.random((places, 2)) < 0.2, 0, first)
    return np.concatenate([first, second], axis=1)[rng.integers(places, size=900)]


def told(sizes: list[tuple[int, int]], pixels: np.ndarray) -> list[Finding]:
    """What is told of three boxes in each of 300 images, given in pixels."""
    size = np.array(sizes)[np.arange(300) % len(sizes)]
    image = np.repeat(np.arange(300), 3)
    shares = pixels / np.concatenate([size, size], axis=1)[image]
    subject = RecordSubject(Census((split_of(size, image, shares),)))
    return list(BoxesAlreadyResized().check(subject))


def test_resized_images_of_several_sizes_are_proof() -> None:
    (one,) = told([FRAME, (720, 1280)], drawn() * 512)
    assert (one.severity.word, one.count, one.counted) == ("critical", 900, "boxes")


def test_images_of_one_size_are_asked_about() -> None:
    (one,) = told([FRAME], drawn() * 512)
    assert (one.severity.word, one.counted) == ("warning", "images")
    assert "512 x 512" in one.found
    assert "boxes alone cannot tell" in one.why


def test_boxes_beyond_images_of_one_size_are_no_region() -> None:
    (one,) = told([(240, 320)], drawn() * 512)
    assert one.severity.word in ("critical", "fatal")


@pytest.mark.parametrize("places", [1, 4, 40])
@pytest.mark.parametrize("sizes", [[FRAME], [FRAME, (1079, 1917)]], ids=str)
def test_a_fixed_camera_is_told_of_at_most_as_a_question(sizes, places) -> None:
    found = told(sizes, drawn(places) * np.tile([640, 1024], 2))
    assert all(one.severity.word == "warning" for one in found)
    assert not found or places == 40


def test_a_belt_across_the_frame_is_not_told_of() -> None:
    belt = np.array([300, 0]) + drawn().reshape(-1, 2) * np.array([512, 1920])
    assert told([FRAME], belt.reshape(-1, 4)) == []
