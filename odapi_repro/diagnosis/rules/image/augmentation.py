"""Rules about data augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.network import image_resizer
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline

#: Augmentations that change scale or position: crops, padding, resizing.
GEOMETRY = frozenset(
    {
        "random_absolute_pad_image",
        "random_crop_image",
        "random_crop_pad_image",
        "random_crop_to_aspect_ratio",
        "random_image_scale",
        "random_pad_image",
        "random_scale_crop_and_pad_to_square",
        "random_square_crop_by_scale",
        "ssd_random_crop",
        "ssd_random_crop_fixed_aspect_ratio",
        "ssd_random_crop_pad",
        "ssd_random_crop_pad_fixed_aspect_ratio",
    }
)
#: Augmentations that mirror or turn.
MIRRORS = frozenset({"random_horizontal_flip", "random_rotation90", "random_vertical_flip"})

_RESCALES = frozenset({"random_image_scale"})
_RESHAPES = frozenset({"random_resize_method", "resize_image"})
_IN_PIXELS = frozenset(
    {
        "random_absolute_pad_image",
        "random_downscale_to_target_pixels",
        "random_patch_gaussian",
        "random_self_concat_image",
    }
)


@dataclass(frozen=True)
class Step:
    """One of data_augmentation_options.

    Attributes:
        kind: the proto's field name; empty for an option that names none.
        message: its parameters.
        path: dotted path.
    """

    kind: str
    message: Any
    path: str

    def at(self, field: str) -> str:
        """Path of one of its parameters."""
        return f"{self.path}.{field}"


def steps(pipeline: Pipeline) -> Iterator[Step]:
    """Gives the steps in order."""
    for index, option in enumerate(pipeline.proto.train_config.data_augmentation_options):
        kind = str(option.WhichOneof("preprocessing_step") or "")
        path = f"train_config.data_augmentation_options[{index}]"
        message = getattr(option, kind) if kind else None
        yield Step(kind, message, f"{path}.{kind}" if kind else path)


def undone(pipeline: Pipeline) -> list[Step]:
    """Gives the steps that scale the whole image and that the model's resizer undoes.

    Boxes are shares of the image, and a resizer that aims at a size of its own takes an image of
    any scale to the same pixels (inputs.transform_input_data: augmentation, then preprocess). A
    step that counts in pixels, after one that scales, sees the scale.
    """
    resizer = image_resizer(pipeline).kind
    scaling = {"fixed_shape_resizer": _RESCALES | _RESHAPES, "keep_aspect_ratio_resizer": _RESCALES}
    found: list[Step] = []
    for step in steps(pipeline):
        if step.kind in scaling.get(resizer, ()):
            found.append(step)
        elif step.kind in _IN_PIXELS or (step.kind == "random_pad_image" and _sized(step.message)):
            found.clear()
    return found


def _sized(message: Any) -> bool:
    sides = ("min_image_height", "min_image_width", "max_image_height", "max_image_width")
    return any(getattr(message, side) for side in sides)


def kinds(pipeline: Pipeline) -> list[str]:
    """Gives the kinds in order."""
    return [step.kind for step in steps(pipeline)]


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


_PATH = "train_config.data_augmentation_options"
# Scale jitter that the reference's long schedule was tuned for.
_STRONG = ("random_scale_crop_and_pad_to_square",)


class AugmentationRemoved(Rule):
    """Augmentation that the reference trains with is missing.

    Long schedules live on it: without changes of scale and position, a model sees the same views
    hundreds of times and starts to remember them.

    Anti-pattern

    Dropping every data_augmentation_options block to see the network's raw accuracy.

    Best practice

    Keep the reference's crops and scale jitter. Drop a flip only where left and right mean
    something (text, traffic signs), and colour changes only where colour is the class.

    Source

    sbl1996/hanser, TensorFlow, RetinaNet R50 at 1024: jitter 0.5 to 2.0 and crops against fixed
    size -3.5 AP; mmdetection, arXiv 1906.07155: scale jitter off -1.2. No number was found for
    flips or colours alone.
    """

    code: ClassVar[str] = "MOD011"
    name: ClassVar[str] = "model.augmentation_removed"
    causes: ClassVar[tuple[str, ...]] = ("augmentation_removed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares kinds of augmentation, then the range of scales."""
        if not subject.same_architecture:
            return
        ours, theirs = list(steps(subject.pipeline)), list(steps(subject.reference_pipeline))
        present = {step.kind for step in ours}
        missing = [step.kind for step in theirs if step.kind not in present]
        scales = present - {step.kind for step in undone(subject.pipeline)}
        lost_geometry = not scales & GEOMETRY and any(kind in GEOMETRY for kind in missing)
        if missing and not ours:
            loss_ap, evidence = _geometry_loss(theirs) if lost_geometry else (0.8, ())
            yield self._removed(
                Severity.WARNING, "no augmentation at all", theirs, loss_ap, evidence
            )
        elif lost_geometry:
            loss_ap, evidence = _geometry_loss(theirs)
            yield self._removed(
                Severity.WARNING,
                f"no crops or scale jitter: {_listed(missing)} missing",
                theirs,
                loss_ap,
                evidence,
            )
        elif missing:
            swapped = [kind for kind in missing if kind in GEOMETRY]
            loss_ap = 0.5 if swapped or set(missing) & MIRRORS else 0.2  # judged
            yield self._removed(Severity.INFO, f"without {_listed(missing)}", theirs, loss_ap, ())
        yield from self._narrowed(ours, theirs)

    def _removed(
        self,
        severity: Severity,
        found: str,
        theirs: list[Step],
        loss_ap: float,
        evidence: tuple[Evidence, ...],
    ) -> Finding:
        return self.finding(
            "augmentation_removed",
            severity,
            fields=[_PATH],
            found=found,
            expected=_listed([step.kind for step in theirs]),
            why="Views repeat from epoch to epoch, and the model learns them by heart; the longer "
            "the schedule, the more it costs."
            if severity is Severity.WARNING
            else "Whether it costs anything depends on the data.",
            loss_ap=loss_ap,
            evidence=evidence,
        )

    def _narrowed(self, ours: list[Step], theirs: list[Step]) -> Iterator[Finding]:
        """Scale jitter of the reference's kind with a much smaller range."""
        for kind in ("random_scale_crop_and_pad_to_square", "random_square_crop_by_scale"):
            pair = [
                next((step for step in side if step.kind == kind), None) for side in (ours, theirs)
            ]
            if pair[0] is None or pair[1] is None:
                continue
            span, expected = (float(s.message.scale_max - s.message.scale_min) for s in pair if s)
            if span < 0.5 * expected:
                step, other = pair[0].message, pair[1].message
                yield self.finding(
                    "augmentation_removed",
                    Severity.WARNING if kind in _STRONG else Severity.INFO,
                    fields=[pair[0].at("scale_min"), pair[0].at("scale_max")],
                    found=f"scale jitter from {step.scale_min:g} to {step.scale_max:g}",
                    expected=f"{other.scale_min:g} to {other.scale_max:g}",
                    why="Objects are shown at fewer sizes, and a long schedule learns them by "
                    "heart.",
                    loss_ap=1.2 if kind in _STRONG else 0.3,
                    evidence=published("scale_jitter_off"),
                )


