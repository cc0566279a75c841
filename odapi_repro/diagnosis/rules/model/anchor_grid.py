"""The anchors of a config in numbers, whichever generator makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odapi_repro.diagnosis.rules.model.model_parts import anchor_generator
from odapi_repro.pipeline import Pipeline

_MOST_LAYERS = 64


@dataclass(frozen=True)
class AnchorGrid:
    """Anchors of one model.

    Attributes:
        kind: the generator, without `_anchor_generator`.
        num_levels: feature maps that it makes anchors for.
        per_location: anchors at one location (of the largest count among levels).
        base_size: side of the smallest level's base anchor: pixels of the resized image (grid,
            multiscale), or a share of its shorter side (ssd).
        levels: (lowest, highest) of a pyramid; None elsewhere.
        shapes: scales and aspect ratios in words.
        normalized: multiscale anchors in coordinates from 0 to 1, not in pixels.
    """

    kind: str
    num_levels: int
    per_location: int
    base_size: float
    levels: tuple[int, int] | None
    shapes: str
    normalized: bool = False

    @property
    def described(self) -> str:
        """All of it in a clause."""
        size = f"{self.base_size:g} pixels" if self.base_size > 1 else f"{self.base_size:g}"
        return (
            f"{self.per_location} anchors a location on {self.num_levels} "
            f"level{'s' if self.num_levels != 1 else ''} from {size} up, {self.shapes}"
        )


def read_anchors(pipeline: Pipeline) -> AnchorGrid | None:
    """Gives the anchors; None for a model without a generator.

    Source: anchor_generators/{grid,multiple_grid,multiscale_grid,flexible_grid}_anchor_generator.
    """
    part = anchor_generator(pipeline)
    reader = _READERS.get(part.kind)
    return reader(part.message) if reader is not None else None


def _grid(message: Any) -> AnchorGrid:
    scales, ratios = list(message.scales), list(message.aspect_ratios)
    smallest = min(scales, default=0.0) * min(int(message.height), int(message.width))
    return AnchorGrid(
        "grid",
        1,
        len(scales) * len(ratios),
        smallest,
        None,
        f"scales {_listed(scales)}, aspect ratios {_listed(ratios)}",
    )


def _multiscale(message: Any) -> AnchorGrid:
    low, high = int(message.min_level), int(message.max_level)
    octave, ratios = int(message.scales_per_octave), list(message.aspect_ratios)
    return AnchorGrid(
        "multiscale",
        max(high - low + 1, 0),
        max(octave, 0) * len(ratios),
        float(message.anchor_scale) * 2.0 ** min(max(low, 0), _MOST_LAYERS),
        (low, high),
        f"{octave} scales an octave, aspect ratios {_listed(ratios)}",
        bool(message.normalize_coordinates),
    )


def _ssd(message: Any) -> AnchorGrid:
    ratios, layers = list(message.aspect_ratios), int(message.num_layers)
    between = 1 if message.interpolated_scale_aspect_ratio > 0 else 0
    reduced = bool(message.reduce_boxes_in_lowest_layer)
    if layers <= 1 and reduced:
        count = 3 if layers == 1 else 0
    else:
        count = len(ratios) + between if layers > 0 else 0
    scales = list(message.scales)
    smallest = float(scales[0] if scales else message.min_scale)
    shown = (
        f"scales {_listed(scales)}"
        if scales
        else f"scales {message.min_scale:g} to {message.max_scale:g}"
    )
    return AnchorGrid(
        "ssd", layers, count, smallest, None, f"{shown}, aspect ratios {_listed(ratios)}"
    )


def _flexible(message: Any) -> AnchorGrid:
    grids = list(message.anchor_grid)
    sizes = [size for grid in grids for size in grid.base_sizes]
    counts = [len(grid.base_sizes) for grid in grids]
    return AnchorGrid(
        "flexible_grid",
        len(grids),
        max(counts, default=0),
        min(sizes, default=0.0),
        None,
        f"{len(sizes)} sizes",
        bool(message.normalize_coordinates),
    )


def _listed(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.4g}" for value in sorted(values)[:8])
    return shown + (", ..." if len(values) > 8 else "") if values else "none"


_READERS = {
    "grid_anchor_generator": _grid,
    "multiscale_anchor_generator": _multiscale,
    "ssd_anchor_generator": _ssd,
    "flexible_grid_anchor_generator": _flexible,
}
