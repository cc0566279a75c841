"""Training records read in their order."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

# The default is 2,048 serialised examples; under this a buffer holds a few batches at most.
_SMALL_BUFFER = 64


class ShuffleDisabled(Rule):
    """Training examples are not shuffled, so that batches hold what lies together in the records.

    Anti-pattern

        train_input_reader {
          shuffle: false
          num_readers: 1
        }

    Often copied from the eval reader. Records are written class by class, video by video, or by
    image number; every epoch then repeats the same order.

    Best practice

        train_input_reader {
          shuffle: true
        }

    The default, with a buffer of 2,048 examples and 64 readers.

    Source

    builders/dataset_builder._read_dataset_internal: `shuffle` shuffles file names and examples
    (shuffle_buffer_size) and lets readers run ahead of each other.
    """

    code = "DAT009"
    name = "data.shuffle_disabled"
    causes = ("shuffle_disabled",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for shuffling switched off, or for a buffer that hardly shuffles."""
        reader = subject.pipeline.proto.train_input_reader
        theirs = subject.reference_pipeline.proto.train_input_reader
        if not reader.shuffle and theirs.shuffle:
            alone = int(reader.num_readers) == 1
            yield self.finding(
                "shuffle_disabled",
                Severity.WARNING,
                fields=("train_input_reader.shuffle",),
                found="the training reader does not shuffle"
                + (", and has one reader" if alone else ""),
                expected="shuffle: true, the default",
                why=(
                    "Neighbours in the records share their batches in every epoch; where records "
                    "are sorted, batch norm and gradients see one kind of image at a time."
                ),
                loss_ap=4.0 if alone else 3.0,  # judged: no published number
                fix=(FieldFix("train_input_reader.shuffle", True),),
            )
            return
        buffer, batch = (
            int(reader.shuffle_buffer_size),
            int(subject.pipeline.proto.train_config.batch_size),
        )
        usual = int(theirs.shuffle_buffer_size)
        if reader.shuffle and buffer < min(usual, max(_SMALL_BUFFER, 2 * batch)):
            single = int(reader.num_readers) == 1
            yield self.finding(
                "shuffle_disabled",
                Severity.WARNING if single or buffer < batch else Severity.INFO,
                fields=("train_input_reader.shuffle_buffer_size",),
                found=f"the training reader shuffles within {buffer} examples at batch {batch}"
                + (", and has one reader" if single else ""),
                expected=f"{usual}, the default",
                why="So few examples are hardly mixed: batches hold neighbours of the records.",
                loss_ap=2.0,  # judged: no published number
                fix=(FieldFix("train_input_reader.shuffle_buffer_size", usual),),
            )
