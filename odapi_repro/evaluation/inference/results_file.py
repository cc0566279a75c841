"""Detections on their way to disk: COCO's results format, gzipped, in the order of the images."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.inference.mask_paste import paste_masks
from odapi_repro.files import replacing

_LEVEL = 4


def to_pixels(boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Gives boxes [N, 4] (ymin xmin ymax xmax, shares of the image) as COCO's x y w h in pixels.

    In float32 throughout, as `box_list_ops.scale` and `coco_tools._ConvertBoxToCOCOFormat` leave
    them, so that IoUs are those of the OD API's own evaluation to the last bit.
    """
    ymin, xmin, ymax, xmax = np.asarray(boxes, np.float32).T
    y_scale, x_scale = np.float32(height), np.float32(width)
    left, top = x_scale * xmin, y_scale * ymin
    return np.stack([left, top, x_scale * xmax - left, y_scale * ymax - top], axis=1)


def image_results(
    image_id: int | str,
    size: Sequence[int],
    outputs: Mapping[str, NDArray[Any]],
    category_ids: Collection[int] = (),
) -> list[dict[str, Any]]:
    """Gives the detections of one image in COCO's results format, masks as RLE.

    Args:
        image_id: what they are written under.
        size: height and width of the original image.
        outputs: of one image as `forward.compile_forward` gives them, without the batch.
        category_ids: the classes that are kept, 1 for the first; empty for all.
    """
    height, width = size
    categories = outputs["detection_classes"][: int(outputs["num_detections"])] + 1
    if category_ids:
        kept = np.flatnonzero(np.isin(categories, list(category_ids)))
    else:
        kept = np.arange(len(categories))
    boxes = outputs["detection_boxes"][kept]
    masks: list[dict[str, Any]] = []
    if "detection_masks" in outputs:
        masks = paste_masks(outputs["detection_masks"][kept], boxes, height, width)
    results: list[dict[str, Any]] = []
    for index, (category, box, score) in enumerate(
        zip(
            categories[kept].tolist(),
            to_pixels(boxes, height, width).tolist(),
            outputs["detection_scores"][kept].tolist(),
            strict=True,
        )
    ):
        result = {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
        if masks:
            result["segmentation"] = masks[index]
        results.append(result)
    return results


class ResultsFile:
    """Writes a gzipped JSON list of results; images may come in any order.

    The same results make the same bytes. Images that come before their turn are kept as text.

    Args:
        path: is there, whole, once the context has ended well.
    """

    def __init__(self, path: Path) -> None:
        self._replacing = replacing(path)
        self._waiting: dict[int, str] = {}
        self._next = 0
        self._empty = True

    def __enter__(self) -> ResultsFile:
        self._file = gzip.GzipFile("", "wb", _LEVEL, self._replacing.__enter__(), mtime=0)
        self._file.write(b"[")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.ExitStack() as stack:
            stack.push(self._replacing)
            if error is not None:
                raise error
            self._file.write(b"]")
            self._file.close()

    def add(self, position: int, results: Sequence[dict[str, Any]]) -> None:
        """Takes the results of the image at `position`, from 0; each position comes once."""
        self._waiting[position] = json.dumps(results)[1:-1]
        while self._next in self._waiting:
            text = self._waiting.pop(self._next)
            self._next += 1
            if text:
                self._file.write((text if self._empty else f", {text}").encode())
                self._empty = False
