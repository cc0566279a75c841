"""Images that are there more than once: the same bytes, or the same picture encoded again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census.record_columns import ImageColumns

# Two pictures are compared by their 8 x 8 grey cells first, centred and of length 1, and by all
# 16 x 16 coloured cells then. Measured on embedded images and on ten photographs: encoded again at
# JPEG quality 30, or resized to 50 %, 90 % or 300 %, the cosine stays above 0.995 and no cell moves
# by more than 12 of 255; of 460,320 pairs of different embedded images none has a cosine above
# 0.974, nor a farthest cell nearer than 44.
_LEAST_COSINE = 0.98
_MOST_CELL_DIFFERENCE = 24
_MOST_BRIGHTNESS_DIFFERENCE = 8.0  # of the mean of all cells; encoding again moves it by under 4
# Below this standard deviation of the cells a picture has nothing to be known by.
_LEAST_CONTRAST = 1.0
_BLOCK = 1024
_TILE = 512  # so that a block's products stay in the processor's cache
_VERIFIED_AT_ONCE = 20_000


@dataclass(frozen=True, eq=False)
class Likeness:
    """Which images are alike, among all that were given.

    Attributes:
        exact: int64 [N], the first image of the same bytes.
        near: int64 [N], the first image that shows the same picture, of the same bytes or others.
    """

    exact: NDArray[np.int64]
    near: NDArray[np.int64]


def likeness(columns: Sequence[ImageColumns]) -> Likeness:
    """Gives which images are alike, within and between sets; N counts through all sets in order.

    Images that do not decode are compared by their bytes only, as are those without contrast.
    Cut, mirrored or recoloured pictures are others. The work is quadratic in the number of
    different images of about one brightness.
    """
    digests = np.concatenate([one.digest for one in columns])
    exact = _first_alike(digests)
    whole = np.concatenate([one.decodes for one in columns])
    thumbnails = np.concatenate([one.thumbnail for one in columns])
    described, contrast, brightness = _described(thumbnails)
    distinct = np.flatnonzero(
        (exact == np.arange(len(exact))) & whole & (contrast >= _LEAST_CONTRAST)
    )
    # By brightness, so that an image is compared with its neighbours and not with all.
    distinct = distinct[np.argsort(brightness[distinct], kind="stable")]
    leader = _leaders(described[distinct], brightness[distinct], thumbnails[distinct])
    first = np.full(len(distinct), len(exact))
    np.minimum.at(first, leader, distinct)
    near = np.arange(len(exact))
    near[distinct] = first[leader]
    return Likeness(exact, near[exact])


def _first_alike(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    if not len(digests):
        return np.zeros(0, np.int64)
    _, first, inverse = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[inverse.reshape(-1)], np.int64)


def _described(
    thumbnails: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Gives float32 [N, 64] of length 1, the standard deviation of the grey cells, their mean."""
    grey = thumbnails.mean(axis=3, dtype=np.float32)
    cells = grey.reshape(-1, 8, 2, 8, 2).mean(axis=(2, 4)).reshape(-1, 64)
    brightness = cells.mean(axis=1)
    cells -= brightness[:, None]
    norm = np.linalg.norm(cells, axis=1)
    described = cells / np.maximum(norm, 1e-6)[:, None]
    return described, norm / np.float32(8), brightness


def _leaders(
    described: NDArray[np.float32], brightness: NDArray[np.float32], thumbnails: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Gives the first image that each is like, int64 [N]; itself where it is the first.

    Images come by brightness. Each is compared with the first of each kind only, so that a film of
    one scene is no square of its frames.
    """
    leader = np.arange(len(described))
    leaders: NDArray[np.int64] = np.zeros(0, np.int64)
    for start in range(0, len(described), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(described)))
        leaders = leaders[brightness[leaders] >= brightness[start] - _MOST_BRIGHTNESS_DIFFERENCE]
        for one, other in _verified(described, thumbnails, block, leaders):
            if leader[one] == one:  # pairs come by `other`, so the earliest is kept
                leader[one] = other
        fresh = block[leader[block] == block]
        for one, other in _verified(described, thumbnails, fresh, fresh):
            if other < one and leader[one] == one and leader[other] == other:
                leader[one] = other
        leaders = np.concatenate([leaders, fresh[leader[fresh] == fresh]])
    return leader


def _verified(
    described: NDArray[np.float32],
    thumbnails: NDArray[np.uint8],
    ones: NDArray[np.int64],
    others: NDArray[np.int64],
) -> list[tuple[int, int]]:
    """Gives the pairs (one, other) that show the same picture, ordered by one, then by other."""
    own = described[ones]
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(others), _TILE):
        tile = others[start : start + _TILE]
        flat = np.flatnonzero(own @ described[tile].T >= _LEAST_COSINE)
        if len(flat):
            one, other = np.divmod(flat, len(tile))
            found.append(np.stack([ones[one], tile[other]], axis=1))
    pairs = np.concatenate(found)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    first, second = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].T
    kept: list[tuple[int, int]] = []
    for start in range(0, len(first), _VERIFIED_AT_ONCE):
        some = slice(start, start + _VERIFIED_AT_ONCE)
        difference = np.abs(
            thumbnails[first[some]].astype(np.int16) - thumbnails[second[some]].astype(np.int16)
        )
        same = difference.max(axis=(1, 2, 3)) <= _MOST_CELL_DIFFERENCE
        kept += zip(first[some][same].tolist(), second[some][same].tolist(), strict=True)
    return kept
