"""Shards that are named and not there, and shards of very different length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject
from odapi_repro.diagnosis.rules.data.shards import loss_of_share

# Images are dealt out by turns, so shards differ by one record; sizes of one class each, or an
# interrupted last shard, differ by far more. A judgement: nobody published a price.
_UNBALANCED = 2.0
_LEAST_RECORDS = 20


class ShardsMissing(RecordRule):
    """Records are not read: shards are missing, patterns match nothing, samples are drawn.

    Anti-pattern

        train-00000-of-00100.tfrecord ... train-00041-of-00100.tfrecord      # and no more

    A pattern of question marks matches what is there, and training runs on 42 % of the images
    without a word.

    Best practice

    All shards in one folder, and about as many records in each: files are read side by side, and
    a long one is read alone at the end of every round.

    Source

    builders/dataset_builder.py: RuntimeError only where nothing matches at all; files are read side
    by side (parallel_interleave), then `dataset.shard(sample_1_of_n_examples, 0)`. Shares of
    train2017 and AP: see DAT002.
    """

    code = "REC002"
    name = "records.shards"
    causes = (
        "partial_shards",
        "input_pattern_matches_nothing",
        "train_subsampled",
        "eval_subsampled",
        "shards_unbalanced",
    )

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for missing shards and files, records left out, uneven shards."""
        for split in subject.census.splits:
            yield from self._missing(subject, split)
            yield from self._unmatched(subject, split)
            yield from self._sampled(subject, split)
            yield from self._uneven(subject, split)

    def _missing(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        for shards in split.inventory.shard_sets:
            missing = shards.missing
            if not missing:
                continue
            share = len(shards.present) / shards.total
            training = split.split == "train"
            loss, evidence = loss_of_share(share) if training else (2.0, ())
            severity = Severity.CRITICAL if training and share <= 0.3 else Severity.WARNING
            listed = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
            yield self.finding(
                "partial_shards",
                severity,
                fields=subject.field_of(split, "tf_record_input_reader.input_path"),
                found=f"{'training' if training else 'evaluation'}: {len(missing)} of "
                f"{shards.total} shards of {shards.name} are not there: number {listed}",
                expected=f"all {shards.total} shards",
                why="Their images are never read, and nothing says so.",
                loss_ap=loss,
                evidence=evidence,
                count=len(missing),
                counted="shards",
                mend="copy or write the missing shards",
            )

    def _unmatched(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        unmatched = split.inventory.unmatched
        if not unmatched:
            return
        yield self.told(
            subject,
            split,
            "input_pattern_matches_nothing",
            Severity.WARNING if split.files else Severity.FATAL,
            found=f"{len(unmatched)} patterns match no file: {unmatched[0]}"
            if len(unmatched) > 1
            else f"{unmatched[0]} matches no file",
            expected="patterns of files that are there",
            why="What they were to name is left out without a word."
            if split.files
            else "The OD API stops with a RuntimeError when it builds this input.",
            mend="correct the pattern, or copy the files",
            count=len(unmatched),
            counted="patterns",
            loss_ap=5.0 if split.files else 100.0,
        )

    def _sampled(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        reader = subject.reader(split)
        step = int(reader.sample_1_of_n_examples) if reader is not None else 1
        read = -(-split.records // max(step, 1))
        if step <= 1 or read == split.records:
            return
        training = split.split == "train"
        loss, evidence = loss_of_share(1 / step) if training else (2.0, ())
        severity = Severity.CRITICAL if step > 3 else Severity.WARNING
        yield self.finding(
            "train_subsampled" if training else "eval_subsampled",
            severity if training else Severity.INFO,
            fields=subject.field_of(split, "sample_1_of_n_examples"),
            found=f"{'training' if training else 'evaluation'}: {split.records - read:,} of "
            f"{split.records:,} records are left out by sample_1_of_n_examples: {step}",
            expected="all records: sample_1_of_n_examples 1 or unset",
            why="They are never seen."
            if training
            else "The metric is that of fewer images, and scatters more.",
            loss_ap=loss,
            evidence=evidence,
            fix=(FieldFix(subject.field_of(split, "sample_1_of_n_examples")[0], 1),),
            count=split.records - read,
            counted="records",
        )

    def _uneven(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        whole = [file for file in split.files if file.records and not file.fault]
        if len(whole) < 2:
            return
        records = np.array([file.records for file in whole])
        if records.max() < _LEAST_RECORDS or records.max() <= _UNBALANCED * records.min():
            return
        fewest, most = whole[int(records.argmin())], whole[int(records.argmax())]
        uneven = int((records * _UNBALANCED < np.median(records)).sum())
        uneven += int((records > _UNBALANCED * np.median(records)).sum())
        yield self.told(
            subject,
            split,
            "shards_unbalanced",
            Severity.INFO,
            found=f"files hold {records.min():,} to {records.max():,} records "
            f"(median {np.median(records):,.0f})",
            expected="about as many records in each file",
            why="Files are read side by side: images of a long file are seen beside each other "
            "more often, and a batch is less of a mixture.",
            mend="write the records again, images dealt out by turns",
            count=max(uneven, 1),
            counted="files",
            examples=(fewest.path.name, most.path.name),
        )
