"""How many of the training files are read."""

from __future__ import annotations

from fractions import Fraction

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Level, Setting, TrainedFactor, parse_amount


class TrainShards(TrainedFactor):
    """Shards of the training records that are read, by name the first.

    The OD API reads what `input_path` matches and says nothing when that is one file of a hundred
    (builders/dataset_builder.read_dataset).
    """

    name = "train_shards"
    also_called = "shards num_shards"
    summary = "training files read, of those that the records have (1, 10, 1/100)"
    owns = ("train_shards",)
    holds = (
        "images seen are held, so the fewer shards are read, the more often each image is seen. "
        "The first files by name are read, in every replicate the same; the evaluation records, "
        "batch and schedule are held."
    )
    # The default levels as shares of all files.
    default_shares = (Fraction(1), Fraction(1, 10), Fraction(1, 100))

    def check_applies(self, setting: Setting) -> None:
        """Only records in several files can be read in part."""
        if (setting.num_train_files or 0) < 2:
            raise UserError(
                f"{self.name} does not apply to these training records: they are one file",
                expected="records in several files, e.g. --data embedded, or those that "
                "create_coco_tf_record.py writes (train.record-?????-of-00100)",
                mend="write the records in shards, or choose another factor",
            )

    def reference_level(self, setting: Setting) -> Level:
        """All of them."""
        return _level(_files(setting), setting)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """All, a tenth and a hundredth (at least one file)."""
        files = _files(setting)
        counts = {max(1, round(files * share)) for share in self.default_shares}
        return tuple(_level(count, setting) for count in sorted(counts, reverse=True))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A number of files, or a share of all."""
        files = _files(setting)
        count = parse_amount(
            text, files, factor=self.name, unit="training files to read", at_least=1
        )
        if count > files:
            raise UserError(
                f"level '{text}' of {self.name} comes to {count} of {files} files",
                expected=f"at most the {files} files of the training records",
                mend=f"choose {files} or less, or name more records with --train_records",
            )
        return _level(count, setting)

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The share of the records, which is the same at every scale."""
        share = Fraction(int(level.label), _files(setting))
        return "all" if share == 1 else f"{share} of the records"


def _level(count: int, setting: Setting) -> Level:
    return Level(str(count), None if count == _files(setting) else count)


def _files(setting: Setting) -> int:
    assert setting.num_train_files is not None  # check_applies comes first
    return setting.num_train_files
