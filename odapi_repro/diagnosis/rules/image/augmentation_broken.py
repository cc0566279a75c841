"""Augmentation steps that break the input instead of varying it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.image.augmentation_steps import steps
from odapi_repro.diagnosis.subject import Subject

# kind: (severity, what it does). Each was read in core/preprocessor and what follows it.
_BROKEN = {
    "": (
        Severity.FATAL,
        "The OD API stops with 'Unknown preprocessing step': the option names none.",
    ),
    "autoaugment_image": (
        Severity.FATAL,
        "It calls tensorflow.contrib, which TensorFlow 2 does not have; the input pipeline stops.",
    ),
    "rgb_to_gray": (
        Severity.FATAL,
        "Training images get one channel and evaluation images keep three, for the same network "
        "(random_rgb_to_gray keeps three).",
    ),
    "scale_boxes_to_pixel_coordinates": (
        Severity.FATAL,
        "Boxes in pixels meet a model that takes them as shares of the image: none fits an anchor.",
    ),
    "normalize_image": (
        Severity.CRITICAL,
        "The model normalises by itself, afterwards and at evaluation too: training images then "
        "have other values than evaluation images. With its default range of 0 to 0 the step "
        "divides by zero.",
    ),
    "subtract_channel_mean": (
        Severity.CRITICAL,
        "The model normalises by itself, afterwards and at evaluation too: training images are "
        "darker by the means than evaluation images.",
    ),
}


class AugmentationBreaksInput(Rule):
    """A step among the augmentation breaks the input or is not there in TensorFlow 2.

    Some of the steps in the proto are preprocessing of other model builders. Under model_main_tf2
    the model preprocesses by itself, and only training goes through these steps.

    Anti-pattern

        data_augmentation_options { normalize_image { original_maxval: 255.0 } }

    Best practice

    Leave the step out. Flips, crops, colour changes and padding are what belongs here.

    Source

    inputs.transform_input_data (augmentation, then model.preprocess), inputs.eval_input (no
    augmentation), core/preprocessor, utils/autoaugment_utils (imports tensorflow.contrib),
    builders/preprocessor_builder.build.
    """

    code: ClassVar[str] = "MOD013"
    name: ClassVar[str] = "model.augmentation_broken"
    causes: ClassVar[tuple[str, ...]] = ("augmentation_breaks_input",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for steps that cannot do what they seem to."""
        broken = [step for step in steps(subject.pipeline) if step.kind in _BROKEN]
        for kind in dict.fromkeys(step.kind for step in broken):
            alike = [step for step in broken if step.kind == kind]
            step = alike[0]
            severity, why = _BROKEN[kind]
            yield self.finding(
                "augmentation_breaks_input",
                severity,
                fields=[one.path for one in alike],
                found=f"{kind or 'an empty option'} among the augmentation",
                expected="flips, crops, colour changes, padding",
                why=why,
                loss_ap=30.0,  # judged: evaluation sees what was never trained on
                # Of several, the removal of one would move the others.
                fix=[FieldFix(step.path.removesuffix(f".{kind}"), None)]
                if len(broken) == 1
                else [],
                count=len(alike),
            )
