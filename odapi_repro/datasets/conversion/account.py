"""What became of every image and annotation of a split, as its manifest has it."""

from __future__ import annotations

import collections
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import odapi_repro
from odapi_repro.datasets.conversion.coco_index import UNKNOWN, CocoIndex
from odapi_repro.datasets.conversion.manifest import SplitManifest
from odapi_repro.datasets.conversion.objects import IMAGE_DROPPED, KEPT, REASONS, SIZES, size_of
from odapi_repro.datasets.conversion.plan import SplitPlan
from odapi_repro.datasets.conversion.shard_task import ShardOutcome
from odapi_repro.datasets.records import digest_of


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
