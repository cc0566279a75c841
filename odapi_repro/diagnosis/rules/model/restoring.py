"""What a changed part of the model means for restoring a checkpoint."""

from __future__ import annotations

from odapi_repro.diagnosis.subject import Subject

_REACH = {"detection": ("`detection`",), "full": ("`detection`", "`full`")}


def restoring(subject: Subject, part: str, kind: str) -> str:
    """Gives a sentence where the checkpoint holds the part, which then no longer fits; or nothing.

    Args:
        subject: the config.
        part: what was changed, e.g. `the BiFPN`.
        kind: the weakest checkpoint type that restores it, in backticks.
    """
    if kind not in _REACH.get(subject.quantities.checkpoint_restore, ()):
        return ""
    return (
        f" A checkpoint of the reference's model holds {part} in its own shape, which cannot be "
        "restored into another."
    )
