"""The trials of an explanation, and what they would score on fewer images."""

from __future__ import annotations

import functools
import math
import sys
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import pandas as pd

from odapi_repro.analysis.attribution import Outcomes, outcomes_of
from odapi_repro.analysis.trial_table import MASK_METRICS, order_columns
from odapi_repro.errors import UserError
from odapi_repro.evaluation.coco_data import GroundTruth, read_detections
from odapi_repro.evaluation.eval_data import data_of_records
from odapi_repro.evaluation.scoring.detection_matching import Matches, match
from odapi_repro.evaluation.scoring.metrics import METRIC_NAMES
from odapi_repro.evaluation.uncertainty.weighted_metrics import weighted_metrics
from odapi_repro.features.explain.designs import WantedCell, in_rounds
from odapi_repro.features.explain.explain_plan import ExplanationPlan
from odapi_repro.features.explain.explanation import race_of
from odapi_repro.files.trial_files import DETECTIONS, FINISHED, TrialState
from odapi_repro.foreign_text import shown
from odapi_repro.trials.record_file import described, trial_row
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_store import TrialStore

# --- The trials of an explanation, as its design asks for them ---


@dataclass
class ExplanationTrials:
    """The trials of an explanation, as far as its design has asked for them.

    Args:
        plan: of the explanation.
        store: where trials are kept; those of other studies are found there.
    """

    plan: ExplanationPlan
    store: TrialStore

    def __post_init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}
        self._race = race_of(self.plan.explanation.design)

    @property
    def table(self) -> pd.DataFrame:
        """A row a trial that has run, in the columns of `analysis.trials`."""
        rows = pd.DataFrame(list(self._rows.values()))
        return order_columns(rows, self.plan.explanation.factors) if len(rows) else rows

    @property
    def outcomes(self) -> Outcomes:
        """What the finished ones came to."""
        explanation = self.plan.explanation
        same = dict(explanation.same)
        if not self._rows:
            return Outcomes(explanation.deviations, {}, same, {}, explanation.metric)
        return outcomes_of(self.table, explanation.deviations, metric=explanation.metric, same=same)

    def wanted(self) -> list[Trial]:
        """The trials that the design still waits for, after all that have finished are noted."""
        while True:
            trials = {
                trial.trial_id: trial
                for cell, seed in in_rounds(self._next_cells())
                for trial in [self.plan.trial(cell.combination, seed)]
            }
            found = [
                trial
                for name, trial in trials.items()
                if name not in self._rows and self.store.state(name).state in FINISHED
            ]
            if not found:
                return list(trials.values())
            for trial in found:
                self._read(trial)

    def note(self, trial: Trial, state: TrialState) -> None:
        """Takes a trial that has come to its end."""
        del state
        self._read(trial)

    def _read(self, trial: Trial) -> None:
        """Reads a trial's folder into the table."""
        explanation = self.plan.explanation
        self._rows[trial.trial_id] = trial_row(
            self.store,
            trial.trial_id,
            described(trial, train_records=str(explanation.foundation["train_records"])),
            cell=trial.cell,
            foundation=explanation.foundation,
            study=explanation.study,
            pipeline=PurePath(explanation.pipeline).stem,
        )

    @property
    def trial_ids(self) -> list[str]:
        """Those that have run."""
        return list(self._rows)

    def _next_cells(self) -> tuple[WantedCell, ...]:
        design, outcomes = self.plan.design, self.outcomes
        if self._race is None:
            return design.next_cells(outcomes)
        return self._race.next_replicates(design, outcomes)


# --- What the trials of an explanation would score on as few images as a user evaluates on ---


EVALUATION_COLUMNS: Final = (
    *("cell", "seed", "trial_id", "share", "images", "draws", "mean_delta", "sd"),
)
FEWEST_IMAGES: Final = 20
"""Parts of fewer images are hardly more than noise; a smaller share is studied at this size."""


