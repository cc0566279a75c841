""""""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.example import ParsedExample, make_example, parse_example
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.made_folder import default_cache_root, make_folder
from odapi_repro.datasets.record_ground_truth import decode_mask
from odapi_repro.datasets.records import RecordAccess, RecordManifest
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.errors import DataError
from odapi_repro.pipeline.recipe import LabelNoise, RecordEdits

# --- Annotations of one record made wrong; everything else in it stays as it was ---


_OBJECT = "image/object/"
_SHIFT = (0.25, 0.5)
_SHRINK = (0.5, 0.7)
_GROW = (1.4, 2.0)
# A grown box that the image's border cuts back to less than this did not grow: it shrinks instead.
_GROWN_AREA = 1.2

Indices = Sequence[int]


def shifted(data: bytes, chosen: Indices, rng: np.random.Generator) -> bytes:
    """Gives the record with the chosen boxes moved by 0.25 to 0.5 of their sides, clipped."""

    def move(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        sides = boxes[:, 2:] - boxes[:, :2]
        signs = rng.choice((-1.0, 1.0), size=sides.shape)
        offset = signs * rng.uniform(*_SHIFT, size=sides.shape) * sides
        return np.clip(boxes + np.hstack([offset, offset]), 0.0, 1.0)

    return _with_boxes(data, chosen, move)


def scaled(data: bytes, chosen: Indices, rng: np.random.Generator) -> bytes:
    """Gives the record with the chosen boxes shrunk or grown about their centres, clipped."""

    def scale(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        count = len(boxes)
        shrunk = _about_centre(boxes, rng.uniform(*_SHRINK, size=count))
        grown = np.clip(_about_centre(boxes, rng.uniform(*_GROW, size=count)), 0.0, 1.0)
        grows = (rng.random(count) < 0.5) & (_areas(grown) >= _GROWN_AREA * _areas(boxes))
        return np.where(grows[:, None], grown, shrunk)

    return _with_boxes(data, chosen, scale)


def absolute(data: bytes) -> bytes:
    """Gives the record with all its boxes in pixels instead of shares of the image."""
    image = AnnotatedImage.from_example(data)
    sides = np.array([image.height, image.width] * 2, np.float64)
    return _with_boxes(data, range(len(image.boxes)), lambda boxes: boxes * sides)


def dropped(data: bytes, chosen: Indices) -> bytes:
    """Gives the record without the chosen objects."""
    example = parse_example(data)
    count = len(AnnotatedImage.from_example(data).boxes)
    keep = np.ones(count, np.bool_)
    keep[list(chosen)] = False
    changed = {}
    for key in _object_keys(example, count):
        values = _values(example, key)
        each = len(values) // count  # keypoints have several values an object
        kept = [values[i * each : (i + 1) * each] for i in range(count) if keep[i]]
        changed[key] = _same_kind(example, key, [value for part in kept for value in part])
    return _rewritten(example, changed)


def swapped(data: bytes, chosen: Indices, label_map: LabelMap, rng: np.random.Generator) -> bytes:
    """Gives the record with the chosen objects under another class, drawn evenly."""
    example = parse_example(data)
    image = AnnotatedImage.from_example(data, label_map)
    ids = image.class_ids.copy()
    for index in chosen:
        others = [known for known in sorted(label_map.items) if known != ids[index]]
        ids[index] = others[int(rng.integers(len(others)))]
    changed: dict[str, Any] = {f"{_OBJECT}class/label": ids}
    if image.class_names:
        names = list(image.class_names)
        for index in chosen:
            names[index] = label_map.items[int(ids[index])]
        changed[f"{_OBJECT}class/text"] = names
    return _rewritten(example, changed)


def with_objects_of(data: bytes, donor: bytes) -> bytes:
    """Gives the record with the objects of another: boxes as shares, masks resized."""
    example, other = parse_example(data), parse_example(donor)
    image = AnnotatedImage.from_example(data)
    changed: dict[str, Any] = {key: None for key in example if key.startswith(_OBJECT)}
    for key in other:
        if key.startswith(_OBJECT):
            changed[key] = _same_kind(other, key, _values(other, key))
    masks = f"{_OBJECT}mask"
    if changed.get(masks):
        size = image.width, image.height
        changed[masks] = [_resized_mask(mask, size) for mask in changed[masks]]
    return _rewritten(example, changed)


def _with_boxes(
    data: bytes,
    chosen: Indices,
    edit: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> bytes:
    image = AnnotatedImage.from_example(data)
    boxes = image.boxes.astype(np.float64)
    boxes[list(chosen)] = edit(boxes[list(chosen)])
    ymin, xmin, ymax, xmax = boxes.astype(np.float32).T
    sides = {"ymin": ymin, "xmin": xmin, "ymax": ymax, "xmax": xmax}
    changed = {f"{_OBJECT}bbox/{side}": values for side, values in sides.items()}
    return _rewritten(parse_example(data), changed)


def _about_centre(boxes: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = (boxes[:, 2:] - boxes[:, :2]) / 2 * factors[:, None]
    return np.hstack([centres - halves, centres + halves])


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(sides[:, 0] * sides[:, 1])


def _object_keys(example: ParsedExample, count: int) -> list[str]:
    """Gives the keys whose lists go by object."""
    if not count:
        return []
    keys = [key for key in example if key.startswith(_OBJECT)]
    return [key for key in keys if (n := len(_values(example, key))) and n % count == 0]


def _values(example: ParsedExample, key: str) -> Sequence[Any]:
    kind = example.kind(key)
    if kind == "bytes_list":
        return example.bytes_list(key)
    if not kind:
        return ()
    return list(example.floats(key) if kind == "float_list" else example.ints(key))


def _same_kind(example: ParsedExample, key: str, values: Sequence[Any]) -> Any:
    """Gives values that make a list of the kind that the key has, however few they are."""
    kinds = {"float_list": np.float32, "int64_list": np.int64}
    kind = kinds.get(example.kind(key))
    return list(values) if kind is None else np.asarray(values, kind)


def _rewritten(example: ParsedExample, changed: Mapping[str, Any]) -> bytes:
    """Gives the Example with some keys set; None leaves a key out."""
    features = {key: _same_kind(example, key, _values(example, key)) for key in example}
    features |= changed
    return make_example({key: value for key, value in features.items() if value is not None})


def _resized_mask(mask_png: bytes, size: tuple[int, int]) -> bytes:
    from PIL import Image

    mask = Image.fromarray(decode_mask(mask_png, where="a mask"))
    file = io.BytesIO()
    mask.resize(size, Image.Resampling.NEAREST).save(file, format="PNG")
    return file.getvalue()


# --- Records made from others by a recipe's edits: named before they are made, made once ---


_VERSION = 1
"""Raise it whenever the same edits would give other records."""


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
