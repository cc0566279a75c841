"""Augmentation that goes beyond the reference's, and beyond what the schedule can use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.image.augmentation_steps import (
    GEOMETRY,
    Step,
    kinds,
    steps,
    undone,
)
from odapi_repro.diagnosis.subject import Subject

# Below so many epochs over its data, a run has not seen enough views to need more of them.
_SHORT_EPOCHS = 24.0
# Ranges beyond which colours stop looking like photographs; the protos' defaults are 0.02 (hue),
# 0.2 (brightness), 0.8 to 1.25 (contrast, saturation) and 0.1 (gray).
_LIMITS = (
    ("random_adjust_hue", "max_delta", None, 0.1),
    ("random_adjust_brightness", "max_delta", None, 0.4),
    ("random_adjust_contrast", "min_delta", 0.4, None),
    ("random_adjust_contrast", "max_delta", None, 2.0),
    ("random_adjust_saturation", "min_delta", 0.3, None),
    ("random_adjust_saturation", "max_delta", None, 3.0),
    ("random_rgb_to_gray", "probability", None, 0.4),
    ("random_black_patches", "size_to_image_ratio", None, 0.25),
    ("random_patch_gaussian", "max_gaussian_stddev", None, 0.5),
)


@dataclass(frozen=True)
class _Excess:
    """One way in which the augmentation is strong."""

    words: str
    fields: tuple[str, ...]
    severity: Severity
    loss_ap: float
    evidence: tuple[Evidence, ...] = ()
    why: str = ""


class AugmentationTooStrong(Rule):
    """The augmentation is stronger than the reference's, or than a short run can use.

    Strong augmentation pays at the end of long schedules. In a short run it only makes the images
    harder, and some of it is wrong for the data: a car upside down, boxes that no longer fit.

    Anti-pattern

        data_augmentation_options { random_vertical_flip { } }
        data_augmentation_options { random_jitter_boxes { ratio: 0.2 } }
        data_augmentation_options { random_crop_image { } }

    stacked on the reference's own crops. random_jitter_boxes moves the boxes and not the image: it
    is label noise.

    Best practice

    Start from the reference's augmentation, add one at a time, and look at augmented images with
    their boxes first.

    Source

    Ge et al. 2021, arXiv 2107.08430 (a small model loses 1.3 AP to stronger augmentation);
    RetinaNet with 20 % box noise loses 6.7 AP. core/preprocessor.random_jitter_boxes.
    """

    code: ClassVar[str] = "MOD012"
    name: ClassVar[str] = "model.augmentation_too_strong"
    causes: ClassVar[tuple[str, ...]] = ("augmentation_too_strong",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Gathers what is strong, and reports it at the worst severity."""
        excesses = [
            *_of_boxes(subject),
            *_of_crops(subject),
            *_of_turns(subject),
            *_of_colours(subject),
            *_of_number(subject),
            *_of_scale(subject),
        ]
        if not excesses:
            return
        worst = min(excess.severity for excess in excesses)
        told = [excess for excess in excesses if excess.severity is worst]
        told.sort(key=lambda excess: -excess.loss_ap)
        yield self.finding(
            "augmentation_too_strong",
            worst,
            fields=[path for excess in told for path in excess.fields],
            found="; ".join(excess.words for excess in told),
            expected=", ".join(kinds(subject.reference_pipeline)) or "no augmentation",
            why=told[0].why
            or "Training images get harder than the images of the evaluation; only a long "
            "schedule can make up for it."
            if worst is Severity.WARNING
            else "Worth a look at augmented images; whether it fits is a matter of the data.",
            loss_ap=max(excess.loss_ap for excess in told),
            evidence=[item for excess in told for item in excess.evidence],
            count=len(told),
        )


def _new(subject: Subject, kind: str) -> Step | None:
    """Gives the first step of a kind that the reference does not have."""
    if kind in kinds(subject.reference_pipeline):
        return None
    return next((step for step in steps(subject.pipeline) if step.kind == kind), None)


