"""Records as columns: a row an image and a row an object, small enough for all of COCO."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

# --- Records as columns: a row an image and a row an object, small enough for all of COCO ---


#: Rows and columns of a thumbnail.
THUMBNAIL = 16
#: The most examples that are kept of anything.
EXAMPLES = 5
#: The objects of an image whose lists do not say.
UNKNOWN_COUNT = -1
#: The label of an object whose record holds no `image/object/class/label`.
NO_LABEL = np.iinfo(np.int64).min
#: The name of an object whose record holds no `image/object/class/text`.
NO_NAME = -1

MASK_NONE, MASK_OK, MASK_UNREADABLE, MASK_OTHER_SIZE, MASK_EMPTY, MASK_NUMERICAL = range(6)


def images_told(count: int) -> str:
    """Gives `1 image` or `1,234 images`."""
    return "1 image" if count == 1 else f"{count:,} images"


@dataclass(frozen=True)
class Tally:
    """How many there are of something, and the first few by name."""

    count: int = 0
    examples: tuple[str, ...] = ()
    detail: str = ""

    def __add__(self, other: Tally) -> Tally:
        """Gives both together, the examples of the first one first."""
        examples = (*self.examples, *other.examples)[:EXAMPLES]
        return Tally(self.count + other.count, examples, self.detail or other.detail)


@dataclass(frozen=True, eq=False)
class ImageColumns:
    """Images by record, in the order of the files.

    Attributes:
        source_id: N texts, empty where a record has none.
        filename: N texts, empty where a record has none.
        file: int32 [N], the file's position among the split's.
        recorded_size: int32 [N, 2], image/height and image/width; 0 where a record has none.
        decoded_size: int32 [N, 2], rows and columns of the pixels; 0 where they do not decode.
        orientation: uint8 [N], EXIF's, 1 where there is none.
        num_boxes: int32 [N], objects; UNKNOWN_COUNT where the record's lists do not say.
        keypoints: int32 [N], values of image/object/keypoint/x; UNKNOWN_COUNT where those of y are
            another number, or either list is none of floats.
        visibilities: int32 [N], values of image/object/keypoint/visibility; UNKNOWN_COUNT where
            they are no integers.
        keypoint_most: float32 [N], the largest x or y of a keypoint that is labelled as the OD API
            has it (1 or 2 in visibility, else no NaN); NaN where an image has none.
        digest: uint64 [N, 2], the first half of sha256 of the encoded bytes.
        thumbnail: uint8 [N, 16, 16, 3]; zeros where the pixels do not decode.
    """

    source_id: NDArray[np.object_]
    filename: NDArray[np.object_]
    file: NDArray[np.int32]
    recorded_size: NDArray[np.int32]
    decoded_size: NDArray[np.int32]
    orientation: NDArray[np.uint8]
    num_boxes: NDArray[np.int32]
    keypoints: NDArray[np.int32]
    visibilities: NDArray[np.int32]
    keypoint_most: NDArray[np.float32]
    digest: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.file)

    @property
    def decodes(self) -> NDArray[np.bool_]:
        """Whether the pixels decode, bool [N]."""
        return self.decoded_size[:, 0] > 0

    @property
    def size(self) -> NDArray[np.int32]:
        """Rows and columns, int32 [N, 2]: of the pixels, or as recorded where they do not decode.

        The OD API takes the pixels' own (`original_image_spatial_shape`).
        """
        return np.where(self.decodes[:, None], self.decoded_size, self.recorded_size)

    def name(self, index: int) -> str:
        """Gives what one calls an image: source_id, else filename, else its number."""
        return str(self.source_id[index] or self.filename[index] or f"record {index + 1}")

    def names(self, indices: Iterable[int]) -> tuple[str, ...]:
        """Gives the first few names of the images at `indices`, each once."""
        seen: dict[str, None] = {}
        for index in indices:
            seen.setdefault(self.name(int(index)))
            if len(seen) == EXAMPLES:
                break
        return tuple(seen)


@dataclass(frozen=True, eq=False)
class BoxColumns:
    """Objects of all images.

    Attributes:
        image: int64 [M], the image's row.
        corners: float32 [M, 4], ymin xmin ymax xmax as recorded.
        label: int64 [M], image/object/class/label; NO_LABEL where a record has none.
        name: int32 [M], position of image/object/class/text in the vocabulary, or NO_NAME.
        crowd: bool [M].
        area: float32 [M], image/object/area; NaN where a record has none.
        mask_state: uint8 [M], one of the MASK_ constants.
        mask_box: int32 [M, 4], the mask's own box in pixels, ymin xmin ymax xmax, the last two
            exclusive; zeros without a mask of the image's size.
        mask_pixels: int32 [M], pixels of the mask.
    """

    image: NDArray[np.int64]
    corners: NDArray[np.float32]
    label: NDArray[np.int64]
    name: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    area: NDArray[np.float32]
    mask_state: NDArray[np.uint8]
    mask_box: NDArray[np.int32]
    mask_pixels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.image)


def concatenated(parts: Sequence[Any]) -> Any:
    """Gives one set of columns of several of the same kind; at least one."""
    kind = type(parts[0])
    columns = {
        one.name: np.concatenate([getattr(part, one.name) for part in parts])
        for one in fields(kind)
    }
    return kind(**columns)


# --- What a pipeline's own augmentation left of the boxes in some records ---


@dataclass(frozen=True)
class AugmentedBoxes:
    """Boxes counted before and after the pipeline's input functions.

    Attributes:
        records: records that were drawn.
        draws: times that each was augmented.
        boxes_before: objects in the records, once a draw.
        boxes_after: objects that the model would be given.
        emptied: draws of records with objects that were left with none.
        refused: draws at which the OD API stops, with what it says.
        refused_mend: how to mend the first of them; empty where nobody knows.
    """

    records: int
    draws: int
    boxes_before: int
    boxes_after: int
    emptied: Tally
    refused: Tally
    refused_mend: str = ""

    @property
    def share_left(self) -> float:
        """Boxes that are left, as a share; 1 where there were none."""
        return self.boxes_after / self.boxes_before if self.boxes_before else 1.0
