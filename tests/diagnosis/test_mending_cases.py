"""Mending the public configs whose outcome is known, where they lie beside the checkout."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.mending import GOALS, Constraints, mend_config
from odapi_repro.diagnosis.mending.text_mending import mend_text
from odapi_repro.diagnosis.outcome import subject_of
from odapi_repro.diagnosis.rules import RULES
from odapi_repro.pipeline import Circumstances, parse_pipeline
from odapi_repro.pipeline.edit_text import rewrite_text
from odapi_repro.reference import reference_named

SHARED = Path(__file__).resolve().parents[3] / "shared"
FILES = [SHARED / "cases" / "cases.jsonl", SHARED / "cases" / "controls.jsonl"]
CASES = [
    json.loads(line)
    for path in FILES
    if path.is_file()
    for line in path.read_text(encoding="utf-8").splitlines()
]


# Cases whose checkpoint cannot serve, and no other is there: of TensorFlow 1, or of a backbone that
# the reference does not have. A reference of keypoints needs a label map of theirs, besides.
OTHER_CHECKPOINT_NEEDED: dict[tuple[str, str | None], set[str]] = {
    **{("andrew15381-quidditch", goal): {"ckpt_version_v1"} for goal in (None, *GOALS)},
    ("tfmodels-10913", "reproduce"): {
        "ckpt_from_other_architecture",
        "keypoint_class_not_in_label_map",
    },
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "score_diagnosis", SHARED / "tools" / "score_diagnosis.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not CASES, reason="no cases beside this checkout (../shared/cases)")
def test_there_are_cases() -> None:
    assert CASES


@pytest.mark.parametrize("goal", [None, *GOALS])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_of_every_case_only_what_is_listed_is_left(
    case: dict[str, Any],
    goal: str | None,
    tool: ModuleType,
    reference_configs: Path,
    tmp_path: Path,
) -> None:
    path = Path(tool.write_case(case, str(tmp_path), str(reference_configs)))
    text = path.read_text(encoding="utf-8")
    known = Circumstances(num_replicas=1, train_images=case["extra"].get("train_images"))
    reference = reference_named(case["model"])
    subject = subject_of(text, str(path), reference=reference, circumstances=known)
    result = mend_config(subject, Constraints(goal=goal), RULES)

    severe = {one.cause for one in result.findings if one.severity <= Severity.CRITICAL}
    # What lies in the files or the hardware, and not in the config.
    left = {"tiny_batch_batchnorm", "train_eq_eval", "label_map_malformed", "input_not_a_record"}
    assert severe <= left | OTHER_CHECKPOINT_NEEDED.get((case["id"], goal), set())
    assert severe <= {left.cause for left in result.not_mendable}

    edited = rewrite_text(mend_text(subject.text).text, result.pipeline.proto)
    assert edited.kept_layout, edited.why
    assert parse_pipeline(edited.text).proto == result.pipeline.proto
