"""What a recipe does to the training records before they are read: damage on purpose."""

from __future__ import annotations

from dataclasses import dataclass

LABEL_NOISE_KINDS = {
    "shifted": "boxes moved by a quarter to a half of their own size, along both axes",
    "scaled": "boxes shrunk to 0.5 to 0.7, or grown to 1.4 to 2 times their sides",
    "dropped": "objects left out",
    "swapped": "objects of another class, drawn evenly from the label map",
    "absolute": "images whose boxes are in pixels instead of shares of the image",
    "shuffled": "images with the objects of another image",
}
"""Kind -> what it does."""

_OF_IMAGES = frozenset({"absolute", "shuffled"})


@dataclass(frozen=True)
class LabelNoise:
    """Wrong annotations of one kind.

    Attributes:
        kind: of `LABEL_NOISE_KINDS`.
        share: above 0, up to 1, of the objects, or of the images that have any.
    """

    kind: str
    share: float

    @property
    def is_of_images(self) -> bool:
        """Whether the share counts images instead of objects."""
        return self.kind in _OF_IMAGES

    @property
    def label(self) -> str:
        """As it is typed and shown, e.g. `dropped:0.2`."""
        return f"{self.kind}:{self.share:g}"


@dataclass(frozen=True)
class RecordEdits:
    """What is done to the training records, in this order.

    Attributes:
        train_fraction: share of the images that is kept, above 0, up to 1.
        label_noise: what is done to annotations; None for nothing.
        duplicate_share: share of the images, below 1, that are replaced by copies of others; the
            number of records stays.
    """

    train_fraction: float = 1.0
    label_noise: LabelNoise | None = None
    duplicate_share: float = 0.0

    @property
    def is_none(self) -> bool:
        """Whether the records stay as they are."""
        return self == RecordEdits()

    @property
    def text(self) -> str:
        """One line: what is done, exactly; it enters a trial's identity."""
        parts = []
        if self.train_fraction != 1.0:
            parts.append(f"train_fraction={self.train_fraction!r}")
        if self.label_noise is not None:
            parts.append(f"label_noise={self.label_noise.kind}:{self.label_noise.share!r}")
        if self.duplicate_share:
            parts.append(f"duplicate_share={self.duplicate_share!r}")
        return " ".join(parts)