def _geometry_loss(theirs: list[Step]) -> tuple[float, tuple[Evidence, ...]]:
    if any(step.kind in _STRONG for step in theirs):
        return 3.5, published("augmentation_off", "scale_jitter_off")
    return 1.2, published("scale_jitter_off")


def _listed(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(name or "(empty)" for name in names)) or "none"


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
            else "Look at augmented images: whether it fits depends on the data.",
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
            "This makes the labels worse, not the images harder: boxes that do not fit are learned "
            "as they are.",
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
            "This makes the labels worse, not the images harder: what is not labelled is learned "
            "as background.",
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


_FIELDS = {
    "random_horizontal_flip": "keypoint_flip_permutation",
    "random_vertical_flip": "keypoint_flip_permutation",
    "random_rotation90": "keypoint_rot_permutation",
}


class KeypointPermutation(Rule):
    """A flip's permutation of keypoints is missing, or is of another number than the reader's.

    The flip of a person makes the left eye the right one: the permutation says which keypoint
    becomes which.

    Anti-pattern

        train_input_reader { num_keypoints: 5 }
        random_horizontal_flip { }                # or the 17 of COCO's people

    Best practice

        random_horizontal_flip {
          keypoint_flip_permutation: [0, 2, 1, 4, 3]
        }

    As many as num_keypoints, each of 0 to num_keypoints - 1 once. random_rotation90 may do
    without; a flip may not.

    Source

    core/preprocessor.random_horizontal_flip and random_vertical_flip (ValueError without one),
    random_rotation90; core/keypoint_ops.flip_horizontal, flip_vertical and rot90, which gather the
    permutation: what comes out has its length, so that images that are flipped and images that
    are not do not fit into one batch.
    """

    code = "MOD018"
    name = "model.keypoint_permutation"
    causes = ("keypoint_count_mismatch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at every flip and turn of a pipeline that reads keypoints."""
        count = int(subject.pipeline.proto.train_input_reader.num_keypoints)
        if not count:
            return
        for step in steps(subject.pipeline):
            field = _FIELDS.get(step.kind)
            if field is not None:
                given = [int(one) for one in getattr(step.message, field)]
                task = bool(subject.pipeline.keypoint_tasks)
                yield from self._step(step, field, given, count, _batch(subject), has_task=task)

    def _step(
        self, step: Step, field: str, given: list[int], count: int, batch: int, *, has_task: bool
    ) -> Iterator[Finding]:
        beyond = [one for one in given if not 0 <= one < count]
        if not given:
            if step.kind == "random_rotation90":
                return
            found, severity = f"{step.kind} without {field}, with {count} keypoints", Severity.FATAL
            why = "The input stops: 'keypoints_flip_permutation is not provided'."
        elif len(given) != count:
            found = f"{field} has {len(given)} values, and num_keypoints is {count}"
            stops = batch > 1 and 0 < step.message.probability < 1
            severity = Severity.FATAL if stops or beyond else Severity.CRITICAL
            why = (
                f"An image has {len(given)} keypoints an object where it is applied, else {count}: "
            )
            why += (
                "they do not fit into one batch, and training stops."
                if stops
                else "the model takes one for another, or stops."
            )
        elif beyond:
            found = f"{field} has {beyond[0]}, and {count} keypoints are 0 to {count - 1}"
            severity = Severity.FATAL
            why = f"The input stops where it is applied: '{beyond[0]} is not in [0, {count})'."
        elif len(set(given)) < count:
            twice = next(one for one in given if given.count(one) > 1)
            found, severity = f"{field} has {twice} more than once", Severity.WARNING
            why = "Where it is applied two keypoints are in one place, and another is lost."
        else:
            return
        yield self.finding(
            "keypoint_count_mismatch",
            severity,
            fields=(step.at(field), "train_input_reader.num_keypoints"),
            found=found,
            expected=f"each of 0 to {count - 1} once"
            + ("" if has_task else ", or no num_keypoints: the model has no keypoint task"),
            why=why,
            loss_ap={Severity.FATAL: 90.0, Severity.CRITICAL: 20.0}.get(severity, 2.0),
        )


def _batch(subject: Subject) -> int:
    """Images of one replica that are batched together."""
    replicas = subject.circumstances.num_replicas or 1
    return int(subject.pipeline.proto.train_config.batch_size) // replicas
