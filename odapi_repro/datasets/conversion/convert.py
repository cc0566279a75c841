"""The whole conversion: read, plan, make shards in all processes, account, write the manifest."""

from __future__ import annotations

import collections
import ctypes
import hashlib
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import odapi_repro
from odapi_repro.datasets.conversion.coco_index import UNKNOWN, CocoIndex, read_coco
from odapi_repro.datasets.conversion.conversion_problems import bad_images, check_boxes
from odapi_repro.datasets.conversion.conversion_request import (
    ConversionRequest,
    Recipe,
    ShardOutcome,
    ShardTask,
)
from odapi_repro.datasets.conversion.converted_objects import (
    IMAGE_DROPPED,
    KEPT,
    REASONS,
    SIZES,
    size_of,
)
from odapi_repro.datasets.conversion.manifest import DatasetManifest, SplitManifest, write_manifest
from odapi_repro.datasets.conversion.output_folder import (
    LABEL_MAP_NAME,
    Journal,
    OutputFolder,
    changed_images,
    is_whole,
)
from odapi_repro.datasets.conversion.shard import make_shard
from odapi_repro.datasets.conversion.shard_plan import Classes, SplitPlan, classes_of, planned
from odapi_repro.datasets.label_map import read_label_map, write_label_map
from odapi_repro.datasets.records import digest_of
from odapi_repro.datasets.workers.worker_pool import WorkerPool, tick
from odapi_repro.errors import DataError

# --- What became of every image and annotation of a split, as its manifest has it ---


def versions() -> dict[str, str]:
    """Gives the versions of what the records' bytes may depend on."""
    import zlib

    from odapi_repro.packages import installed_version

    return {
        "odapi_repro": odapi_repro.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pycocotools": installed_version("pycocotools") or "none",
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }


def split_manifest(plan: SplitPlan, outcomes: Sequence[ShardOutcome]) -> SplitManifest:
    """Gives the manifest of a split whose shards are all made, in any order."""
    index, objects = plan.index, plan.objects
    files = tuple(sorted((one.file for one in outcomes if one.file), key=lambda file: file.name))
    counts: collections.Counter[str] = collections.Counter()
    for outcome in outcomes:
        counts.update(outcome.counts)
    bad = [one for outcome in outcomes for one in outcome.bad]
    is_dropped = np.zeros(len(plan.files), np.bool_)
    is_dropped[[one.number for one in bad]] = True
    fates = objects.fates.copy()
    fates[(fates == KEPT) & is_dropped[np.maximum(index.images, 0)]] = IMAGE_DROPPED
    kept = np.flatnonzero(fates == KEPT)
    written = np.setdiff1d(plan.chosen, np.flatnonzero(is_dropped))
    images = {
        "in_json": len(plan.files),
        "written": len(written),
        "not_chosen": len(plan.files) - len(plan.chosen) - plan.missing,
        "missing": plan.missing,
        "of_other_size": sum(one.is_size for one in bad),
        "undecodable": sum(not one.is_size for one in bad),
        "without_objects": int(len(written) - len(np.unique(index.images[kept]))),
        "rescaled": sum(len(outcome.rescaled) for outcome in outcomes),
        "turned_by_exif": counts["turned"],
    }
    images |= {
        name.removeprefix("format "): count
        for name, count in sorted(counts.items())
        if name.startswith("format ")
    }
    annotations = {
        "in_json": len(fates),
        **{reason: int((fates == fate).sum()) for fate, reason in enumerate(REASONS)},
        "clipped": int(objects.is_clipped[kept].sum()),
        "clipped_by_more_than_a_pixel": int(objects.is_clipped_far[kept].sum()),
        "crowd": int(index.crowd[kept].sum()),
        "without_crowd_flag": index.without_crowd_flag,
        "doubled": _doubled(index, kept),
        "ids_given_again": _given_again(index.ids[index.ids != UNKNOWN]),
    }
    sizes = _sizes(plan, outcomes, kept)
    return SplitManifest(
        name=plan.request.name,
        identity=plan.identity,
        annotations_name=plan.request.annotations.name,
        annotations_sha256=index.digest,
        flags=plan.flags,
        images=images,
        annotations=annotations,
        objects={
            name.replace(" ", "_"): count
            for name, count in sorted(counts.items())
            if not name.startswith("format ") and name != "turned"
        },
        per_class=_per_class(plan, kept),
        per_size={name: int((sizes == number).sum()) for number, name in enumerate(SIZES)},
        subset=_subset(plan),
        has_masks=plan.recipe.include_masks,
        keypoints=plan.recipe.slots.names,
        files=files,
        digest=digest_of(files),
    )


