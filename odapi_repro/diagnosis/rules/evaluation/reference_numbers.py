"""Doubts about the number that a config is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.reference import Dispute

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
