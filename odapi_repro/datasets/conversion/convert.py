"""The whole conversion: read, plan, make shards in all processes, account, write the manifest."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from odapi_repro.datasets.conversion.account import split_manifest, versions
from odapi_repro.datasets.conversion.classes import Classes, classes_of
from odapi_repro.datasets.conversion.coco_index import read_coco
from odapi_repro.datasets.conversion.journal import Journal, changed_images, is_whole
from odapi_repro.datasets.conversion.manifest import (
    DatasetManifest,
    SplitManifest,
    write_manifest,
)
from odapi_repro.datasets.conversion.output_folder import LABEL_MAP_NAME, OutputFolder
from odapi_repro.datasets.conversion.plan import SplitPlan, planned
from odapi_repro.datasets.conversion.problems import bad_images, check_boxes
from odapi_repro.datasets.conversion.request import ConversionRequest
from odapi_repro.datasets.conversion.shard import make_shard
from odapi_repro.datasets.conversion.shard_task import Recipe, ShardOutcome, ShardTask
from odapi_repro.datasets.label_map import read_label_map, write_label_map
from odapi_repro.datasets.workers.worker_pool import WorkerPool, tick
from odapi_repro.errors import DataError

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
