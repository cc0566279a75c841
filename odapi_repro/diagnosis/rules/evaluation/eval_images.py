"""Evaluation images that are not evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.quantities import COCO_VAL_IMAGES

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
            else "An incomplete batch is dropped (drop_remainder, true by default); the number is "
            "of other images than the reported one.",
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
            why="Fewer images make a noisier AP, and another one than the reported"
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
