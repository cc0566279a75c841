"""The rates of the checks, from what is known to train this kind of model."""

from __future__ import annotations

from dataclasses import dataclass

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline import Pipeline, read_recipe
from odapi_repro.reference.matching import reference_of
from odapi_repro.trials.proxies import proxy_for

HOLD_SHARE = 1 / 25
"""The rate of a hold over the known one; docs/sanity.md has what was measured."""

SAFE_SHARE = 1 / 4
"""The safe rate of an overfit over the known one."""

# Adaptive optimizers take steps of about the rate itself, whatever the gradients: their own
# default of 0.001 (Kingma and Ba 2015, section 2) is the rate known to train.
_ADAM_RATE = 1e-3


@dataclass(frozen=True)
class KnownRate:
    """A peak rate at which this kind of model is known to train.

    Attributes:
        rate: at the batch asked for; moved in proportion to it where the source's is another.
        source: where it comes from, for the reader.
    """

    rate: float
    source: str


def known_rate(pipeline: Pipeline, *, scale: str, global_batch_size: int) -> KnownRate:
    """Gives the rate that is known to train a pipeline's kind of model at a batch.

    At proxy and smoke scale it is the proxy's own; at full scale that of the catalogue's reference
    with the same feature extractor and optimizer, or the pipeline's own peak where there is none.

    Args:
        pipeline: as the user gave it.
        scale: `full`, `proxy` or `smoke`.
        global_batch_size: of the training that the rate is for.

    Raises:
        ConfigError: nothing is known, and the pipeline's own schedule has no rate above 0.
    """
    if scale != "full":
        proxy = proxy_for(pipeline)
        return KnownRate(
            proxy.base_lr * global_batch_size / proxy.batch_size,
            f"the {proxy.name} proxy's {proxy.base_lr:g} at batch {proxy.batch_size}",
        )
    kind = _optimizer(pipeline)
    if kind == "adam_optimizer":
        return KnownRate(_ADAM_RATE, "Adam's own default")
    reference = reference_of(pipeline)
    if reference is not None and _optimizer(reference.pipeline()) == kind:
        recipe = read_recipe(reference.pipeline())
        if recipe.base_lr is not None:
            batch = recipe.global_batch_size
            return KnownRate(
                recipe.base_lr * global_batch_size / batch,
                f"{reference.name}'s {recipe.base_lr:g} at batch {batch}",
            )
    own = read_recipe(pipeline)
    if own.base_lr is None:
        raise ConfigError(
            "the schedule has no rate above 0, and no reference of this model is known",
            expected="a schedule that trains",
            mend="set its learning rate",
            where=pipeline.path,
        )
    return KnownRate(
        own.base_lr * global_batch_size / own.global_batch_size,
        "the pipeline's own peak, for want of a reference",
    )


def _optimizer(pipeline: Pipeline) -> str:
    return str(pipeline.proto.train_config.optimizer.WhichOneof("optimizer"))
