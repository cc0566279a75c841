"""What is evaluated on: ground truth, and the images it belongs to where they are known."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap, read_label_map
from odapi_repro.datasets.limits import IMAGE_PIXELS, JSON_BYTES, TooLarge
from odapi_repro.datasets.record_ground_truth import coco_ground_truth
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP
from odapi_repro.datasets.source import EMBEDDED, MADE_ONCE, DataFlags, resolve_data
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.ending import say
from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import GroundTruth, ground_truth_of, read_ground_truth
from odapi_repro.pipeline import Pipeline

if TYPE_CHECKING:
    from PIL import Image


COCO_VAL_IMAGES = 5000
# COCO's 80 classes have ids from 1 to 90; these ten were never annotated.
_COCO_UNUSED_IDS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
# As `embedded_dataset` names the folder of a set it has made.
_DRAWN_FOLDER = re.compile(r"shapes-[0-9a-f]{12}")


@dataclass(frozen=True, eq=False)
class EvalData:
    """A data set to evaluate on; at most one of `record_files` and `image_files` is not empty.

    Attributes:
        name: short: `embedded`, or a file's name.
        truth: the ground truth of the images that are evaluated, in their order.
        record_files: TFRecord files that hold the images.
        image_files: one an image of `truth`.
        sample_1_of_n: of the records or the json, every n-th image is evaluated.
        max_pixels: how many an image may have that is shown.
        warn: hears of images that have more.
    """

    name: str
    truth: GroundTruth
    record_files: tuple[Path, ...] = ()
    image_files: tuple[Path, ...] = ()
    sample_1_of_n: int = 1
    max_pixels: int = IMAGE_PIXELS
    warn: Callable[[str], None] = lambda text: None

    @property
    def description(self) -> str:
        """How many images of what."""
        sampled = f", one of {self.sample_1_of_n}" if self.sample_1_of_n > 1 else ""
        noun = "shapes images (embedded set)" if self.name == "embedded" else "images"
        of = "" if self.name == "embedded" else f" of {self.name}"
        return f"{self.truth.num_images:,} {noun}{of}{sampled}"

    @cached_property
    def is_drawn(self) -> bool:
        """Whether it is the embedded set of drawn shapes, whatever it was named by."""
        folders = {file.parent.name for file in self.record_files}
        folders.add(Path(self.truth.where).parent.name)
        cached = any(_DRAWN_FOLDER.fullmatch(name) for name in folders)
        names = set(self.truth.category_names)
        return self.name == EMBEDDED or (cached and names == set(SHAPES_LABEL_MAP.items.values()))

    @cached_property
    def digest(self) -> str:
        """16 hex digits that stand for images, classes and objects, boxes and areas; not masks."""
        truth = self.truth
        digest = hashlib.sha256()
        ids = (truth.image_ids, truth.category_ids, truth.category_names)
        digest.update(json.dumps(ids).encode())
        for column in (truth.images, truth.categories, truth.boxes, truth.areas, truth.is_crowd):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()[:16]

    @property
    def has_images(self) -> bool:
        """Whether the images are known, not only what is in them."""
        return bool(self.record_files or self.image_files)

    @property
    def is_coco(self) -> bool:
        """Whether the classes are COCO's 80 by id."""
        ids = set(range(1, 91)) - _COCO_UNUSED_IDS
        names = self.truth.category_names
        return set(self.truth.category_ids) == ids and names[0] == "person"

    def read_images(self, positions: Sequence[int]) -> Mapping[int, Image.Image]:
        """Gives the images (RGB) at some positions of `truth`, without those that do not decode.

        One of more than `max_pixels` is not decoded.
        """
        wanted = sorted(set(positions))
        if self.image_files:
            encoded: dict[int, bytes | Path] = {at: self.image_files[at] for at in wanted}
        else:
            encoded = dict(self._from_records(wanted))
        images = {
            at: _decoded(source, self.max_pixels, self.warn) for at, source in encoded.items()
        }
        return {at: image for at, image in images.items() if image is not None}

    def _from_records(self, wanted: Sequence[int]) -> Mapping[int, bytes]:
        found: dict[int, bytes] = {}
        left = {at * self.sample_1_of_n: at for at in wanted}
        place = 0
        for file in self.record_files:
            for record in read_records(file):
                if not left:
                    return found
                at = left.pop(place, None)
                if at is not None:
                    found[at] = AnnotatedImage.from_example(record).encoded_image
                place += 1
        return found


