"""Factors of the training data: how much of it is read, and what is done to it."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from odapi_repro.command import nearest
from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Level, Setting, TrainedFactor, parse_amount
from odapi_repro.pipeline.recipe import LABEL_NOISE_KINDS, LabelNoise

# --- Factors whose levels are shares: typed as 0.2, 20% or 1/5 ---


class ShareFactor(TrainedFactor):
    """A factor that owns one share of the recipe, of the training images.

    Attributes:
        reference_share: 0 or 1, the records as they are; the other of the two is no level.
        default_shares: studied when none are named, the reference's first.
    """

    reference_share: ClassVar[float]
    default_shares: ClassVar[tuple[float, ...]]

    def reference_level(self, setting: Setting) -> Level:
        """The records as they are."""
        del setting
        return _level(self.reference_share)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The reference, and two others."""
        del setting
        return tuple(map(_level, self.default_shares))

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A share of the training images."""
        del setting
        one = self.reference_share == 1
        share = parse_share(text, factor=self.name, of="the training images", zero=not one, one=one)
        return _level(share)


def _level(share: float) -> Level:
    return Level(f"{share:g}", share)


def parse_share(
    text: str, *, factor: str, of: str, zero: bool, one: bool, prefix: str = ""
) -> float:
    """Gives a share, to six digits, from `0.2`, `20%` or `1/5`.

    Args:
        text: as typed.
        factor: its name, for the message.
        of: what it is a share of.
        zero, one: whether 0 and 1 are levels, too.
        prefix: what stands before the share in the level.

    Raises:
        UserError: no number, or out of range.
    """
    cleaned = text.strip()
    try:
        percent = cleaned.endswith("%")
        exact = Fraction(cleaned.removesuffix("%").strip()) / (100 if percent else 1)
        share = float(f"{float(exact):.6g}")
    except (ValueError, ZeroDivisionError, OverflowError):
        share = -1.0
    if not (0 < share < 1 or (zero and share == 0) or (one and share == 1)):
        low = "0" if zero else "above 0"
        high = "1" if one else "below 1"
        raise UserError(
            f"'{prefix}{text}' is no level of {factor}",
            expected=f"a share of {of}, {low} to {high}: 0.2, 20% or 1/5",
            mend=f"e.g. --levels {prefix}0.2",
        )
    return share


# --- How many of the training images there are ---


class TrainFraction(ShareFactor):
    """Share of the training images that is kept, drawn at random."""

    name = "train_fraction"
    also_called = "data_fraction fraction dataset_size data_size num_images subset train_size"
    summary = "share of the training images that is kept, drawn at random (1, 0.5, 10%)"
    owns = ("train_fraction",)
    holds = (
        "images seen are held, so the fewer images there are, the more often each is seen. Which "
        "are kept follows the seed, a smaller share out of the larger; the evaluation records, "
        "batch and schedule are held."
    )
    reference_share = 1.0
    default_shares = (1.0, 0.5, 0.1)


# --- How many of the training images are copies of others ---


class DuplicateShare(ShareFactor):
    """Share of the training images that are copies of other training images."""

    name = "duplicate_share"
    also_called = "duplicates duplicate copies"
    summary = "share of the training images that are copies of others (0, 0.5, 90%)"
    owns = ("duplicate_share",)
    holds = (
        "the number of records and images seen are held: copies take the place of other images, "
        "which are then never seen. Which, follows the seed; the evaluation records, batch and "
        "schedule are held."
    )
    reference_share = 0.0
    default_shares = (0.0, 0.5, 0.9)


# --- Wrong annotations in the training records, planted on purpose ---


_NONE = "none"


class LabelNoiseFactor(TrainedFactor):
    """A share of the training annotations made wrong in one way."""

    name = "label_noise"
    also_called = "noise labels wrong_labels annotations"
    summary = (
        f"wrong training annotations: {_NONE}, or a kind and a share, e.g. dropped:0.2; kinds: "
        + ", ".join(LABEL_NOISE_KINDS)
    )
    owns = ("label_noise",)
    holds = (
        "everything else is held; the evaluation records stay right. Which annotations are made "
        "wrong follows the seed, exactly the share named, a smaller share out of the larger "
        "(docs/factors.md has each kind)."
    )
    default_texts = (_NONE, "shifted:0.2", "dropped:0.2", "swapped:0.2")

    def reference_level(self, setting: Setting) -> Level:
        """None: the annotations as they are."""
        del setting
        return Level(_NONE, None)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """None, and a fifth of the objects shifted, dropped, and (of several classes) swapped."""
        several = setting.pipeline.num_classes > 1
        texts = [text for text in self.default_texts if several or "swapped" not in text]
        return tuple(self.parse_level(text, setting) for text in texts)

    def parse_level(self, text: str, setting: Setting) -> Level:
        """`none`, or `KIND:SHARE`."""
        cleaned = text.strip()
        if cleaned == _NONE:
            return self.reference_level(setting)
        kind, separator, share_text = cleaned.partition(":")
        if kind not in LABEL_NOISE_KINDS or not separator:
            kinds = list(LABEL_NOISE_KINDS)
            known = kind in kinds
            lack = ": the share is missing" if known else ""
            raise UserError(
                f"'{text}' is no level of {self.name}{lack}",
                expected=f"{_NONE}, or KIND:SHARE with one of {', '.join(kinds)}",
                mend=f"e.g. {kind}:0.2"
                if known
                else f"{nearest(kind, kinds)}e.g. --levels none,dropped:0.2",
            )
        of_images = LabelNoise(kind, 1.0).is_of_images
        of = "the images with objects" if of_images else "the objects"
        share = parse_share(
            share_text, factor=self.name, of=of, zero=False, one=True, prefix=f"{kind}:"
        )
        if kind == "swapped" and setting.pipeline.num_classes < 2:
            raise UserError(
                f"'{text}' does not apply: the label map has one class",
                expected="two classes or more to swap between",
                mend="choose another kind of label noise",
            )
        noise = LabelNoise(kind, share)
        return Level(noise.label, noise)


# --- How many of the training files are read ---


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
        return _shards_level(_files(setting), setting)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """All, a tenth and a hundredth (at least one file)."""
        files = _files(setting)
        counts = {max(1, round(files * share)) for share in self.default_shares}
        return tuple(_shards_level(count, setting) for count in sorted(counts, reverse=True))

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
        return _shards_level(count, setting)

    def at_full_scale(self, level: Level, setting: Setting) -> str:
        """The share of the records, which is the same at every scale."""
        share = Fraction(int(level.label), _files(setting))
        return "all" if share == 1 else f"{share} of the records"


def _shards_level(count: int, setting: Setting) -> Level:
    return Level(str(count), None if count == _files(setting) else count)


def _files(setting: Setting) -> int:
    assert setting.num_train_files is not None  # check_applies comes first
    return setting.num_train_files
