"""Explanations with made-up numbers: the response surface trained as a design asks for it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from response_surface import ResponseSurface

from odapi_repro.analysis.attribution import Outcome, Outcomes, StudiedDeviation, labels_of
from odapi_repro.analysis.trial_table import BOX_METRICS
from odapi_repro.features.explain.explanation import (
    ComparedField,
    DesignChoice,
    Explanation,
    MappedLevel,
    RaceChoice,
    UnvariedDeviation,
    design_of,
    race_of,
)
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.reference import ReportedMetric
from odapi_repro.trials.scales import ScaleNote

# Factor, its levels in the configs and in the trials, what to write for the reference's.
LEVELS = (
    ("train_shards", ("100/100", "1/100"), ("8/8", "1/8")),
    ("batch_size", ("128", "2"), ("8", "2")),
    ("learning_rate", ("0.08", "0.01"), ("0.04", "0.02")),
    ("schedule_length", ("38,400,000", "1,200,000"), ("4,800", "1,200")),
    ("warmup", ("320,000", "5,000"), ("400", "0")),
    ("augmentation", ("reference", "none"), ("reference", "none")),
    ("sync_replicas", ("8", "1"), ("2", "1")),
    ("rois_per_image", ("512", "64"), ("64", "16")),
)
FIELDS = {
    "train_shards": ("train_input_reader.tf_record_input_reader.input_path", "coco_train.record*"),
    "batch_size": ("train_config.batch_size", "128"),
    "learning_rate": ("train_config.optimizer...learning_rate_base", "0.08"),
    "schedule_length": ("train_config.num_steps", "300000"),
}
SHARES = dict(
    zip(BOX_METRICS, (1, 1.9, 0.95, 0.4, 1.0, 1.5, 1.1, 1.5, 1.6, 0.7, 1.6, 2.1), strict=True)
)

CASE = ResponseSurface((-6.0, -3.2, -1.9, 0.4), {(0, 1): 1.8, (1, 2): -1.2})
"""Four deviations of which two interact with others, and one does next to nothing."""


def deviations(count: int) -> tuple[StudiedDeviation, ...]:
    return tuple(StudiedDeviation.of(name, *here) for name, _, here in LEVELS[:count])


def record(count: int = 4, design: str = "shapley", **changes: Any) -> Explanation:
    """The record of a study of the first `count` deviations."""
    choice: dict[str, Any] = {
        "name": design,
        "seeds": (1, 2, 3),
        "order_seeds": (),
        "margin": 0.5,
        "orders": 8,
        "resolution": 4,
        "race": None,
    }
    names = choice.keys() & changes.keys()
    choice |= {name: changes.pop(name) for name in names}
    content: dict[str, Any] = {
        "study": "issue_10530-shapley-proxy",
        "command": "python -m odapi_repro.explain --pipeline my.config"
        " --reference efficientdet_d3 --seeds 3",
        "pipeline": "my.config",
        "reference": "efficientdet_d3",
        "scale": "proxy",
        "metric": "AP",
        "deviations": deviations(count),
        "mapped": tuple(
            MappedLevel(
                name,
                *full,
                *here,
                kept="the ratio",
                why="what it does depends on it",
                clipped=full != here,
                holds="images seen stay the same",
                settings=(FIELDS[name],) if name in FIELDS else (),
            )
            for name, full, here in LEVELS[:count]
        ),
        "unvaried": (
            UnvariedDeviation(
                "evaluation",
                "evaluation",
                (
                    ComparedField(
                        "eval_input_reader[0].tf_record_input_reader.input_path",
                        "coco_val.record-00000-of-00050",
                        "coco_val.record-?????-of-00050",
                    ),
                ),
                "It changes what is measured, not what is learned.",
            ),
            UnvariedDeviation(
                "score_threshold",
                "evaluation",
                (
                    ComparedField(
                        "model.ssd.post_processing.batch_non_max_suppression.score_threshold",
                        "0.3",
                        "1e-08",
                    ),
                ),
                "It changes what is measured, not what is learned.",
            ),
            UnvariedDeviation(
                "bfloat16",
                "inert",
                (ComparedField("train_config.use_bfloat16", "false", "true"),),
                "On a GPU or CPU it has no effect under model_main_tf2.",
            ),
            UnvariedDeviation(
                "checkpoint",
                "at_this_scale",
                (ComparedField("train_config.fine_tune_checkpoint", "efficientnet_b3/ckpt-0", ""),),
                "The proxy starts from random weights.",
            ),
        ),
        "design": DesignChoice(**choice),
        "reported": (ReportedMetric("AP", 45.4, "TF2 detection zoo", "COCO val2017, one scale"),),
        "claimed": 14.0,
        "checkpoint": None,
        "data": "160 shapes images",
        "num_train_images": 400,
        "num_eval_images": 160,
        "scale_notes": (
            ScaleNote("images seen", "38,400,000", "4,800", False, "minutes on two cores"),
            ScaleNote("end of the schedule / end of training", "1.00", "1.00", True, "cosine"),
        ),
        "foundation": {"stack.tensorflow": "2.20.0"},
    }
    return Explanation(**{**content, **changes})


def grid_record(**changes: Any) -> Explanation:
    """A grid in which the batch has three levels."""
    varied = (
        StudiedDeviation.of("batch_size", "8", "2", "4"),
        StudiedDeviation.of("learning_rate", "0.04", "0.02"),
    )
    mapped = tuple(one for one in record(3).mapped if one.factor != "train_shards")
    return record(2, "grid", deviations=varied, mapped=mapped, **changes)


def trial(explanation: Explanation, labels: dict[str, str], seed: int, found: Outcome) -> dict:
    """A row of trials.csv; the other metrics follow AP."""
    done = not found.diverged
    metrics = {name: found.value * share if done else np.nan for name, share in SHARES.items()}
    return {
        "trial_id": "-".join((*labels.values(), str(seed))).replace("/", "_"),
        "study": explanation.study,
        "pipeline": "my",
        "scale": explanation.scale,
        "seed": seed,
        "status": "succeeded" if done else "diverged",
        **labels,
        "global_batch_size": 8,
        "num_replicas": 1,
        "num_steps": 600,
        "images_seen": 4800,
        "base_lr": 0.04,
        **metrics,
        "final_loss": 0.62 if done else np.nan,
        "wall_seconds": 200.0,
        "device": "CPU, 2 cores",
        "num_eval_images": explanation.num_eval_images,
        "tensorflow": "2.20.0",
        "odapi_repro": "0.1.0",
    }


def rows_of(
    explanation: Explanation, surface: ResponseSurface, *, seed: int = 0, most: int = 10**6
) -> list[dict]:
    """The trials that the design asks for, run one by one until it is done or `most` have run."""
    varied = explanation.deviations
    design, race = design_of(explanation.design, varied), race_of(explanation.design)
    same = dict(explanation.same)
    cells: dict[tuple[int, ...], dict[int, Outcome]] = {}
    rows: list[dict] = []
    while len(rows) < most:
        outcomes = Outcomes(varied, cells, same)
        wanted = race.next_replicates(design, outcomes) if race else design.next_cells(outcomes)
        if not wanted:
            break
        for one in wanted:
            for replicate in one.seeds[: most - len(rows)]:
                rng = np.random.default_rng([seed, replicate, *one.combination])
                binary = tuple(min(level, 1) for level in one.combination)
                # A level between the ends has half the effect of the user's.
                share = 0.5 if any(level > 1 for level in one.combination) else 1.0
                mean = surface.base + share * (surface.mean(binary) - surface.base)
                outcome = Outcome(mean + surface.sd(binary) * rng.standard_normal())
                if rng.random() < surface.diverges(binary):
                    outcome = Outcome(0.0, diverged=True)
                cells.setdefault(one.combination, {})[replicate] = outcome
                labels = labels_of(varied, one.combination)
                rows.append(trial(explanation, labels, replicate, outcome))
    return rows


def report(
    explanation: Explanation | None = None,
    surface: ResponseSurface = CASE,
    *,
    rows: Sequence[dict] | None = None,
    evaluation: pd.DataFrame | None = None,
    **options: Any,
) -> ExplanationReport:
    """The report of a study as its trials came out; that of `CASE` is made once."""
    if explanation is None and surface is CASE and rows is None and evaluation is None:
        return _case()
    explanation = explanation or record(len(surface.main))
    found = rows_of(explanation, surface, **options) if rows is None else rows
    return ExplanationReport(explanation, pd.DataFrame(list(found)), evaluation)


@functools.cache
def _case() -> ExplanationReport:
    return report(record(4))


def raced(replicates: tuple[int, ...] = (2, 3, 5), max_trials: int | None = None) -> RaceChoice:
    return RaceChoice(replicates, max_trials)


def evaluation_table() -> pd.DataFrame:
    """AP on one of fifty shards, for both ends and two seeds."""
    return pd.DataFrame(
        [
            ("reference", 1, "r1", 0.02, 20, 200, 1.4, 2.9),
            ("reference", 2, "r2", 0.02, 20, 200, 1.6, 3.1),
            ("user", 1, "u1", 0.02, 20, 200, 0.8, 2.0),
            ("user", 2, "u2", 0.02, 20, 200, 1.0, 2.2),
        ],
        columns=["cell", "seed", "trial_id", "share", "images", "draws", "mean_delta", "sd"],
    )


def cell_rows(
    explanation: Explanation, values: dict[tuple[int, ...], Sequence[float | None]]
) -> list[dict]:
    """Trials with these AP, seeds from 1; None for a diverged one."""
    return [
        trial(
            explanation,
            labels_of(explanation.deviations, cell),
            seed,
            Outcome(0.0, diverged=True) if ap is None else Outcome(ap),
        )
        for cell, found in values.items()
        for seed, ap in enumerate(found, start=1)
    ]


TWO = {(0, 0): (30, 31), (1, 0): (20, 22), (0, 1): (28, 29), (1, 1): (15, 17)}
"""Means 30.5, 21, 28.5 and 16: a gap of -14.5, of which the Shapley values by hand are
((21 - 30.5) + (16 - 28.5)) / 2 = -11 and ((28.5 - 30.5) + (16 - 21)) / 2 = -3.5, and the
interaction is 16 - 21 - 28.5 + 30.5 = -3."""


@functools.cache
def two(design: str = "shapley", **changes: Any) -> ExplanationReport:
    """The report of `TWO`."""
    explanation = record(2, design, **{"seeds": (1, 2), **changes})
    return ExplanationReport(explanation, pd.DataFrame(cell_rows(explanation, TWO)))
