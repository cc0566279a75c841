"""The base of the rules about finished runs, and what they look at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.rule import RuleBase
from odapi_repro.diagnosis.subject import Subject

if TYPE_CHECKING:
    from odapi_repro.diagnosis.finished_run import RunHistory


@dataclass(frozen=True)
class RunSubject:
    """A training folder under diagnosis.

    Attributes:
        history: what its files say.
        config: what it was trained with; None where nobody knows.
    """

    history: RunHistory
    config: Subject | None

    @property
    def num_steps(self) -> int | None:
        """Steps that the run was to take; None where no config says."""
        if self.config is None or not self.config.pipeline.meta_architecture:
            return None
        return self.config.quantities.num_steps

    @property
    def evaluates_coco(self) -> bool:
        """Whether the evaluation's file names are those of COCO's val2017, or shards of it."""
        if self.config is None or not self.config.pipeline.proto.eval_input_reader:
            return False
        reader = self.config.pipeline.proto.eval_input_reader[0]
        patterns = list(reader.tf_record_input_reader.input_path)
        return bool(patterns) and all("val2017" in p or "coco_val" in p for p in patterns)


class RunRule(RuleBase):
    """One rule about a run, or a tight family of rules that share their reasoning."""

    @abstractmethod
    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields what it finds; nothing for a run that went well."""
