"""Augmentation of the reference that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.image.augmentation_steps import (
    GEOMETRY,
    MIRRORS,
    Step,
    steps,
    undone,
)
from odapi_repro.diagnosis.subject import Subject

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
            else "Worth knowing; whether it costs anything depends on the data.",
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
