"""A study with made-up numbers, for tests of how a report reads."""

from __future__ import annotations

import numpy as np
import pandas as pd

from odapi_repro.analysis.trial_table import BOX_METRICS
from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.reference import ReportedMetric
from odapi_repro.trials.scales import ScaleNote

BATCH_SIZE = Axis("batch_size", "16", ("2", "4", "8", "16", "32"))
LR_SCALING = Axis("lr_scaling", "none", ("none", "linear", "sqrt"), at={"batch_size": "2"})

_AP = {"2": 17.9, "4": 22.8, "8": 25.7, "16": 26.6, "32": 26.1}
_SHARES = dict(
    zip(BOX_METRICS, (1, 1.9, 0.95, 0.4, 1.0, 1.5, 1.1, 1.5, 1.6, 0.7, 1.6, 2.1), strict=True)
)


def trial(ap: float, seed: int = 0, status: str = "succeeded", **columns: object) -> dict:
    """A row of the table of trials; the other metrics follow AP."""
    batch = int(str(columns.get("batch_size", "16")))
    labels = "-".join(str(columns[name]) for name in columns)
    done = status == "succeeded"
    metrics = {name: ap * share if done else np.nan for name, share in _SHARES.items()}
    return {
        "trial_id": f"{labels}-s{seed}",
        "study": "batch_size_d3",
        "pipeline": "effdet_d3",
        "scale": "proxy",
        "seed": seed,
        "status": status,
        "global_batch_size": batch,
        "num_replicas": 1,
        "num_steps": 4800 // batch,
        "images_seen": 4800,
        "base_lr": 0.02,
        **metrics,
        "final_loss": 0.62 if done else np.nan,
        "wall_seconds": 180.0 + 60 / batch,
        "device": "CPU, 2 cores",
        "num_eval_images": 80,
        "tensorflow": "2.20.0",
        "odapi_repro": "0.1.0",
        **columns,
    }


def batch_rows(seeds: int = 3) -> list[dict]:
    """Five batch sizes; noise between seeds has a standard deviation near 0.8 AP."""
    noise = np.random.default_rng(4).normal(0, 0.8, (5, 3))
    return [
        trial(ap + noise[i, seed], seed, batch_size=level)
        for i, (level, ap) in enumerate(_AP.items())
        for seed in range(seeds)
    ]


def loss_curve(batch: int, seed: int, *, diverged: bool = False) -> list[tuple[int, float, float]]:
    """A decay with noise that grows as the batch shrinks; NaN at the end when it diverged."""
    rng = np.random.default_rng([batch, seed])
    steps = np.arange(10, 4800 // batch + 1, max(1, 40 // batch))
    seen = steps * batch
    floor = 0.55 + 0.6 / batch
    loss = (floor + 1.9 * np.exp(-seen / 700)) * np.exp(
        rng.normal(0, 0.35 / batch**0.35, len(seen))
    )
    if diverged:
        third = len(seen) // 3
        seen, steps, loss = seen[:third], steps[:third], loss[:third].copy()
        loss[-6:] *= np.array([1.3, 2.0, 3.5, 9.0, 60.0, np.nan])
    return list(zip(steps, seen, loss, strict=True))


def study(rows: list[dict] | None = None, **changes: object) -> StudyReport:
    """The report of a batch-size study at proxy scale, with changes."""
    rows = batch_rows() if rows is None else rows
    content: dict = {
        "study": "batch_size_d3",
        "command": "python -m odapi_repro.run --pipeline pipelines/effdet_d3.config"
        " --ablate batch_size --seeds 0,1,2",
        "pipeline": "pipelines/effdet_d3.config",
        "scale": "proxy",
        "trials": pd.DataFrame(rows),
        "axes": (BATCH_SIZE,),
        "data": "80 shapes images",
        "reference_name": "efficientdet_d3",
        "reported": (ReportedMetric("AP", 45.4, "TF2 detection zoo", "COCO val2017, one scale"),),
        "scale_notes": (
            ScaleNote("warm-up share of the schedule", "0.8 %", "5 %", False, "fewer steps"),
            ScaleNote("cosine horizon / steps", "1", "1", True, ""),
        ),
        "level_mapping": (("batch_size", "128", "16"),),
        "held": ("batch_size holds images seen at 4,800.", "The peak LR stays at 0.02."),
        "seeds": (0, 1, 2),
        "loss_curves": {
            row["trial_id"]: loss_curve(
                int(row["batch_size"]), row["seed"], diverged=row["status"] == "diverged"
            )
            for row in rows
        },
        "wall_seconds": 2875.0,
        "versions": {"tensorflow": "2.20.0", "odapi_repro": "0.1.0"},
        "caveats": ("Do not conclude that batch 32 is better on other data: the shapes are easy.",),
        "num_train_images": 400,
        "num_eval_images": 80,
        "margin": 1.0,
    }
    return StudyReport(**{**content, **changes})
