"""The few images of an overfit: chosen from the training records, written once to the cache."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.made_folder import default_cache_root
from odapi_repro.datasets.records import RecordManifest, manifest
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.errors import DataError
from odapi_repro.trials.study_data import StudyData

FEW = 10
"""How many; so few that a model that learns at all learns them by heart."""

# The manifest's digest holds the name, so it is the same for all.
_NAME = "few_images.tfrecord"


def few_images(data: StudyData, *, cache: Path | None = None) -> StudyData:
    """Gives a data set of ten training images with objects, to train and to evaluate on.

    They stand as evenly in the records as ten can: at each tenth the next image that has an object
    of the label map's classes that is no crowd. The same records give the same ten.

    Args:
        data: whose training records they come from.
        cache: folder to write to; the user's cache by default.

    Raises:
        DataError: fewer than ten such images, or the cache cannot be written.
    """
    chosen = _chosen(data.train_files, data.train, data.label_map)
    folder = (cache or default_cache_root()) / f"few_images-{_digest(chosen)}"
    path = folder / _NAME
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot make a folder: {error.strerror or error}",
                expected="a cache folder that can be written",
                mend="set ODAPI_REPRO_CACHE to a folder on a disk with space",
                where=str(folder),
            ) from error
        write_records(path, chosen)
    pattern = glob.escape(str(path))
    source = replace(
        data.source,
        name=f"{FEW} images of {data.source.name}",
        train_patterns=(pattern,),
        eval_patterns=(pattern,),
    )
    found = manifest((path,))
    return replace(data, source=source, train=found, eval=found)


def _chosen(files: Sequence[Path], found: RecordManifest, label_map: LabelMap) -> list[bytes]:
    total = found.num_examples
    starts = [total * i // FEW for i in range(FEW)]
    chosen = _from(files, found, label_map, starts)
    if len(chosen) < FEW:
        # Images without objects stand together: the first ten that have some.
        chosen = _from(files, found, label_map, [0] * FEW)
    if len(chosen) < FEW:
        raise DataError(
            f"{len(chosen)} of {total} training images hold an object of the label map's classes",
            expected=f"at least {FEW}: that many are trained until they are known by heart",
            mend="name records of an annotated set, and the label map they were made with",
            where=str(files[0]),
        )
    return chosen


def _from(
    files: Sequence[Path], found: RecordManifest, label_map: LabelMap, starts: Sequence[int]
) -> list[bytes]:
    """Gives, for each start in order, the next image with objects that is not taken yet."""
    waiting = list(starts)
    chosen: list[bytes] = []
    for position, data in _records(files, found, waiting):
        if waiting and waiting[0] <= position and _has_object(data, label_map):
            chosen.append(data)
            del waiting[0]
    return chosen


def _records(
    files: Sequence[Path], found: RecordManifest, waiting: Sequence[int]
) -> Iterator[tuple[int, bytes]]:
    """Gives records with their positions; files that nothing waits for are not read."""
    counts = {(file.name, file.bytes): file.num_examples for file in found.files}
    position = 0
    for file in files:
        after = position + counts[file.name, file.stat().st_size]
        if not waiting:
            return
        if waiting[0] < after:
            for data in read_records(file):
                yield position, data
                position += 1
        position = after


def _has_object(data: bytes, label_map: LabelMap) -> bool:
    image = AnnotatedImage.from_example(data, label_map)
    pairs = zip(image.class_ids.tolist(), image.is_crowd.tolist(), strict=True)
    return any(class_id in label_map.items and not crowd for class_id, crowd in pairs)


def _digest(records: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for data in records:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:12]
