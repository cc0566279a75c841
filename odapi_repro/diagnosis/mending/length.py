"""How long a mended config trains: steps at the batch that fits, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

from odapi_repro.diagnosis.mending.constraints import FINE_TUNE, Constraints
from odapi_repro.pipeline import Quantities
from odapi_repro.pipeline.quantities import COCO_TRAIN_IMAGES

#: Steps between checkpoints in model_main_tf2: only a multiple saves the last step, too.
SAVED_EVERY = 1000
_MOST_STEPS = 2**32 - 1  # what num_steps holds
# Images under which the rule about a run's length (STP001) calls a training short: from a detector
# and from a backbone; and epochs from which it calls any training long.
_LEAST_FROM_DETECTOR = 20_000
_LEAST_FROM_BACKBONE = 100_000
_MOST_EPOCHS = 300
# Fine-tuning without a length of the user's own: some tens of passes over the data, and at most
# the 12 over COCO that detection calls a 1x schedule.
_FINE_TUNE_EPOCHS = 50
_FINE_TUNE_MOST = 12 * COCO_TRAIN_IMAGES
# Where the size of the data is not known.
_FINE_TUNE_UNKNOWN = 40_000


@dataclass(frozen=True)
class Length:
    """Batch and steps of a run.

    Attributes:
        batch: global, in images.
        steps: of the run.
        batch_why, why: where they come from.
        to_the_letter: whether the steps are what the user said; else they are whole checkpoint
            intervals.
    """

    batch: int
    steps: int
    batch_why: str
    why: str
    to_the_letter: bool = False

    @property
    def images(self) -> int:
        """Images seen, repeats counted."""
        return self.batch * self.steps


def plan_length(
    own: Quantities,
    reference: Quantities,
    constraints: Constraints,
    goal: str,
    *,
    batch: tuple[int, str],
    own_is_bad: bool = False,
    own_stays: bool = False,
    whole: bool = True,
) -> Length:
    """Gives batch and steps.

    Args:
        own: quantities of the config, with the training images where they are known.
        reference: quantities of the reference.
        constraints: steps or epochs that the user asks for, what is kept, the hours there are.
        goal: reproducing takes the reference's images (or its epochs, of other data),
            fine-tuning the config's own where the user chose them.
        batch: the global batch and why.
        own_is_bad: whether a rule speaks against the config's own length.
        own_stays: whether the config's own length stays, as nothing speaks against it.
        whole: whether steps are whole checkpoint intervals although the user chose others.
    """
    size, why = batch
    if constraints.steps is not None:
        return Length(size, constraints.steps, why, f"--steps {constraints.steps}", True)
    if constraints.keeps("schedule_length"):
        return Length(size, own.num_steps, why, "kept", True)
    if constraints.epochs is not None:
        images = constraints.epochs * (own.train_images or COCO_TRAIN_IMAGES)
        return _length(images, f"{constraints.epochs:g} epochs (--epochs)", batch)
    if goal == FINE_TUNE:
        return _fine_tuning(own, constraints, batch, own_is_bad, whole)
    if own_stays:
        return _own(own, batch, whole)
    if _is_other_data(own):
        return _length(*_other_data(own, reference), batch)
    return _length(reference.images_seen, f"the reference's {_count(reference.images_seen)}", batch)


def _other_data(own: Quantities, reference: Quantities) -> tuple[float, str]:
    """The reference's epochs of other data; of little data more, as far as that is sensible."""
    known = own.train_images or 0
    epochs = reference.images_seen / COCO_TRAIN_IMAGES
    if epochs * known >= _LEAST_FROM_BACKBONE:
        return epochs * known, f"the reference's {epochs:.0f} epochs of {known:,} training images"
    images = min(_LEAST_FROM_BACKBONE, max(2 * epochs, _MOST_EPOCHS) * known)
    # Less teaches nothing, however often the images come round.
    images = max(images, _LEAST_FROM_DETECTOR)
    return images, f"{images / known:.0f} epochs of {known:,} training images, few as they are"


def _is_other_data(own: Quantities) -> bool:
    """Whether the data are known not to be COCO's, give or take some images."""
    known = own.train_images
    return known is not None and not 0.9 <= known / COCO_TRAIN_IMAGES <= 1.1


def _fine_tuning(
    own: Quantities,
    constraints: Constraints,
    batch: tuple[int, str],
    own_is_bad: bool,
    whole: bool,
) -> Length:
    known = own.train_images
    in_time = constraints.images_in_time
    stays = bool(own.num_steps) and not own_is_bad
    if stays and (in_time is None or in_time >= own.images_seen):
        return _own(own, batch, whole)
    if stays:
        images, reason = own.images_seen, f"the {_count(own.images_seen)} that the config asks for"
    elif known:
        images = min(max(_FINE_TUNE_EPOCHS * known, _LEAST_FROM_DETECTOR), _FINE_TUNE_MOST)
        reason = f"{images / known:.3g} epochs of {known:,} training images"
    else:
        images = _LEAST_FROM_DETECTOR if own.num_steps else _FINE_TUNE_UNKNOWN
        reason = f"{_count(images)}, as nobody said how many there are (--train_images)"
    if in_time is not None and in_time < images:
        steps = max(in_time // batch[0] // SAVED_EVERY, 1) * SAVED_EVERY
        return Length(batch[0], steps, batch[1], f"what {constraints.hours:g} hours hold")
    return _length(images, reason, batch)


def _own(own: Quantities, batch: tuple[int, str], whole: bool) -> Length:
    """The config's own length: its steps, or at another batch its images."""
    reason = f"the {_count(own.images_seen)} that the config asks for"
    if batch[0] == own.global_batch and not (whole and own.num_steps % SAVED_EVERY):
        return Length(batch[0], own.num_steps, batch[1], reason, True)
    return _length(own.images_seen, reason, batch)


def _length(images: float, reason: str, batch: tuple[int, str]) -> Length:
    """Rounds up to whole checkpoint intervals."""
    size, why = batch
    intervals = min(max(math.ceil(images / size / SAVED_EVERY), 1), _MOST_STEPS // SAVED_EVERY)
    return Length(size, intervals * SAVED_EVERY, why, reason)


def _count(images: int) -> str:
    return f"{images / 1e6:.3g} million images" if images >= 1_000_000 else f"{images:,} images"