def _doubled(index: CocoIndex, kept: NDArray[np.int64]) -> int:
    """Gives how many objects have the image, class and box of one before them."""
    columns = [index.images[kept], index.category_ids[kept], *index.boxes[kept].T]
    order = np.lexsort(columns)
    same = np.ones(max(len(kept) - 1, 0), np.bool_)
    for column in columns:
        same &= np.diff(column[order]) == 0
    return int(same.sum())


def _given_again(ids: NDArray[np.int64]) -> int:
    return len(ids) - len(np.unique(ids))


def _per_class(plan: SplitPlan, kept: NDArray[np.int64]) -> dict[int, int]:
    found, counts = np.unique(plan.index.category_ids[kept], return_counts=True)
    by_category = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return {
        class_id: by_category.get(category, 0)
        for category, class_id in sorted(plan.recipe.class_ids.items(), key=lambda one: one[1])
    }


def _sizes(
    plan: SplitPlan, outcomes: Sequence[ShardOutcome], kept: NDArray[np.int64]
) -> NDArray[np.int8]:
    """Gives the sizes of the objects as written: those of rescaled images by their new area."""
    sizes = plan.objects.sizes[kept]
    factor = np.ones(len(plan.files))
    for outcome in outcomes:
        for number, value in outcome.rescaled:
            factor[number] = value
    images = plan.index.images[kept]
    if not (factor != 1).any():
        return sizes
    height, width = plan.index.heights[images], plan.index.widths[images]
    boxes = plan.objects.boxes[kept].astype(np.float64)
    areas = plan.objects.areas[kept]
    box_areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) * height * width
    return size_of(np.where(np.isnan(areas), box_areas, areas) * factor[images])


def _subset(plan: SplitPlan) -> dict[str, Any]:
    if plan.fit is None:
        return {}
    names = {one.id: one.name for one in plan.index.categories}
    return {
        "largest_difference_of_a_class_share": round(plan.fit.class_share, 6),
        "class": names.get(plan.fit.worst_class, ""),
        "largest_difference_of_a_size_share": round(plan.fit.size_share, 6),
        "size": SIZES[plan.fit.worst_size],
        "objects_per_image_against_all": round(plan.fit.boxes_per_image, 4),
    }


# --- The whole conversion: read, plan, make shards in all processes, account, write the manifest
# ---


_KEPT_BYTES = 256 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@dataclass(frozen=True)
class Job:
    """A shard to make, or to keep when it is still what the journal says.

    Attributes:
        split: the split's name.
        task: the shard.
        recipe: how shards of the split are made.
        kept: the journal's entry of it.
    """

    split: str
    task: ShardTask
    recipe: Recipe
    kept: ShardOutcome | None


@dataclass(frozen=True)
class ShardDone:
    """A job that is done.

    Attributes:
        job: the job.
        outcome: what became of it.
        is_kept: whether the shard was whole already.
    """

    job: Job
    outcome: ShardOutcome
    is_kept: bool


class ShardPool(WorkerPool):
    """Makes shards in several processes; in this one for a single worker.

    Leaving it leaves a shard out that is being made.
    """

    def __init__(self, workers: int, say: Callable[[str], None]) -> None:
        super().__init__(workers, __name__, begin=_keep_freed_memory, say=say)

    @property
    def images_done(self) -> int:
        """Images that were written or looked at so far."""
        return self.ticks

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[ShardDone | None]:
        """Gives what became of each job as it is done, and None now and then in between.

        Raises:
            UserError: a shard cannot be written, or a worker was killed.
        """
        for done in self.results(_worked, jobs):
            yield None if done is None else ShardDone(done.task, *done.result)


