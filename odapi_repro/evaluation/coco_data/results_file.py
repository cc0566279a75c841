"""Detections from COCO's results format, matched to a ground truth."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.limits import JSON_BYTES
from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data.coco_columns import Detections, GroundTruth
from odapi_repro.evaluation.coco_data.json_fields import Rows, kind_of, listed, positions_of, shown
from odapi_repro.evaluation.coco_data.json_file import (
    collection_paused,
    json_bytes,
    parsed_json,
    plain_file,
)
from odapi_repro.evaluation.coco_data.run_lengths import detection_masks, mask_areas, mask_boxes

_EXPECTED = (
    "COCO results: a list of {image_id, category_id, score, and bbox or segmentation or both}"
)


def read_detections(path: str | os.PathLike[str], truth: GroundTruth) -> Detections:
    """Gives the detections of a COCO results file (.json or .json.gz).

    Raises:
        DataError: as `detections_of`, or a file that does not read.
    """
    return ResultsFile(str(path)).detections(truth)


@dataclass(frozen=True)
class ResultsFile:
    """A results file, read when it is first asked for.

    Attributes:
        path: .json or .json.gz.
        max_bytes: how many a gzip file may unpack to.
    """

    path: str
    max_bytes: int = JSON_BYTES

    @property
    def has_masks(self) -> bool:
        """Whether its first detection has a mask.

        Raises:
            DataError: it does not read.
        """
        if self._plain is not None:
            return False
        content = self._content
        first = content[0] if isinstance(content, list) and content else None
        return isinstance(first, dict) and "segmentation" in first

    def detections(self, truth: GroundTruth, *, with_masks: bool = True) -> Detections:
        """Gives its detections; arguments and errors as of `detections_of`."""
        with collection_paused():
            found = None if self._plain is None else self._plain.detections(truth, self.path)
            return found or detections_of(
                self._content, truth, where=self.path, with_masks=with_masks
            )

    @cached_property
    def _data(self) -> bytes:
        return json_bytes(self.path, "detections", max_bytes=self.max_bytes)

    @cached_property
    def _plain(self) -> PlainBoxes | None:
        with collection_paused(), plain_file(self.path) or io.BytesIO(self._data) as file:
            return plain_boxes(file)

    @cached_property
    def _content(self) -> Any:
        return parsed_json(self._data, self.path, "detections")


# No value is one of these, so that what has the field does not decode.
_Nothing = Annotated[str, msgspec.Meta(min_length=1, max_length=0)]


class _Box(msgspec.Struct, gc=False, omit_defaults=True):
    """A detection without a mask; what else it may hold is not read.

    All its values are floats, so that msgpack writes each detection in as many bytes, which NumPy
    then reads as columns.
    """

    image_id: float
    category_id: float
    score: float
    bbox: tuple[float, float, float, float]
    segmentation: _Nothing = ""
    segments_info: _Nothing = ""


def _row_type() -> np.dtype[np.void]:
    """Gives where the values of a `_Box` stand in its msgpack: a map of names and float64s."""
    offsets: dict[str, int] = {}
    end = 1  # the head of the map
    for name in ("image_id", "category_id", "score", "bbox"):
        end += 1 + len(name)  # a text's head and letters
        sides = [f"side {k}" for k in range(4)] if name == "bbox" else []
        end += bool(sides)  # the head of an array
        for value in sides or [name]:
            offsets[value] = end + 1  # a number's head
            end += 9
    form: dict[str, Any] = {
        "names": [*offsets],
        "formats": [">f8"] * len(offsets),
        "offsets": [*offsets.values()],
        "itemsize": end,
    }
    made: np.dtype[np.void] = np.dtype(form)  # type: ignore[call-overload]
    return made


_BOXES = msgspec.json.Decoder(list[_Box])
_PACK = msgspec.msgpack.Encoder().encode
_ROW = _row_type()
_EXACT = 2.0**53  # whole numbers from which on a float stands for several
# So many bytes become objects at a time: they are read again from the processor's own cache, and
# their memory serves the next ones.
_CHUNK = 1 << 18
_FAR = 256  # what may stand between two detections
_NOT_PLAIN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError)


@dataclass(frozen=True, eq=False)
class PlainBoxes:
    """Detections without masks as columns, before anything is known of their ground truth.

    Attributes:
        image_ids, category_ids: int64 [N].
        boxes: float64 [N, 4], x y width height in pixels.
        scores: float64 [N].
    """

    image_ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]

    def detections(self, truth: GroundTruth, where: str) -> Detections | None:
        """Gives detections as `detections_of` would; None where that has something to refuse."""
        images = positions_of(self.image_ids, truth.image_ids)
        categories = positions_of(self.category_ids, truth.category_ids)
        columns = (images, categories, self.boxes[:, 2], self.boxes[:, 3])
        if min(column.min() for column in columns) < 0:
            return None
        return Detections(images, categories, self.boxes, self.scores, where=where)


def plain_boxes(file: BinaryIO, chunk: int = _CHUNK) -> PlainBoxes | None:
    """Gives boxes without masks, in a tenth of the time that `json` takes; None for all else.

    The file is read, decoded and forgotten a chunk at a time. A chunk that ends within a text or
    within another object does not decode, whatever follows; chunks which do are cut between
    detections.
    """
    for pieces in (_chunks(file, chunk), (file.read() for _ in range(1))):
        file.seek(0)  # where chunks do not decode, perhaps for such a cut, all in one
        with contextlib.suppress(*_NOT_PLAIN):
            return _joined(map(_BOXES.decode, map(_checked, pieces)))
    return None


def _checked(text: bytes) -> bytes:
    """Refuses what is no UTF-8, which msgspec does not see in fields that it passes over."""
    if not text.isascii():
        text.decode()
    return text


def _joined(parts: Iterable[list[_Box]]) -> PlainBoxes | None:
    """Gives the columns of lists of boxes; None where there are no boxes, or odd ids."""
    found = []
    for rows in parts:
        if not rows:
            return None
        packed = _PACK(rows)
        columns = np.frombuffer(packed, _ROW, offset=len(packed) - _ROW.itemsize * len(rows))
        found.append(np.stack([columns[name] for name in _ROW.names or ()]).astype(np.float64))
    values = np.concatenate(found, axis=1)
    with np.errstate(invalid="ignore"):
        ids = values[:2].astype(np.int64)
    if (np.abs(values[:2]) >= _EXACT).any() or (ids != values[:2]).any():
        return None
    boxes = np.ascontiguousarray(values[3:].T)
    return PlainBoxes(ids[0], ids[1], boxes, values[2])


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Cuts a list into lists: between a `}` and a `{` with a comma between them."""
    buffer, filled = bytearray(size), 0
    while count := file.readinto(memoryview(buffer)[filled:]):  # type: ignore[attr-defined]
        filled += count
        cut = buffer.rfind(b"{", 1, filled)
        between = bytes(buffer[max(0, cut - _FAR) : max(0, cut)]).rstrip()
        if between.endswith(b",") and between[:-1].rstrip().endswith(b"}"):
            comma = max(0, cut - _FAR) + len(between) - 1
            buffer[comma : comma + 1] = b"]"
            yield bytes(memoryview(buffer)[: comma + 1])
            rest = b"[" + buffer[cut:filled]
            buffer[: len(rest)] = rest
            filled = len(rest)
        elif filled == len(buffer):
            buffer += bytes(filled)
    yield bytes(buffer[:filled])


