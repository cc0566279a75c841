"""Where reported numbers stand, and how they are written into an entry."""

from __future__ import annotations

from odapi_repro.reference.entry import ReportedMetric

ZOO = "TF2 detection zoo (research/object_detection/g3doc/tf2_detection_zoo.md)"
HEAD = "comment at the head of the config"
# The zoo's page says COCO mAP and no more; images, scale and augmentation are the OD API's own
# evaluation.
PROTOCOL = "COCO val2017, 5,000 images, COCO AP in points, one scale, no test-time augmentation"
ARCHIVE_COPIES = "copies of the archive's pipeline.config in public repositories"

_METRICS = ("AP", "mask_AP", "keypoint_AP")
_ARCHIVES = "http://download.tensorflow.org/models/object_detection/tf2"


def in_zoo(
    box: float, *, mask: float | None = None, keypoint: float | None = None, remark: str = ""
) -> tuple[ReportedMetric, ...]:
    """Gives what the zoo's table has for a model; `remark` is added to the protocol."""
    protocol = f"{PROTOCOL}; {remark}" if remark else PROTOCOL
    return tuple(
        ReportedMetric(name, value, ZOO, protocol)
        for name, value in zip(_METRICS, (box, mask, keypoint), strict=True)
        if value is not None
    )


def in_head(box: float, *, mask: float | None = None) -> tuple[ReportedMetric, ...]:
    """Gives what the comment at the head of a config claims; it names COCO17 val and no more."""
    return tuple(
        ReportedMetric(name, value, HEAD, "COCO17 val")
        for name, value in (("AP", box), ("mask_AP", mask))
        if value is not None
    )


def archive_url(date: str, stem: str) -> str:
    """Gives the address of a checkpoint's archive, as the zoo's table links it."""
    return f"{_ARCHIVES}/{date}/{stem}.tar.gz"
