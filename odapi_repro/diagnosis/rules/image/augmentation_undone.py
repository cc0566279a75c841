"""Scaling of whole images that the resizer takes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.image.augmentation_steps import GEOMETRY, kinds, undone
from odapi_repro.diagnosis.subject import Subject


class AugmentationUndone(Rule):
    """An image is scaled as a whole, and the resizer scales it back.

    Augmentation runs before the model's resizer, which takes an image of any scale to the same
    size: objects are as large as before, and what is left of the step is some blur.

    Anti-pattern

        image_resizer { fixed_shape_resizer { height: 640 width: 640 } }
        data_augmentation_options { random_image_scale { } }

    Best practice

    Jitter of scale that stays is a crop or padding: random_scale_crop_and_pad_to_square,
    random_square_crop_by_scale, ssd_random_crop.

    Source

    inputs.transform_input_data (data_augmentation_fn, then model_preprocess_fn with the resizer),
    core/preprocessor.random_image_scale, resize_image and random_resize_method (boxes are shares of
    the image and stay). Only identity_resizer, and steps in between that count in pixels, see
    the scale.
    """

    code: ClassVar[str] = "MOD020"
    name: ClassVar[str] = "model.augmentation_undone"
    causes: ClassVar[tuple[str, ...]] = ("augmentation_undone",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for steps that only scale, before a resizer to one size."""
        steps = undone(subject.pipeline)
        if not steps:
            return
        named = {step.kind for step in steps}
        alone = not (set(kinds(subject.pipeline)) - named) & GEOMETRY
        step = steps[0]
        yield self.finding(
            "augmentation_undone",
            Severity.WARNING if alone else Severity.INFO,
            fields=[one.path for one in steps],
            found=f"{', '.join(dict.fromkeys(one.kind for one in steps))} before a resizer that "
            "undoes it",
            expected="crops or padding, which change the size of objects in the input",
            why="The resizer takes an image of any scale to the same size, so that objects are "
            "seen at the size they always have" + ("; nothing else varies it." if alone else "."),
            loss_ap=0.5 if alone else 0.0,  # judged: what it was set for is not there
            fix=[FieldFix(step.path.removesuffix(f".{step.kind}"), None)]
            if len(steps) == 1
            else [],
            count=len(steps),
        )
