"""What a person reads after a conversion: every annotation accounted for."""

from __future__ import annotations

from odapi_repro.datasets.conversion.conversion_request import ConversionRequest
from odapi_repro.datasets.conversion.convert import Conversion
from odapi_repro.datasets.conversion.converted_objects import REASONS
from odapi_repro.datasets.conversion.manifest import SplitManifest
from odapi_repro.foreign_text import command_line, shown

_REASON_TEXTS = {
    "unknown_image": "of images that the json does not hold",
    "unknown_category": "of categories that the json does not hold",
    "not_finite": "box not finite",
    "no_area": "box without height or width",
    "outside_image": "box wholly outside of its image",
    "class_not_chosen": "of other classes than --classes",
    "image_not_chosen": "of images not taken",
    "image_dropped": "of images that were dropped",
}
_OBJECT_TEXTS = {
    "no_mask": "without an outline: an empty mask of weight 0",
    "damaged_mask": "with a damaged outline: an empty mask of weight 0",
    "empty_mask": "whose outline covers no pixel",
    "no_area": "without an area in the json: the mask's or the box's was taken",
    "with_keypoints": "with keypoints",
    "damaged_keypoints": "with damaged keypoints: written as not labelled",
}


def conversion_text(conversion: Conversion, request: ConversionRequest, seconds: float) -> str:
    """Gives the report of a conversion."""
    manifest = conversion.manifest
    lines: list[str] = []
    for name in conversion.already:
        split = manifest.splits[name]
        lines.append(
            f"{name}: already converted from the same input, shards that are whole: "
            f"{len(split.files)}"
        )
        lines += _note_lines(conversion, name)
    for name in conversion.converted:
        lines += _split_lines(manifest.splits[name])
        lines += _note_lines(conversion, name)
    written = sum(manifest.splits[name].images["written"] for name in conversion.converted)
    if conversion.converted:
        count = conversion.shards_kept
        kept = f", {count} shard{'s' if count > 1 else ''} kept" if count else ""
        lines.append(
            f"{written:,} images in {seconds:,.1f} s ({written / max(seconds, 1e-9):,.0f}/s) by "
            f"{request.workers} process{'es' if request.workers > 1 else ''}{kept}"
        )
    class_count = len(next(iter(manifest.splits.values())).per_class)
    lines.append(
        f"num_classes: {manifest.num_classes}"
        + (
            f" (the highest id; there {_classes(class_count)}, --class_ids consecutive numbers "
            "them from 1)"
            if manifest.num_classes > class_count
            else ""
        )
    )
    lines.append(command_line(["--data", str(request.output_dir)]))
    return "\n".join(map(shown, lines)) + "\n"


def _note_lines(conversion: Conversion, name: str) -> list[str]:
    return [f"  note: {one}" for one in conversion.notes.get(name, ())]


def _split_lines(split: SplitManifest) -> list[str]:
    images, annotations = split.images, split.annotations
    size = sum(file.bytes for file in split.files)
    lines = [
        f"{split.name}: {images['written']:,} of {images['in_json']:,} images in "
        f"{len(split.files)} shard{'s' if len(split.files) > 1 else ''}, {size / 1e6:,.1f} MB"
        + (", masks" if split.has_masks else "")
        + (f", {len(split.keypoints)} keypoints" if split.keypoints else ""),
    ]
    for key, text in (
        ("without_objects", "without any object"),
        ("missing", "missing, dropped"),
        ("undecodable", "undecodable, dropped"),
        ("of_other_size", "of another size than the json says, dropped"),
        ("rescaled", "resized after being annotated: annotations brought to the file's size"),
        ("turned_by_exif", "turned by EXIF, which TensorFlow does not apply: look at their boxes"),
    ):
        if images[key]:
            lines.append(f"{_plural(images[key], 'image')} {text}")
    lines.append(f"{_plural(annotations['in_json'], 'annotation')}, of which")
    lines.append(f"  {annotations['kept']:>11,}   kept" + _clipped(split))
    lines += [
        f"  {annotations[reason]:>11,}   {_REASON_TEXTS[reason]}"
        for reason in REASONS[1:]
        if annotations[reason]
    ]
    lines += [
        f"{_plural(split.objects[key], 'object')} {text}"
        for key, text in _OBJECT_TEXTS.items()
        if split.objects.get(key)
    ]
    for key, noun, text in (
        ("doubled", "object", "given again: same image, class and box as an earlier one, kept"),
        ("ids_given_again", "annotation", "whose id an earlier one has"),
    ):
        if annotations[key]:
            lines.append(f"{_plural(annotations[key], noun)} {text}")
    if split.subset:
        subset = split.subset
        lines.append(
            "  shares differ from the whole's by at most "
            f"{100 * subset['largest_difference_of_a_class_share']:.3f} points of a class "
            f"('{subset['class']}') and "
            f"{100 * subset['largest_difference_of_a_size_share']:.3f} of a size "
            f"({subset['size']})"
        )
    return lines


def _classes(count: int) -> str:
    return f"are {count} classes" if count > 1 else "is 1 class"


def _plural(count: int, noun: str) -> str:
    return f"  {count:>11,} {noun}{'' if count == 1 else 's'}"


def _clipped(split: SplitManifest) -> str:
    clipped = split.annotations["clipped"]
    far = split.annotations["clipped_by_more_than_a_pixel"]
    if not clipped:
        return ""
    return f", {clipped:,} of them clipped to the image" + (
        f" ({far:,} by more than a pixel)" if far else ""
    )
