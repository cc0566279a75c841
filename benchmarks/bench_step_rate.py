"""Training steps a second against bare `model_main_tf2`, same config, same machine, same run.

Both write `steps_per_sec` into their events after every call of the compiled function, 100 steps
in both, so one instrument measures both. The first call holds the tracing and is left out. The
peer is the OD API's own `model_main_tf2.main` with its own flags, after the compatibility patches
without which it does not import. Runs alternate. JSON lines on stdout.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from odapi_repro.datasets.embedded import embedded_dataset
from odapi_repro.diagnosis.finished_run import iterate_scalars
from odapi_repro.pipeline import Pipeline, bind_records, load_pipeline, read_recipe, render_recipe
from odapi_repro.training.training_job import Job, write_job
from odapi_repro.trials.scales import scale_pipeline

REPOSITORY = Path(__file__).resolve().parent.parent
STEPS = 300
BLOCK = 100
BATCH_SIZE = 2
ORDER = ("bare", "ours", "ours_deterministic", "ours", "bare")

_BARE = """
import sys
from odapi_repro.training.compat import apply_patches
apply_patches()
from odapi_repro.training.extensions import enable_extensions
enable_extensions(["proxy_backbone"])
from object_detection import model_main_tf2
import tensorflow as tf
tf.compat.v1.app.run(model_main_tf2.main, argv=["model_main_tf2", *sys.argv[1:]])
"""


def main() -> int:
    """Prints the rates of every run and the two ratios."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pipeline.config"
        config.write_text(_pipeline().to_text(), encoding="utf-8")
        rates: dict[str, list[float]] = {"bare": [], "ours": [], "ours_deterministic": []}
        for index, name in enumerate(ORDER):
            model_dir = Path(folder) / f"{index}_{name}"
            model_dir.mkdir()
            rates[name] += _run(name, config, model_dir)
            print(json.dumps({"run": name, "steps_per_second": rates[name]}), flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items() if values}
    print(
        json.dumps(
            {
                "benchmark": "step_rate",
                "ratio_to_model_main_tf2": round(medians["ours"] / medians["bare"], 4),
                "deterministic_to_not": round(
                    medians.get("ours_deterministic", float("nan")) / medians["ours"], 4
                ),
                "batch_size": BATCH_SIZE,
                "steps": STEPS,
                "steps_per_second": {name: round(rate, 3) for name, rate in medians.items()},
            }
        )
    )
    return 0


def _pipeline() -> Pipeline:
    data = embedded_dataset()
    scaled = scale_pipeline(load_pipeline(REPOSITORY / "pipelines/effdet_d3.config"), "proxy")
    bound = bind_records(
        scaled.pipeline,
        train_patterns=[data.train_pattern],
        eval_patterns=[data.val_pattern],
        label_map_path=str(data.label_map_path),
        num_classes=6,
        checkpoint=None,
    )
    from dataclasses import replace

    recipe = read_recipe(bound)
    return render_recipe(
        # A tenth of the rate: at this batch the proxy's own would end in NaN.
        replace(
            recipe,
            global_batch_size=BATCH_SIZE,
            images_seen=STEPS * BATCH_SIZE,
            warmup_images=0,
            lr_rule="linear",
        ),
        bound,
    )


def _run(name: str, config: Path, model_dir: Path) -> list[float]:
    if name == "bare":
        command = [
            *("-c", _BARE, f"--pipeline_config_path={config}", f"--model_dir={model_dir}"),
            *(f"--num_train_steps={STEPS}", f"--checkpoint_every_n={STEPS}"),
            "--record_summaries=false",
        ]
    else:
        job = Job(
            pipeline_path=str(config),
            model_dir=str(model_dir),
            num_steps=STEPS,
            steps_per_iteration=BLOCK,
            checkpoint_every_n=STEPS,
            checkpoint_max_to_keep=1,
            seed=1,
            deterministic=name == "ours_deterministic",
            device="cpu",
            num_replicas=1,
            evaluate=False,
            extensions=("proxy_backbone",),
        )
        write_job(job, model_dir / "job.json")
        command = ["-m", "odapi_repro.trials.worker", str(model_dir / "job.json")]
    with open(model_dir / "log.txt", "wb") as log:
        subprocess.run(
            [sys.executable, *command], stdout=log, stderr=log, check=True, cwd=REPOSITORY
        )
    damage: list[str] = []
    per_block = [
        scalar.value
        for path in sorted((model_dir / "train").glob("events*"))
        for scalar in iterate_scalars(path, damage)
        if scalar.tag == "steps_per_sec"
    ]
    return per_block[1:]


if __name__ == "__main__":
    sys.exit(main())
