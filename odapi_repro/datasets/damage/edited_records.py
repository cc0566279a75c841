"""Records made from others by a recipe's edits: named before they are made, made once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.damage.choice import (
    NoiseChoice,
    choose_kept,
    choose_noise,
    choose_order,
)
from odapi_repro.datasets.damage.objects import (
    absolute,
    dropped,
    scaled,
    shifted,
    swapped,
    with_objects_of,
)
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.made_folder import default_cache_root, make_folder
from odapi_repro.datasets.record_access import RecordAccess
from odapi_repro.datasets.records import RecordManifest
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.errors import DataError
from odapi_repro.pipeline.record_edits import LabelNoise, RecordEdits

_VERSION = 1
"""Raise it whenever the same edits would give other records."""


@dataclass(frozen=True)
class EditCounts:
    """What the edits came to.

    Attributes:
        source_records: records that there were.
        records: records that were written.
        copies: among them, those that are copies of another.
        objects: objects of all records that were written.
        noisy_objects, noisy_images: annotations that were made wrong, and the images that hold
            any, before images were copied.
    """

    source_records: int
    records: int
    copies: int
    objects: int
    noisy_objects: int
    noisy_images: int


@dataclass(frozen=True)
class EditedRecords:
    """Records that are made from others when they are first needed.

    Attributes:
        sources: the files they are made from, in order.
        source: their manifest.
        label_map: of the data set.
        edits: what is done to them.
        seed: decides where.
        root: folder under which they are kept.
    """

    sources: tuple[Path, ...]
    source: RecordManifest
    label_map: LabelMap
    edits: RecordEdits
    seed: int
    root: Path

    @staticmethod
    def of(
        sources: Sequence[Path],
        source: RecordManifest,
        label_map: LabelMap,
        edits: RecordEdits,
        seed: int,
    ) -> EditedRecords:
        """Gives the records that the edits make, kept in the user's cache."""
        root = default_cache_root().absolute()
        return EditedRecords(tuple(sources), source, label_map, edits, seed, root)

    @property
    def digest(self) -> str:
        """SHA-256 of what they are made of."""
        content = {
            "version": _VERSION,
            "source": self.source.digest,
            "edits": self.edits.text,
            "seed": self.seed,
            "label_map": sorted(self.label_map.items.items()),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def folder(self) -> Path:
        """Where they are kept."""
        return self.root / f"edited-{self.digest[:12]}"

    @property
    def train_files(self) -> tuple[Path, ...]:
        """Their files, whether made yet or not: as many as the sources, or one a record."""
        num_records = max(1, round(self.edits.train_fraction * self.source.num_examples))
        count = min(len(self.sources), num_records)
        return tuple(self.folder / name for name in _file_names(count))


def make_edited_records(records: EditedRecords) -> EditCounts:
    """Makes the records unless they are there, and gives what the edits came to.

    Raises:
        DataError: the sources do not read, or the folder cannot be written.
    """

    def write(folder: Path) -> dict[str, Any]:
        counts = write_edited_records(
            records.sources,
            folder,
            len(records.train_files),
            records.label_map,
            records.edits,
            records.seed,
        )
        return {"edits": records.edits.text, "seed": records.seed, "counts": asdict(counts)}

    noted = make_folder(
        records.folder,
        write,
        what="the edited training records",
        size="what the training records take",
    )
    return EditCounts(**noted["counts"])


def write_edited_records(
    sources: Sequence[Path],
    folder: Path,
    num_files: int,
    label_map: LabelMap,
    edits: RecordEdits,
    seed: int,
) -> EditCounts:
    """Writes what the edits make of the records of `sources` as `num_files` files in `folder`.

    The fraction is drawn first, then annotations are made wrong, then images are copied. Records go
    to the files by turns, as create_coco_tf_record.py deals them out.

    Raises:
        DataError: a source does not read, an exchange without two images to exchange, no space.
    """
    source = RecordAccess(sources)
    kept = choose_kept(len(source), edits.train_fraction, seed)
    # Every record is parsed, so that a broken one is found before anything is written.
    num_objects = [len(AnnotatedImage.from_example(source[i]).boxes) for i in kept]
    noise = NoiseChoice()
    if edits.label_noise is not None:
        noise = choose_noise(num_objects, edits.label_noise, seed)
        _check(noise, edits.label_noise, sources)
    order = choose_order(len(kept), edits.duplicate_share, seed)

    def record(place: int) -> bytes:
        data = source[kept[place]]
        if edits.label_noise is None or place not in noise.objects:
            return data
        donor = noise.donors.get(place)
        return _noisy(
            data,
            edits.label_noise,
            noise.objects[place],
            b"" if donor is None else source[kept[donor]],
            label_map,
            np.random.default_rng([seed, kept[place]]),
        )

    for i, name in enumerate(_file_names(num_files)):
        write_records(folder / name, map(record, order[i::num_files]))
    written = Counter(order)
    return EditCounts(
        source_records=len(source),
        records=len(order),
        copies=len(order) - len(written),
        objects=sum(
            times * _objects_after(place, num_objects, noise, edits.label_noise)
            for place, times in written.items()
        ),
        noisy_objects=noise.num_objects,
        noisy_images=noise.num_images,
    )


def _objects_after(
    place: int, num_objects: Sequence[int], choice: NoiseChoice, noise: LabelNoise | None
) -> int:
    left = num_objects[choice.donors.get(place, place)]
    drops = noise is not None and noise.kind == "dropped"
    return left - (len(choice.objects.get(place, ())) if drops else 0)


def _check(choice: NoiseChoice, noise: LabelNoise, sources: Sequence[Path]) -> None:
    if not choice.num_objects:
        raise DataError(
            f"label noise {noise.label} falls on no object of these records",
            expected="records with enough objects for the share"
            + (", in at least two images" if noise.kind == "shuffled" else ""),
            mend="choose a larger share, or other records",
            where=str(sources[0]),
        )


def _noisy(
    data: bytes,
    noise: LabelNoise,
    chosen: Sequence[int],
    donor: bytes,
    label_map: LabelMap,
    rng: np.random.Generator,
) -> bytes:
    if noise.kind == "shifted":
        return shifted(data, chosen, rng)
    if noise.kind == "scaled":
        return scaled(data, chosen, rng)
    if noise.kind == "dropped":
        return dropped(data, chosen)
    if noise.kind == "swapped":
        return swapped(data, chosen, label_map, rng)
    if noise.kind == "absolute":
        return absolute(data)
    return with_objects_of(data, donor)


def _file_names(count: int) -> list[str]:
    return [f"train-{i:05d}-of-{count:05d}.tfrecord" for i in range(count)]
