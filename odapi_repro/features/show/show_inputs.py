"""Which images `data show` is to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from odapi_repro.command import nearest
from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.errors import UserError

_SMALL_AREA = 32.0**2
_ROUNDING = 1e-3

Filter = Callable[[AnnotatedImage], bool]


def image_filter(only: Sequence[str], source_ids: Sequence[str], label_map: LabelMap) -> Filter:
    """Gives what decides whether an image is one of those to be shown.

    Args:
        only: kinds (`KINDS`) and names of classes; an image of any of them is one. Empty: any.
        source_ids: images by source id; empty: any.
        label_map: knows the classes.

    Raises:
        UserError: no such kind or class.
    """
    tests = [_test(name, label_map) for name in only]
    ids = frozenset(source_ids)

    def is_wanted(image: AnnotatedImage) -> bool:
        if ids and image.source_id not in ids:
            return False
        return not tests or any(test(image) for test in tests)

    return is_wanted


def _test(name: str, label_map: LabelMap) -> Filter:
    if name in KINDS:
        kind = KINDS[name]
        return lambda image: kind(image, label_map)
    class_id = label_map.id_of(name)
    if class_id is None:
        known = [*KINDS, *label_map.items.values()]
        raise UserError(
            f"--only {name}: no class of the label map is called that",
            expected=f"{', '.join(KINDS)}, or a class",
            mend=nearest(name, known) + f"the label map holds {len(label_map.items)} classes",
        )
    return lambda image: bool((image.class_ids == class_id).any())


def _has_small(image: AnnotatedImage, label_map: LabelMap) -> bool:
    lengths = (image.boxes[:, 2:] - image.boxes[:, :2]) * (image.height, image.width)
    return bool((lengths.prod(axis=1) < _SMALL_AREA).any())


def _has_wrong(image: AnnotatedImage, label_map: LabelMap) -> bool:
    boxes = image.boxes
    inside = ((boxes >= -_ROUNDING) & (boxes <= 1 + _ROUNDING)).all(axis=1)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    known = np.isin(image.class_ids, list(label_map.items))
    return not bool((inside & has_area & known).all())


KINDS: dict[str, Callable[[AnnotatedImage, LabelMap], bool]] = {
    "crowd": lambda image, label_map: bool(image.is_crowd.any()),
    "empty": lambda image, label_map: not len(image.boxes),
    "small": _has_small,
    "wrong": _has_wrong,
}
"""Kinds of images that `--only` knows beside the classes."""
