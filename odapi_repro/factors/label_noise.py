"""Wrong annotations in the training records, planted on purpose."""

from __future__ import annotations

from odapi_repro.command import nearest
from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Level, Setting, TrainedFactor
from odapi_repro.factors.share import parse_share
from odapi_repro.pipeline.record_edits import LABEL_NOISE_KINDS, LabelNoise

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
