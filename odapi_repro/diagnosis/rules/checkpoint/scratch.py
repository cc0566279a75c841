"""Training from random weights."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject

# He et al. 2018 (arXiv 1811.08883): 90,000 steps of 16 images are one schedule.
_SCHEDULE_IMAGES = 90_000 * 16
_FEW_IMAGES = 10_000


class TrainedFromScratch(Rule):
    """No checkpoint is restored, while the reference starts from one.

    Anti-pattern

        train_config {
          batch_size: 8
          num_steps: 20000
          fine_tune_checkpoint: ""
        }

    Random weights need a schedule several times as long. On a small data set, or with batch norm
    frozen at its initial statistics, they do not get there at all. Where a type is set and no path,
    the path may have been taken out of a config before it was shown: that is asked, not claimed.

    Best practice

        train_config {
          fine_tune_checkpoint: "efficientnet_b3/ckpt-0"
          fine_tune_checkpoint_version: V2
          fine_tune_checkpoint_type: "classification"
        }

    A detection checkpoint of the zoo (`detection`) where the classes are alike, a backbone
    (`classification`) otherwise.

    Source

    He et al. 2018, Rethinking ImageNet Pre-training (arXiv 1811.08883): on COCO random weights
    are level after 6 schedules (8.6 million images), 3.5 AP short after 2, and far short with
    3,500 images or fewer.
    """

    code = "CKP007"
    name = "checkpoint.trained_from_scratch"
    causes = ("trained_from_scratch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding whose severity is the images seen, in the paper's schedules."""
        theirs = subject.reference_pipeline.proto.train_config.fine_tune_checkpoint
        if subject.pipeline.proto.train_config.fine_tune_checkpoint or not theirs:
            return
        found = subject.quantities
        seen, images = found.images_seen, found.train_images
        schedules = seen / _SCHEDULE_IMAGES
        few = images is not None and images < _FEW_IMAGES
        frozen = found.batchnorm == "frozen"
        # Published up to 2 schedules; under that, and with frozen statistics, a judgement.
        if frozen:
            severity, loss = Severity.CRITICAL, 25.0
        elif few or schedules < 1:
            severity, loss = Severity.CRITICAL, 15.0 if schedules < 0.1 else 10.0
        elif schedules < 6:
            severity, loss = Severity.WARNING, 3.5
        else:
            severity, loss = Severity.INFO, 0.0
        train = subject.pipeline.proto.train_config
        typed = str(train.fine_tune_checkpoint_type)
        meant = repr(typed) if typed else "detection" if train.from_detection_checkpoint else ""
        if meant and severity < Severity.WARNING:
            severity = Severity.WARNING
        why = (
            f"{_count(seen)} images are {schedules:.2g} of the schedules of 1.44 million after "
            "which random weights caught up with ImageNet's in the sixth, on COCO."
        )
        if few:
            why += f" With {images} training images they never did."
        if frozen:
            why = (
                "Batch norm is frozen: at random weights its statistics are those of nothing, and "
                "no layer is normalised. " + why
            )
        keys = ["scratch_2x", "scratch_6x"] + (["scratch_3500_images"] if few else [])
        yield self.finding(
            "trained_from_scratch",
            severity,
            fields=("train_config.fine_tune_checkpoint",),
            found="no fine_tune_checkpoint: training starts from random weights"
            + (f", though the type is {meant}; was the path taken out?" if meant else ""),
            expected=_expected(subject),
            why=why,
            loss_ap=loss,
            evidence=published(*keys),
        )


def _expected(subject: Subject) -> str:
    kind = subject.reference_quantities.checkpoint_restore
    what = {"classification": "a backbone trained on ImageNet"}.get(kind, f"a {kind} checkpoint")
    return f"{what}, as {subject.reference.name} does"


def _count(images: int) -> str:
    return f"{images / 1e6:.3g} million" if images >= 1_000_000 else f"{images:,}"
