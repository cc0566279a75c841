"""From a json and its images to the shards of a split: chosen, judged, dealt out."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.coco_categories import Category
from odapi_repro.datasets.conversion.coco_index import UNKNOWN, CocoIndex, read_coco
from odapi_repro.datasets.conversion.conversion_problems import missing_images, unknown_owners
from odapi_repro.datasets.conversion.conversion_request import (
    ConversionRequest,
    Recipe,
    ShardTask,
    Slots,
    SplitRequest,
)
from odapi_repro.datasets.conversion.converted_objects import (
    IMAGE_DROPPED,
    IMAGE_NOT_CHOSEN,
    KEPT,
    Objects,
    judged,
    slots_of,
)
from odapi_repro.datasets.conversion.image_source import ImageFile, locate_images
from odapi_repro.datasets.conversion.manifest import FORMAT
from odapi_repro.datasets.conversion.output_folder import shard_name
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.errors import DataError, UserError

# --- A part of a data set that keeps the shares of its classes and object sizes ---


_BATCH = 256
_ROUNDS_PER_IMAGE = 4
_LEAST_ROUNDS, _MOST_ROUNDS = 400, 20_000
_PATIENCE = 200
_DIGITS = 9


@dataclass(frozen=True)
class SubsetFit:
    """How far the shares in a subset are from those in the whole.

    Attributes:
        class_share: largest difference of a class's share of the objects, as a fraction of 1.
        worst_class: that class's id.
        size_share: largest difference of a size's share.
        worst_size: number of that size.
        boxes_per_image: objects an image in the subset, over those in the whole.
    """

    class_share: float
    worst_class: int
    size_share: float
    worst_size: int
    boxes_per_image: float


def choose_images(
    image_ids: Sequence[str],
    owners: NDArray[np.int64],
    labels: NDArray[np.int64],
    count: int,
    seed: int,
) -> NDArray[np.bool_]:
    """Gives which images are chosen, bool [images]: `count` of them, by the seed alone.

    It begins with the images of lowest hash of seed and id, whatever their order in the json, and
    exchanges one for another as long as that brings the counts of labels nearer to their shares,
    each weighted by one over what is expected (Pearson's chi-squared).

    Args:
        image_ids: ids of the images that can be chosen.
        owners: [M] number of the image of each object.
        labels: [M, K] labels of each object, from 0, numbered apart: a class's and a size's.
        count: how many images to choose.
        seed: another one gives another choice.
    """
    images = len(image_ids)
    keys = [hashlib.sha256(f"{seed}:{one}".encode()).digest()[:8] for one in image_ids]
    order = np.argsort(np.frombuffer(b"".join(keys), ">u8"), kind="stable")
    chosen = np.zeros(images, np.bool_)
    chosen[order[:count]] = True
    if count in (0, images) or not len(labels):
        return chosen
    table = _Labels.of(images, owners, labels)
    target = table.totals * (count / images)
    weight = 1 / np.maximum(target, 1)
    excess = table.counts(np.flatnonzero(chosen)) - target
    # Mersenne's twister of numpy's old interface: its stream will not change.
    random = np.random.RandomState(seed % 2**32)
    inside, outside = order[:count].copy(), order[count:].copy()
    rounds = int(np.clip(_ROUNDS_PER_IMAGE * count, _LEAST_ROUNDS, _MOST_ROUNDS))
    idle = 0
    for _ in range(rounds):
        out, into = (
            random.randint(len(inside), size=_BATCH),
            random.randint(len(outside), size=_BATCH),
        )
        change = table.rows(outside[into]) - table.rows(inside[out])
        gain = ((2 * excess + change) * change * weight).sum(axis=1)
        best = int(np.argmin(np.round(gain, _DIGITS)))
        if gain[best] >= -(0.1**_DIGITS):
            idle += 1
            if idle >= _PATIENCE:
                break
            continue
        idle = 0
        excess += change[best]
        one, other = out[best], into[best]
        inside[one], outside[other] = outside[other], inside[one]
    chosen[:] = False
    chosen[inside] = True
    return chosen


def fit_of(
    chosen: NDArray[np.bool_],
    owners: NDArray[np.int64],
    classes: NDArray[np.int64],
    sizes: NDArray[np.int8],
) -> SubsetFit:
    """Gives how far a choice of images is from the whole; arguments as of `choose_images`."""
    here = chosen[owners]
    ids = np.unique(classes)
    if not len(ids) or not here.any():
        return SubsetFit(0.0, 0, 0.0, 0, 0.0)
    by_class = np.abs(_shares(classes, ids) - _shares(classes[here], ids))
    kinds = np.arange(3)
    by_size = np.abs(_shares(sizes, kinds) - _shares(sizes[here], kinds))
    density = here.sum() / chosen.sum() / (len(owners) / len(chosen))
    return SubsetFit(
        class_share=float(by_class.max()),
        worst_class=int(ids[by_class.argmax()]),
        size_share=float(by_size.max()),
        worst_size=int(by_size.argmax()),
        boxes_per_image=float(density),
    )


def _shares(values: NDArray[np.integer], kinds: NDArray[np.integer]) -> NDArray[np.float64]:
    counts = np.bincount(np.searchsorted(kinds, values), minlength=len(kinds))
    return counts / max(len(values), 1)


@dataclass(frozen=True, eq=False)
class _Labels:
    """Counts of labels by image, sparse: those of image i are entries[first[i]:first[i + 1]]."""

    first: NDArray[np.int64]
    entries: NDArray[np.int64]
    amounts: NDArray[np.float64]
    totals: NDArray[np.float64]

    @classmethod
    def of(cls, images: int, owners: NDArray[np.int64], labels: NDArray[np.int64]) -> _Labels:
        # One more label: an image without objects, whose share is kept as well.
        kinds = int(labels.max()) + 2
        empty = np.setdiff1d(np.arange(images), owners)
        cells = np.concatenate(
            [
                (owners[:, None] * kinds + labels).reshape(-1),
                empty * kinds + kinds - 1,
            ]
        )
        cells, amounts = np.unique(cells, return_counts=True)
        return cls(
            first=np.searchsorted(cells // kinds, np.arange(images + 1)),
            entries=cells % kinds,
            amounts=amounts.astype(np.float64),
            totals=np.bincount(cells % kinds, weights=amounts, minlength=kinds).astype(np.float64),
        )

    def rows(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        """Gives the counts of some images, [images, labels]."""
        lengths = self.first[images + 1] - self.first[images]
        row = np.repeat(np.arange(len(images)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        place = np.repeat(self.first[images], lengths) + within
        counts = np.zeros((len(images), len(self.totals)))
        counts[row, self.entries[place]] = self.amounts[place]
        return counts

    def counts(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        """Gives the counts of some images together, [labels]."""
        total = np.zeros(len(self.totals))
        for part in np.array_split(images, max(len(images) // 1000, 1)):
            total += self.rows(part).sum(axis=0)
        return total


# --- Which categories become classes, under which ids: one label map for all splits ---


_LARGEST_ID = 2**31 - 1  # a label map's ids are int32


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        categories: those kept, by id.
        ids: id in the label map, by category id.
    """

    categories: Mapping[int, Category]
    ids: Mapping[int, int]

    @property
    def label_map(self) -> LabelMap:
        """The label map of the classes."""
        return LabelMap({self.ids[one.id]: one.name for one in self.categories.values()})


def classes_of(indexes: Sequence[CocoIndex], names: Sequence[str], class_ids: str) -> Classes:
    """Gives the classes of several jsons together.

    Args:
        indexes: the jsons; a category that several hold must be the same in each.
        names: classes to keep; all when empty.
        class_ids: `keep` the categories' ids, or number them `consecutive` from 1, by id.

    Raises:
        DataError: jsons that contradict each other, or an id that no label map can hold.
        UserError: a name that no json has.
    """
    categories: dict[int, Category] = {}
    for index in indexes:
        for one in index.categories:
            other = categories.setdefault(one.id, one)
            if other.name != one.name:
                raise _contradiction(f"category {one.id} is '{one.name}'", f"'{other.name}'", index)
    by_name: dict[str, Category] = {}
    for one in categories.values():
        other = by_name.setdefault(one.name, one)
        if other.id != one.id:
            raise _contradiction(f"'{one.name}' has id {one.id}", str(other.id), indexes[-1])
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
            raise UserError(
                f"--classes names '{name}', which the json does not have",
                expected=f"names of its {len(by_name)} categories, such as "
                + ", ".join(f"'{one}'" for one in list(by_name)[:3]),
                mend=f"did you mean '{near[0]}'?" + _quotes(near[0])
                if near
                else "correct the name",
            )
    kept = sorted(by_name[name].id for name in names) if names else sorted(categories)
    if class_ids == "consecutive":
        ids = {number: place for place, number in enumerate(kept, start=1)}
    else:
        ids = {number: number for number in kept}
        if kept[0] < 1:
            raise DataError(
                f"category '{categories[kept[0]].name}' has id {kept[0]}",
                expected="ids from 1: 0 is the background in the OD API",
                mend="--class_ids consecutive numbers the classes from 1",
                where=str(indexes[0].path),
            )
        if kept[-1] > _LARGEST_ID:
            raise DataError(
                f"category '{categories[kept[-1]].name}' has id {kept[-1]}",
                expected=f"ids up to {_LARGEST_ID}, as a label map's are 32 bits",
                mend="--class_ids consecutive numbers the classes from 1",
                where=str(indexes[0].path),
            )
    return Classes({number: categories[number] for number in kept}, ids)


def _quotes(name: str) -> str:
    return " A name with a comma stands in double quotes: '\"a, b\",c'" if "," in name else ""


def _contradiction(here: str, there: str, index: CocoIndex) -> DataError:
    return DataError(
        f"{here} in this json and {there} in the other split's",
        expected="the same categories in all splits: they share one label map",
        mend="correct one of them, or convert them into different folders",
        where=str(index.path),
    )


# --- From a json and its images to the shards of a split: chosen, judged, dealt out ---


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
