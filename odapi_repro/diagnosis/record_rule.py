"""The base of the rules about records, and what they look at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from odapi_repro.datasets.census import Census, SplitCensus
from odapi_repro.datasets.census.box_kinds import BoxKinds, box_kinds
from odapi_repro.datasets.census.duplicates import Likeness, likeness
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import RuleBase
from odapi_repro.diagnosis.subject import Subject

if TYPE_CHECKING:
    from odapi_repro.datasets.census.record_columns import AugmentedBoxes
    from odapi_repro.datasets.census.source_comparison import SourceComparison


_READERS = {"train": "train_input_reader", "eval": "eval_input_reader[0]"}
_WORDS = {"train": "training", "eval": "evaluation"}


@dataclass(frozen=True)
class RecordSubject:
    """A data set under diagnosis.

    Attributes:
        census: what its records hold.
        config: the pipeline that is to read it; None where none was named.
        sources: split -> its records against the json they were made from.
        augmented: boxes that the pipeline's own augmentation left; None where nobody looked.
        manifest_faults: file -> why it is not what the manifest beside it says.
    """

    census: Census
    config: Subject | None = None
    sources: Mapping[str, SourceComparison] = field(default_factory=dict)
    augmented: AugmentedBoxes | None = None
    manifest_faults: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def kinds(self) -> Mapping[str, BoxKinds]:
        """Split -> the kind of each of its boxes."""
        return {split.split: box_kinds(split) for split in self.census.splits}

    @cached_property
    def likeness(self) -> Likeness:
        """Which images are alike, counted through all splits in their order."""
        return likeness([split.images for split in self.census.splits])

    def reader(self, split: SplitCensus) -> Any:
        """Gives the pipeline's reader of a split; None without one."""
        if self.config is None:
            return None
        proto = self.config.pipeline.proto
        if split.split == "train":
            return proto.train_input_reader
        return proto.eval_input_reader[0] if proto.eval_input_reader else None

    @property
    def meta_architecture(self) -> str:
        """`ssd`, `faster_rcnn` ...; empty without a pipeline."""
        return self.config.pipeline.meta_architecture or "" if self.config else ""

    def field_of(self, split: SplitCensus, name: str) -> tuple[str, ...]:
        """Gives the dotted path of a field of the split's reader; nothing without a pipeline."""
        return (f"{_READERS[split.split]}.{name}",) if self.config else ()


class RecordRule(RuleBase):
    """One rule about records, or a tight family of rules that share their reasoning."""

    @abstractmethod
    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields what it finds; nothing for records that are well."""

    def told(
        self,
        subject: RecordSubject,
        split: SplitCensus,
        cause: str,
        severity: Severity,
        *,
        found: str,
        expected: str,
        why: str,
        mend: str,
        count: int,
        counted: str,
        examples: Sequence[str] = (),
        loss_ap: float = 0.0,
        name: str = "tf_record_input_reader.input_path",
        fields: Sequence[str] = (),
        fix: Sequence[FieldFix] = (),
    ) -> Finding:
        """Gives a finding about one split, told as such.

        Its fields are `fields`, else the field `name` of the split's reader.
        """
        return self.finding(
            cause,
            severity,
            fields=fields or subject.field_of(split, name),
            found=f"{_WORDS[split.split]}: {found}",
            expected=expected,
            why=why,
            loss_ap=loss_ap,
            count=count,
            counted=counted,
            examples=examples,
            mend=mend,
            fix=fix,
        )


def by_share(share: float, *, warning: float, critical: float = 2.0) -> Severity:
    """Gives the severity of a share of a set: `info` below `warning`."""
    if share >= critical:
        return Severity.CRITICAL
    return Severity.WARNING if share >= warning else Severity.INFO
