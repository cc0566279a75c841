"""Annotations of one record made wrong; everything else in it stays as it was."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.example import ParsedExample, make_example, parse_example
from odapi_repro.datasets.ground_truth import decode_mask
from odapi_repro.datasets.label_map import LabelMap

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
