"""One shard made of images and their annotations."""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.conversion.conversion_request import Bad, Recipe, ShardOutcome, ShardTask
from odapi_repro.datasets.conversion.converted_objects import image_keypoints
from odapi_repro.datasets.conversion.image_source import (
    ImageHeader,
    ImageReader,
    decode,
    is_resized,
    read_header,
    size_mismatch,
)
from odapi_repro.datasets.conversion.png_masks import (
    empty_mask,
    png_of,
    rescaled_polygons,
    rescaled_rle,
    rle_of,
)
from odapi_repro.datasets.limits import check_pixels, check_unpacked
from odapi_repro.datasets.records import manifest
from odapi_repro.datasets.tfrecord import write_records

_FIELD_1, _FIELD_2, _FIELD_3 = b"\x0a", b"\x12", b"\x1a"  # of a length-delimited kind
_SMALL = 128  # a varint below it is one byte


def serialised(features: Mapping[str, Any]) -> bytes:
    """Gives what `make_example` gives for the same features (one at least), byte for byte.

    Keys are in sorted order, where one is the begin of another too: protobuf's implementations do
    not agree on which of the two comes first.

    Takes bytes or a buffer, text, a whole number, tuples of bytes or text, and arrays of whole
    numbers or float32.

    Raises:
        TypeError: another kind of value.
    """
    parts: list[Any] = []
    total = 0
    for key in sorted(features):
        tag, contents, size = _list_of(features[key])
        name = _key(key)
        list_size = _varint(size)
        feature_size = 1 + len(list_size) + size
        # entry: key, then the feature under 2, which holds its list
        head = name + _FIELD_2 + _varint(feature_size) + tag + list_size
        entry_size = len(head) + size
        prefix = _FIELD_1 + _varint(entry_size) + head
        parts.append(prefix)
        parts += contents
        total += len(prefix) + size
    return b"".join((_FIELD_1, _varint(total), *parts))


