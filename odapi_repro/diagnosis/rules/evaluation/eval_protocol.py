"""Rules about what is evaluated, on which images, by which metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.command import nearest
from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.quantities import COCO_VAL_IMAGES
from odapi_repro.reference import Dispute

_PATH = "eval_config.metrics_set"
_COCO, _MASKS = "coco_detection_metrics", "coco_mask_metrics"
# eval_util.EVAL_METRICS_CLASS_DICT
_KNOWN = (
    _COCO,
    "coco_keypoint_metrics",
    _MASKS,
    "coco_panoptic_metrics",
    "lvis_mask_metrics",
    "oid_challenge_detection_metrics",
    "oid_challenge_segmentation_metrics",
    "pascal_voc_detection_metrics",
    "weighted_pascal_voc_detection_metrics",
    "precision_at_recall_detection_metrics",
    "pascal_voc_instance_segmentation_metrics",
    "weighted_pascal_voc_instance_segmentation_metrics",
    "oid_V2_detection_metrics",
)


class WrongMetricsSet(Rule):
    """The evaluation measures something else than what was reported.

    The zoo reports COCO's AP, the mean over IoU 0.50 to 0.95. Pascal VOC's mAP at IoU 0.5 is 15 to
    25 points higher for the same detections.

    Anti-pattern

        eval_config { metrics_set: "pascal_voc_detection_metrics" }

    or a mask model without `coco_mask_metrics`.

    Best practice

        metrics_set: "coco_detection_metrics"

    and `coco_mask_metrics` beside it for masks. Leave include_metrics_per_category out, unless
    your pycocotools computes category_stats.

    Source

    eval_util.get_evaluators (unset is coco_detection_metrics; an unknown name is refused),
    metrics/coco_evaluation.CocoMaskEvaluator (reads detection_masks),
    metrics/coco_tools.COCOEvalWrapper.ComputeMetrics ('Category stats do not exist').
    """

    code: ClassVar[str] = "EVA004"
    name: ClassVar[str] = "evaluation.metrics_set"
    causes: ClassVar[tuple[str, ...]] = ("wrong_metrics_set", "per_category_metrics_unsupported")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for unknown metrics, then for missing and impossible ones."""
        evaluation = subject.pipeline.proto.eval_config
        # Unset means COCO's box metrics.
        metrics = [str(name) for name in evaluation.metrics_set] or [_COCO]
        unknown = [name for name in metrics if name not in _KNOWN]
        if unknown:
            yield self._wrong(
                Severity.FATAL,
                f"metrics_set '{unknown[0]}'",
                f"{_COCO}, or another of eval_util's",
                "The evaluation stops with 'Metric not found'"
                + (f"; {close.strip()}" if (close := nearest(unknown[0], _KNOWN)) else "."),
                0.0,
                [_COCO, *([_MASKS] if _has_masks(subject.pipeline) else [])],
            )
        elif _COCO not in metrics:
            yield self._wrong(
                Severity.WARNING,
                f"{', '.join(metrics)} and no COCO box AP",
                _COCO,
                "The number is for another metric and cannot be compared with the reported AP: "
                "Pascal VOC's mAP is taken at IoU 0.5 alone.",
                # Judged: nothing is lost, but the comparison is void.
                1.0,
                [_COCO, *metrics],
            )
        yield from self._masks(subject, metrics)
        yield from self._per_category(subject)

    def _masks(self, subject: Subject, metrics: list[str]) -> Iterator[Finding]:
        has_masks = _has_masks(subject.pipeline)
        known = subject.pipeline.meta_architecture in ("ssd", "faster_rcnn", "center_net")
        if has_masks and not any("mask" in name or "segmentation" in name for name in metrics):
            yield self._wrong(
                Severity.WARNING,
                "masks are predicted and not evaluated",
                f"{_MASKS} beside {_COCO}",
                "There will be no mask AP to compare with the reported one.",
                0.5,  # judged: nothing is lost but the number
                [*metrics, _MASKS],
            )
        elif _MASKS in metrics and not has_masks and known and not _has_mask_head(subject.pipeline):
            yield self._wrong(
                Severity.FATAL,
                "coco_mask_metrics for a model without masks",
                _COCO,
                "The evaluator asks for detection_masks, which are not there, and the evaluation "
                "stops at its first image.",
                0.0,
                [name for name in metrics if name != _MASKS],
            )

    def _per_category(self, subject: Subject) -> Iterator[Finding]:
        evaluation = subject.pipeline.proto.eval_config
        # Without metrics_set the evaluator is made with its defaults, whatever the config says.
        read = any(name in (_COCO, _MASKS) for name in evaluation.metrics_set)
        if not (evaluation.include_metrics_per_category and read):
            return
        reference = subject.reference_pipeline.proto.eval_config
        path = "eval_config.include_metrics_per_category"
        yield self.finding(
            "per_category_metrics_unsupported",
            Severity.INFO if reference.include_metrics_per_category else Severity.WARNING,
            fields=[path],
            found="metrics per category",
            expected="left out, or a pycocotools that computes category_stats",
            why="pycocotools as it comes from PyPI does not: the evaluation then stops with "
            "'Category stats do not exist' after its last image, before any metric is written.",
            loss_ap=0.3,  # judged: no AP is lost, only the evaluation
            fix=[FieldFix(path, None)],
        )

    def _wrong(
        self,
        severity: Severity,
        found: str,
        expected: str,
        why: str,
        loss_ap: float,
        mended: list[str],
    ) -> Finding:
        return self.finding(
            "wrong_metrics_set",
            severity,
            fields=[_PATH],
            found=found,
            expected=expected,
            why=why,
            loss_ap=loss_ap,
            fix=[FieldFix(_PATH, mended)],
        )


