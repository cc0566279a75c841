"""The input is smaller or larger than the reference's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.model_parts import Part, image_resizer
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Quantities

# AP lost to halving both sides, SSD MobileNet v2 FPNLite 640 -> 320 in the OD API's own zoo.
_HALVING_AP = 6.0


class ImageSizeChanged(Rule):
    """The network sees smaller or larger images than the reference's.

    Small objects are the first to go: half the side leaves a quarter of their pixels.

    Anti-pattern

        image_resizer { fixed_shape_resizer { height: 320 width: 320 } }

    in the config of a model of 640.

    Best practice

    Keep the reference's size if the numbers are to be compared. If memory is short, lower the batch
    and scale the learning rate with it, or take the smaller model of the family.

    Source

    Huang et al. 2016, arXiv 1611.10012 (halving both sides: -15.9 % relative); the TF2 detection
    zoo's own pairs of one model in two sizes; Lin et al. 2017, arXiv 1708.02002, table 1e.
    core/preprocessor.resize_to_range.
    """

    code: ClassVar[str] = "MOD008"
    name: ClassVar[str] = "model.image_size"
    causes: ClassVar[tuple[str, ...]] = ("image_size_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the areas that the network sees, then how images are fitted into them."""
        resizer = image_resizer(subject.pipeline)
        expected_resizer = image_resizer(subject.reference_pipeline)
        ours, theirs = subject.quantities, subject.reference_quantities
        side, expected = _side(ours), _side(theirs)
        if side is None or expected is None or not resizer.kind:
            return
        factor = side / expected
        shown, shown_expected = _shown(ours), _shown(theirs)
        fix = _fix(resizer, expected_resizer)
        if factor < 0.98:
            loss_ap = min(_HALVING_AP * math.log2(1 / factor), 30.0)
            yield self.finding(
                "image_size_changed",
                Severity.WARNING if factor < 0.9 else Severity.INFO,
                fields=[resizer.chosen_path],
                found=f"the network sees {shown} pixels",
                expected=shown_expected,
                why=f"An object has {factor * factor:.0%} of its pixels in the reference's; "
                "anchors and strides stay, so small objects fall below them.",
                loss_ap=loss_ap,
                evidence=_evidence(factor, expected),
                fix=fix,
            )
        elif factor > 1.02:
            yield self.finding(
                "image_size_changed",
                Severity.INFO,
                fields=[resizer.chosen_path],
                found=f"the network sees {shown} pixels",
                expected=shown_expected,
                why=f"{factor * factor:.3g} times the pixels, memory and time an image; usually a "
                "gain of AP, mostly for small objects.",
                fix=fix,
            )
        elif resizer.kind != expected_resizer.kind:
            yield self.finding(
                "image_size_changed",
                Severity.INFO,
                fields=[resizer.chosen_path],
                found=f"images are {_FITTED.get(resizer.kind, 'resized')} {shown} pixels",
                expected=f"{_FITTED.get(expected_resizer.kind, 'resized to')} {shown_expected}",
                why="Stretching uses every pixel of the input and distorts shapes; padding keeps "
                "shapes and wastes what it pads.",
                loss_ap=0.3,  # judged: nothing published
                fix=fix,
            )


_FITTED = {
    "fixed_shape_resizer": "stretched to",
    "keep_aspect_ratio_resizer": "resized in proportion and padded to",
}


def _side(quantities: Quantities) -> float | None:
    """Geometric mean of the sides; None where images keep their own size."""
    height, width = quantities.input_height, quantities.input_width
    if not height or not width or height < 0 or width < 0:
        return None
    return math.sqrt(height) * math.sqrt(width)


def _shown(quantities: Quantities) -> str:
    return f"{quantities.input_height}x{quantities.input_width}"


def _evidence(factor: float, expected: float) -> tuple[Evidence, ...]:
    """The published pairs nearest to the ratio and the reference's size."""
    if factor > 0.7:
        return published("size_800_600")
    if expected > 900:
        return published("size_800_500", "size_halved")
    return published("size_640_320", "size_800_400", "size_halved")


def _fix(resizer: Part, expected: Part) -> list[FieldFix]:
    edits = [FieldFix(resizer.chosen_path, None)] if resizer.kind != expected.kind else []
    path, message = expected.chosen_path.split(".", 2)[-1], expected.message
    prefix = ".".join(resizer.path.split(".")[:2])
    if expected.kind == "fixed_shape_resizer":
        values = {"height": int(message.height), "width": int(message.width)}
    elif expected.kind == "keep_aspect_ratio_resizer":
        values = {
            "min_dimension": int(message.min_dimension),
            "max_dimension": int(message.max_dimension),
            "pad_to_max_dimension": bool(message.pad_to_max_dimension),
        }
    else:
        return []
    return edits + [FieldFix(f"{prefix}.{path}.{name}", value) for name, value in values.items()]
