"""The embedded data set: made once from its spec, kept in a cache folder, whole or not at all."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odapi_repro.datasets.label_map import write_label_map
from odapi_repro.datasets.made_folder import default_cache_root, make_folder
from odapi_repro.datasets.shapes_spec import GENERATOR_VERSION, SHAPES_LABEL_MAP, ShapesSpec
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.files import write_whole

if TYPE_CHECKING:
    from odapi_repro.datasets.shapes import Scene


_DEFAULT_SPEC = ShapesSpec()
_log = logging.getLogger(__name__)

_README = """Shapes with boxes and masks, made by odapi_repro (generator version {version}).
Six classes of outlines on textured backgrounds; records in the OD API's format, annotations in
COCO's. Made anew when deleted; complete.json is written last and lists every file with its size.
Spec: {spec}
"""


@dataclass(frozen=True)
class EmbeddedDataset:
    """Where the embedded data set lies.

    Attributes:
        folder: the folder that holds all of it.
        train_pattern: glob of the training records, with the folder.
        val_pattern: glob of the evaluation records, with the folder.
        label_map_path: the label map.
        instances_train: COCO instances of the training split.
        instances_val: COCO instances of the evaluation split.
    """

    folder: Path
    train_pattern: str
    val_pattern: str
    label_map_path: Path
    instances_train: Path
    instances_val: Path


def embedded_dataset(
    cache_root: Path | None = None, *, spec: ShapesSpec = _DEFAULT_SPEC
) -> EmbeddedDataset:
    """Gives the embedded data set, made on first use (about 20 s for the default spec).

    The folder is named by a digest of spec and generator, made under a temporary name and renamed
    when whole, so a half-made one is never used and makers at the same time do not disturb each
    other. A folder that lost a file is made again.

    Raises:
        DataError: the cache cannot be written (no space, no permission).
    """
    root = default_cache_root() if cache_root is None else Path(cache_root)
    folder = root.absolute() / f"shapes-{spec.digest()}"
    make_folder(
        folder,
        lambda made: _make(made, spec),
        what="the embedded data set",
        size="about 100 MB",
    )
    return _located(folder, spec)


def _located(folder: Path, spec: ShapesSpec) -> EmbeddedDataset:
    return EmbeddedDataset(
        folder=folder,
        train_pattern=str(folder / f"train-?????-of-{spec.train_shards:05d}.tfrecord"),
        val_pattern=str(folder / f"val-?????-of-{spec.val_shards:05d}.tfrecord"),
        label_map_path=folder / "label_map.pbtxt",
        instances_train=folder / "instances_train.json",
        instances_val=folder / "instances_val.json",
    )


def _make(made: Path, spec: ShapesSpec) -> dict[str, Any]:
    started = time.monotonic()
    _log.info("making the embedded data set")
    for split, count, shards in (
        ("train", spec.train_images, spec.train_shards),
        ("val", spec.val_images, spec.val_shards),
    ):
        _write_split(made, spec, split, count, shards)
    write_label_map(SHAPES_LABEL_MAP, made / "label_map.pbtxt")
    write_whole(made / "README", _README.format(version=GENERATOR_VERSION, spec=spec))
    _log.info("made in %.1f s", time.monotonic() - started)
    return {"generator": GENERATOR_VERSION}


def _write_split(folder: Path, spec: ShapesSpec, split: str, count: int, shards: int) -> None:
    """Writes the records and the COCO json of one split; both in the order of the records."""
    from odapi_repro.datasets.shapes import draw_scene

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for shard in range(shards):
        records = []
        for index in range(shard, count, shards):
            scene = draw_scene(spec, split, index)
            annotated = scene.annotated(split=split, jpeg_quality=spec.jpeg_quality)
            records.append(annotated.to_example())
            images.append(
                {
                    "id": scene.image_id,
                    "file_name": annotated.filename,
                    "height": annotated.height,
                    "width": annotated.width,
                }
            )
            annotations.extend(_annotations(scene, first_id=len(annotations) + 1))
        write_records(folder / f"{split}-{shard:05d}-of-{shards:05d}.tfrecord", records)
    content = {
        "info": {"description": f"odapi_repro shapes, {split}", "version": str(GENERATOR_VERSION)},
        "images": images,
        "annotations": annotations,
        "categories": SHAPES_LABEL_MAP.categories(),
    }
    write_whole(folder / f"instances_{split}.json", json.dumps(content))


def _annotations(scene: Scene, *, first_id: int) -> Sequence[dict[str, Any]]:
    import numpy as np
    from pycocotools import mask as coco_mask

    found = []
    for i, (ymin, xmin, ymax, xmax) in enumerate(scene.boxes().tolist()):
        mask = scene.masks[i]
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        found.append(
            {
                "id": first_id + i,
                "image_id": scene.image_id,
                "category_id": scene.class_ids[i],
                "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                "area": int(mask.sum()),
                "iscrowd": int(scene.is_crowd[i]),
                "segmentation": {
                    "size": list(encoded["size"]),
                    "counts": encoded["counts"].decode("ascii"),
                },
            }
        )
    return found
