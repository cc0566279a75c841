"""Record files that cannot be read to their end."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject


class UnreadableRecords(RecordRule):
    """A record file is truncated, corrupt, empty or no record file at all.

    Anti-pattern

        train-00017-of-00100.tfrecord     # 31 MB, its neighbours have 200

    A copy that was interrupted, a full disk, a json under the name of a record. Training stops with
    a DataLossError when it gets there, which may be after hours. A file without records is read
    without a word.

    Best practice

    Compare sizes and checksums after a copy (`sha256sum`), and write the file again.

    Source

    tensorflow/core/lib/io/record_reader.cc: a checksum that does not match and a record that goes
    beyond the end of the file are DataLoss. builders/dataset_builder.py passes no ignore_errors.
    """

    code = "REC001"
    name = "records.unreadable"
    causes = ("records_unreadable",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for files that stop, records of wrong checksum, and empty files."""
        for split in subject.census.splits:
            yield from self._stopping(subject, split)
            yield from self._corrupt(subject, split)
            yield from self._empty(subject, split)

    def _stopping(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        faulty = [file for file in split.files if file.fault]
        if not faulty:
            return
        read = sum(file.records for file in faulty)
        yield self.told(
            subject,
            split,
            "records_unreadable",
            Severity.FATAL,
            found=f"{len(faulty)} of {len(split.files)} files cannot be read to the end; "
            f"{faulty[0].path.name}: {faulty[0].fault}",
            expected="files whose lengths and checksums hold",
            why=f"Training stops with a DataLossError when it gets there, after {read:,} records "
            "of these files.",
            mend="copy or write these files again",
            count=len(faulty),
            counted="files",
            examples=[file.path.name for file in faulty[:5]],
            loss_ap=100.0,
        )

    def _corrupt(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        tally = split.faults.get("corrupt")
        if tally is None:
            return
        yield self.told(
            subject,
            split,
            "records_unreadable",
            Severity.FATAL,
            found=f"the checksum of {tally.count:,} of {split.records:,} records does not match",
            expected="records whose checksums hold",
            why="Training stops with a DataLossError when it gets there.",
            mend="copy or write these files again",
            count=tally.count,
            counted="records",
            examples=tally.examples,
            loss_ap=100.0,
        )

    def _empty(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        empty = [file for file in split.files if not file.records and not file.fault]
        if not empty:
            return
        whole = len(empty) == len(split.files)
        yield self.told(
            subject,
            split,
            "records_unreadable",
            Severity.FATAL if whole else Severity.WARNING,
            found=f"{len(empty)} of {len(split.files)} files hold no record",
            expected="records in every file",
            why="There is nothing to read, and no first batch."
            if whole
            else "What was to be in them is missing, and nothing says so.",
            mend="write them again; fewer shards where there are fewer images than shards",
            count=len(empty),
            counted="files",
            examples=[file.path.name for file in empty[:5]],
            loss_ap=100.0 if whole else 1.0,
        )