def detections_of(
    content: Any, truth: GroundTruth, where: str = "", *, with_masks: bool = True
) -> Detections:
    """Gives the detections of a list in COCO's results format.

    What the first one holds, boxes (`bbox`), masks (`segmentation`) or both, every one must hold;
    an empty `bbox` is none, as in pycocotools' `loadRes`, and so is an empty mask beside a box.
    Beside boxes masks may be polygons or uncompressed run lengths, as there. Where the first one
    holds a mask alone, boxes are those around the masks, as there. Unlike there, detections of a
    class that the ground truth does not list are refused, not dropped. An empty list is no
    detections, with masks where the ground truth has them.

    Args:
        content: `json.load` of the file, or a list made in memory.
        truth: gives the images and the classes.
        where: the file, for the messages.
        with_masks: whether masks beside boxes are read; without it they may be anything.

    Raises:
        DataError: a file of another kind, ids that the ground truth does not list, scores that are
            not finite, boxes that are not four finite numbers or of negative size, masks that are
            no outlines of the image's size.
    """
    _check_kind(content, where)
    rows = Rows(content, "detection", "detections", where)
    if not len(rows):
        return Detections(
            images=np.empty(0, np.int32),
            categories=np.empty(0, np.int32),
            boxes=np.empty((0, 4)),
            scores=np.empty(0),
            masks=None if truth.masks is None else (),
            where=where,
        )
    first = rows.rows[0]
    has_boxes = first.get("bbox", []) != []
    has_masks = "segmentation" in first
    if has_boxes:
        # One that lacks its mask is refused below, wherever it stands.
        has_masks = with_masks and any(row.get("segmentation") for row in rows.rows)
    if not has_boxes and not has_masks:
        raise _without_place(first, where)
    images = rows.positions("image_id", truth.image_ids)
    bad = np.flatnonzero(images < 0).tolist()
    if bad:
        raise _unknown_images(rows, bad, truth)
    categories = rows.positions("category_id", truth.category_ids)
    bad = np.flatnonzero(categories < 0).tolist()
    if bad:
        raise _unknown_classes(rows, bad, truth)
    boxes = rows.values("bbox") if has_boxes else []
    masks = detection_masks(rows, images, truth, with_boxes=has_boxes) if has_masks else None
    return Detections(
        images=images,
        categories=categories,
        boxes=rows.boxes(boxes if has_boxes else _around(masks or (), rows)),
        scores=rows.numbers(
            "score",
            rows.values("score", mend="write results; are these a ground truth's annotations?"),
        ),
        masks=masks,
        where=where,
        areas=None if has_boxes else mask_areas(masks or ()),
    )


