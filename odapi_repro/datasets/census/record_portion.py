"""A stretch of a record file, read record by record into columns; what the workers do."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from odapi_repro.datasets.census.record_columns import (
    MASK_EMPTY,
    MASK_NONE,
    MASK_NUMERICAL,
    MASK_OK,
    MASK_OTHER_SIZE,
    MASK_UNREADABLE,
    NO_LABEL,
    NO_NAME,
    THUMBNAIL,
    UNKNOWN_COUNT,
    BoxColumns,
    ImageColumns,
    Tally,
)
from odapi_repro.datasets.example import ParsedExample, parse_example
from odapi_repro.datasets.image_file import bmp_fault, opened_image
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.datasets.record_ground_truth import decode_mask
from odapi_repro.datasets.tfrecord import masked_crc32c
from odapi_repro.errors import DataError

# --- Encoded images and masks looked at: whether they decode, their size, a thumbnail ---


# What the OD API's decoder takes; Pillow calls a JPEG with a second picture in it MPO. Of a GIF,
# tf.io.decode_image gives the frames as one dimension more, at which the OD API stops.
_DECODED_BY_TENSORFLOW = frozenset({"JPEG", "MPO", "PNG", "BMP"})
_ORIENTATION = 0x0112
_ONE_CHANNEL = frozenset({"1", "L", "P"})
# The least side that a JPEG is decoded to; each of libjpeg's scales halves the work on pixels,
# while every bit of the file is still read.
_LEAST_SIDE = 96


@dataclass(frozen=True, eq=False)
class Picture:
    """An image that was decoded.

    Attributes:
        height: rows.
        width: columns.
        orientation: EXIF's, 1 where there is none.
        thumbnail: uint8 [16, 16, 3]; zeros where there is a fault.
        fault: why the pixels do not decode; empty where they do.
    """

    height: int
    width: int
    orientation: int
    thumbnail: NDArray[np.uint8]
    fault: str = ""


@dataclass(frozen=True)
class MaskFacts:
    """A mask: its state, its own box (ymin xmin ymax xmax, exclusive, in pixels), its pixels."""

    state: int
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    pixels: int = 0


def look_at_image(encoded: bytes, max_pixels: int = IMAGE_PIXELS) -> Picture:
    """Decodes an image to its last byte and gives what it is; never raises for bad data.

    A JPEG is decoded at an eighth to a half of its size, which reads all of its entropy-coded data:
    one that is truncated is found, as tf.io.decode_jpeg refuses it.
    """
    try:
        with opened_image(encoded, max_pixels) as image:
            if image.format not in _DECODED_BY_TENSORFLOW:
                return _faulty(f"{image.format} is no format that the OD API decodes")
            if image.format == "BMP" and (fault := bmp_fault(encoded)):
                return _faulty(fault)
            width, height = image.size
            orientation = image.getexif().get(_ORIENTATION, 1) if "exif" in image.info else 1
            image.draft("RGB", (_LEAST_SIDE, _LEAST_SIDE))
            small = image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError) as error:
        return _faulty(_said(error))
    turned = int(orientation) if orientation in range(1, 9) else 1
    return Picture(height, width, turned, np.asarray(small))


def look_at_mask(
    mask_png: bytes, height: int, width: int, max_pixels: int = IMAGE_PIXELS
) -> MaskFacts:
    """Gives the facts of a PNG mask on an image of `height` x `width`."""
    try:
        mask = _one_channel(mask_png, max_pixels)
    except (DataError, OSError, ValueError, SyntaxError):
        return MaskFacts(MASK_UNREADABLE)
    if mask.size != (width, height):
        return MaskFacts(MASK_OTHER_SIZE)
    edges = mask.getbbox()
    if edges is None:
        return MaskFacts(MASK_EMPTY)
    left, top, right, bottom = edges
    pixels = int(np.count_nonzero(np.asarray(mask.crop(edges))))
    return MaskFacts(MASK_OK, (top, left, bottom, right), pixels)


def _one_channel(mask_png: bytes, max_pixels: int) -> Image.Image:
    """Gives a mask in which what is not 0 belongs to the object; as `decode_mask` has it."""
    with opened_image(mask_png, max_pixels) as image:
        if image.mode in _ONE_CHANNEL:  # nearly all; Pillow finds the edges faster than numpy
            image.load()
            return image
    return Image.fromarray(decode_mask(mask_png, where="", max_pixels=max_pixels))


def _said(error: BaseException) -> str:
    """What Pillow says, without the address of the buffer."""
    text = str(error) or type(error).__name__
    return "no image that can be identified" if "cannot identify" in text else text


def _faulty(fault: str) -> Picture:
    return Picture(0, 0, 1, np.zeros((THUMBNAIL, THUMBNAIL, 3), np.uint8), fault)


# --- A stretch of a record file, read record by record into columns; what the workers do ---


_HEADER, _FOOTER = 12, 4  # uint64 length and its checksum; the data's checksum
_EDGES = ("ymin", "xmin", "ymax", "xmax")


@dataclass(frozen=True)
class Stretch:
    """Records that lie side by side in one file.

    Attributes:
        path: the file.
        file: its position among the split's.
        first: number of the first record in its file, from 0.
        offset: byte at which the first record begins.
        frames: (length, checksum of the data) of each record.
        max_pixels: pixels that an image may have; one that has more is not decoded.
    """

    path: Path
    file: int
    first: int
    offset: int
    frames: tuple[tuple[int, int], ...]
    max_pixels: int = IMAGE_PIXELS


@dataclass(frozen=True, eq=False)
class Portion:
    """What a stretch holds; box rows count images from the stretch's first."""

    images: ImageColumns
    boxes: BoxColumns
    vocabulary: tuple[str, ...]
    faults: dict[str, Tally]


