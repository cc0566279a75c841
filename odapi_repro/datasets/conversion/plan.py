"""From a json and its images to the shards of a split: chosen, judged, dealt out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.classes import Classes
from odapi_repro.datasets.conversion.coco_categories import Category
from odapi_repro.datasets.conversion.coco_index import UNKNOWN, CocoIndex, read_coco
from odapi_repro.datasets.conversion.image_source import ImageFile, locate_images
from odapi_repro.datasets.conversion.keypoints import slots_of
from odapi_repro.datasets.conversion.manifest import FORMAT
from odapi_repro.datasets.conversion.objects import (
    IMAGE_DROPPED,
    IMAGE_NOT_CHOSEN,
    KEPT,
    Objects,
    judged,
)
from odapi_repro.datasets.conversion.output_folder import shard_name
from odapi_repro.datasets.conversion.problems import missing_images, unknown_owners
from odapi_repro.datasets.conversion.request import ConversionRequest, SplitRequest
from odapi_repro.datasets.conversion.shard_task import Recipe, ShardTask, Slots
from odapi_repro.datasets.conversion.subset import SubsetFit, choose_images, fit_of
from odapi_repro.errors import UserError

_IMAGES_PER_SHARD, _MOST_SHARDS = 100, 100
_POLICIES = ("bad_images", "size_mismatch", "max_image_pixels", "max_unpacked_bytes")
_EMPTY_LIST = 4  # bytes: "[]" and some space hold no outline


@dataclass(frozen=True, eq=False)
class SplitPlan:
    """All that is known of a split before an image is read.

    Attributes:
        request: what was asked for.
        flags: what decides the records beside the input.
        index: the json.
        objects: its annotations, judged; those of images that are not written are marked so.
        files: by image number; None for those that are missing.
        chosen: int64, numbers of the images to write, in the json's order.
        missing: images that are missing and dropped.
        fit: of the subset; None where all images were taken.
        recipe: how shards are made.
        shards: how many.
        settings: digest of the jsons and of the flags that decide how a shard is made.
        identity: digest of all that decides the records, the images' names and sizes included.
        keypoints: int64 [annotations, 2], where keypoints lie in their json.
        num_keypoints: int64 [annotations].
        order: int64, annotations kept, by image.
        first: int64 [images + 1], where those of an image begin in `order`.
    """

    request: SplitRequest
    flags: Mapping[str, Any]
    index: CocoIndex
    objects: Objects
    files: tuple[ImageFile | None, ...]
    chosen: NDArray[np.int64]
    missing: int
    fit: SubsetFit | None
    recipe: Recipe
    shards: int
    settings: str
    identity: str
    keypoints: NDArray[np.int64]
    num_keypoints: NDArray[np.int64]
    order: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read otherwise than the json has it, a sentence each."""
        by_end = [file for file in self.files if file is not None and file.found_as]
        if not by_end:
            return self.index.notes
        are = (
            "1 file name has folders"
            if len(by_end) == 1
            else f"{len(by_end):,} file names have folders"
        )
        one = by_end[0]
        return (
            *self.index.notes,
            f"{are} that are not here: found by the end of the name "
            f"('{one.name}' is '{one.found_as}')",
        )

    def shard_names(self) -> tuple[str, ...]:
        """Gives the names of the shards' files."""
        return tuple(shard_name(self.request.name, i, self.shards) for i in range(self.shards))

    def tasks(self, folder: Path) -> Iterator[ShardTask]:
        """Gives the shards; image i of those chosen goes to shard i modulo their number."""
        for number, name in enumerate(self.shard_names()):
            yield self._task(str(folder / name), self.chosen[number :: self.shards])

    def bytes_of(self, name: str) -> int:
        """Gives the bytes of the images of a shard, which is a little less than its size."""
        number = self.shard_names().index(name)
        files = (self.files[image] for image in self.chosen[number :: self.shards].tolist())
        return sum(file.bytes for file in files if file is not None)

    def _task(self, path: str, images: NDArray[np.int64]) -> ShardTask:
        files = tuple(file for image in images.tolist() if (file := self.files[image]))
        inputs = hashlib.sha256(self.settings.encode())
        for file in files:
            inputs.update(f"{file.name}\0{file.bytes}\0{file.version}\n".encode(errors="replace"))
        rows = [self.order[self.first[image] : self.first[image + 1]] for image in images.tolist()]
        lengths = [len(one) for one in rows]
        row = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        outlines = self.index.segmentations
        return ShardTask(
            path=path,
            inputs=inputs.hexdigest(),
            numbers=images,
            files=files,
            source_ids=tuple(self.index.image_ids[image] for image in images.tolist()),
            heights=self.index.heights[images],
            widths=self.index.widths[images],
            first=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            category_ids=self.index.category_ids[row],
            boxes=self.objects.boxes[row],
            areas=self.objects.areas[row],
            crowd=self.index.crowd[row],
            outlines=np.stack([outlines.starts[row], outlines.lengths[row]], axis=1),
            keypoints=self.keypoints[row],
            num_keypoints=self.num_keypoints[row],
        )


