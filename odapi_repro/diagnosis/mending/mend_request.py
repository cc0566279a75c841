"""What a mended config has to respect, and what was changed in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from odapi_repro.command import nearest
from odapi_repro.diagnosis.deviations import FACTOR_ORDER, OTHER, factor_of_field
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.errors import UserError
from odapi_repro.pipeline import Pipeline, field_differences

# --- What a mended config has to respect: the hardware, the goal, and what the user keeps ---


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
        f"'{name}' is not a factor that can be kept",
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


# --- What was changed and why, and what is left for the user to do ---


@dataclass(frozen=True)
class FieldChange:
    """One field before and after; None where it is unset."""

    path: str
    old: object
    new: object


@dataclass(frozen=True)
class Reason:
    """Why a field was changed.

    Attributes:
        text: a clause.
        code: of the rule whose finding it mends; None where no finding asked for it.
    """

    text: str
    code: str | None = None


@dataclass(frozen=True)
class Change:
    """Fields that were changed for one reason."""

    fields: tuple[FieldChange, ...]
    reason: str
    code: str | None = None


@dataclass(frozen=True)
class NotMendable:
    """Something that no config mends.

    Attributes:
        cause: of the finding.
        code: of its rule; empty where it is no finding.
        severity: of the finding.
        found: what is the matter.
        what_to_do: what mends it instead.
    """

    cause: str
    code: str
    severity: Severity
    found: str
    what_to_do: str


class Ledger:
    """Keeps why each field was last changed, and sums it up from the first config to the last."""

    def __init__(self, first: Pipeline) -> None:
        self._first = first
        self._reasons: dict[str, Reason] = {}

    def note(
        self, before: Pipeline, after: Pipeline, reason: Reason | Callable[[str], Reason]
    ) -> None:
        """Notes that every difference of the two is for this reason, or what it gives a path."""
        if before is after:
            return
        for path, _, _ in _differences(before, after):
            self._reasons[path] = reason if isinstance(reason, Reason) else reason(path)

    def changes(
        self, last: Pipeline, findings: Sequence[Finding], *, since: Pipeline | None = None
    ) -> tuple[Change, ...]:
        """Gives the changes, those first that mend the worst of the ranked findings.

        They are those from the first config, or from `since`.
        """
        rank: dict[str, int] = {}
        for position, finding in enumerate(findings):
            rank.setdefault(finding.code, position)
        fields: dict[str, list[FieldChange]] = {}
        codes: dict[str, str | None] = {}
        for path, old, new in _differences(since or self._first, last):
            reason = self._reasons.get(path, Reason("follows from the other changes"))
            fields.setdefault(reason.text, []).append(FieldChange(path, old, new))
            found = [code for code in (codes.get(reason.text), reason.code) if code]
            codes[reason.text] = min(
                found, key=lambda code: rank.get(code, len(rank)), default=None
            )
        changes = [Change(tuple(fields[text]), text, codes[text]) for text in fields]
        return tuple(sorted(changes, key=lambda one: rank.get(one.code or "", len(findings))))


def _differences(one: Pipeline, other: Pipeline) -> list[tuple[str, object, object]]:
    """As `field_differences`, but for a NaN that is there on both sides."""
    return [
        difference
        for difference in field_differences(one.proto, other.proto)
        if repr(difference[1]) != repr(difference[2])
    ]