def _around(masks: Sequence[Mapping[str, Any]], rows: Rows) -> list[Any]:
    """Gives the boxes around masks, and a detection's own box where it has one.

    Source: pycocotools' `COCO.loadRes`.
    """
    return [
        row.get("bbox") or box
        for row, box in zip(rows.rows, mask_boxes(masks).tolist(), strict=True)
    ]


def _check_kind(content: Any, where: str) -> None:
    if isinstance(content, Mapping):
        there = listed(content, most=6)
        if not content:
            found, mend = "this is an empty object, {}", "no detections at all are an empty list []"
        elif "annotations" in content and _holds(content["annotations"], "segments_info"):
            found = "this is a panoptic file"
            mend = "name the boxes or masks of things, one an object"
        elif "annotations" in content and _holds(content["annotations"], "score"):
            found = f"the detections are wrapped in an object ({there})"
            mend = "write the list under 'annotations' by itself"
        elif "annotations" in content or "images" in content:
            found = f"this is a ground truth file: an object of {there}"
            mend = "name it with --ground_truth, and the results with --detections"
        else:
            found, mend = f"this is one object (of {there})", "write a list, even of one detection"
        raise DataError(found, expected=_EXPECTED, mend=mend, where=where)
    if not isinstance(content, Sequence) or isinstance(content, str):
        raise DataError(f"this is {kind_of(content)}", expected=_EXPECTED, where=where)
    if _holds(content, "segments_info"):
        raise DataError(
            "these are panoptic results ('segments_info')",
            expected=_EXPECTED,
            mend="name the boxes or masks of things, one an object",
            where=where,
        )


