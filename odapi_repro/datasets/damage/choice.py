"""Which records are kept, copied and damaged: drawn from a seed, exactly as many as asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from odapi_repro.pipeline.record_edits import LabelNoise

_KEPT, _COPIED, _NOISY = 1, 2, 3


@dataclass(frozen=True)
class NoiseChoice:
    """What label noise falls on.

    Attributes:
        objects: record -> indices of its objects.
        donors: record -> the record whose objects it gets.
        num_objects: objects that are made wrong.
        num_images: records that hold any of them.
    """

    objects: Mapping[int, Sequence[int]] = field(default_factory=dict)
    donors: Mapping[int, int] = field(default_factory=dict)
    num_objects: int = 0
    num_images: int = 0


def choose_kept(num_records: int, fraction: float, seed: int) -> list[int]:
    """Gives which records are kept, at least one, in their order.

    A smaller fraction of the same seed is part of a larger one.
    """
    count = max(1, round(fraction * num_records))
    return sorted(_rng(_KEPT, seed).permutation(num_records)[:count].tolist())


def choose_order(num_records: int, duplicate_share: float, seed: int) -> list[int]:
    """Gives the record that stands at each place when a share of them is replaced by copies."""
    order = list(range(num_records))
    count = min(round(duplicate_share * num_records), num_records - 1)
    shuffled = _rng(_COPIED, seed).permutation(num_records)
    replaced, left = shuffled[:count], shuffled[count:]
    for i, place in enumerate(replaced.tolist()):
        order[place] = int(left[i % len(left)])
    return order


def choose_noise(num_objects: Sequence[int], noise: LabelNoise, seed: int) -> NoiseChoice:
    """Gives what the noise falls on, given the objects of each record; two images for an exchange.

    A smaller share of the same seed and kind is part of a larger one, but for `shuffled`, where
    the images that were chosen exchange their objects in a ring.
    """
    rng = _rng(_NOISY, seed)
    if noise.is_of_images:
        with_objects = np.flatnonzero(np.asarray(num_objects))
        count = round(noise.share * len(with_objects))
        if noise.kind == "shuffled":
            count = max(2, count) if len(with_objects) > 1 else 0
        chosen = rng.permutation(with_objects)[:count].tolist()
        objects = {record: range(num_objects[record]) for record in chosen}
        ring = dict(zip(chosen, [*chosen[1:], *chosen[:1]], strict=True))
        if noise.kind != "shuffled":
            ring = {}
        return NoiseChoice(objects, ring, sum(map(len, objects.values())), len(objects))
    owners = np.repeat(np.arange(len(num_objects)), num_objects)
    count = round(noise.share * len(owners))
    chosen_objects = np.sort(rng.permutation(len(owners))[:count])
    firsts = np.concatenate([[0], np.cumsum(num_objects)])
    by_record: dict[int, list[int]] = {}
    for position in chosen_objects.tolist():
        record = int(owners[position])
        by_record.setdefault(record, []).append(position - int(firsts[record]))
    return NoiseChoice(by_record, {}, count, len(by_record))


def _rng(purpose: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([purpose, seed])