def planned(
    request: ConversionRequest, split: SplitRequest, index: CocoIndex, classes: Classes
) -> SplitPlan:
    """Gives the plan of a split.

    Raises:
        DataError: images that are missing, annotations of unknown images or categories.
        UserError: more images wanted than there are, more shards than images.
    """
    objects = judged(index, classes.categories.keys())
    if request.bad_annotations == "refuse":
        unknown_owners(index, objects)
    files = locate_images(split.image_dir, index.file_names)
    found = np.array([file is not None for file in files], np.bool_)
    can_be = found if request.bad_images == "drop" else np.ones(len(files), np.bool_)
    kept = objects.fates == KEPT
    if request.empty_images == "drop":
        can_be = can_be & (np.bincount(index.images[kept], minlength=len(files)) > 0)
    chosen, fit = _subset(request, split, index, objects, can_be)
    if not found[chosen].all():
        raise missing_images(
            request.output_dir, split, [index.file_names[i] for i in chosen[~found[chosen]]],
            len(chosen),
        )  # fmt: skip
    objects = _of_chosen(index, objects, chosen, found)
    kept = np.flatnonzero(objects.fates == KEPT)
    order = kept[np.argsort(index.images[kept], kind="stable")]
    keypoints = _keypoints(split, index)
    recipe = _recipe(request, split, index, classes, kept, keypoints)
    shards = split.shards or min(_MOST_SHARDS, max(1, -(-len(chosen) // _IMAGES_PER_SHARD)))
    if shards > max(len(chosen), 1):
        raise UserError(
            f"{shards} shards are asked for, and '{split.name}' has {len(chosen)} images",
            expected="a shard for each image at most",
            mend=f"--{'val_' if split.name == 'val' else ''}shards {len(chosen)} or fewer",
        )
    settings = _settings(request.flags_of(split), index, classes, keypoints.digest)
    return SplitPlan(
        request=split,
        flags=request.flags_of(split),
        index=index,
        objects=objects,
        files=files,
        chosen=chosen,
        missing=int((~found).sum()) if request.bad_images == "drop" else 0,
        fit=fit,
        recipe=recipe,
        shards=shards,
        settings=_digest({name: one for name, one in settings.items() if name != "policy"}),
        identity=_identity(settings, files, chosen),
        keypoints=keypoints.places,
        num_keypoints=keypoints.counts,
        order=order,
        first=np.searchsorted(index.images[order], np.arange(len(files) + 1)),
    )


def _subset(
    request: ConversionRequest,
    split: SplitRequest,
    index: CocoIndex,
    objects: Objects,
    can_be: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], SubsetFit | None]:
    """Gives the numbers of the images to take, and how well they stand for all."""
    possible = np.flatnonzero(can_be)
    if not len(possible):
        raise UserError(
            f"no image of '{split.name}' is left to write",
            expected="at least one image",
            mend="--empty_images keep, other --classes, or another --image_dir",
        )
    if split.subset is None and split.images is None:
        return possible, None
    count = split.images or max(1, round((split.subset or 0) * len(possible)))
    if count > len(possible):
        raise UserError(
            f"--images {count}, and '{split.name}' has {len(possible):,}",
            expected=f"up to {len(possible):,} images",
            mend="leave --images out to take all",
        )
    place = np.full(len(can_be), -1, np.int64)
    place[possible] = np.arange(len(possible))
    kept = np.flatnonzero(objects.fates == KEPT)
    kept = kept[can_be[index.images[kept]]]
    owners, sizes = place[index.images[kept]], objects.sizes[kept]
    ids, classes = np.unique(index.category_ids[kept], return_inverse=True)
    chosen = choose_images(
        [index.image_ids[image] for image in possible.tolist()],
        owners,
        np.stack([classes, len(ids) + sizes], axis=1),
        count,
        request.seed,
    )
    return possible[chosen], fit_of(chosen, owners, index.category_ids[kept], sizes)


def _of_chosen(
    index: CocoIndex, objects: Objects, chosen: NDArray[np.int64], found: NDArray[np.bool_]
) -> Objects:
    """Marks what is kept of images that are not."""
    is_chosen = np.zeros(len(found), np.bool_)
    is_chosen[chosen] = True
    fates = objects.fates.copy()
    kept = np.flatnonzero(fates == KEPT)
    left_out = kept[~is_chosen[index.images[kept]]]
    fates[left_out] = np.where(found[index.images[left_out]], IMAGE_NOT_CHOSEN, IMAGE_DROPPED)
    return replace(objects, fates=fates)


@dataclass(frozen=True, eq=False)
class _Keypoints:
    """Where the keypoints of each annotation lie, their numbers, and the categories they are of."""

    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    categories: tuple[Category, ...]
    digest: str


def _keypoints(split: SplitRequest, index: CocoIndex) -> _Keypoints:
    """Gives the keypoints of the index's own json, or of another by annotation id."""
    if split.keypoint_annotations is None:
        cut = index.keypoints
        places = np.stack([cut.starts, cut.lengths], axis=1)
        return _Keypoints(places, index.num_keypoints, index.categories, "")
    other = read_coco(split.keypoint_annotations)
    places = np.full((len(index.ids), 2), (-1, 0), np.int64)
    counts = np.full(len(index.ids), UNKNOWN, np.int64)
    if len(other.ids):
        by_id = np.argsort(other.ids, kind="stable")
        ids = other.ids[by_id]
        match = by_id[np.minimum(np.searchsorted(ids, index.ids), len(ids) - 1)]
        same = (other.ids[match] == index.ids) & (index.ids >= 0)
        places[same, 0] = other.keypoints.starts[match[same]]
        places[same, 1] = other.keypoints.lengths[match[same]]
        counts[same] = other.num_keypoints[match[same]]
    return _Keypoints(places, counts, other.categories, other.digest)


def _recipe(
    request: ConversionRequest,
    split: SplitRequest,
    index: CocoIndex,
    classes: Classes,
    kept: NDArray[np.int64],
    keypoints: _Keypoints,
) -> Recipe:
    has_outlines = bool((index.segmentations.lengths[kept] > _EMPTY_LIST).any())
    if request.include_masks == "yes" and not has_outlines:
        raise UserError(
            f"--include_masks yes, and no annotation kept of '{split.name}' has a segmentation",
            expected="polygons or RLEs under 'segmentation'",
            mend="leave --include_masks out, or name the json that has them",
            where=str(index.path),
        )
    slots = Slots()
    if (keypoints.places[kept, 1] > _EMPTY_LIST).any():
        slots = slots_of([one for one in keypoints.categories if one.id in classes.categories])
    return Recipe(
        annotations=str(index.path),
        keypoint_annotations=str(split.keypoint_annotations or index.path),
        class_names={number: one.name for number, one in classes.categories.items()},
        class_ids=dict(classes.ids),
        include_masks=request.include_masks != "no" and has_outlines,
        slots=slots,
        drop_bad_images=request.bad_images == "drop",
        size_mismatch=request.size_mismatch,
        decode_images=request.decode_images,
        max_image_pixels=request.max_image_pixels,
        max_unpacked_bytes=request.max_unpacked_bytes,
    )


def _settings(
    flags: Mapping[str, Any], index: CocoIndex, classes: Classes, keypoint_digest: str
) -> dict[str, Any]:
    """Gives what decides the records, but for the images.

    What becomes of bad images, and how large one may be, stands apart: a shard without any is the
    same either way, so that it is kept when a conversion that refused them is called again.
    """
    return {
        "conversion": FORMAT,
        "annotations": index.digest,
        "keypoints": keypoint_digest,
        "class_ids": {str(number): one for number, one in classes.ids.items()},
        "flags": {name: value for name, value in flags.items() if name not in _POLICIES},
        "policy": {name: flags[name] for name in _POLICIES if name in flags},
    }


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _identity(
    settings: Mapping[str, Any], files: tuple[ImageFile | None, ...], chosen: NDArray[np.int64]
) -> str:
    digest = hashlib.sha256(_digest(settings).encode())
    for image in chosen.tolist():
        file = files[image]
        if file is not None:
            digest.update(f"{file.name}\0{file.bytes}\n".encode(errors="replace"))
    return digest.hexdigest()
