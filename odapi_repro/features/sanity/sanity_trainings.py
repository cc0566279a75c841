"""The trainings of the checks, as trials: hold, overfit, and the checkpoint they start from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from object_detection.protos import train_pb2

from odapi_repro.errors import ConfigError
from odapi_repro.factors import FACTORS, Level
from odapi_repro.pipeline import Pipeline, Recipe, read_recipe, render_recipe
from odapi_repro.reference.catalogue import reference_of
from odapi_repro.trials.groundwork import (
    CHECKPOINT,
    Groundwork,
    StudyData,
    TrialConditions,
    lay_groundwork,
)
from odapi_repro.trials.scales import proxy_for
from odapi_repro.trials.trial import Trial

# As training/extensions has it.
FRESH_STEP = "fresh_step"

REFERENCE, HOLD, OVERFIT, OVERFIT_SAFE = "reference", "hold", "overfit", "overfit_safe"
TITLES = {
    REFERENCE: "reference",
    HOLD: "hold",
    OVERFIT: "overfit, own schedule",
    OVERFIT_SAFE: "overfit, known rate",
}

# Steps of a check's training at the reference's batch; docs/sanity.md has what was measured.
_STEPS = {
    "full": {HOLD: 400, OVERFIT: 400},
    "proxy": {HOLD: 60, OVERFIT: 80},
    "smoke": {HOLD: 4, OVERFIT: 4},
}
# Of a run this short; a warm-up that is longer in steps is cut to it.
_WARMUP_SHARE = 0.1


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
        "the pipeline's own peak (no reference is known)",
    )


def _optimizer(pipeline: Pipeline) -> str:
    return str(pipeline.proto.train_config.optimizer.WhichOneof("optimizer"))


@dataclass(frozen=True)
class Training:
    """One training of the checks.

    Attributes:
        name: `reference`, `hold`, `overfit` or `overfit_safe`.
        trial: as the store keeps it.
        peak_rate: the highest rate that it reaches.
        known: the rate that is known to train this kind of model at its batch.
        rate_note: what the rate is, for the reader.
    """

    name: str
    trial: Trial
    peak_rate: float
    known: KnownRate
    rate_note: str


@dataclass(frozen=True, eq=False)
class SanityTrainings:
    """Makes the trials of a sanity run.

    Attributes:
        pipeline: as the user gave it.
        conditions: of every trial; its `checkpoint` is what an overfit starts from where no
            trained checkpoint is given to a method, its `num_steps` replaces the steps of the
            checks' trainings.
        at: factor -> level at which the schedule under test stands; empty for the pipeline's own.
        seed: of every trial.
    """

    pipeline: Pipeline
    conditions: TrialConditions
    at: Mapping[str, Level]
    seed: int = 1

    def reference(self, data: StudyData) -> Training:
        """Gives the training of the checkpoint that the others start from: the scale's own recipe.

        The same trial as the reference cell of a study on these data.
        """
        conditions = dataclasses.replace(self.conditions, num_steps=None, checkpoint=None)
        ground = lay_groundwork(self.pipeline, data, conditions)
        known = self._known(ground.setting.recipe)
        trial = ground.trial({}, self.seed)
        return self._training(REFERENCE, trial, trial.base_lr, known, "the scale's own schedule")

    def hold(self, data: StudyData, checkpoint: str | None) -> Training:
        """Gives the training at a very low constant rate from a trained checkpoint.

        Batch and augmentation are the pipeline's: batch norm must see what it will see. The levels
        of `at` play no part, because this check is about data.

        Args:
            data: what is trained and evaluated on.
            checkpoint: prefix of a detector of this architecture; None for a trial that only
                serves to count what it would take.
        """
        ground = self._ground(data, checkpoint)
        recipe = self._with_steps(ground.setting.recipe, HOLD)
        known = self._known(recipe)
        rate = _seven_digits(known.rate * HOLD_SHARE)
        pipeline = _constant_rate(render_recipe(recipe, ground.setting.pipeline), rate)
        note = f"constant, {HOLD_SHARE:g} of {known.source}"
        return self._made(HOLD, ground, pipeline, recipe, rate, known, note)

    def overfit(self, data: StudyData, checkpoint: str | None, *, safe: bool) -> Training:
        """Gives the training on a few images, without augmentation.

        Args:
            data: the few images, to train and to evaluate on.
            checkpoint: prefix of a detector of this architecture to start from; None for the
                start that the pipeline itself has at this scale.
            safe: at a constant low rate that is known to train this kind of model, instead of
                the schedule under test.
        """
        ground = self._ground(data, checkpoint, every_eval_image=True)
        recipe = ground.setting.recipe
        for name, level in self.at.items():
            recipe = FACTORS[name].edit(recipe, level)
        recipe = dataclasses.replace(self._with_steps(recipe, OVERFIT), augmentation=())
        recipe = _short_warmup(recipe, ground.setting.recipe)
        known = self._known(recipe)
        pipeline = render_recipe(recipe, ground.setting.pipeline)
        if not safe:
            peak = (recipe.base_lr or 0.0) * recipe.lr_factor
            note = "the schedule under test, shortened"
            return self._made(OVERFIT, ground, pipeline, recipe, peak, known, note)
        rate = _seven_digits(known.rate * SAFE_SHARE)
        note = f"constant, {SAFE_SHARE:g} of {known.source}"
        pipeline = _constant_rate(pipeline, rate)
        return self._made(OVERFIT_SAFE, ground, pipeline, recipe, rate, known, note)

    def _ground(
        self, data: StudyData, checkpoint: str | None, *, every_eval_image: bool = False
    ) -> Groundwork:
        """Gives what the trials of a check share, starting from a whole detector if one is given.

        `scale_pipeline` takes the checkpoint out of a proxy, for it is another model's; this one
        is the proxy's own.
        """
        start = checkpoint or self.conditions.checkpoint
        conditions = dataclasses.replace(self.conditions, num_steps=None, checkpoint=start)
        ground = lay_groundwork(self.pipeline, data, conditions)

        def edit(proto: Any) -> None:
            if every_eval_image:
                proto.eval_input_reader[0].ClearField("sample_1_of_n_examples")
            if checkpoint is None:
                return
            config = proto.train_config
            config.fine_tune_checkpoint = CHECKPOINT
            # The whole model with its heads and statistics (model_lib_v2.load_fine_tune_checkpoint
            # restores `restore_from_objects('full')`); step and optimizer start anew.
            config.fine_tune_checkpoint_type = "full"
            config.fine_tune_checkpoint_version = train_pb2.CheckpointVersion.V2

        if checkpoint is not None:
            extensions = (*ground.scaled.extensions, FRESH_STEP)
            scaled = dataclasses.replace(ground.scaled, extensions=extensions)
            ground = dataclasses.replace(ground, scaled=scaled)
        return _on(ground, ground.setting.pipeline.edited(edit), ground.setting.recipe)

    def _with_steps(self, recipe: Recipe, name: str) -> Recipe:
        """Gives the recipe with the images of the check's steps at the reference's batch."""
        steps = self.conditions.num_steps or _STEPS[self.conditions.scale][name]
        return dataclasses.replace(recipe, images_seen=steps * recipe.lr_batch_size)

    def _known(self, recipe: Recipe) -> KnownRate:
        return known_rate(
            self.pipeline,
            scale=self.conditions.scale,
            global_batch_size=recipe.global_batch_size,
        )

    def _made(
        self,
        name: str,
        ground: Groundwork,
        pipeline: Pipeline,
        recipe: Recipe,
        peak_rate: float,
        known: KnownRate,
        note: str,
    ) -> Training:
        trial = _on(ground, pipeline, recipe).trial({}, self.seed)
        return self._training(name, trial, peak_rate, known, note)

    def _training(
        self, name: str, trial: Trial, peak_rate: float, known: KnownRate, note: str
    ) -> Training:
        labelled = dataclasses.replace(trial, cell={"check": name})
        return Training(name, labelled, peak_rate, known, note)


def _on(ground: Groundwork, pipeline: Pipeline, recipe: Recipe) -> Groundwork:
    """Gives the groundwork with another pipeline, whose recipe is read anew."""
    again = read_recipe(pipeline, num_replicas=recipe.num_replicas)
    return dataclasses.replace(
        ground, setting=dataclasses.replace(ground.setting, pipeline=pipeline, recipe=again)
    )


def _constant_rate(pipeline: Pipeline, rate: float) -> Pipeline:
    def edit(proto: Any) -> None:
        optimizer = proto.train_config.optimizer
        learning_rate = getattr(optimizer, optimizer.WhichOneof("optimizer")).learning_rate
        learning_rate.Clear()
        learning_rate.constant_learning_rate.learning_rate = rate

    return pipeline.edited(edit)


def _short_warmup(recipe: Recipe, whole: Recipe) -> Recipe:
    """Gives a shortened recipe with as many warm-up steps as the run allows.

    Kept in its share, a warm-up of 2,500 of 300,000 steps would be 3 of 400: another schedule,
    and a harder one. So it keeps its steps, up to a tenth of the run.
    """
    if not recipe.warmup_images:
        return recipe
    share = recipe.warmup_images / recipe.warmup_run_images * recipe.images_seen
    own_steps = recipe.warmup_images / whole.global_batch_size
    most = _WARMUP_SHARE * recipe.images_seen
    images = max(share, min(own_steps * recipe.global_batch_size, most))
    return dataclasses.replace(
        recipe, warmup_images=round(images), warmup_run_images=recipe.images_seen
    )


def _seven_digits(rate: float) -> float:
    # The proto holds a float32.
    return float(f"{rate:.7g}")