def _worked(job: Job) -> tuple[ShardOutcome, bool]:
    """Gives what became of the shard, and whether it was there already."""
    folder = Path(job.task.path).parent
    if job.kept is not None and job.kept.file is not None and is_whole(folder, job.kept.file):
        tick(len(job.task.files))
        return job.kept, True
    return make_shard(job.task, job.recipe, tick=tick), False


def _keep_freed_memory() -> None:
    """Has glibc keep what is freed: each image would else cost the page faults of fresh memory.

    Measured: reading and copying a 130 kB image takes half the time. Another libc goes without.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)


@dataclass(frozen=True)
class Progress:
    """Where a conversion is.

    Attributes:
        images_done: written, looked at or kept so far, over all splits.
        images: of all splits.
    """

    images_done: int
    images: int


@dataclass(frozen=True)
class Conversion:
    """What a conversion gave.

    Attributes:
        manifest: of the folder.
        converted: names of the splits that were made now.
        already: names of those that were whole before.
        shards_kept: shards that an interrupted conversion had left whole.
        notes: what of the jsons was read otherwise than it is written, by split.
    """

    manifest: DatasetManifest
    converted: tuple[str, ...]
    already: tuple[str, ...]
    shards_kept: int
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def convert(
    request: ConversionRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Conversion:
    """Converts COCO jsons and images to records; the manifest is written last.

    Raises:
        DataError: input that cannot be converted, or an output folder that cannot be written.
        UserError: settings that do not fit the input.
    """
    with OutputFolder(request.output_dir) as folder, ShardPool(request.workers, say) as pool:
        plans, classes = _plans(request, say)
        if request.overwrite:
            folder.forget([plan.request.name for plan in plans])
        already = [plan for plan in plans if _is_finished(folder, plan)]
        left = [plan for plan in plans if plan not in already]
        _check_label_map(folder, classes)
        for plan in left:
            folder.check(plan.request.name, plan.settings, plan.shard_names())
        folder.check_others([plan.request.name for plan in left])
        maker = _Maker(folder, left, say, progress)
        if left:
            splits = maker.made(pool)
            write_label_map(classes.label_map, folder.path / LABEL_MAP_NAME)
            splits = {**(folder.manifest.splits if folder.manifest else {}), **splits}
            label_map = (folder.path / LABEL_MAP_NAME).read_bytes()
            manifest = DatasetManifest(
                label_map_sha256=hashlib.sha256(label_map).hexdigest(),
                num_classes=classes.label_map.num_classes,
                versions=versions(),
                splits=splits,
            )
            write_manifest(manifest, folder.path)
        else:
            if folder.manifest is None:
                raise AssertionError("a finished split has a manifest")
            manifest = folder.manifest
        folder.finish()
    return Conversion(
        manifest,
        tuple(plan.request.name for plan in left),
        tuple(plan.request.name for plan in already),
        maker.kept,
        {plan.request.name: plan.notes for plan in plans},
    )


def _plans(
    request: ConversionRequest, say: Callable[[str], None]
) -> tuple[list[SplitPlan], Classes]:
    indexes = []
    for split in request.splits:
        say(f"reading {split.annotations}")
        index = read_coco(split.annotations)
        if request.check_boxes:
            check_boxes(index)
        indexes.append(index)
    classes = classes_of(indexes, request.classes, request.class_ids)
    plans = []
    for split, index in zip(request.splits, indexes, strict=True):
        plan = planned(request, split, index, classes)
        say(
            f"{split.name}: {len(plan.chosen):,} of {len(index.image_ids):,} images, "
            f"{len(plan.order):,} of {len(index.ids):,} annotations, shards: {plan.shards}"
        )
        plans.append(plan)
    return plans, classes


def _is_finished(folder: OutputFolder, plan: SplitPlan) -> bool:
    """Whether the split was converted from the same input before, and all of it is whole."""
    split = folder.manifest.splits.get(plan.request.name) if folder.manifest else None
    if split is None or split.identity != plan.identity:
        return False
    damaged = [file.name for file in split.files if not is_whole(folder.path, file)]
    if damaged:
        raise DataError(
            f"{len(damaged)} shard(s) of a finished conversion are missing or damaged: "
            + ", ".join(damaged[:3]) + (", ..." if len(damaged) > 3 else ""),
            expected="the shards that the manifest names",
            mend="convert again with --overwrite",
            where=str(folder.path),
        )  # fmt: skip
    changed = [name for task in plan.tasks(folder.path) for name in changed_images(task)]
    if changed:
        raise DataError(
            f"{len(changed):,} image(s) of '{split.name}' changed since they were converted: "
            + ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else ""),
            expected="the images that the records hold, or an empty folder",
            mend="convert again with --overwrite, or name another --output_dir",
            where=str(folder.path),
        )  # fmt: skip
    return True


def _check_label_map(folder: OutputFolder, classes: Classes) -> None:
    path = folder.path / LABEL_MAP_NAME
    others = sorted(
        one.name for one in folder.path.glob("*label_map*") if one.name != LABEL_MAP_NAME
    )
    if others:
        raise DataError(
            f"the folder holds another label map, {others[0]}",
            expected=f"one label map, {LABEL_MAP_NAME}",
            mend="move it away",
            where=str(folder.path),
        )
    if path.exists() and dict(read_label_map(path).items) != dict(classes.label_map.items):
        raise DataError(
            "the folder's label map has other classes or ids than this conversion",
            expected="the same classes in all splits of a folder",
            mend="name another --output_dir; or --overwrite, for all splits of the folder at once",
            where=str(path),
        )


class _Maker:
    """Has the shards of all splits made, and keeps account."""

    def __init__(
        self,
        folder: OutputFolder,
        plans: list[SplitPlan],
        say: Callable[[str], None],
        progress: Callable[[Progress], None],
    ) -> None:
        self.kept = 0
        self._folder = folder
        self._plans = {plan.request.name: plan for plan in plans}
        self._journals = {
            plan.request.name: Journal(folder.journal_path(plan.request.name, plan.settings))
            for plan in plans
        }
        self._say = say
        self._progress = progress

    def made(self, pool: ShardPool) -> dict[str, SplitManifest]:
        """Makes all shards and gives the manifests of their splits.

        Raises:
            DataError: images that cannot be used, or shards that cannot be written.
        """
        self._check_space()
        for journal in self._journals.values():
            journal.begin()
        images = sum(len(plan.chosen) for plan in self._plans.values())
        outcomes: dict[str, list[ShardOutcome]] = {name: [] for name in self._plans}
        for done in pool.outcomes(self._jobs()):
            if done is not None:
                outcomes[done.job.split].append(done.outcome)
                self.kept += done.is_kept
                if not done.is_kept and done.outcome.file is not None:
                    self._journals[done.job.split].add(done.outcome)
            self._progress(Progress(pool.images_done, images))
        for name, plan in self._plans.items():
            refused = [bad for one in outcomes[name] if one.file is None for bad in one.bad]
            if refused:
                raise bad_images(
                    self._folder.path, plan.request, refused, plan.recipe.size_mismatch
                )
        return {name: split_manifest(plan, outcomes[name]) for name, plan in self._plans.items()}

    def _jobs(self) -> Iterator[Job]:
        for name, plan in self._plans.items():
            for task in plan.tasks(self._folder.path):
                yield Job(name, task, plan.recipe, self._journals[name].entry_of(task))

    def _check_space(self) -> None:
        """Refuses to begin what cannot be finished: images alone take that much."""
        needed = sum(
            plan.bytes_of(name)
            for plan in self._plans.values()
            for name in plan.shard_names()
            if not (self._folder.path / name).exists()
        )
        free = shutil.disk_usage(self._folder.path).free
        if needed > free:
            raise DataError(
                f"the disk has {free / 1e6:,.0f} MB left, and the records need "
                f"{needed / 1e6:,.0f} MB",
                expected="space for the images and their annotations",
                mend="free space, name a folder on another disk, or take a --subset",
                where=str(self._folder.path),
            )