def subset_table(trials: ExplanationTrials) -> pd.DataFrame | None:
    """Gives what both ends would score on the share of the images that the user evaluates on.

    No training is needed: the kept detections are scored again on random parts. None where the
    user evaluates on as large a share as the reference.
    """
    explanation = trials.plan.explanation
    share = explanation.eval_share
    if share is None:
        return None
    images = min(
        explanation.num_eval_images,
        max(FEWEST_IMAGES, round(share * explanation.num_eval_images)),
    )
    is_mask = explanation.metric in MASK_METRICS
    metric = explanation.metric.removeprefix("mask_")
    truth = functools.cache(functools.partial(_truth, trials))
    rows = []
    design = trials.plan.design
    for name, cell in (("reference", design.reference), ("user", design.user)):
        for seed in explanation.design.seeds:
            trial = trials.plan.trial(cell, seed)
            path = trials.store.folder(trial.trial_id) / DETECTIONS
            if trials.store.state(trial.trial_id).state != "succeeded" or not path.exists():
                continue
            try:
                detections = read_detections(path, truth())
            except UserError as error:
                # The trainings are told all the same.
                print(f"note: {shown(error.where)}: {shown(error.found)}", file=sys.stderr)
                continue
            matches = match(truth(), detections, "segm" if is_mask else "bbox")
            # The config may sample its evaluation images.
            part = min(images, truth().num_images)
            found = subset_scores(matches, images=part, metric=metric)
            amounts = (share, found.images, found.draws, found.mean_delta, found.sd)
            rows.append((name, seed, trial.trial_id, *amounts))
    return pd.DataFrame(rows, columns=list(EVALUATION_COLUMNS)) if rows else None


def _truth(trials: ExplanationTrials) -> GroundTruth:
    ground = trials.plan.ground
    proto: Any = ground.setting.pipeline.proto
    return data_of_records(
        "",
        ground.data.eval_files,
        ground.data.label_map,
        with_masks=ground.setting.pipeline.predicts_masks,
        sample_1_of_n=int(proto.eval_input_reader[0].sample_1_of_n_examples),
    ).truth


@dataclass(frozen=True)
class SubsetScores:
    """A metric on random parts of a set, against the whole set. Points.

    Attributes:
        images: in each part.
        draws: how many parts.
        whole: the metric on all images.
        mean_delta: mean over the parts, minus `whole`.
        sd: standard deviation among the parts.
    """

    images: int
    draws: int
    whole: float
    mean_delta: float
    sd: float


def subset_scores(
    matches: Matches, *, images: int, draws: int = 200, metric: str = "AP", seed: int = 0
) -> SubsetScores:
    """Scores random parts of a set, drawn without replacement, as COCO would score each alone.

    Classes of which a part has no object are not averaged there, as in COCO's own figure for it.
    Parts of less than half of the set hardly overlap, and their spread is that of fresh sets of
    as many images; of larger ones it is smaller (the finite population correction).

    Args:
        matches: of the detections on all images.
        images: in each part.
        draws: how many parts.
        metric: one of COCO's twelve.
        seed: of the draws.

    Raises:
        ValueError: more images than there are, or none.
    """
    if not 0 < images <= matches.num_images:
        raise ValueError(f"{images} of {matches.num_images} images")
    random = np.random.default_rng(seed)
    weights = np.zeros((draws + 1, matches.num_images), np.int64)
    weights[0] = 1
    for draw in range(1, draws + 1):
        weights[draw, random.choice(matches.num_images, images, replace=False)] = 1
    place = METRIC_NAMES.index(metric)
    by_class = weighted_metrics(matches, weights, sizes=metric[-1] in "sml")[place]
    known = ~np.isnan(by_class)
    counts = known.sum(axis=0)
    values = np.where(counts, np.nansum(by_class, axis=0) / np.maximum(counts, 1), np.nan)
    whole, parts = float(values[0]), values[1:]
    parts = parts[~np.isnan(parts)]
    if not len(parts):
        return SubsetScores(images, 0, whole, math.nan, math.nan)
    sd = float(parts.std(ddof=1)) if len(parts) > 1 else math.nan
    return SubsetScores(images, len(parts), whole, float(parts.mean()) - whole, sd)
