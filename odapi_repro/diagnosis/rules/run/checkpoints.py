"""RUN007: checkpoints that cannot be restored."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.run_rule import RunRule, RunSubject


class CheckpointIncomplete(RunRule):
    """A checkpoint of the run is not whole: its data or its index is missing, short or damaged.

    A full disk, a killed copy or a download that stopped leaves such files. A restart from the
    newest of them fails; an evaluation or an export of one fails or, worse, waits.

    Anti-pattern

        ckpt-12.index                  # without ckpt-12.data-00000-of-00001
        ckpt-13.data-00000-of-00001    # 1.2 MB where ckpt-12 has 45 MB

    Best practice

    Remove the files of the damaged checkpoint and its name in the file `checkpoint`, so that the
    one before is taken. Free disk space: every checkpoint holds the optimizer's slots too.

    Source

    tensorflow/core/protobuf/tensor_bundle.proto: the index says which bytes of which data file
    belong to it.
    """

    code = "RUN007"
    name = "run.checkpoint_incomplete"
    causes = ("checkpoint_incomplete",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for all checkpoints with a fault."""
        checkpoints = subject.history.checkpoints
        broken = [one for one in checkpoints if not one.is_complete]
        if not broken:
            return
        newest = checkpoints[-1]
        names = ", ".join(one.prefix.name for one in broken[:5])
        yield self.finding(
            "checkpoint_incomplete",
            Severity.WARNING if newest in broken else Severity.INFO,
            fields=(),
            found=f"{names} cannot be restored: {broken[-1].fault}",
            expected="an index with all the data that it names, for every checkpoint",
            why=(
                "A restart, an evaluation or an export takes the newest checkpoint, and it fails."
                if newest in broken
                else "It is not the newest, so a restart does not meet it."
            ),
            where=str(broken[-1].prefix),
            count=len(broken),
        )
