"""A pipeline's anchors as numbers: where they lie on an input, and what they overlap."""

from odapi_repro.pipeline.anchors.design import AnchorDesign, anchor_design
from odapi_repro.pipeline.anchors.grids import AnchorLevel, AnchorSet, Border
from odapi_repro.pipeline.anchors.input_size import InputSizes, Resizer, read_resizer
from odapi_repro.pipeline.anchors.matching import BestAnchors, Matcher, best_anchors, read_matcher

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
