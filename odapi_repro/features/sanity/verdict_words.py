"""The numbers of the checks as the sentences of a verdict have them."""

from __future__ import annotations

from odapi_repro.features.sanity.outcome import Change, Run, Score

_SURE = 1.96


def untested(what: str, reason: str) -> str:
    """Gives the sentence for a check that did not take place; empty without a reason."""
    return f"{what}: not tested, {reason}." if reason else ""


def course_of(run: Run) -> str:
    """Gives how an overfit went: from which AP to which, or what ended it."""
    if run.status == "diverged":
        return f"diverged, {run.message} (peak rate {run.peak_rate:g})"
    before, after = run.ap_before, run.ap_after
    if before is None or after is None:
        return f"{run.status}{message_of(run)}"
    return (
        f"AP on the few images from {before:.1f} to {after:.1f} in {run.num_steps} steps "
        f"(peak rate {run.peak_rate:g})"
    )


def message_of(run: Run) -> str:
    """Gives what a run said at its end, after a comma; empty where it said nothing."""
    return f", {run.message}" if run.message else ""


def ap_text(score: Score) -> str:
    """Gives AP with the half width of its 95 % interval over the images."""
    return f"{score.ap:.1f}" + ("" if score.se is None else f" ± {_SURE * score.se:.1f}")


def change_text(change: Change) -> str:
    """Gives a difference with its sign, and its interval where there is one."""
    if change.low is None or change.high is None:
        return f"{change.value:+.1f}"
    return f"{change.value:+.1f} ({change.low:+.1f} to {change.high:+.1f})"