def _holds(rows: Any, name: str) -> bool:
    return (
        isinstance(rows, Sequence)
        and len(rows) > 0
        and isinstance(rows[0], Mapping)
        and name in rows[0]
    )


def _without_place(first: Mapping[str, Any], where: str) -> DataError:
    if "keypoints" in first:
        found = "these are keypoint results: 'keypoints' and no 'bbox'"
    elif "caption" in first:
        found = "these are caption results"
    else:
        found = f"a detection has neither 'bbox' nor 'segmentation' (it has {listed(first, 6)})"
    return DataError(
        found, expected=_EXPECTED, mend="name a file of boxes or of masks", where=where
    )


def _unknown_images(rows: Rows, bad: Sequence[int], truth: GroundTruth) -> DataError:
    unknown = _distinct(rows, "image_id", bad)
    ids = truth.image_ids
    of_strings = isinstance(ids[0], str)
    texts = {str(id_) for id_ in ids}
    stripped = {text.lstrip("0") or "0" for text in texts} if not of_strings else texts
    stems = {os.path.splitext(os.path.basename(name))[0] for name in truth.file_names}
    value = unknown[0]
    if isinstance(value, str) and not of_strings and (value.lstrip("0") or "0") in stripped:
        mend = f"the ids are strings of the ground truth's integers: write {int(value)}"
    elif type(value) is int and str(value) in texts:
        mend = f"the ids are integers, the ground truth's are strings: write '{value}'"
    elif isinstance(value, str) and os.path.splitext(os.path.basename(value))[0] in stems:
        mend = "these are file names: write the 'id' that the ground truth gives to the file"
    else:
        mend = "score against the ground truth of the images that were evaluated"
    images = len(unknown)
    return rows.error(
        f"{images} image{'s are' if images > 1 else ' is'} not in the ground truth "
        f"('image_id' {listed(unknown)}),",
        bad,
        expected=f"ids of its {len(ids)} images, such as {listed(ids)}",
        mend=mend,
    )


def _unknown_classes(rows: Rows, bad: Sequence[int], truth: GroundTruth) -> DataError:
    unknown = _distinct(rows, "category_id", bad)
    ids, value = truth.category_ids, unknown[0]
    used = {row["category_id"] for row in rows.rows if isinstance(row["category_id"], int)}
    if isinstance(value, str) and value in truth.category_names:
        known = ids[truth.category_names.index(value)]
        mend = f"write the class's id, not its name: {known} for {shown(value)}"
    elif isinstance(value, str) and value.isdecimal() and int(value) in ids:
        mend = f"the ids are strings of the ground truth's integers: write {int(value)}"
    elif used and 0 not in ids and min(used) == 0 and max(used) < len(ids):
        mend = (
            f"the classes seem to be counted from 0 to {len(ids) - 1}: write the 'id' of each, "
            f"{ids[0]} for 0 and {ids[-1]} for {len(ids) - 1}"
        )
    elif used and min(used) > 0 and max(used) <= len(ids) < ids[-1]:
        mend = (
            f"the classes seem to be counted from 1 to {len(ids)}: write the 'id' of each, "
            f"{ids[0]} for 1 and {ids[-1]} for {len(ids)}"
        )
    else:
        mend = "use the label map of the ground truth, or leave these classes out"
    classes = len(unknown)
    return rows.error(
        f"{classes} class{'es are' if classes > 1 else ' is'} not in the ground truth "
        f"('category_id' {listed(unknown)}),",
        bad,
        expected=f"ids of its {len(ids)} classes, {ids[0]} to {ids[-1]}"
        if len(ids) > 1
        else f"its one class, {ids[0]}",
        mend=mend,
    )


def _distinct(rows: Rows, name: str, bad: Sequence[int]) -> list[Any]:
    """Gives the values of the rows that are wrong, each once, in the order of the file."""
    seen: dict[str, Any] = {}
    for position in bad:
        value = rows.rows[position][name]
        seen.setdefault(repr(value), value)
    return list(seen.values())
