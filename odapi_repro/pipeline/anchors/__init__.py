"""A pipeline's anchors as numbers: where they lie on an input, and what they overlap."""

from odapi_repro.pipeline.anchors.anchor_design import (
    AnchorDesign,
    InputSizes,
    Resizer,
    anchor_design,
    read_resizer,
)
from odapi_repro.pipeline.anchors.anchor_matching import (
    AnchorLevel,
    AnchorSet,
    BestAnchors,
    Border,
    Matcher,
    best_anchors,
    read_matcher,
)

__all__ = [
    "AnchorDesign",
    "AnchorLevel",
    "AnchorSet",
    "BestAnchors",
    "Border",
    "InputSizes",
    "Matcher",
    "Resizer",
    "anchor_design",
    "best_anchors",
    "read_matcher",
    "read_resizer",
]
