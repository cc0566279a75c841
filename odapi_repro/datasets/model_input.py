"""One image as a pipeline hands it to the model: augmented, resized, padded, with what is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ModelInput:
    """One draw of one record: the same record drawn again is augmented otherwise.

    Attributes:
        source_id: the record's `image/source_id`; empty where it has none.
        image: uint8 [H, W, 3], RGB, augmented and resized; the feature extractor's normalisation
            is left out. Padding is black.
        true_height: rows of the image without padding.
        true_width: columns of the image without padding.
        boxes: float32 [N, 4], ymin xmin ymax xmax, as shares of H and W (padding included).
        class_ids: int64 [N], 1-based; 0 for a class beyond the pipeline's num_classes, of which
            the model is taught nothing.
        masks: bool [N, H, W], or None where the pipeline loads none.
        boxes_in_record: objects in the record before anything was done to it.
    """

    source_id: str
    image: NDArray[np.uint8]
    true_height: int
    true_width: int
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    masks: NDArray[np.bool_] | None
    boxes_in_record: int


@dataclass(frozen=True)
class RefusedInput:
    """A record at which the OD API's input functions stop, as training would.

    Attributes:
        source_id: the record's `image/source_id`; empty where it has none.
        draw: which draw it was, from 0.
        message: what TensorFlow says, after what is wrong where that is known.
        mend: how to mend that; empty where it is not known.
    """

    source_id: str
    draw: int
    message: str
    mend: str = ""


@dataclass(frozen=True, eq=False)
class DrawnInputs:
    """What the input functions gave for some records.

    Attributes:
        inputs: record by record, the draws of each side by side.
        refused: records at which training would stop.
    """

    inputs: tuple[ModelInput, ...]
    refused: tuple[RefusedInput, ...] = ()