def _of_boxes(subject: Subject) -> Iterator[_Excess]:
    step = _new(subject, "random_jitter_boxes")
    if step is not None and step.message.ratio > 0:
        ratio = float(step.message.ratio)
        # 20 % of the side cost 6.7 AP, and the loss grows faster than the noise.
        yield _Excess(
            f"box edges are moved by up to {ratio:.0%} of the side, and the image is not",
            (step.at("ratio"),),
            Severity.WARNING,
            min(30.0, 6.7 * ratio / 0.2),
            published("box_noise_20"),
            "The labels get worse, not the images harder: boxes that do not fit are learnt as they "
            "are.",
        )
    step = _new(subject, "drop_label_probabilistically")
    if step is not None and step.message.drop_probability > 0:
        yield _Excess(
            f"boxes of class {step.message.label} are dropped with probability "
            f"{step.message.drop_probability:g}, and their objects become background",
            (step.at("drop_probability"),),
            Severity.WARNING,
            1.3,
            published("missing_boxes_20"),
            "The labels get worse, not the images harder: what is not labelled is learnt as "
            "background.",
        )


def _of_crops(subject: Subject) -> Iterator[_Excess]:
    # What the resizer takes back makes no image harder: MOD020 tells of it.
    taken_back = {step.path for step in undone(subject.pipeline)}
    crops = [
        step
        for step in steps(subject.pipeline)
        if step.kind in GEOMETRY and step.path not in taken_back
    ]
    usual = sum(kind in GEOMETRY for kind in kinds(subject.reference_pipeline))
    if len(crops) >= 2 and len(crops) > usual:
        yield _Excess(
            f"{len(crops)} crops, scalings or paddings one after the other, the reference has "
            f"{usual}",
            tuple(step.path for step in crops),
            Severity.WARNING,
            1.3,
            published("augmentation_too_strong"),
        )


def _of_turns(subject: Subject) -> Iterator[_Excess]:
    turns = [
        step
        for step in (_new(subject, "random_vertical_flip"), _new(subject, "random_rotation90"))
        if step is not None
    ]
    if turns:
        upright = (
            subject.quantities.train_images is not None and subject.quantities.num_classes == 90
        )
        yield _Excess(
            f"images are turned upside down or sideways ({', '.join(s.kind for s in turns)})",
            tuple(step.path for step in turns),
            # COCO's photographs are upright; aerial or microscope images have no up.
            Severity.WARNING if upright else Severity.INFO,
            1.0,  # judged
        )


def _of_colours(subject: Subject) -> Iterator[_Excess]:
    beyond = []
    for step in steps(subject.pipeline):
        for kind, field, low, high in _LIMITS:
            if step.kind != kind:
                continue
            value = float(getattr(step.message, field))
            if (low is not None and value < low) or (high is not None and value > high):
                beyond.append((f"{kind} {field} {value:g}", step.at(field)))
    if beyond:
        yield _Excess(
            "colours unlike a photograph's: " + ", ".join(words for words, _ in beyond),
            tuple(path for _, path in beyond),
            Severity.WARNING,
            1.0,  # judged
        )


def _of_number(subject: Subject) -> Iterator[_Excess]:
    ours, theirs = kinds(subject.pipeline), kinds(subject.reference_pipeline)
    if len(ours) >= len(theirs) + 4:
        yield _Excess(
            f"{len(ours)} augmentations, the reference has {len(theirs)}",
            ("train_config.data_augmentation_options",),
            Severity.WARNING,
            1.0,  # judged
            published("augmentation_too_strong"),
        )


def _of_scale(subject: Subject) -> Iterator[_Excess]:
    kind = "random_scale_crop_and_pad_to_square"
    step = next((one for one in steps(subject.pipeline) if one.kind == kind), None)
    other = next((one for one in steps(subject.reference_pipeline) if one.kind == kind), None)
    epochs = subject.quantities.epochs
    if step is None:
        return
    low = float(step.message.scale_min)
    stronger = other is None or low < 0.7 * float(other.message.scale_min)
    short = epochs is not None and epochs < _SHORT_EPOCHS
    if low > 0.3 or not (stronger or short):
        return
    length = f" in {epochs:.2g} epochs" if short else ""
    yield _Excess(
        f"objects shrink to {low:g} of their size at the least{length}",
        (step.at("scale_min"),),
        # Over 50 epochs such jitter gained 0.3 AP, and fine-tuning is short by nature.
        Severity.WARNING if short and not subject.is_fine_tuning else Severity.INFO,
        1.0 if stronger else 0.5,  # judged
        published("wide_jitter"),
    )
