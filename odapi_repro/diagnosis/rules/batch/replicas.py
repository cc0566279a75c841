"""Batches that cannot be shared among the replicas, or that are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

_FIELD = "train_config.batch_size"


class Replicas(Rule):
    """The batch cannot be shared evenly among the replicas.

    batch_size is global: MirroredStrategy takes every GPU it sees, and gives each batch_size /
    replicas images.

    Anti-pattern

        train_config { batch_size: 6 }        # on 4 GPUs

    Best practice

    A multiple of the replicas. `CUDA_VISIBLE_DEVICES` limits them.

    Source

    builders/dataset_builder.build, InputContext.get_per_replica_batch_size: ValueError where it
    does not divide. A batch_size of 0 reads examples without batching them.
    """

    code: ClassVar[str] = "BAT004"
    name: ClassVar[str] = "batch.replicas"
    causes: ClassVar[tuple[str, ...]] = ("batch_not_divisible_by_replicas", "batch_size_zero")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Divides, where the number of replicas was said."""
        batch, replicas = subject.quantities.global_batch, subject.quantities.num_replicas
        reference = subject.reference_quantities.global_batch
        if batch < 1:
            yield self.finding(
                "batch_size_zero",
                Severity.FATAL,
                fields=[_FIELD],
                found=f"batch_size is {batch}",
                expected=f"at least 1; {reference:,} in the reference",
                why="The OD API then does not batch the examples, and the model stops at their "
                "shape.",
                fix=[FieldFix(_FIELD, max(1, replicas))],
            )
        elif replicas > 1 and batch % replicas:
            below = batch // replicas * replicas
            yield self.finding(
                "batch_not_divisible_by_replicas",
                Severity.FATAL,
                fields=[_FIELD],
                found=f"a batch of {batch:,} is shared by {replicas:,} replicas",
                expected=f"a multiple of {replicas:,}: {f'{below:,} or ' if below else ''}"
                f"{below + replicas:,}",
                why="The OD API raises ValueError when it builds the input: each replica gets "
                "batch_size / replicas images.",
                fix=[FieldFix(_FIELD, below or replicas)],
            )
