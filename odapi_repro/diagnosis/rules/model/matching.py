"""How anchors are matched to objects, and which of them are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.model_parts import rounded
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend

_PATH = "model.ssd.matcher.argmax_matcher"
_FIELDS = (
    "matched_threshold",
    "unmatched_threshold",
    "ignore_thresholds",
    "negatives_lower_than_unmatched",
    "force_match_for_each_row",
)


class MatchingChanged(Rule):
    """Anchors are matched to objects by other rules than the reference's.

    Anti-pattern

        matcher { argmax_matcher { matched_threshold: 0.5 } }

    which leaves force_match_for_each_row at its default, false: an object that no anchor overlaps
    by half is background.

    Best practice

        matcher { argmax_matcher { matched_threshold: 0.5 unmatched_threshold: 0.5
          ignore_thresholds: false negatives_lower_than_unmatched: true
          force_match_for_each_row: true } }

    Source

    facebookresearch/maskrcnn-benchmark pull request 102 (forced matches off: -0.7).
    builders/matcher_builder.build: it refuses an unmatched threshold above the matched one, and a
    config without a matcher; bipartite matching is not there in TensorFlow 2.
    """

    code: ClassVar[str] = "MOD016"
    name: ClassVar[str] = "model.matching"
    causes: ClassVar[tuple[str, ...]] = ("matching_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for a matcher that is refused, then compares its fields."""
        if subject.pipeline.meta_architecture != "ssd":
            return
        kind = _kind(subject.pipeline)
        if kind != "argmax_matcher":
            yield self.finding(
                "matching_changed",
                Severity.FATAL,
                fields=["model.ssd.matcher"],
                found=kind or "no matcher",
                expected="argmax_matcher",
                why="The OD API stops: it needs a matcher, and bipartite matching is not there in "
                "TensorFlow 2.",
            )
            return
        ours = _values(subject.pipeline)
        if (
            not ours["ignore_thresholds"]
            and ours["unmatched_threshold"] > ours["matched_threshold"]
        ):
            yield self.finding(
                "matching_changed",
                Severity.FATAL,
                fields=[f"{_PATH}.unmatched_threshold", f"{_PATH}.matched_threshold"],
                found=f"unmatched_threshold {ours['unmatched_threshold']:g} above "
                f"matched_threshold {ours['matched_threshold']:g}",
                expected="at most matched_threshold",
                why="The OD API stops while it builds the matcher.",
                fix=[FieldFix(f"{_PATH}.unmatched_threshold", ours["matched_threshold"])],
            )
            return
        if not subject.same_architecture or _kind(subject.reference_pipeline) != kind:
            return
        theirs = _values(subject.reference_pipeline)
        changed = [name for name in _FIELDS if abs(ours[name] - theirs[name]) > 1e-6]
        if not changed:
            return
        unforced = "force_match_for_each_row" in changed and not ours["force_match_for_each_row"]
        far = any("threshold" in n and abs(ours[n] - theirs[n]) >= 0.15 for n in changed)
        yield self.finding(
            "matching_changed",
            Severity.WARNING if unforced or far else Severity.INFO,
            fields=[f"{_PATH}.{name}" for name in changed],
            found=", ".join(_shown(name, ours[name]) for name in changed),
            expected=", ".join(_shown(name, theirs[name]) for name in changed),
            why="Objects that no anchor overlaps enough are trained as background."
            if unforced
            else "It moves the line between anchors that are objects and those that are not.",
            loss_ap=0.7 if unforced else 1.0 if far else 0.2,  # the latter two judged
            evidence=published("forced_match_off") if unforced else (),
            fix=[
                FieldFix(
                    f"{_PATH}.{name}",
                    theirs[name] if name.endswith("ed_threshold") else bool(theirs[name]),
                )
                for name in changed
            ],
        )


def _kind(pipeline: Pipeline) -> str:
    if pipeline.meta_architecture != "ssd":
        return ""
    return str(descend(pipeline.model, "matcher").WhichOneof("matcher_oneof") or "")


def _values(pipeline: Pipeline) -> dict[str, float]:
    matcher: Any = descend(pipeline.model, "matcher.argmax_matcher")
    return {name: rounded(getattr(matcher, name)) for name in _FIELDS}


def _shown(name: str, value: float) -> str:
    if name.endswith("ed_threshold"):
        return f"{name} {value:g}"
    return f"{name} {str(bool(value)).lower()}"
