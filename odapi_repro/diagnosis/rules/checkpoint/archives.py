"""What the path of a checkpoint gives away: which archive of the zoos it was unpacked from.

Names are those of the TF2 detection zoo, the TF2 classification zoo and the TF1 zoo
(g3doc/tf2_detection_zoo.md, tf2_classification_zoo.md, tf1_detection_zoo.md).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from odapi_repro.pipeline.named_paths import parts_of

Kind = Literal["detection", "classification", "tf1"]

_RESNETS = "(50|101|152)"
# Folder names of detection archives, most specific first, and the feature extractors whose
# weights they hold. D7 is built on B6, as D6 is; CenterNet ResNet-101 v1 FPN is resnet_v2_101 in
# configs/tf2 and resnet_v1_101_fpn by its name.
_DETECTION: tuple[tuple[str, Callable[[re.Match[str]], frozenset[str]]], ...] = (
    (
        r"efficientdet[_-]?d([0-7])",
        lambda m: frozenset({f"ssd_efficientnet-b{min(int(m[1]), 6)}_bifpn_keras"}),
    ),
    (r"ssd_mobilenet_v1_fpn", lambda m: frozenset({"ssd_mobilenet_v1_fpn_keras"})),
    (r"ssd_mobilenet_v2_fpn(?:lite)?", lambda m: frozenset({"ssd_mobilenet_v2_fpn_keras"})),
    (r"ssd_mobilenet_v2", lambda m: frozenset({"ssd_mobilenet_v2_keras"})),
    (rf"ssd_resnet{_RESNETS}_v1_fpn", lambda m: frozenset({f"ssd_resnet{m[1]}_v1_fpn_keras"})),
    (
        rf"faster_rcnn_resnet{_RESNETS}(?:_v1)?_fpn",
        lambda m: frozenset({f"faster_rcnn_resnet{m[1]}_fpn_keras"}),
    ),
    (
        rf"faster_rcnn_resnet{_RESNETS}",
        lambda m: frozenset({f"faster_rcnn_resnet{m[1]}_keras"}),
    ),
    (
        r"(?:faster|mask)_rcnn_inception_resnet_v2",
        lambda m: frozenset({"faster_rcnn_inception_resnet_v2_keras"}),
    ),
    (r"centernet_(?:hg|hourglass_?)104", lambda m: frozenset({"hourglass_104"})),
    (r"centernet_resnet50_v1_fpn", lambda m: frozenset({"resnet_v1_50_fpn"})),
    (
        r"centernet_resnet101_v1_fpn",
        lambda m: frozenset({"resnet_v1_101_fpn", "resnet_v2_101"}),
    ),
    (r"centernet_resnet50_v2", lambda m: frozenset({"resnet_v2_50"})),
    (
        r"centernet_mobilenet_?v2_?fpn",
        lambda m: frozenset({"mobilenet_v2_fpn", "mobilenet_v2_fpn_sep_conv"}),
    ),
    (r"extremenet", lambda m: frozenset({"hourglass_104"})),
)
# The published archives end like this; a folder that somebody named after a model does not.
_PUBLISHED = re.compile(r"_coco17_|_kpts|_(?:tpu|gpu)-\d+|^extremenet$")
# Folder and file names of the classification zoo, whose own spelling is mobilnet.
_CLASSIFICATION = (
    (re.compile(r"^efficientnet[_-]b([0-7])(?:[_.-].*)?$"), "efficientnet_b{}"),
    (re.compile(rf"^resnet_?{_RESNETS}(?:_v1)?(?:\.ckpt.*)?$"), "resnet{}_v1"),
    (re.compile(r"^mobile?net_v([12])(?:\.ckpt.*)?$"), "mobilenet_v{}"),
    (re.compile(r"^inception_resnet_v2(?:\.ckpt.*)?$"), "inception_resnet_v2"),
)
# Words that are easily mistyped, and one that is near to them and another network's.
_WORDS = ("mobilenet", "efficientnet", "efficientdet", "inception", "centernet", "hourglass")
_OTHER_WORDS = frozenset({*_WORDS, "mobiledet"})
# How people write the parts that the zoos write in one way.
_SPELLINGS = (
    (re.compile(r"mobilenet[_-]?v([12])(?![\d.])"), r"mobilenet_v\1"),
    (re.compile(rf"resnet[_-]?v1[_-]?{_RESNETS}"), r"resnet\1_v1"),
    (re.compile(rf"resnet[_-]?{_RESNETS}(?:[_-]?(v[12]))?(?!\d)"), r"resnet\1_\2"),
    (re.compile(r"efficientnet[_-]?b(?=[0-7])"), "efficientnet_b"),
    (re.compile(r"inception[_-]?resnet[_-]?v2"), "inception_resnet_v2"),
    (re.compile(r"(faster|mask)[_-]?rcnn"), r"\1_rcnn"),
    (re.compile(r"^ssd-"), "ssd_"),
    (re.compile(r"(?<=_v[12])-(?=fpn)"), "_"),
    (re.compile(r"_(?=_|\.|$)"), ""),
)
_TF1 = re.compile(r"_20(?:1[678]|19|20)_\d\d_\d\d$")
_TF1_FILE = re.compile(r"^model\.ckpt(?:-\d+)?$")


@dataclass(frozen=True)
class Archive:
    """An archive that a path names.

    Attributes:
        name: the part of the path that names it.
        kind: whose zoo it is from: `detection`, `classification`, or TensorFlow 1's.
        fits: for `detection` the feature extractors that its weights fit, for `classification`
            its backbone.
        published: whether the name is a published archive's own, or is only like one.
    """

    name: str
    kind: Kind
    fits: frozenset[str]
    published: bool = True


def archive_of(path: str) -> Archive | None:
    """Gives the archive that a checkpoint's path names; None where no part does.

    The part nearest to the file counts: `models/efficientdet_d0/efficientnet_b0/ckpt-0` is a
    classification checkpoint.
    """
    parts = parts_of(path[:4000])
    for part in reversed(parts):
        name = part.lower().removesuffix(".tar.gz")
        if _TF1.search(name) or (part == parts[-1] and _TF1_FILE.match(name)):
            return Archive(part, "tf1", frozenset())
        # As it stands first: what is only like a zoo's name is not sure to be it.
        for written in dict.fromkeys((name, spelt(name))):
            if archive := _archive_called(part, written, exact=written == name):
                return archive
    return None


def _archive_called(part: str, name: str, *, exact: bool) -> Archive | None:
    for pattern, backbone in _CLASSIFICATION:
        if match := pattern.match(name):
            fits = frozenset({backbone.format(*match.groups())})
            return Archive(part, "classification", fits, exact)
    for prefix, held in _DETECTION:
        if match := re.match(prefix, name.replace("-coco17", "_coco17")):
            published = exact and bool(_PUBLISHED.search(name))
            return Archive(part, "detection", held(match), published)
    return None


def spelt(name: str) -> str:
    """Gives the name of a model as the zoos write it: `mobilnetv2` is `mobilenet_v2`."""

    def corrected(match: re.Match[str]) -> str:
        word = match[0]
        if match[1] and word[-1] in "bdv":  # of b0, d0, v1
            word = word[:-1]
        if not 7 <= len(word) <= 14 or word in _OTHER_WORDS:
            return match[0]
        alike = difflib.get_close_matches(word, _OTHER_WORDS, n=1, cutoff=0.87)
        return alike[0] + match[0][len(word) :] if alike and alike[0] in _WORDS else match[0]

    name = re.sub(r"[a-z]+(?=(\d)?)", corrected, name.lower())
    for pattern, written in _SPELLINGS:
        name = pattern.sub(written, name)
    return name


def base_name(path: str) -> str:
    """Gives the last part of a path; empty for an empty one."""
    return (parts_of(path[-4000:]) or [""])[-1]


def backbone_of(feature_extractor: str) -> str:
    """Gives the classification zoo's name of a feature extractor's backbone; empty if it has none.

    CenterNet's ResNets and Hourglass are trained elsewhere, and are left out.
    """
    name = spelt(feature_extractor)
    if match := re.match(r"ssd_efficientnet_b([0-7])", name):
        return f"efficientnet_b{match[1]}"
    if match := re.match(rf"(?:ssd|faster_rcnn)_resnet{_RESNETS}", name):
        return f"resnet{match[1]}_v1"
    if match := re.match(r"ssd_mobilenet_v([12])", name):
        return f"mobilenet_v{match[1]}"
    return "inception_resnet_v2" if "inception_resnet_v2" in name else ""