def read_portion(stretch: Stretch) -> Portion:
    """Reads a stretch; nothing that a record may hold stops it."""
    rows = _Rows(stretch.max_pixels)
    with open(stretch.path, "rb") as file:
        for number, data in _records(file, stretch, rows):
            rows.read(data, stretch.file, f"{stretch.path.name} record {number + 1}")
    return rows.portion()


def empty_portion() -> Portion:
    """Gives what a file without records holds."""
    return _Rows().portion()


def _records(file: BinaryIO, stretch: Stretch, rows: _Rows) -> Iterator[tuple[int, bytes]]:
    file.seek(stretch.offset)
    for number, (length, checksum) in enumerate(stretch.frames, start=stretch.first):
        file.seek(_HEADER, 1)
        data = file.read(length)
        file.seek(_FOOTER, 1)
        if masked_crc32c(data) != checksum:
            rows.fault("corrupt", f"{stretch.path.name} record {number + 1}")
        else:
            yield number, data


@dataclass
class _Rows:
    """Columns while they grow."""

    max_pixels: int = IMAGE_PIXELS
    images: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    boxes: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    vocabulary: dict[str, int] = field(default_factory=dict)
    faults: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def fault(self, kind: str, name: str, detail: str = "") -> None:
        self.faults[kind] += Tally(1, (name,), detail)

    def read(self, data: bytes, file: int, place: str) -> None:
        try:
            example = parse_example(data)
        except DataError as error:
            self.fault("not_example", place, error.found)
            return
        try:
            encoded = b"".join(example.bytes_list("image/encoded")[:1])
            name = example.text("image/source_id") or example.text("image/filename") or place
            if not encoded:
                self.fault("no_image", name)
                return
            picture = look_at_image(encoded, self.max_pixels)
            if picture.fault:
                self.fault("not_decodable", name, picture.fault)
            self._add_image(example, encoded, picture, file)
        except DataError as error:
            self.fault("wrong_kind", place, error.found)
            return
        try:
            objects = _objects(example)
        except DataError as error:
            self.fault("wrong_kind", name, error.found)
            return
        differing = _differing(objects)
        if differing:
            self.fault("lists_differ", name, differing)
            return
        self._add_boxes(objects, picture)

    def _add_image(
        self, example: ParsedExample, encoded: bytes, picture: Picture, file: int
    ) -> None:
        recorded = [example.ints(f"image/{side}")[:1] for side in ("height", "width")]
        row = {
            "source_id": example.text("image/source_id"),
            "filename": example.text("image/filename"),
            "file": file,
            "recorded_size": [int(side[0]) if len(side) else 0 for side in recorded],
            "decoded_size": (picture.height, picture.width),
            "orientation": picture.orientation,
            "num_boxes": UNKNOWN_COUNT,
            **_keypoints(example),
            "digest": np.frombuffer(hashlib.sha256(encoded).digest()[:16], "<u8"),
            "thumbnail": picture.thumbnail,
        }
        for key, value in row.items():
            self.images[key].append(value)

    def _add_boxes(self, objects: _Objects, picture: Picture) -> None:
        count = len(objects.corners[0])
        self.images["num_boxes"][-1] = count
        if not count:
            return
        names = [self.vocabulary.setdefault(n, len(self.vocabulary)) for n in objects.names]
        size = picture.height, picture.width
        masks = [look_at_mask(png, *size, self.max_pixels) for png in objects.masks]
        masks = masks or [MaskFacts(MASK_NUMERICAL if objects.numerical else MASK_NONE)] * count
        columns = {
            "image": np.full(count, len(self.images["file"]) - 1, np.int64),
            "corners": np.stack(objects.corners, axis=1),
            "label": objects.labels if len(objects.labels) else np.full(count, NO_LABEL, np.int64),
            "name": np.array(names or [NO_NAME] * count, np.int32),
            "crowd": objects.crowd.astype(bool) if len(objects.crowd) else np.zeros(count, bool),
            "area": objects.areas if len(objects.areas) else np.full(count, np.nan, np.float32),
            "mask_state": np.array([one.state for one in masks], np.uint8),
            "mask_box": np.array([one.box for one in masks], np.int32).reshape(-1, 4),
            "mask_pixels": np.array([one.pixels for one in masks], np.int32),
        }
        for key, value in columns.items():
            self.boxes[key].append(value)

    def portion(self) -> Portion:
        images, boxes = self.images, self.boxes
        count = len(images["file"])
        return Portion(
            ImageColumns(
                source_id=np.array(images["source_id"], object),
                filename=np.array(images["filename"], object),
                file=np.array(images["file"], np.int32),
                recorded_size=_clipped(images["recorded_size"]).reshape(-1, 2),
                decoded_size=np.array(images["decoded_size"], np.int32).reshape(-1, 2),
                orientation=np.array(images["orientation"], np.uint8),
                num_boxes=np.array(images["num_boxes"], np.int32),
                keypoints=np.array(images["keypoints"], np.int32),
                visibilities=np.array(images["visibilities"], np.int32),
                keypoint_most=np.array(images["keypoint_most"], np.float32),
                digest=np.array(images["digest"], np.uint64).reshape(-1, 2),
                thumbnail=_stacked(images["thumbnail"], count),
            ),
            BoxColumns(
                image=_joined(boxes["image"], (0,), np.int64),
                corners=_joined(boxes["corners"], (0, 4), np.float32),
                label=_joined(boxes["label"], (0,), np.int64),
                name=_joined(boxes["name"], (0,), np.int32),
                crowd=_joined(boxes["crowd"], (0,), np.bool_),
                area=_joined(boxes["area"], (0,), np.float32),
                mask_state=_joined(boxes["mask_state"], (0,), np.uint8),
                mask_box=_joined(boxes["mask_box"], (0, 4), np.int32),
                mask_pixels=_joined(boxes["mask_pixels"], (0,), np.int32),
            ),
            tuple(self.vocabulary),
            dict(self.faults),
        )


