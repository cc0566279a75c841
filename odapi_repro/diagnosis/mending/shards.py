"""Patterns that read a whole sharded data set."""

from __future__ import annotations

import re
from collections.abc import Sequence

from odapi_repro.diagnosis.finding import FieldFix, Finding
from odapi_repro.diagnosis.named_paths import input_patterns
from odapi_repro.pipeline import Pipeline

_INDEX = re.compile(r"-[\d?*\[\]\-]+(?=-of-(?P<total>\d+))")
_CAUSES = ("single_train_shard", "single_eval_shard", "partial_shards")


def all_shards(patterns: Sequence[str]) -> list[str]:
    """Gives one pattern for each sharded data set that is named, other files as they are."""
    whole = [_INDEX.sub(lambda match: "-" + "?" * len(match["total"]), one) for one in patterns]
    return list(dict.fromkeys(whole))


def shard_edits(finding: Finding, pipeline: Pipeline) -> tuple[FieldFix, ...]:
    """Gives the edits for a finding about shards that are left out; none for another one."""
    field = finding.fields[0] if finding.fields else ""
    if finding.cause == "train_subsampled":
        return (FieldFix(field, None),)
    if finding.cause not in _CAUSES:
        return ()
    patterns = input_patterns(pipeline, evaluation=field.startswith("eval"))
    whole = all_shards(patterns)
    return (FieldFix(field, whole),) if whole != patterns else ()
