"""What a mended config's training costs in images, epochs and hours, and what fits instead."""

from __future__ import annotations

from dataclasses import dataclass, replace

from odapi_repro.diagnosis.mending.constraints import FINE_TUNE, REPRODUCE, Constraints
from odapi_repro.diagnosis.mending.length import SAVED_EVERY, Length, plan_length
from odapi_repro.diagnosis.mending.mend import Mended

#: Images a second that hours are told for where nobody measured them: one workstation GPU's order
#: of magnitude for a detector at some 900 pixels.
EXAMPLE_SPEED = 10.0
# What nobody means to wait for without having been told.
_LONG_HOURS = 7 * 24


@dataclass(frozen=True)
class Offer:
    """Another training that fits the time.

    Attributes:
        flags: to be added to the command.
        what: in words.
        length: batch and steps.
        hours: at the same speed.
    """

    flags: str
    what: str
    length: Length
    hours: float


@dataclass(frozen=True)
class Cost:
    """What a training costs.

    Attributes:
        length: batch and steps.
        train_images: images in the training records; None where nobody knows.
        images_per_second: that the hours are told for.
        measured: whether the user said so; else it is an example.
        hours: that the training takes.
        hours_available: that the user has; None where they did not say.
        offers: what fits, where this does not.
    """

    length: Length
    train_images: int | None
    images_per_second: float
    measured: bool
    hours: float
    hours_available: float | None
    offers: tuple[Offer, ...]

    @property
    def epochs(self) -> float | None:
        """Passes over the training images."""
        return self.length.images / self.train_images if self.train_images else None

    @property
    def fits(self) -> bool:
        """Whether it ends within the hours there are, or nobody set any."""
        return self.hours_available is None or self.hours <= self.hours_available


def cost_of(mended: Mended, constraints: Constraints) -> Cost:
    """Gives the cost, with offers where the training does not fit or takes over a week."""
    length = mended.length
    speed = constraints.images_per_second or EXAMPLE_SPEED
    hours = length.images / speed / 3600
    cost = Cost(
        length=length,
        train_images=mended.subject.quantities.train_images,
        images_per_second=speed,
        measured=constraints.images_per_second is not None,
        hours=hours,
        hours_available=constraints.hours,
        offers=(),
    )
    too_long = not cost.fits or (constraints.hours is None and hours > _LONG_HOURS)
    if not too_long:
        return cost
    return replace(cost, offers=tuple(_offers(mended, constraints, cost)))


def _offers(mended: Mended, constraints: Constraints, cost: Cost) -> list[Offer]:
    offers = []
    subject = mended.subject
    if mended.goal == REPRODUCE and subject.reference.archive:
        free = replace(
            constraints, steps=None, epochs=None, keep=constraints.keep - {"schedule_length"}
        )
        length = plan_length(
            subject.quantities,
            subject.reference_quantities,
            free,
            FINE_TUNE,
            batch=(cost.length.batch, cost.length.batch_why),
            own_is_bad=True,
        )
        what = f"fine-tuning the published detector, {length.why}"
        offers.append(_offer(f"--goal {FINE_TUNE}", what, length, cost))
    if constraints.hours is not None and constraints.images_in_time is not None:
        steps = constraints.images_in_time // cost.length.batch // SAVED_EVERY * SAVED_EVERY
        if steps:
            length = Length(cost.length.batch, steps, "", "")
            share = length.images / cost.length.images
            what = f"the same training, cut to {share:.0%} of its images"
            offers.append(_offer(f"--steps {steps}", what, length, cost))
    return offers


def _offer(flags: str, what: str, length: Length, cost: Cost) -> Offer:
    return Offer(flags, what, length, length.images / cost.images_per_second / 3600)
