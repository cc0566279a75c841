"""Rules about the two stages of Faster and Mask R-CNN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.network import box_predictor, rounded
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend

_PATH = "model.faster_rcnn.number_of_stages"


class NumberOfStages(Rule):
    """Fewer stages are built than the task needs.

    Stage 1 is the proposal network alone: boxes without a class. Stage 2 classifies and refines
    them. Stage 3 adds masks.

    Anti-pattern

        faster_rcnn { number_of_stages: 1 num_classes: 4 }

    which trains and evaluates proposals, whatever num_classes says.

    Best practice

    2 for boxes, 3 for masks; 3 needs `predict_instance_masks: true` in the mask_rcnn_box_predictor.

    Source

    meta_architectures/faster_rcnn_meta_arch: the module's docstring, predict (stages 2 and 3 only
    from number_of_stages on), postprocess (stage 1 gives class-agnostic proposals), and the
    constructor, which refuses numbers outside 1 to 3.
    """

    code: ClassVar[str] = "MOD005"
    name: ClassVar[str] = "model.number_of_stages"
    causes: ClassVar[tuple[str, ...]] = ("number_of_stages_reduced", "number_of_stages_refused")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the stages with the reference's, and with what can be built."""
        if subject.pipeline.meta_architecture != "faster_rcnn":
            return
        stages = int(descend(subject.pipeline.model, "number_of_stages"))
        reference = 2
        if subject.same_architecture:
            reference = int(descend(subject.reference_pipeline.model, "number_of_stages"))
        masks = "coco_mask_metrics" in subject.pipeline.proto.eval_config.metrics_set
        if not 1 <= stages <= 3:
            yield self._refused(
                stages, f"{reference}", "The OD API stops: the number must be 1, 2 or 3.", reference
            )
        elif stages == 3 and not self._predicts_masks(subject):
            yield self._refused(
                stages,
                "a mask_rcnn_box_predictor that predicts instance masks",
                "The third stage asks the box predictor for masks; it has none, and training stops "
                "at the first step.",
                2,
            )
        elif stages == 1:
            yield self._reduced(
                Severity.FATAL,
                "only the proposal network is trained (1 stage)",
                f"{reference} stages",
                "Nothing classifies or refines the boxes: num_classes is ignored and what is "
                "evaluated is the class-agnostic AP of proposals"
                + (", until coco_mask_metrics asks for masks and stops it." if masks else "."),
                reference,
            )
        elif stages < reference:
            yield self._reduced(
                Severity.CRITICAL,
                "2 stages: no masks are trained or predicted",
                "3 stages",
                "The boxes train as before; the mask loss is gone"
                + (
                    ", and evaluation stops because there are no masks (coco_mask_metrics)."
                    if masks
                    else " and there is no mask AP."
                ),
                reference,
            )

    @staticmethod
    def _predicts_masks(subject: Subject) -> bool:
        predictor = box_predictor(subject.pipeline)
        return predictor.kind == "mask_rcnn_box_predictor" and bool(
            predictor.message.predict_instance_masks
        )

    def _refused(self, stages: int, expected: str, why: str, mended: int) -> Finding:
        return self.finding(
            "number_of_stages_refused",
            Severity.FATAL,
            fields=[_PATH],
            found=f"{stages} stages",
            expected=expected,
            why=why,
            fix=[FieldFix(_PATH, mended)],
        )

    def _reduced(
        self, severity: Severity, found: str, expected: str, why: str, mended: int
    ) -> Finding:
        return self.finding(
            "number_of_stages_reduced",
            severity,
            fields=[_PATH],
            found=found,
            expected=expected,
            why=why,
            loss_ap=30.0,  # judged: no detections (1), or no mask AP at all (2)
            fix=[FieldFix(_PATH, max(mended, 2))],
        )


