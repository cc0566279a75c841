"""A diagnosis made by hand, with a finding of every severity and every sort of content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.outcome import Diagnosis, examine
from odapi_repro.diagnosis.render.diagnosis_page import diagnosis_page
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.page.markdown_page import markdown_page
from odapi_repro.page.terminal_page import Terminal, terminal_page
from odapi_repro.pipeline import Circumstances

CONFIG = (Path(__file__).parents[2] / "pipelines" / "effdet_d3.config").read_text(encoding="utf-8")
INPUT_PATH = "train_input_reader.tf_record_input_reader.input_path"
PAPER = "https://example.org/paper"


def finding(**changes: Any) -> Finding:
    """A critical finding about shards, changed as asked."""
    told: dict[str, Any] = {
        "code": "FAK001",
        "cause": "single_train_shard",
        "severity": Severity.CRITICAL,
        "fields": (INPUT_PATH,),
        "found": "reads 1 of 100 training shards, about 1,183 images",
        "expected": "all 100 shards",
        "why": "A hundredth of the images is seen a thousand times.",
        "loss_ap": 30.9,
        "evidence": (Evidence(-30.9, PAPER, "100% -> 1% of train2017"),),
        "fix": (FieldFix(INPUT_PATH, "train.record-?????-of-00100"),),
    }
    return Finding(**told | changes)


ALL = (
    finding(),
    finding(
        code="FAK002",
        cause="lr_too_high_for_batch",
        severity=Severity.WARNING,
        fields=("train_config.batch_size", "train_config.optimizer"),
        found="8 times the linear rule",
        evidence=(Evidence(None, "a thread", "diverged for two people"),),
        fix=(FieldFix("train_config.batch_size", 128), FieldFix("train_config.num_steps", None)),
        loss_ap=5.0,
    ),
    finding(
        code="FAK003", cause="eval_images_dropped", severity=Severity.INFO, evidence=(), fix=()
    ),
    finding(
        code="FAK004",
        cause="inert_field",
        severity=Severity.INERT,
        fields=("train_config.use_bfloat16", "train_config.sync_replicas"),
        evidence=(),
        fix=(),
    ),
)


class FakeRule(Rule):
    """Reports what it was given.

    Anti-pattern

        input_path: "train-00000-of-00100"

        num_steps: 1

    Best practice

    All shards, as `*` has them.

    Source

    Made up.
    """

    code = "FAK001"
    name = "fake.rule"
    causes = tuple(dict.fromkeys(one.cause for one in ALL))

    def __init__(self, *findings: Finding, needs_pipeline: bool = True) -> None:
        self.findings = findings
        self.needs_pipeline = needs_pipeline  # type: ignore[misc]

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields what it was given."""
        yield from self.findings


def diagnosis(
    *findings: Finding,
    text: str = CONFIG,
    path: str = "my.config",
    circumstances: Circumstances | None = None,
) -> Diagnosis:
    """The diagnosis of a config with these findings, against the nearest reference."""
    rules = (FakeRule(*findings, needs_pipeline=False),)
    return examine(text, path, rules=rules, circumstances=circumstances)


def text_of(told: Diagnosis, *, width: int = 100, coloured: bool = False) -> str:
    """What a terminal of so many columns shows of a diagnosis."""
    return terminal_page(diagnosis_page(told), Terminal(width, coloured=coloured))


def markdown_of(told: Diagnosis) -> str:
    """A diagnosis as it is pasted into an issue."""
    return markdown_page(diagnosis_page(told))
