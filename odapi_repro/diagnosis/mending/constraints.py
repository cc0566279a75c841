"""What a mended config has to respect: the hardware, the goal, and what the user keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from odapi_repro.command import nearest
from odapi_repro.diagnosis.field_factors import FACTOR_ORDER, OTHER, factor_of_field
from odapi_repro.errors import UserError

REPRODUCE = "reproduce"
FINE_TUNE = "fine_tune"
GOALS = (REPRODUCE, FINE_TUNE)

# What people call a factor, where its own name is another.
_ALIASES = {
    "lr": "base_lr",
    "learning_rate": "base_lr",
    "lr_scaling": "base_lr",
    "steps": "schedule_length",
    "num_steps": "schedule_length",
    "epochs": "schedule_length",
    "data_fraction": "train_shards",
    "data": "train_shards",
    "num_classes": "classes",
    "loss": "loss_function",
    "clipping": "gradient_clipping",
    "eval": "evaluation",
    "feature_extractor": "backbone",
    "max_number_of_boxes": "gt_boxes_per_image",
    "freeze_batchnorm": "batch_norm",
    "bn": "batch_norm",
    "aug": "augmentation",
    "input_size": "image_size",
    "resolution": "image_size",
    "image_resizer": "image_size",
}


def kept_factor(name: str) -> str:
    """Gives the factor that a name on the command line means.

    Raises:
        UserError: none is called so; names the nearest.
    """
    wanted = name.strip().lower()
    factor = _ALIASES.get(wanted, wanted)
    factors = [known for known in FACTOR_ORDER if known != OTHER]
    if factor in factors:
        return factor
    raise UserError(
        f"'{name}' is no factor that could be kept",
        expected=f"some of {', '.join(factors)}",
        mend=f"{nearest(wanted, [*factors, *_ALIASES])}e.g. --keep batch_size,image_size",
        where="--keep",
    )


@dataclass(frozen=True)
class Constraints:
    """What the mended config respects.

    Attributes:
        keep: factors that stay as they are (`diagnosis.field_factors`).
        num_replicas: replicas that share a global batch.
        max_batch: images of the largest global batch that fits all replicas together; None: the
            config's own batch is taken to fit.
        steps: steps of the run, to the letter; None where they follow from the goal.
        epochs: passes over the training images, in place of `steps`.
        images_per_second: what the hardware trains; None where nobody measured it.
        hours: what the run may take.
        goal: `reproduce` or `fine_tune`; None: fine-tuning where the config restores a detector.
    """

    keep: frozenset[str] = frozenset()
    num_replicas: int = 1
    max_batch: int | None = None
    steps: int | None = None
    epochs: float | None = None
    images_per_second: float | None = None
    hours: float | None = None
    goal: str | None = None

    def keeps(self, *factors: str) -> bool:
        """Whether one of these factors is kept."""
        return any(factor in self.keep for factor in factors)

    def kept_factor_of(self, paths: Iterable[str]) -> str | None:
        """Gives the kept factor that one of the fields belongs to, None where none does."""
        factors = (factor_of_field(path) for path in paths)
        return next((factor for factor in factors if factor in self.keep), None)

    @property
    def images_in_time(self) -> int | None:
        """Images that the hours hold; None where hours or speed are not known."""
        if self.hours is None or self.images_per_second is None:
            return None
        return int(self.hours * 3600 * self.images_per_second)
