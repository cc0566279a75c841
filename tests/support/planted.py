"""Damage of every kind, planted in a copy of a set of records; a planter says how much it did."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.example import make_example, parse_example
from odapi_repro.datasets.label_map import read_label_map
from odapi_repro.datasets.record_damage import write_edited_records
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.pipeline.recipe import LabelNoise, RecordEdits

Edit = Callable[[int, AnnotatedImage], AnnotatedImage | bytes | None]
SHARE = 0.2


def files_of(folder: Path, split: str) -> list[Path]:
    return sorted(folder.glob(f"{split}-*"))


def images_of(folder: Path, split: str) -> Iterator[AnnotatedImage]:
    for file in files_of(folder, split):
        yield from map(AnnotatedImage.from_example, read_records(file))


def rewrite(folder: Path, split: str, edit: Edit) -> None:
    """Writes every record of a split as `edit` gives it; None leaves it as it is."""
    number = 0
    for file in files_of(folder, split):
        records = []
        for data in read_records(file):
            edited = edit(number, AnnotatedImage.from_example(data))
            records.append(
                data
                if edited is None
                else edited
                if isinstance(edited, bytes)
                else edited.to_example()
            )
            number += 1
        write_records(file, records)


def every(step: int, change: Callable[[AnnotatedImage], AnnotatedImage | bytes]) -> Edit:
    """Changes every `step`-th image."""
    return lambda number, image: change(image) if number % step == 0 else None


def with_features(image: AnnotatedImage, **changes: Any) -> bytes:
    """The record with features of other values; None leaves one out. `bbox__xmin` is bbox/xmin."""
    example = parse_example(image.to_example())
    readers = {"bytes_list": example.bytes_list, "float_list": example.floats}
    features: dict[str, Any] = {
        key: readers.get(example.kind(key), example.ints)(key)
        for key in example
        if example.kind(key)
    }
    for key, value in changes.items():
        name = "image/" + key.replace("__", "/")
        features.pop(name, None)
        if value is not None:
            features[name] = value
    return make_example(features)


def encoded(picture: Image.Image, quality: int = 90, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def picture_of(image: AnnotatedImage) -> Image.Image:
    return Image.open(io.BytesIO(image.encoded_image)).convert("RGB")


def noise(kind: str, share: float = SHARE) -> Callable[[Path], int]:
    def plant(folder: Path) -> int:
        counts = edited(folder, RecordEdits(label_noise=LabelNoise(kind, share)))
        return int(counts.noisy_objects)

    return plant


def edited(folder: Path, edits: RecordEdits) -> Any:
    sources = files_of(folder, "train")
    made = folder / "made"
    made.mkdir()
    label_map = read_label_map(folder / "label_map.pbtxt")
    counts = write_edited_records(sources, made, len(sources), label_map, edits, 0)
    for file in sources:
        file.unlink()
    for file in made.iterdir():
        shutil.move(file, folder / file.name)
    made.rmdir()
    return counts


def duplicates(folder: Path) -> int:
    return int(edited(folder, RecordEdits(duplicate_share=SHARE)).copies)


def fraction(folder: Path) -> int:
    counts = edited(folder, RecordEdits(train_fraction=0.5))
    return int(counts.source_records - counts.records)


def resized(
    target: Callable[[int, int], tuple[float, float]], *, masks: bool = True
) -> Callable[[Path], int]:
    """Boxes in pixels of the image resized, over the sides of the original."""

    def plant(folder: Path) -> int:
        planted = 0

        def move(_: int, image: AnnotatedImage) -> AnnotatedImage:
            nonlocal planted
            height, width = target(image.height, image.width)
            factor = np.array([height / image.height, width / image.width] * 2, np.float32)
            if np.abs(factor - 1).max() > 0.02:
                planted += len(image.boxes)
            kept = image.masks_png if masks else ()
            return replace(image, boxes=image.boxes * factor, masks_png=kept)

        rewrite(folder, "train", move)
        return planted

    return plant


def in_pixels_without_masks(folder: Path) -> int:
    count = noise("absolute", 1.0)(folder)
    rewrite(folder, "train", every(1, lambda image: replace(image, masks_png=())))
    return count


def boxes(change: Callable[[Any], None], *, step: int = 3) -> Callable[[Path], int]:
    """Changes the first box of every `step`-th image, in place; masks are left out."""

    def plant(folder: Path) -> int:
        planted = 0

        def move(number: int, image: AnnotatedImage) -> AnnotatedImage:
            nonlocal planted
            edges = image.boxes.copy()
            if number % step == 0 and len(edges):
                change(edges[0])
                planted += 1
            return replace(image, boxes=edges, masks_png=())

        rewrite(folder, "train", move)
        return planted

    return plant


def swap_corners(box: Any) -> None:
    box[[1, 3]] = box[[3, 1]]


def flatten(box: Any) -> None:
    box[2] = box[0]


def push_outside(box: Any) -> None:
    box[3] = 1.05


def make_nan(box: Any) -> None:
    box[0] = np.nan


def of_objects(
    change: Callable[[AnnotatedImage], tuple[AnnotatedImage | bytes, int]], *, step: int = 1
) -> Callable[[Path], int]:
    """Changes every `step`-th image that has objects; the change says how many it made wrong."""

    def plant(folder: Path) -> int:
        planted = 0

        def edit(number: int, image: AnnotatedImage) -> AnnotatedImage | bytes | None:
            nonlocal planted
            if number % step or not len(image.boxes):
                return None
            made, count = change(image)
            planted += count
            return made

        rewrite(folder, "train", edit)
        return planted

    return plant


def zero_based(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    return replace(image, class_ids=image.class_ids - 1, class_names=()), len(image.boxes)


def zero_based_with_names(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    return replace(image, class_ids=image.class_ids - 1), len(image.boxes)


def other_case(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    names = tuple(" Star" if name == "star" else name for name in image.class_names)
    return replace(image, class_names=names), names.count(" Star")


def unknown_id(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    ids = image.class_ids.copy()
    ids[0] = 17
    return replace(image, class_ids=ids, class_names=()), 1


def all_crowd(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    return replace(image, is_crowd=np.ones(len(image.boxes), np.bool_)), len(image.boxes)


def no_areas(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    return replace(image, areas=image.areas / (image.height * image.width)), len(image.boxes)


def masks(change: Callable[[AnnotatedImage, Any], Any]) -> Callable[..., Any]:
    """Changes every mask of an image, uint8 of its size."""

    def plant(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
        made = []
        for png in image.masks_png:
            file = io.BytesIO()
            pixels = np.asarray(Image.open(io.BytesIO(png)))
            Image.fromarray(change(image, pixels)).save(file, "PNG")
            made.append(file.getvalue())
        return replace(image, masks_png=tuple(made)), len(made)

    return plant


def doubled(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    """The first object once more, as the merge of two jsons has it."""

    def again(column: Any) -> Any:
        return np.concatenate([column, column[:1]])

    return replace(
        image,
        boxes=again(image.boxes),
        class_ids=again(image.class_ids),
        class_names=(*image.class_names, *image.class_names[:1]),
        areas=again(image.areas),
        is_crowd=again(image.is_crowd),
        masks_png=(*image.masks_png, *image.masks_png[:1]),
    ), 1


def of_unit(unit: float, *, masks: bool = True) -> Callable[[Path], int]:
    """Shares times a number: percent above 2, and next to nothing below 1."""

    def plant(folder: Path) -> int:
        planted = 0

        def move(_: int, image: AnnotatedImage) -> AnnotatedImage:
            nonlocal planted
            edges = image.boxes * np.float32(unit)
            planted += int((edges > 2).any(axis=1).sum()) if unit > 1 else len(edges)
            return replace(image, boxes=edges, masks_png=image.masks_png if masks else ())

        rewrite(folder, "train", move)
        return planted

    return plant


def cut_masks(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    return replace(image, masks_png=tuple(p[:-30] for p in image.masks_png)), len(image.boxes)


def without_masks(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    return replace(image, masks_png=()), len(image.boxes)


def of_images(
    change: Callable[[AnnotatedImage], AnnotatedImage | bytes], *, step: int = 5
) -> Callable[[Path], int]:
    """Changes every `step`-th image, with or without objects."""

    def plant(folder: Path) -> int:
        number = len(list(images_of(folder, "train")))
        rewrite(folder, "train", every(step, change))
        return len(range(0, number, step))

    return plant


def cut_jpeg(image: AnnotatedImage) -> AnnotatedImage:
    return replace(image, encoded_image=image.encoded_image[: len(image.encoded_image) // 2])


def as_webp(image: AnnotatedImage) -> AnnotatedImage:
    file = io.BytesIO()
    picture_of(image).save(file, "WEBP")
    return replace(image, encoded_image=file.getvalue())


def turned(image: AnnotatedImage) -> AnnotatedImage:
    return replace(image, height=image.height + 100)


def with_exif(image: AnnotatedImage) -> AnnotatedImage:
    tags = Image.Exif()
    tags[0x0112] = 6
    return replace(image, encoded_image=encoded(picture_of(image), 90, exif=tags))


def same_source_id(image: AnnotatedImage) -> AnnotatedImage:
    return replace(image, source_id="7")


def long_list(image: AnnotatedImage) -> tuple[bytes, int]:
    labels = [*image.class_ids.tolist(), 1]
    return with_features(image, object__class__label=labels), 1


def short_corners(image: AnnotatedImage) -> tuple[bytes, int]:
    return with_features(image, object__bbox__xmax=image.boxes[:-1, 3]), 1


def integer_boxes(image: AnnotatedImage) -> tuple[bytes, int]:
    return with_features(image, object__bbox__ymin=image.boxes[:, 0].astype(np.int64)), 1


def no_image(image: AnnotatedImage) -> bytes:
    return with_features(image, encoded=None)


def no_example(_: AnnotatedImage) -> bytes:
    return b"\xff\xff no example"


def empty(image: AnnotatedImage) -> AnnotatedImage:
    return AnnotatedImage(
        image.source_id, image.filename, image.height, image.width, "jpeg", image.encoded_image
    )


def copies(
    change: Callable[[AnnotatedImage], bytes], *, into: str = "train", count: int = 5
) -> Callable[[Path], int]:
    """Adds training images to a split once more, encoded otherwise, under another id."""

    def plant(folder: Path) -> int:
        made = []
        for i, image in enumerate(list(images_of(folder, "train"))[:count]):
            data = change(image)
            width, height = Image.open(io.BytesIO(data)).size
            made.append(
                replace(
                    image,
                    encoded_image=data,
                    source_id=f"c{i}",
                    filename=f"c{i}.jpg",
                    height=height,
                    width=width,
                    areas=image.areas * 0,
                    masks_png=tuple(resized_mask(png, (width, height)) for png in image.masks_png),
                ).to_example()
            )
        file = files_of(folder, into)[-1]
        write_records(file, [*read_records(file), *made])
        return len(made)

    return plant


def resized_mask(png: bytes, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    mask = Image.open(io.BytesIO(png))
    mask.resize(size, Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def same_bytes(image: AnnotatedImage) -> bytes:
    return image.encoded_image


def quality_70(image: AnnotatedImage) -> bytes:
    return encoded(picture_of(image), 70)


def nine_tenths(image: AnnotatedImage) -> bytes:
    size = round(0.9 * image.width), round(0.9 * image.height)
    return encoded(picture_of(image).resize(size), 90)


def train_is_eval(folder: Path) -> int:
    for file in files_of(folder, "val"):
        file.unlink()
    for file in files_of(folder, "train"):
        shutil.copy(file, folder / file.name.replace("train", "val"))
    return len(list(images_of(folder, "val")))


def missing_shard(folder: Path) -> int:
    files_of(folder, "train")[1].unlink()
    return 1


def truncated_shard(folder: Path) -> int:
    file = files_of(folder, "train")[0]
    file.write_bytes(file.read_bytes()[:-1000])
    return 1


def json_for_a_record(folder: Path) -> int:
    files_of(folder, "train")[0].write_text('{"images": [], "annotations": []}')
    return 1


def empty_file(folder: Path) -> int:
    files_of(folder, "train")[0].write_bytes(b"")
    return 1


def flipped_bit(folder: Path) -> int:
    file = files_of(folder, "train")[0]
    data = bytearray(file.read_bytes())
    data[2000] ^= 1
    file.write_bytes(bytes(data))
    return 1


def label_map_from_zero(folder: Path) -> int:
    path = folder / "label_map.pbtxt"
    path.write_text(path.read_text().replace("id: 1", "id: 0"))
    return 1


def absent_class(folder: Path) -> int:
    path = folder / "label_map.pbtxt"
    path.write_text(path.read_text() + "item { id: 7 name: 'hexagon' }\n")
    return 1


@dataclass(frozen=True)
class Case:
    """One kind of damage.

    Attributes:
        name: of the kind.
        plant: does it to a folder and says how much.
        cause: by which it should be named.
        also: causes that follow from it.
        annotated: whether the json is needed to see it.
    """

    name: str
    plant: Callable[[Path], int]
    cause: str
    also: frozenset[str] = frozenset()
    annotated: bool = False


def case(
    name: str, plant: Callable[[Path], int], cause: str, *also: str, annotated: bool = False
) -> Case:
    return Case(name, plant, cause, frozenset(also), annotated)


OFF = "boxes_differ_from_masks"
SOURCE = "annotations_differ_from_source"
NO_SHARES = "boxes_not_normalized"
AREAS = "areas_differ_from_boxes"
CASES = (
    case("boxes shifted by 1/4 to 1/2", noise("shifted"), OFF),
    case("boxes scaled by 0.5 to 2", noise("scaled"), OFF),
    case("boxes in pixels", noise("absolute"), "boxes_not_normalized"),
    case("all boxes in pixels", noise("absolute", 1.0), "boxes_not_normalized"),
    case("all boxes in pixels, no masks", in_pixels_without_masks, "boxes_not_normalized"),
    case("objects left out", noise("dropped"), SOURCE, annotated=True),
    case("classes swapped", noise("swapped"), SOURCE, annotated=True),
    case("objects of another image", noise("shuffled"), SOURCE, AREAS, annotated=True),
    case("boxes shifted, by the json", noise("shifted"), SOURCE, OFF, annotated=True),
    case("half of the images left out", fraction, SOURCE, "class_imbalance", annotated=True),
    case("objects doubled", of_objects(doubled, step=3), "boxes_doubled"),
    case("images copied", duplicates, "duplicate_images"),
    case(
        "boxes of 512 x 512",
        resized(lambda height, width: (512, 512)),
        "boxes_already_resized",
    ),
    case(
        "boxes of longer side 96",
        resized(lambda h, w: (96 * h / max(h, w), 96 * w / max(h, w))),
        "boxes_already_resized",
    ),
    case(
        "boxes of 512 x 512, no masks",
        resized(lambda height, width: (512, 512), masks=False),
        "boxes_already_resized",
    ),
    case(
        "boxes of 80 x 80, no masks",
        resized(lambda height, width: (80, 80), masks=False),
        "boxes_already_resized",
        AREAS,
    ),
    case("boxes in percent", of_unit(100.0), NO_SHARES),
    case("boxes in percent, no masks", of_unit(100.0, masks=False), NO_SHARES),
    case("boxes divided twice", of_unit(1 / 512), OFF),
    case("boxes divided twice, no masks", of_unit(1 / 512, masks=False), NO_SHARES, AREAS),
    case("xmin above xmax", boxes(swap_corners), "boxes_corners_swapped"),
    case("boxes of no height", boxes(flatten), "boxes_without_area"),
    case("boxes 5 % outside", boxes(push_outside), "boxes_outside"),
    case("NaN in boxes", boxes(make_nan), "boxes_not_finite"),
    case("labels from 0, no names", of_objects(zero_based), "label_id_offset"),
    case("labels from 0 beside names", of_objects(zero_based_with_names), "label_id_disagrees"),
    case(
        "names of other case",
        of_objects(other_case),
        "label_name_mismatch",
        "classes_without_objects",
    ),
    case("ids beyond the label map", of_objects(unknown_id, step=4), "class_id_unknown"),
    case("label map from 0", label_map_from_zero, "label_map_malformed"),
    case("a class without objects", absent_class, "classes_without_objects"),
    case("all boxes crowd", of_objects(all_crowd), "crowd_trained_as_positive"),
    case("areas as shares", of_objects(no_areas), AREAS),
    case("truncated JPEGs", of_images(cut_jpeg), "image_not_decodable"),
    case("WebP images", of_images(as_webp), "image_not_decodable"),
    case("recorded height wrong", of_images(turned), "image_size_mismatch"),
    case("EXIF orientation", of_images(with_exif), "image_orientation_ignored"),
    case("no image in the record", of_images(no_image), "record_malformed"),
    case("no Example", of_images(no_example), "record_malformed"),
    case("a label too many", of_objects(long_list, step=3), "record_malformed"),
    case("one xmax short", of_objects(short_corners, step=3), "record_malformed"),
    case("integer boxes", of_objects(integer_boxes, step=3), "record_malformed"),
    case(
        "masks of half size",
        of_objects(masks(lambda _, m: m[::2, ::2]), step=4),
        "mask_size_mismatch",
    ),
    case("empty masks", of_objects(masks(lambda _, m: m * 0), step=4), "masks_empty"),
    case("truncated masks", of_objects(cut_masks, step=4), "mask_not_decodable"),
    case("some images without masks", of_objects(without_masks, step=4), "masks_missing"),
    case("one shard of them missing", missing_shard, "partial_shards"),
    case("a truncated shard", truncated_shard, "records_unreadable"),
    case("a json under a record's name", json_for_a_record, "records_unreadable"),
    case("an empty file", empty_file, "records_unreadable"),
    case("a flipped bit", flipped_bit, "records_unreadable"),
    case("copies within a split", copies(same_bytes), "duplicate_images"),
    case("copies at JPEG quality 70", copies(quality_70), "duplicate_images"),
    case("copies resized to 90 %", copies(nine_tenths), "duplicate_images"),
    case("eval images trained on", copies(same_bytes, into="val"), "eval_train_overlap"),
    case("the same at quality 70", copies(quality_70, into="val"), "eval_train_overlap"),
    case("the same resized to 90 %", copies(nine_tenths, into="val"), "eval_train_overlap"),
    case("evaluation on training images", train_is_eval, "train_eq_eval"),
    case("one source id for many", of_images(same_source_id), "source_ids_repeated"),
    case("empty images", of_images(empty, step=1), "images_without_boxes"),
)