def choose_data(
    flags: DataFlags,
    pipeline: Pipeline | None,
    *,
    with_masks: bool,
    sample_1_of_n: int | None = None,
    max_pixels: int = IMAGE_PIXELS,
    otherwise: str = "",
) -> EvalData:
    """Gives the data of the records that are named to be evaluated on.

    Args:
        flags: what was named.
        pipeline: the config of what is evaluated, whose records are taken where no data are named.
        with_masks: read masks, too.
        sample_1_of_n: every n-th image; None for all, or what the config's own reader says.
        max_pixels: how many an image may have.
        otherwise: flags that name data in place of records.

    Raises:
        DataError: as `resolve_data` and `data_of_records`.
    """
    source = resolve_data(
        flags,
        pipeline,
        splits=("eval",),
        before_embedded=lambda reason: say(f"data: {MADE_ONCE}", file=sys.stderr),
        otherwise=otherwise,
    )
    if source.of_config and pipeline is not None:
        own = pipeline.proto.eval_input_reader[0].sample_1_of_n_examples
        sample_1_of_n = sample_1_of_n or own
    return data_of_records(
        source.name,
        source.files("eval"),
        read_label_map(source.label_map_path),
        with_masks=with_masks,
        sample_1_of_n=sample_1_of_n or 1,
        max_pixels=max_pixels,
    )


def data_of_records(
    name: str,
    files: Sequence[Path],
    label_map: LabelMap,
    *,
    with_masks: bool,
    sample_1_of_n: int = 1,
    max_pixels: int = IMAGE_PIXELS,
) -> EvalData:
    """Gives the data of records; image ids are the records' source ids, see `coco_ground_truth`.

    Raises:
        DataError: records that do not read, without objects, or without masks that are asked for.
    """
    content = coco_ground_truth(
        files, label_map, with_masks=with_masks, integer_ids=True, max_pixels=max_pixels
    )
    where = ", ".join(map(str, files[:2])) + (", ..." if len(files) > 2 else "")
    if not content["annotations"]:
        raise DataError(
            f"the records hold no object of the label map's classes ({len(content['images'])} "
            "images)",
            expected="records with boxes of these classes",
            mend="name the records of an annotated set, and the label map they were made with",
            where=where,
        )
    truth = _sampled(ground_truth_of(content, where=where), sample_1_of_n)
    return EvalData(
        name, truth, record_files=tuple(files), sample_1_of_n=sample_1_of_n, max_pixels=max_pixels
    )


def data_of_json(
    path: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    sample_1_of_n: int = 1,
    max_bytes: int = JSON_BYTES,
    max_pixels: int = IMAGE_PIXELS,
) -> EvalData:
    """Gives the data of a COCO instances file; `images` is the folder of its `file_name`s.

    Raises:
        DataError: as `read_ground_truth`, or an image is not in the folder.
    """
    truth = _sampled(read_ground_truth(path, max_bytes=max_bytes), sample_1_of_n)
    files: tuple[Path, ...] = ()
    if images is not None:
        files = _image_files(truth, Path(images).expanduser())
    return EvalData(
        Path(path).name,
        truth,
        image_files=files,
        sample_1_of_n=sample_1_of_n,
        max_pixels=max_pixels,
    )


def _sampled(truth: GroundTruth, one_of: int) -> GroundTruth:
    """Every n-th image from the first on, as `eval_input_reader.sample_1_of_n_examples`."""
    if one_of == 1:
        return truth
    kept = np.arange(0, truth.num_images, one_of)
    rows = np.flatnonzero(truth.images % one_of == 0)

    def every(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[::one_of])

    return dataclasses.replace(
        truth,
        image_ids=every(truth.image_ids),
        file_names=every(truth.file_names),
        heights=truth.heights[kept],
        widths=truth.widths[kept],
        ids=truth.ids[rows],
        images=(truth.images[rows] // one_of).astype(np.int32),
        categories=truth.categories[rows],
        boxes=truth.boxes[rows],
        areas=truth.areas[rows],
        is_crowd=truth.is_crowd[rows],
        masks=None if truth.masks is None else tuple(truth.masks[row] for row in rows.tolist()),
    )


def _image_files(truth: GroundTruth, folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        raise DataError(
            "there is no such folder of images",
            expected="the folder that holds the file_name of every image",
            mend="name it with --images",
            where=str(folder),
        )
    unnamed = truth.file_names.count("")
    if unnamed:
        raise DataError(
            f"{unnamed} of {truth.num_images} images have no file_name",
            expected="a file_name for every image of the ground truth",
            mend="add them, or evaluate records",
        )
    files = tuple(folder / name for name in truth.file_names)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(files)} images are not there, the first {missing[0]}",
            expected="every file_name of the ground truth in the folder",
            mend="name the folder of this split, or score a part with a ground truth of its own",
            where=str(folder),
        )
    return files


def _decoded(
    source: bytes | Path, max_pixels: int, warn: Callable[[str], None]
) -> Image.Image | None:
    from odapi_repro.datasets.image_file import opened_image

    try:
        with opened_image(source, max_pixels) as image:
            return image.convert("RGB")
    except TooLarge as error:
        name = source.name if isinstance(source, Path) else "the image of a record"
        warn(f"{name} is not shown: it {error}")
        return None
    except (OSError, ValueError, SyntaxError):
        # A picture of the report; what cannot be shown was scored all the same.
        return None
