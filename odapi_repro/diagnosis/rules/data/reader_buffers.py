"""Buffers of the training reader that are larger than memory."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

# A record of COCO has about 160 kB.
_RECORD_BYTES = 100_000
# tf.data makes an empty slot of the buffer with the buffer (measured on TF 2.20: 4.6 GB for 2e8).
_SLOT_BYTES = 24
_FLOAT_BYTES, _CHANNELS = 4, 3
_SOME_GB, _MANY_GB = 16.0, 1000.0
_GB = 1e9


class ReaderBuffers(Rule):
    """The training reader keeps more records or batches in memory than there may be room for.

    Anti-pattern

        train_input_reader { shuffle_buffer_size: 4294967295 }      # "shuffle everything"
        train_input_reader { num_prefetch_batches: 1000000 }

    The files are read again and again, and shuffled behind that: the buffer holds as many records
    as it says before the first batch comes, however few there are in the files.

    Best practice

    Leave both out: 2048 records and 2 batches. Files are shuffled by their names, too, so that
    several shards do more than a larger buffer.

    Source

    builders/dataset_builder._read_dataset_internal (repeat, then shuffle; num_epochs ends it) and
    build (prefetch). Run on TF 2.20: 1,000,000 records of 5 kB are read from a file of 12 before
    the first batch, in 5.4 GB; 4,294,967,295 end the process where 24 GB are all. Millions of
    num_readers, num_parallel_batches and read_block_length take nothing.
    """

    code = "DAT014"
    name = "data.reader_buffers"
    causes = ("reader_buffer_too_large",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the buffers of records, of the files' names and of batches."""
        reader = subject.pipeline.proto.train_input_reader
        if reader.shuffle:
            yield from self._shuffled("shuffle_buffer_size", reader, endless=not reader.num_epochs)
            yield from self._shuffled("filenames_shuffle_buffer_size", reader, endless=False)
        known, batches = subject.quantities, int(reader.num_prefetch_batches)
        pixels = (known.input_height or 0) * (known.input_width or 0)
        batch = max(0, known.global_batch) * pixels * _CHANNELS * _FLOAT_BYTES / _GB
        if batch * batches > _SOME_GB:
            yield self._told(
                "num_prefetch_batches",
                batches,
                2,
                batch * batches,
                f"A batch has up to {batch:,.2g} GB at this input size, and the input reads ahead "
                f"while training is slower: up to {batch * batches:,.3g} GB.",
            )

    def _shuffled(self, field: str, reader: object, *, endless: bool) -> Iterator[Finding]:
        size = int(getattr(reader, field))
        slots, records = size * _SLOT_BYTES / _GB, size * _RECORD_BYTES / _GB
        default = 2048 if field == "shuffle_buffer_size" else 100
        if endless and records > _SOME_GB:
            yield self._told(
                field,
                size,
                default,
                records,
                "So many records are read before the first batch, over and over where the files "
                f"hold fewer: {records:,.3g} GB at 100 kB a record.",
            )
        elif slots > _SOME_GB:
            why = f"The empty buffer alone takes {slots:,.3g} GB."
            yield self._told(field, size, default, _MANY_GB, why)

    def _told(self, field: str, value: int, default: int, gigabytes: float, why: str) -> Finding:
        path = f"train_input_reader.{field}"
        return self.finding(
            "reader_buffer_too_large",
            Severity.CRITICAL if gigabytes >= _MANY_GB else Severity.WARNING,
            fields=(path,),
            found=f"{field} is {value:,}",
            expected=f"what fits into memory; {default:,} if left out",
            why=why,
            loss_ap=60.0 if gigabytes >= _MANY_GB else 1.0,  # judged: it runs or it does not
            fix=(FieldFix(path, default),),
        )