def _has_mask_head(pipeline: Pipeline) -> bool:
    """Whether masks are only missing because number_of_stages is too low, which MOD005 tells."""
    if pipeline.meta_architecture != "faster_rcnn":
        return False
    predictor = pipeline.proto.model.faster_rcnn.second_stage_box_predictor
    return bool(predictor.mask_rcnn_box_predictor.predict_instance_masks)


def _has_masks(pipeline: Pipeline) -> bool:
    """Whether detections come with masks."""
    if pipeline.meta_architecture == "center_net":
        model = pipeline.proto.model.center_net
        return bool(
            model.HasField("mask_estimation_task") or model.HasField("deepmac_mask_estimation")
        )
    return pipeline.predicts_masks


# Disputes of these words are about the number; the others are about the recipe beside it.
_OF_NUMBER = ("the zoo says", "AP changed", "Achieves", "stands at the head")


class ReferenceNumberDisputed(Rule):
    """What is reported for the reference is contradicted elsewhere.

    Anti-pattern

    Chasing the last AP of Mask R-CNN's 40.4, when the zoo's own table says 39.0 of the same file.

    Best practice

    Evaluate the published checkpoint on your own machine first, and compare with that.

    Source

    The TF2 detection zoo's table, the comments at the head of configs/tf2, and copies of the
    archives' configs; docs/references.md quotes them.
    """

    code: ClassVar[str] = "EVA008"
    name: ClassVar[str] = "evaluation.reference_disputed"
    causes: ClassVar[tuple[str, ...]] = ("reference_number_disputed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Tells what the catalogue knows against the reported number."""
        disputes = [one for one in subject.reference.disputes if _is_of_number(one)]
        if not disputes:
            return
        reported = [
            f"{metric.value:g} {metric.metric} ({metric.source.partition(' (')[0]})"
            for metric in subject.reference.reported
        ]
        yield self.finding(
            "reference_number_disputed",
            Severity.INFO,
            fields=[],
            found=f"reported for {subject.reference.name}: {', '.join(reported) or 'no number'}",
            expected="one number that every source agrees on",
            why=_sentences(disputes),
            evidence=[Evidence(None, dispute.source) for dispute in disputes],
            count=len(disputes),
        )


class ReferenceNotFromThisRecipe(Rule):
    """The published checkpoint was probably not trained with the published config.

    The configs inside the EfficientDet archives carry box-coder scales of 1 and, for D7, an
    anchor_scale of 5, as google/automl has them and configs/tf2 has not.

    Anti-pattern

    Taking 45.4 for what configs/tf2's D3 gives when everything is done right.

    Best practice

    Compare with `--reference efficientdet_d3_automl` too, and count a gap of an AP or two as the
    difference of the recipes.

    Source

    Copies of the archives' configs in public repositories; google/automl's README of April 2020,
    within 0.8 AP of the zoo. That the weights were converted is an inference: nobody says so.
    """

    code: ClassVar[str] = "EVA009"
    name: ClassVar[str] = "evaluation.reference_recipe"
    causes: ClassVar[tuple[str, ...]] = ("reference_not_from_this_recipe",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Tells what the catalogue knows against the recipe."""
        reference = subject.reference
        disputes = [one for one in reference.disputes if not _is_of_number(one)]
        if not disputes:
            return
        reported = reference.reported_value("AP")
        shown = "the reported number" if reported is None else f"the reported {reported:g} AP"
        converted = reference.family == "efficientdet" and reference.recipe == "odapi"
        yield self.finding(
            "reference_not_from_this_recipe",
            Severity.INFO,
            fields=[],
            found=f"{shown} may not be what this recipe gives",
            expected="a number that was measured on a training with this config",
            why=(
                "The published weights look converted from google/automl, whose recipe differs in "
                "learning rate, weight averaging, clipping, synchronised batch norm and the "
                "handling of crowds. "
                if converted
                else ""
            )
            + _sentences(disputes),
            evidence=[
                *(Evidence(None, dispute.source) for dispute in disputes),
                *(published("odapi_against_automl_d0") if converted else ()),
            ],
            count=len(disputes),
        )


def _is_of_number(dispute: Dispute) -> bool:
    return any(words in dispute.what for words in _OF_NUMBER)


def _sentences(disputes: list[Dispute]) -> str:
    return " ".join(f"{one.what[:1].upper()}{one.what[1:]}." for one in disputes)


_READER = "eval_input_reader[0]"


class EvalImagesDropped(Rule):
    """The last images of the evaluation set are dropped with their incomplete batch.

    Anti-pattern

        eval_config { batch_size: 64 }

    without `drop_remainder: false` in the eval_input_reader: 5000 images make 78 batches, and 8
    images are never seen.

    Best practice

    batch_size 1, or `drop_remainder: false` beside a larger one.

    Source

    builders/dataset_builder.build: batch(..., drop_remainder), which is true unless it is set, in
    evaluation too; a batch size of 0 is none, and the model, which takes images in batches, stops.
    model_lib_v2.eager_eval_loop: an error ends the loop unsaid; no batch, no evaluator.
    """

    code: ClassVar[str] = "EVA005"
    name: ClassVar[str] = "evaluation.images_dropped"
    causes: ClassVar[tuple[str, ...]] = ("eval_images_dropped",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Counts what is left over after the last whole batch."""
        batch = int(subject.pipeline.proto.eval_config.batch_size)
        reader = _reader(subject)
        if reader is not None and batch == 0:
            yield self._not_batched()
        if reader is None or batch <= 1 or not reader.drop_remainder:
            return
        images = _images(subject)
        dropped = None if images is None else images % batch
        if dropped == 0:
            return
        none_left = images is not None and batch > images
        share = dropped / images if dropped and images else 0.0
        path = f"{_READER}.drop_remainder"
        yield self.finding(
            "eval_images_dropped",
            Severity.FATAL if none_left else Severity.WARNING if share >= 0.01 else Severity.INFO,
            fields=["eval_config.batch_size", path],
            found=f"up to {batch - 1} images are not evaluated (batches of {batch})"
            if dropped is None
            else f"{dropped} of {images} images are not evaluated (batches of {batch})",
            expected="all of them",
            why="There is no whole batch, so nothing is evaluated and the evaluation stops."
            if none_left
            else "An incomplete batch is dropped (drop_remainder, true by default), so the number "
            "covers other images than the reported one.",
            loss_ap=0.3 if share >= 0.01 else 0.0,  # judged: noise rather than loss
            fix=[FieldFix(path, False)],
        )

    def _not_batched(self) -> Finding:
        return self.finding(
            "eval_images_dropped",
            Severity.FATAL,
            fields=["eval_config.batch_size"],
            found="eval_config.batch_size is 0",
            expected="1, the default, or more",
            why="Images are then not batched; the model stops at their shape, and the evaluation "
            "with a TypeError at its end, without a metric.",
            loss_ap=80.0,
            fix=[FieldFix("eval_config.batch_size", 1)],
        )


class EvalSubsampled(Rule):
    """Only one evaluation image of several is used.

    Anti-pattern

        eval_input_reader { sample_1_of_n_examples: 10 }

    Best practice

    Evaluate all images when a number is to be compared; sample while training, to look at curves.

    Source

    builders/dataset_builder.build: dataset.shard(n, 0) on records in the order in which they are
    read, which is not stable unless shuffle is false. model_main_tf2's
    --sample_1_of_n_eval_examples overrides the field.
    """

    code: ClassVar[str] = "EVA006"
    name: ClassVar[str] = "evaluation.subsampled"
    causes: ClassVar[tuple[str, ...]] = ("eval_subsampled",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the reader that is evaluated, the first."""
        reader = _reader(subject)
        if reader is None or reader.sample_1_of_n_examples <= 1:
            return
        every = int(reader.sample_1_of_n_examples)
        images = _images(subject)
        used = "" if images is None else f", about {images} images"
        path = f"{_READER}.sample_1_of_n_examples"
        yield self.finding(
            "eval_subsampled",
            Severity.WARNING,
            fields=[path, *([f"{_READER}.shuffle"] if reader.shuffle else [])],
            found=f"one evaluation image of {every} is used{used}",
            expected="all of them",
            why="Fewer images give a noisier AP, and a different one from the reported"
            + (
                "; with shuffle on, they are other images at every evaluation."
                if reader.shuffle
                else "."
            ),
            loss_ap=0.5 if every >= 5 else 0.3,  # judged: noise rather than loss
            fix=[FieldFix(path, 1)],
        )


class EvalShuffled(Rule):
    """The evaluation images are shuffled, which changes nothing.

    Anti-pattern

    Leaving `shuffle` out of the eval_input_reader: it is true by default, and costs memory and time
    for a buffer.

    Best practice

        eval_input_reader { shuffle: false }

    Source

    builders/dataset_builder.read_dataset. Metrics are taken over the whole set, in any order; only
    with sample_1_of_n_examples does the order decide which images are used.
    """

    code: ClassVar[str] = "EVA007"
    name: ClassVar[str] = "evaluation.shuffled"
    causes: ClassVar[tuple[str, ...]] = ("inert_field",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares with the reference's reader."""
        reader = _reader(subject)
        theirs = subject.reference_pipeline.proto.eval_input_reader
        if reader is None or not reader.shuffle or reader.sample_1_of_n_examples > 1:
            return
        if not theirs or theirs[0].shuffle:
            return
        path = f"{_READER}.shuffle"
        yield self.finding(
            "inert_field",
            Severity.INERT,
            fields=[path],
            found="the evaluation images are shuffled",
            expected="shuffle: false",
            why="AP is the same in any order; the shuffling costs memory and time.",
            fix=[FieldFix(path, False)],
        )


def _reader(subject: Subject) -> Any | None:
    """The reader that eval_continuously evaluates; the others are not looked at."""
    readers = subject.pipeline.proto.eval_input_reader
    return readers[0] if readers else None


def _images(subject: Subject) -> int | None:
    """Images that are evaluated, by COCO's shards and the sampling; None for other data."""
    reader = _reader(subject)
    share = subject.quantities.eval_shards_share
    if reader is None or share is None:
        return None
    patterns = [str(path) for path in reader.tf_record_input_reader.input_path]
    if not all("val2017" in path or "coco_val" in path for path in patterns):
        return None
    images = round(COCO_VAL_IMAGES * share)
    # dataset.shard(n, 0) keeps the first of every n.
    return -(-images // max(int(reader.sample_1_of_n_examples), 1))


class EvalReaderIgnored(Rule):
    """Only the first eval_input_reader is evaluated.

    Anti-pattern

        eval_input_reader { tf_record_input_reader { input_path: "val.record" } }
        eval_input_reader { tf_record_input_reader { input_path: "test.record" } }

    The metrics are those of val.record; test.record is never opened.

    Best practice

    A config for each set to be evaluated, with the one reader in it. Records that belong together
    are several `input_path` of one reader.

    Source

    model_lib_v2.eval_continuously: eval_input_configs[eval_index], whose 0 model_main_tf2 never
    changes.
    """

    code: ClassVar[str] = "EVA011"
    name: ClassVar[str] = "evaluation.reader_ignored"
    causes: ClassVar[tuple[str, ...]] = ("eval_reader_ignored",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Tells whether the others would read something else."""
        readers = subject.pipeline.proto.eval_input_reader
        if len(readers) < 2:
            return
        first, others = _paths(readers[0]), [_paths(one) for one in readers[1:]]
        other = next((paths for paths in others if paths and paths != first), None)
        shown = f": {', '.join(other[:2])}" if other else ""
        yield self.finding(
            "eval_reader_ignored",
            Severity.WARNING if other else Severity.INFO,
            fields=[f"eval_input_reader[{index}]" for index in range(1, len(readers))],
            found=f"{len(readers)} evaluation readers, of which only the first is read{shown}"
            + (" is not" if other else ""),
            expected="one eval_input_reader",
            why="model_main_tf2 evaluates the first; no metric covers the images of the others.",
            loss_ap=0.5,  # judged: the number is of other images than may be thought
            fix=[
                FieldFix(f"eval_input_reader[{index}]", None)
                for index in reversed(range(1, len(readers)))
            ]
            if not other
            else [],
            count=len(readers) - 1,
        )


def _paths(reader: Any) -> list[str]:
    return [str(path) for path in reader.tf_record_input_reader.input_path]
