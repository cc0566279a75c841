#!/usr/bin/env bash
# All five factors on both pipelines, two levels each, at smoke scale: every trial must succeed, and
# the reference cell is one trial for all studies of a pipeline. Also real photographs where they
# are present. Needs the environment of `make setup`; PYTHON names another interpreter.
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="${PYTHON:-$repository/.venv/bin/python}"
work="${1:-$(mktemp -d)}"
mkdir -p "$work"
cd "$work"

declare -A levels=(
  [batch_size]="1/2" [lr_scaling]="linear" [warmup]="1" [sync_replicas]="2" [augmentation]="none"
)
began=$SECONDS
for pipeline in effdet_d3 mask_rcnn; do
  for factor in batch_size lr_scaling warmup sync_replicas augmentation; do
    "$python" -m odapi_repro.run --pipeline "$repository/pipelines/$pipeline.config" \
      --ablate "$factor" --levels "${levels[$factor]}" --scale smoke
  done
done

pets="$repository/../shared/data/pets_examples.record"
if [[ -f "$pets" ]]; then
  "$python" -m odapi_repro.run --pipeline "$repository/pipelines/effdet_d3.config" \
    --ablate batch_size --levels 1/2 --scale smoke --name pets \
    --train_records "$pets" --eval_records "$pets" \
    --label_map "$(dirname "$pets")/pets_label_map.pbtxt"
fi

"$python" - "$((SECONDS - began))" <<'CHECK'
import sys
from pathlib import Path

import pandas as pd

tables = {path.parent.name: pd.read_csv(path) for path in sorted(Path("results").glob("*/trials.csv"))}
rows = pd.concat(tables.values())
unlike = rows[rows["status"] != "succeeded"]
if len(unlike):
    sys.exit(f"not succeeded:\n{unlike[['study', 'trial_id', 'status', 'message']]}")
for pipeline in ("effdet_d3", "mask_rcnn"):
    studies = [set(t["trial_id"]) for name, t in tables.items() if name.startswith(pipeline)]
    shared = set.intersection(*studies)
    if len(studies) != 5 or len(shared) != 1:
        sys.exit(f"{pipeline}: {len(studies)} studies share {len(shared)} trials, expected 5 and 1")
trials = rows["trial_id"].nunique()
print(f"smoke: {len(tables)} studies, {trials} trials, all succeeded, {sys.argv[1]} s")
CHECK