@dataclass(frozen=True, eq=False)
class _Objects:
    """The lists under image/object as they stand; an absent list is empty."""

    corners: list[Any]
    names: tuple[str, ...]
    labels: Any
    crowd: Any
    areas: Any
    masks: tuple[bytes, ...]
    numerical: bool


def _objects(example: ParsedExample) -> _Objects:
    png = example.kind("image/object/mask") == "bytes_list"
    return _Objects(
        corners=[example.floats(f"image/object/bbox/{edge}") for edge in _EDGES],
        names=example.texts("image/object/class/text"),
        labels=example.ints("image/object/class/label"),
        crowd=example.ints("image/object/is_crowd"),
        areas=example.floats("image/object/area"),
        masks=example.bytes_list("image/object/mask") if png else (),
        numerical=example.kind("image/object/mask") == "float_list",
    )


def _keypoints(example: ParsedExample) -> dict[str, Any]:
    """Gives the columns of keypoints; only a reader with num_keypoints asks what kind they are of.

    Which of them are labelled: tf_example_decoder._reshape_keypoint_visibilities.
    """
    row = {"keypoints": UNKNOWN_COUNT, "visibilities": UNKNOWN_COUNT, "keypoint_most": np.nan}
    visibility: Any = ()
    try:
        visibility = example.ints("image/object/keypoint/visibility")
        row["visibilities"] = len(visibility)
    except DataError:
        pass
    try:
        x, y = (example.floats(f"image/object/keypoint/{axis}") for axis in "xy")
    except DataError:
        return row
    if len(x) != len(y):
        return row
    row["keypoints"] = len(x)
    if len(x):
        labelled = np.isin(visibility, (1, 2)) if len(visibility) == len(x) else ~np.isnan(x)
        # A keypoint without y weighs nothing, and NaN is made 0 before the range is looked at.
        labelled &= ~np.isnan(y)
        if labelled.any():
            row["keypoint_most"] = float(np.nan_to_num(np.stack([x, y])[:, labelled], nan=0).max())
    return row


def _differing(objects: _Objects) -> str:
    """Names the first list whose length is not that of ymin; a list may be left out whole."""
    count = len(objects.corners[0])
    lists: list[tuple[str, Sequence[Any], bool]] = [
        (f"bbox/{edge}", corner, False)
        for edge, corner in zip(_EDGES, objects.corners, strict=True)
    ]
    lists += [
        ("class/text", objects.names, True),
        ("class/label", objects.labels, True),
        ("is_crowd", objects.crowd, True),
        ("area", objects.areas, True),
        ("mask", objects.masks, True),
    ]
    for key, values, optional in lists:
        if len(values) != count and not (optional and not len(values)):
            return f"{key} has {len(values)} values, bbox/ymin has {count}"
    return ""


def _clipped(values: list[Any]) -> Any:
    """Recorded sizes are int64 and may be anything."""
    limits = np.iinfo(np.int32)
    return np.clip(np.array(values, np.int64), limits.min, limits.max).astype(np.int32)


def _stacked(thumbnails: list[Any], count: int) -> Any:
    if not count:
        return np.zeros((0, THUMBNAIL, THUMBNAIL, 3), np.uint8)
    return np.stack(thumbnails)


def _joined(parts: list[Any], empty: tuple[int, ...], dtype: Any) -> Any:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(empty, dtype)
