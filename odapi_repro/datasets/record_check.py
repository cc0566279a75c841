"""What record files hold, checked against a label map and the model that is to be trained."""

from __future__ import annotations

import collections
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from odapi_repro.datasets.annotations import UNKNOWN_CLASS, AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.tfrecord import count_records, read_records
from odapi_repro.errors import DataError

_SMALL_AREA, _LARGE_AREA = 32**2, 96**2  # COCO's: small is below the first, large from the second
_OUTSIDE_TOLERANCE = 0.01


@dataclass(frozen=True)
class RecordSummary:
    """What the examples hold that `check_records` looked at.

    Attributes:
        images: examples looked at.
        is_complete: whether these were all.
        images_without_boxes: among them, without any object.
        boxes: objects, crowd regions among them.
        crowd: crowd regions.
        boxes_per_class: objects by class id, for every class of the label map.
        boxes_per_size: objects by `small`, `medium`, `large` (COCO's 32^2 and 96^2 pixels; the
            record's area where above 0, else the box's).
        boxes_outside: boxes that reach more than 1 % beyond the image.
        boxes_without_area: boxes of no height or width.
        has_masks: whether every image with boxes has PNG masks.
    """

    images: int
    is_complete: bool
    images_without_boxes: int
    boxes: int
    crowd: int
    boxes_per_class: Mapping[int, int]
    boxes_per_size: Mapping[str, int]
    boxes_outside: int
    boxes_without_area: int
    has_masks: bool


def check_records(
    files: Sequence[str | os.PathLike[str]],
    label_map: LabelMap,
    *,
    num_classes: int,
    needs_masks: bool,
    limit: int = 2000,
) -> RecordSummary:
    """Gives what up to `limit` examples hold, spread over the files; every length is checked.

    Raises:
        DataError: a file is truncated or corrupt; no examples, one that does not decode or whose
            image is missing or unreadable; no boxes at all; a class outside the label map or
            above `num_classes`; `needs_masks` and an object without one.
    """
    total = sum(count_records(file) for file in files)
    if not total:
        raise DataError(
            f"{len(files)} record file(s) hold no example",
            expected="tf.train.Example records",
            mend="write the records again; the tool that wrote them found no images",
            where=str(files[0]) if files else "",
        )
    counts: collections.Counter[str] = collections.Counter()
    classes = dict.fromkeys(sorted(label_map.items), 0)
    sizes = dict.fromkeys(("small", "medium", "large"), 0)
    has_masks = True
    for file, data in _spread(files, limit):
        image = _decoded(file, data, label_map)
        _check_classes(file, image, label_map, num_classes)
        if len(image.boxes) and not image.masks_png:
            has_masks = False
            if needs_masks:
                raise DataError(
                    f"image '{_name(image)}' has {len(image.boxes)} boxes and no PNG masks",
                    expected="masks under 'image/object/mask': the model trains on masks",
                    mend="write the records again with --include_masks",
                    where=str(file),
                )
        boxes = image.boxes.astype(np.float64)
        heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        areas = heights * widths * image.height * image.width
        if len(image.areas):
            areas = np.where(image.areas > 0, image.areas, areas)
        counts["images"] += 1
        counts["empty"] += not len(boxes)
        counts["boxes"] += len(boxes)
        counts["crowd"] += int(image.is_crowd.sum())
        outside = (boxes < -_OUTSIDE_TOLERANCE) | (boxes > 1 + _OUTSIDE_TOLERANCE)
        counts["outside"] += int(outside.any(axis=1).sum())
        counts["flat"] += int(((heights <= 0) | (widths <= 0)).sum())
        for class_id in image.class_ids.tolist():
            classes[class_id] += 1
        sizes["small"] += int((areas < _SMALL_AREA).sum())
        sizes["large"] += int((areas >= _LARGE_AREA).sum())
        sizes["medium"] += int(((areas >= _SMALL_AREA) & (areas < _LARGE_AREA)).sum())
    if not counts["boxes"]:
        raise DataError(
            f"{counts['images']} examples hold no box at all",
            expected="boxes under 'image/object/bbox/xmin' and its three companions",
            mend="write the records again from annotations with boxes",
            where=str(files[0]),
        )
    return RecordSummary(
        images=counts["images"],
        is_complete=counts["images"] == total,
        images_without_boxes=counts["empty"],
        boxes=counts["boxes"],
        crowd=counts["crowd"],
        boxes_per_class=classes,
        boxes_per_size=sizes,
        boxes_outside=counts["outside"],
        boxes_without_area=counts["flat"],
        has_masks=has_masks,
    )


def _spread(
    files: Sequence[str | os.PathLike[str]], limit: int
) -> Iterator[tuple[str | os.PathLike[str], bytes]]:
    """Gives up to `limit` records, about as many from each file; all when there are no more."""
    left = limit
    for position, file in enumerate(files):
        share = -(-left // (len(files) - position))
        for taken, data in enumerate(read_records(file)):
            if taken >= share:
                break
            left -= 1
            yield file, data


def _decoded(file: str | os.PathLike[str], data: bytes, label_map: LabelMap) -> AnnotatedImage:
    from odapi_repro.datasets.image_file import opened_image

    try:
        image = AnnotatedImage.from_example(data, label_map)
    except DataError as error:
        raise DataError(
            error.found, expected=error.expected, mend=error.mend, where=str(file)
        ) from error
    try:
        with opened_image(image.encoded_image, max_pixels=None):
            return image
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"image '{_name(image)}' does not decode: {error}",
            expected="a JPEG or PNG under 'image/encoded'",
            mend="write the records again from images that open",
            where=str(file),
        ) from error


def _check_classes(
    file: str | os.PathLike[str], image: AnnotatedImage, label_map: LabelMap, num_classes: int
) -> None:
    highest = label_map.num_classes
    for i, class_id in enumerate(image.class_ids.tolist()):
        name = image.class_names[i] if image.class_names else ""
        if class_id == UNKNOWN_CLASS and name:
            near = difflib.get_close_matches(name, label_map.items.values(), n=1, cutoff=0.6)
            raise DataError(
                f"image '{_name(image)}' has class '{name}', which the label map does not hold",
                expected=f"the label map's names, such as '{next(iter(label_map.items.values()))}'",
                mend=(f"did you mean '{near[0]}'? " if near else "")
                + "use the label map that the records were written with",
                where=str(file),
            )
        if class_id not in label_map.items:
            raise DataError(
                f"image '{_name(image)}' has class id {class_id}; the label map's highest is "
                f"{highest}",
                expected="class ids that the label map holds (from 1; 0 is the background)",
                mend="use the label map that the records were written with, or number from 1",
                where=str(file),
            )
        if class_id > num_classes:
            raise DataError(
                f"image '{_name(image)}' has class id {class_id}; the pipeline's num_classes is "
                f"{num_classes}",
                expected=f"num_classes: {highest}, the highest id of the label map",
                mend=f"set num_classes: {highest} in the model",
                where=str(file),
            )


def _name(image: AnnotatedImage) -> str:
    return image.source_id or image.filename or "unnamed"
