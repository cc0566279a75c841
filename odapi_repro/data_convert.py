"""`python -m odapi_repro.data convert`: COCO json and images to sharded records."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.datasets.limits import IMAGE_BYTES, IMAGE_PIXELS
from odapi_repro.features.convert_data import convert_data

if TYPE_CHECKING:
    pass


SUMMARY = "COCO json and images to sharded records, a label map and a manifest"
_MOST_SHARDS = 99_999
_MOST_WORKERS = 1024

_cli = Command("data convert", SUMMARY)
FLAGS = _cli.flags
_cli.string("annotations", None, "COCO instances json of the split")
_cli.string("image_dir", None, "folder or zip archive of its images; an archive is not unpacked")
_cli.string("output_dir", None, "where records, label_map.pbtxt and manifest.json go")
_cli.string("split", "train", "what the records of --annotations are named by")
_cli.integer(
    "shards", 0, "how many files; 0 for one a hundred images, 100 at most",
    lower_bound=0, upper_bound=_MOST_SHARDS,
)  # fmt: skip
_cli.string("keypoint_annotations", None, "json whose annotations of the same ids hold keypoints")
_cli.string("val_annotations", None, "COCO instances json of a second split, named val")
_cli.string("val_image_dir", None, "its images; --image_dir by default")
_cli.integer("val_shards", 0, "its files; as --shards", lower_bound=0, upper_bound=_MOST_SHARDS)
_cli.string("val_keypoint_annotations", None, "its keypoints")
_cli.enum(
    "include_masks", "auto", ("auto", "yes", "no"), "PNG masks; auto: where there are outlines"
)
_cli.string(
    "classes",
    None,
    "names of the classes to keep, parted by commas; all by default; a name "
    "that has a comma in double quotes",
)
_cli.enum("class_ids", "keep", ("keep", "consecutive"), "the json's category ids, or from 1 on")
_cli.enum("empty_images", "keep", ("keep", "drop"), "images without any object (of --classes)")
_cli.number(
    "subset", None, "share of the images of --annotations to take, classes and sizes as in all",
    lower_bound=0.0, upper_bound=1.0)  # fmt: skip
_cli.integer("images", None, "number of images of --annotations to take, likewise", lower_bound=1)
_cli.integer("seed", 0, "of the choice of images", lower_bound=0)
_cli.enum("bad_images", "refuse", ("refuse", "drop"), "images that are missing or do not decode")
_cli.boolean("check_boxes", True, "refuse boxes that are no x, y, width, height in pixels")
_cli.enum(
    "bad_annotations", "refuse", ("refuse", "drop"),
    "annotations of images or categories that the json does not hold",
)  # fmt: skip
_cli.enum(
    "size_mismatch", "refuse", ("refuse", "rescale", "drop"),
    "images of another size than the json says; rescale: annotations go to the file's size",
)  # fmt: skip
_cli.boolean("decode_images", False, "decode each image, not just its header and end")
_cli.integer("max_image_pixels", IMAGE_PIXELS, "pixels that an image may have", lower_bound=1)
_cli.integer(
    "max_unpacked_bytes", IMAGE_BYTES, "bytes that an image file may unpack to", lower_bound=1
)
_cli.integer(
    "workers", None, "processes; one a core by default", lower_bound=1, upper_bound=_MOST_WORKERS
)
_cli.boolean("overwrite", False, "replace an earlier conversion of the same splits")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(functools.partial(convert_data, FLAGS), argv)


if __name__ == "__main__":
    sys.exit(main())