def _list_of(value: Any) -> tuple[bytes, list[Any], int]:
    """Gives the tag of the feature's list, the list's bytes in parts, and their number."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return _packed(_FIELD_2, value.astype("<f4").tobytes())
        if value.dtype.kind in "iub":
            return _packed(_FIELD_3, _varints(value))
    elif isinstance(value, str):
        return _bytes_list((value.encode(),))
    elif isinstance(value, (bytes, memoryview)):
        return _bytes_list((value,))
    elif isinstance(value, int):
        return _packed(_FIELD_3, _varint(value & (2**64 - 1)))
    elif isinstance(value, tuple):
        return _bytes_list(one.encode() if isinstance(one, str) else one for one in value)
    raise TypeError(f"{type(value).__name__} fits no list of an Example")


def _packed(tag: bytes, numbers: bytes) -> tuple[bytes, list[Any], int]:
    if not numbers:
        return tag, [], 0
    head = _FIELD_1 + _varint(len(numbers))
    return tag, [head, numbers], len(head) + len(numbers)


def _bytes_list(values: Iterable[Any]) -> tuple[bytes, list[Any], int]:
    parts: list[Any] = []
    size = 0
    for value in values:
        head = _FIELD_1 + _varint(len(value))
        parts += (head, value)
        size += len(head) + len(value)
    return _FIELD_1, parts, size


def _varints(values: NDArray[Any]) -> bytes:
    numbers = values.reshape(-1).tolist()
    if all(0 <= number < _SMALL for number in numbers):
        return bytes(numbers)
    return b"".join(_varint(int(number) & (2**64 - 1)) for number in numbers)


@functools.lru_cache(maxsize=256)
def _key(key: str) -> bytes:
    encoded = key.encode()
    return _FIELD_1 + _varint(len(encoded)) + encoded


@functools.lru_cache(maxsize=4096)
def _varint(number: int) -> bytes:
    """Gives a whole number in groups of 7 bits, lowest first."""
    groups = bytearray()
    while number >= _SMALL:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


class _Refused(Exception):
    """The shard has images that it must not leave out."""


def make_shard(
    task: ShardTask, recipe: Recipe, *, tick: Callable[[int], None] = lambda images: None
) -> ShardOutcome:
    """Writes one shard, whole or not at all, and gives what it holds.

    `tick` is called with the number of images done since the last call.

    Raises:
        DataError: the shard cannot be written.
        OSError: the json cannot be read any more.
    """
    maker = _Maker(task, recipe)
    path = Path(task.path)
    try:
        write_records(path, maker.records(tick))
    except _Refused:
        return ShardOutcome(task.inputs, None, tuple(maker.bad), (), {})
    return ShardOutcome(
        inputs=task.inputs,
        file=manifest([path]).files[0],
        bad=tuple(maker.bad),
        rescaled=tuple(maker.rescaled),
        counts={name: count for name, count in sorted(maker.counts.items()) if count},
    )


class _Maker:
    """Makes the records of one shard and counts what happened."""

    def __init__(self, task: ShardTask, recipe: Recipe) -> None:
        self._task = task
        self._recipe = recipe
        self._files: dict[str, BinaryIO] = {}
        self._reader = ImageReader()
        self.bad: list[Bad] = []
        self.rescaled: list[tuple[int, float]] = []
        self.counts: collections.Counter[str] = collections.Counter()

    def records(self, tick: Callable[[int], None]) -> Iterator[bytes]:
        """Gives the records; once an image is refused, only looks for others like it."""
        is_refused = False
        with contextlib.ExitStack() as stack:
            for path in {self._recipe.annotations, self._recipe.keypoint_annotations}:
                self._files[path] = stack.enter_context(open(path, "rb", buffering=0))
            stack.callback(self._reader.close)
            for number in range(len(self._task.files)):
                found = self._looked_at(number)
                if isinstance(found, Bad):
                    self.bad.append(found)
                    is_refused |= not self._is_dropped(found)
                elif not is_refused:
                    yield serialised(self._annotated(number, *found).features())
                tick(1)
        if is_refused:
            raise _Refused

    def _is_dropped(self, bad: Bad) -> bool:
        if bad.is_size:
            return self._recipe.size_mismatch == "drop"
        return self._recipe.drop_bad_images

    def _looked_at(self, number: int) -> tuple[bytes, ImageHeader] | Bad:
        """Gives an image and its header, or why it cannot be used."""
        task = self._task
        file, is_size = task.files[number], False
        try:
            check_unpacked(file.bytes, self._recipe.max_unpacked_bytes)
            data = self._reader.read(file)
            header = read_header(data)
            check_pixels(header.width, header.height, self._recipe.max_image_pixels)
            if self._recipe.decode_images:
                decode(data, self._recipe.max_image_pixels)
            size = int(task.heights[number]), int(task.widths[number])
            if (header.height, header.width) == size:
                return data, header
            if self._recipe.size_mismatch == "rescale" and is_resized(header, *size):
                return data, header
            reason, is_size = size_mismatch(header, *size), True
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
        except ValueError as error:
            reason = str(error)
        return Bad(int(task.numbers[number]), file.name, reason, is_size)

    def _annotated(self, number: int, data: bytes, header: ImageHeader) -> AnnotatedImage:
        task, recipe = self._task, self._recipe
        here = slice(int(task.first[number]), int(task.first[number + 1]))
        size = int(task.heights[number]), int(task.widths[number])
        # Boxes are shares and stay; areas and outlines are in the json's pixels.
        factor = header.height * header.width / (size[0] * size[1])
        if (header.height, header.width) != size:
            self.rescaled.append((int(task.numbers[number]), factor))
        self.counts[f"format {header.format}"] += 1
        self.counts["turned"] += header.orientation != 1
        boxes, categories = task.boxes[here], task.category_ids[here].tolist()
        areas = task.areas[here] * factor
        no_area = np.isnan(areas)
        self.counts["no area"] += int(no_area.sum())
        masks: tuple[bytes, ...] = ()
        more: dict[str, Any] = {}
        if recipe.include_masks and categories:
            masks, mask_areas = self._masks(here, size, header)
            if np.isnan(mask_areas).any():
                more["mask_weights"] = (~np.isnan(mask_areas)).astype(np.float32)
            areas = np.where(no_area & (mask_areas > 0), mask_areas, areas)
        if np.isnan(areas).any():
            spans = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
            box_areas = np.prod(spans, axis=1) * (header.height * header.width)
            areas = np.where(np.isnan(areas), box_areas, areas)
        if recipe.slots.names:
            more |= self._keypoints(here, categories, size)
        return AnnotatedImage(
            source_id=task.source_ids[number],
            filename=task.files[number].name,
            height=header.height,
            width=header.width,
            image_format=header.format,
            encoded_image=data,
            boxes=boxes,
            class_ids=np.array([recipe.class_ids[one] for one in categories], np.int64),
            class_names=tuple(recipe.class_names[one] for one in categories),
            areas=areas.astype(np.float32),
            is_crowd=task.crowd[here],
            masks_png=masks,
            **more,
        )

    def _masks(
        self, here: slice, size: tuple[int, int], header: ImageHeader
    ) -> tuple[tuple[bytes, ...], NDArray[np.float64]]:
        """Gives the masks and their pixels; NaN for an object whose mask is not known."""
        file_size = header.height, header.width
        masks, areas = [], []
        for start, length in self._task.outlines[here].tolist():
            rle = None
            try:
                outline = json.loads(self._text(self._recipe.annotations, start, length) or b"[]")
                if file_size != size and isinstance(outline, list):
                    rle = rle_of(rescaled_polygons(outline, size, file_size), *file_size)
                else:
                    rle = rle_of(outline, *size)
                    if rle is not None and file_size != size:
                        rle = rescaled_rle(rle, *file_size)
                self.counts["no mask"] += rle is None
            except (ValueError, RecursionError):
                self.counts["damaged mask"] += 1
            png, pixels = (empty_mask(*file_size), np.nan) if rle is None else png_of(rle)
            self.counts["empty mask"] += pixels == 0
            masks.append(png)
            areas.append(pixels)
        return tuple(masks), np.array(areas, np.float64)

    def _keypoints(
        self, here: slice, categories: list[int], size: tuple[int, int]
    ) -> dict[str, Any]:
        """Gives the keypoints of an image's objects as fields of AnnotatedImage."""
        recipe = self._recipe
        found = image_keypoints(
            recipe.slots,
            categories,
            [
                self._text(recipe.keypoint_annotations, start, length)
                for start, length in self._task.keypoints[here].tolist()
            ],
            self._task.num_keypoints[here].tolist(),
            size,
        )
        self.counts["with keypoints"] += found.known
        self.counts["damaged keypoints"] += found.damaged
        return {
            "keypoint_names": recipe.slots.names,
            "keypoints": found.places,
            "keypoint_visibility": found.visibility,
            "keypoint_counts": found.counts,
        }

    def _text(self, path: str, start: int, length: int) -> bytes:
        """Gives a value of a json that was left in the file; empty for none."""
        return os.pread(self._files[path].fileno(), length, start) if start >= 0 else b""
