"""Numbers of an input reader at which tf.data stops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

# field: (what tf.data makes of 0, whether only with shuffle). Each was run on TF 2.15 and 2.20.
_REFUSES_0 = {
    "num_readers": ("`cycle_length` must be > 0", False),
    "read_block_length": ("`block_length` must be > 0", False),
    "num_parallel_batches": ("num_parallel_calls must be greater than zero", False),
    "shuffle_buffer_size": ("buffer_size must be greater than zero", True),
    "filenames_shuffle_buffer_size": ("buffer_size must be greater than zero", True),
}


class InputReaderRefused(Rule):
    """The input pipeline cannot be built from the numbers of its reader.

    0 reads like "off" or "as you like" and is neither: tf.data stops. To read without shuffling
    there is `shuffle: false`; to read with one file at a time, 1.

    Anti-pattern

        train_input_reader { num_readers: 0 }
        train_input_reader { shuffle_buffer_size: 0 }

    Best practice

    Leave these fields out: 64 readers (never more than files), blocks of 32, 8 parallel batches and
    a buffer of 2048 are the defaults. `num_prefetch_batches: -1` lets tf.data choose.

    Source

    builders/dataset_builder._read_dataset_internal (parallel_interleave, shuffle), read_dataset
    (weights: their number is compared with that of the paths, their sum divided by) and build
    (map, prefetch). Not refused: 0 in sample_1_of_n_examples (all are read), num_prefetch_batches
    and num_parallel_map_calls.
    """

    code: ClassVar[str] = "DAT013"
    name: ClassVar[str] = "data.input_reader_refused"
    causes: ClassVar[tuple[str, ...]] = ("input_reader_refused",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the training reader and at the one that is evaluated."""
        proto = subject.pipeline.proto
        yield from self._reader(proto.train_input_reader, "train_input_reader", "Training")
        if proto.eval_input_reader:
            reader = proto.eval_input_reader[0]
            yield from self._reader(reader, "eval_input_reader[0]", "The evaluation")

    def _reader(self, reader: Any, path: str, who: str) -> Iterator[Finding]:
        for field, refusal, expected, fix in _refusals(reader):
            yield self.finding(
                "input_reader_refused",
                Severity.FATAL,
                fields=[f"{path}.{field}"],
                found=f"{field} is {_shown(getattr(reader, field))}",
                expected=expected,
                why=f"{who} stops before its first batch: {refusal}.",
                loss_ap=90.0,
                fix=[FieldFix(f"{path}.{field}", fix)],
            )


def _refusals(reader: Any) -> Iterator[tuple[str, str, str, object]]:
    """Yields field, tf.data's words, what is expected, and the value that mends it."""
    for field, (refusal, only_shuffled) in _REFUSES_0.items():
        if getattr(reader, field) == 0 and (reader.shuffle or not only_shuffled):
            default = int(reader.DESCRIPTOR.fields_by_name[field].default_value)
            yield field, f"'{refusal}'", f"1 or more; {default} if left out", default
    if reader.num_prefetch_batches < -1:
        refusal = "'buffer_size must be >= 0 or set buffer_size to be -1 for auto-tuning'"
        yield "num_prefetch_batches", refusal, "0 or more, or -1", 2
    weights = list(reader.sample_from_datasets_weights)
    paths = len(reader.tf_record_input_reader.input_path)
    if not weights:
        return
    field = "sample_from_datasets_weights"
    if len(weights) != paths:
        refusal = f"TypeError, as there are {len(weights)} weights for {paths} input paths"
        yield field, refusal, "one weight for each input_path", None
    elif not all(map(math.isfinite, weights)):
        yield field, "ValueError, as a weight is no number", "numbers above 0", None
    elif not sum(weights):
        yield field, "ZeroDivisionError, as the weights add up to 0", "a sum above 0", None
    elif max(weights) < 0:
        yield field, "no record is drawn from any path", "numbers above 0", None
    elif min(math.ceil(reader.num_readers * one / sum(weights)) for one in weights) < 0:
        yield field, "'`cycle_length` must be > 0', of the readers' share", "numbers above 0", None


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"[{', '.join(f'{one:g}' for one in value)}]"