_PREFIX = "model.faster_rcnn."
_CROPS = ("initial_crop_size", "maxpool_kernel_size", "maxpool_stride")
_COMPARED = (
    "first_stage_minibatch_size",
    "first_stage_positive_balance_fraction",
    "first_stage_nms_score_threshold",
    "first_stage_nms_iou_threshold",
    "second_stage_batch_size",
    "second_stage_balance_fraction",
)


class SecondStage(Rule):
    """The second stage sees other or fewer regions than the reference's.

    Anti-pattern

        first_stage_max_proposals: 50

    without lowering second_stage_batch_size, whose default is 64: the OD API stops. With both
    lowered, small objects lose their proposals.

    Best practice

    300 proposals and 64 regions an image; a crop of 14 with a max pooling of 2 (ResNet), or of 17
    with 1 (Inception ResNet v2).

    Source

    builders/model_builder._build_faster_rcnn_model ('second_stage_batch_size should be no greater
    than first_stage_max_proposals'), faster_rcnn_meta_arch (without maxpool_kernel_size there is no
    pooling layer to call). Huang et al. 2016, arXiv 1611.10012, section 4.1.6.
    """

    code: ClassVar[str] = "MOD015"
    name: ClassVar[str] = "model.second_stage"
    causes: ClassVar[tuple[str, ...]] = (
        "second_stage_refused",
        "proposals_changed",
        "second_stage_changed",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for what is refused, then compares proposals, then the rest."""
        if subject.pipeline.meta_architecture != "faster_rcnn":
            return
        yield from self._refused(subject)
        if not subject.same_architecture:
            return
        yield from self._proposals(subject)
        changed = [
            (name, ours, theirs)
            for name, ours, theirs in _differences(subject, (*_COMPARED, *_CROPS))
            if name not in _CROPS or ours > 0
        ]
        if changed:
            fewer = any(
                name == "second_stage_batch_size" and ours < 0.5 * theirs
                for name, ours, theirs in changed
            )
            yield self.finding(
                "second_stage_changed",
                Severity.WARNING if fewer else Severity.INFO,
                fields=[_PREFIX + name for name, _, _ in changed],
                found=", ".join(f"{name} {ours:g}" for name, ours, _ in changed),
                expected=", ".join(f"{name} {theirs:g}" for name, _, theirs in changed),
                why="These set which regions the losses see and at what resolution they are "
                "cropped; published numbers for them alone are lacking.",
                loss_ap=1.0 if fewer else 0.3,  # judged
                fix=[
                    FieldFix(_PREFIX + name, int(theirs) if theirs == int(theirs) else theirs)
                    for name, _, theirs in changed
                ],
            )

    def _refused(self, subject: Subject) -> Iterator[Finding]:
        regions = _number(subject.pipeline, "second_stage_batch_size")
        proposals = _number(subject.pipeline, "first_stage_max_proposals")
        if regions > proposals:
            yield self.finding(
                "second_stage_refused",
                Severity.FATAL,
                fields=[
                    f"{_PREFIX}second_stage_batch_size",
                    f"{_PREFIX}first_stage_max_proposals",
                ],
                found=f"{regions:g} regions are sampled from {proposals:g} proposals",
                expected="second_stage_batch_size (64 by default) at most "
                "first_stage_max_proposals",
                why="The OD API stops while it builds the model.",
                fix=[FieldFix(f"{_PREFIX}second_stage_batch_size", int(max(proposals, 1)))],
            )
        unset = [name for name in _CROPS if _number(subject.pipeline, name) <= 0]
        if unset and _number(subject.pipeline, "number_of_stages") >= 2:
            yield self.finding(
                "second_stage_refused",
                Severity.FATAL,
                fields=[_PREFIX + name for name in unset],
                found=", ".join(f"{name} is 0" for name in unset),
                expected="all three set; their defaults are 0",
                why="A crop of no size or a pooling of no size cannot be built.",
                fix=[
                    FieldFix(_PREFIX + name, int(_number(subject.reference_pipeline, name)))
                    for name in unset
                ]
                if subject.same_architecture
                else [],
            )

    def _proposals(self, subject: Subject) -> Iterator[Finding]:
        name = "first_stage_max_proposals"
        ours = _number(subject.pipeline, name)
        theirs = _number(subject.reference_pipeline, name)
        if ours == theirs:
            return
        few = ours < 0.7 * theirs
        loss_ap, evidence = _proposals_cost(ours) if few else (0.0, ())
        yield self.finding(
            "proposals_changed",
            Severity.WARNING if few else Severity.INFO,
            fields=[_PREFIX + name],
            found=f"{ours:g} proposals an image",
            expected=f"{theirs:g}",
            why="An object without a proposal cannot be found, and crowded images run out first."
            if few
            else "More proposals cost time and seldom AP; a few fewer hardly show.",
            loss_ap=loss_ap,
            evidence=evidence,
            fix=[FieldFix(_PREFIX + name, int(theirs))],
        )


def _proposals_cost(proposals: float) -> tuple[float, tuple[Evidence, ...]]:
    """AP lost against 300 proposals, after the two published points."""
    if proposals <= 20:
        return 6.4, published("proposals_300_10")
    return (1.4 if proposals <= 75 else 0.7), published("proposals_300_50")


def _number(pipeline: Pipeline, name: str) -> float:
    return rounded(descend(pipeline.model, name))


def _differences(subject: Subject, names: tuple[str, ...]) -> list[tuple[str, float, float]]:
    pairs = [
        (name, _number(subject.pipeline, name), _number(subject.reference_pipeline, name))
        for name in names
    ]
    return [(name, ours, theirs) for name, ours, theirs in pairs if abs(ours - theirs) > 1e-6]


_SQUARE = "random_scale_crop_and_pad_to_square"
# Augmentations that give every image one size: (height, width) fields.
_SIZES = {
    _SQUARE: ("output_size", "output_size"),
    "resize_image": ("new_height", "new_width"),
    "random_resize_method": ("target_height", "target_width"),
}


class CropSizeMismatch(Rule):
    """Training images are cropped to one size and then resized to another.

    The resizer still runs after the augmentation. Crops that are smaller than the input are blown
    up: training sees blurred images of the smaller size, evaluation sharp ones of the larger.

    Anti-pattern

        image_resizer { keep_aspect_ratio_resizer { min_dimension: 1024 max_dimension: 1024 ... } }
        random_scale_crop_and_pad_to_square { output_size: 512 ... }

    Best practice

    Change output_size with the image resizer; both stand in every EfficientDet config.

    Source

    inputs.transform_input_data: augmentation first, then the model's own resizer.
    core/preprocessor.random_scale_crop_and_pad_to_square.
    """

    code: ClassVar[str] = "MOD010"
    name: ClassVar[str] = "model.crop_size"
    causes: ClassVar[tuple[str, ...]] = ("crop_size_mismatch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the last augmentation that fixes a size with the size of the input."""
        height, width = subject.quantities.input_height, subject.quantities.input_width
        options = subject.pipeline.proto.train_config.data_augmentation_options
        last: tuple[int, str] | None = None
        for index, option in enumerate(options):
            kind = str(option.WhichOneof("preprocessing_step") or "")
            if kind in _SIZES:
                last = (index, kind)
        if last is None or not height or not width:
            return
        index, kind = last
        message: Any = getattr(options[index], kind)
        crop = tuple(int(getattr(message, name)) for name in _SIZES[kind])
        if crop == (height, width):
            return
        path = f"train_config.data_augmentation_options[{index}].{kind}"
        smaller = min(crop[0] / height, crop[1] / width)
        stretched = kind == _SQUARE and height != width
        names = list(dict.fromkeys(_SIZES[kind]))
        fits = not stretched or kind != _SQUARE
        yield self.finding(
            "crop_size_mismatch",
            Severity.WARNING,
            fields=[f"{path}.{name}" for name in names],
            found=f"training crops of {crop[0]}x{crop[1]} are resized to {height}x{width}",
            expected=f"crops of {height}x{width}" if fits else "a square input",
            why=_why(smaller, stretched),
            # Judged from the same change of the whole input: half of it, as evaluation is sharp.
            loss_ap=1.0 if stretched else 3.0 if smaller < 0.6 else 1.5 if smaller < 0.98 else 0.3,
            evidence=published("size_640_320") if smaller < 0.98 and not stretched else (),
            fix=[
                FieldFix(f"{path}.{name}", value)
                for name, value in dict(zip(_SIZES[kind], (height, width), strict=True)).items()
            ]
            if fits
            else [],
        )


def _why(smaller: float, stretched: bool) -> str:
    if stretched:
        return (
            "Square crops are stretched to the input's shape, and evaluation images are not: "
            "objects have other proportions in training."
        )
    if smaller < 0.98:
        return (
            "The network trains on enlarged, blurred crops and is evaluated on sharp images; what "
            f"is smaller than {1 / max(smaller, 0.01):.2g} pixels of the input is never seen."
        )
    return "The crops are shrunk again: memory and time for pixels that the network never sees."


_MASK_SIZE_PATH = "model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor"
_SIDES = ("mask_height", "mask_width")


class MaskSize(Rule):
    """Masks are predicted on another grid than the reference's.

    Each object's mask has this many cells, whatever its size in the image; it is enlarged to the
    box. On a coarse grid thin parts and the edges of large objects are lost. Boxes do not change.

    Anti-pattern

        mask_rcnn_box_predictor { predict_instance_masks: true }

    Both sides are then 15, the proto's default, and not the reference's 33.

    Best practice

        mask_rcnn_box_predictor { predict_instance_masks: true mask_height: 33 mask_width: 33 }

    Source

    predictors/heads/keras_mask_head.MaskRCNNMaskHead (features are resized to the grid),
    faster_rcnn_meta_arch.loss (true masks are cropped to it). results/mask_rcnn-mask_recall-proxy:
    one trained proxy lost 5.1 mask AP from 15 to 7 cells and 0.3 from 15 to 30.
    """

    code: ClassVar[str] = "MOD024"
    name: ClassVar[str] = "model.mask_size"
    causes: ClassVar[tuple[str, ...]] = ("mask_size_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the sides of the grid."""
        ours = _sides(subject.pipeline)
        if ours is None:
            return
        theirs = _sides(subject.reference_pipeline) or (33, 33)
        if min(ours) > 0 and (not _sides(subject.reference_pipeline) or ours == theirs):
            return
        coarse = min(ours) < 0.6 * min(theirs)
        yield self.finding(
            "mask_size_changed",
            Severity.FATAL if min(ours) <= 0 else Severity.WARNING if coarse else Severity.INFO,
            fields=[f"{_MASK_SIZE_PATH}.{side}" for side in _SIDES],
            found=f"masks are predicted on {ours[0]}x{ours[1]} cells",
            expected=f"{theirs[0]}x{theirs[1]}; left out, both sides are 15",
            why="Features cannot be resized to no cells: the OD API stops."
            if min(ours) <= 0
            else "Masks lose their edges and thin parts; boxes are as before."
            if coarse
            else "Mask AP changes little at such sizes, and box AP not at all.",
            loss_ap=60.0 if min(ours) <= 0 else 2.0 if coarse else 0.2,  # judged
            fix=[
                FieldFix(f"{_MASK_SIZE_PATH}.{side}", value)
                for side, value in zip(_SIDES, theirs, strict=True)
            ],
        )


def _sides(pipeline: Pipeline) -> tuple[int, int] | None:
    """Height and width of the grid; None where no masks are predicted."""
    if not pipeline.predicts_masks:
        return None
    predictor = pipeline.proto.model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor
    if not predictor.predict_instance_masks:
        return None
    return int(predictor.mask_height), int(predictor.mask_width)
