"""What a checkpoint has left in its folder becomes a model of the report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from chain_scenes import SIDE, Scene, found_in, stages_of, truth_of

from odapi_repro.errors import DataError
from odapi_repro.evaluation.checkpoint import CheckpointSource
from odapi_repro.evaluation.coco_data import GroundTruth
from odapi_repro.evaluation.eval_data import EvalData
from odapi_repro.evaluation.mask_chain.recall_chain import ChainReport
from odapi_repro.features.evaluate import evaluation_report as assemble
from odapi_repro.features.evaluate.evaluation_report import found_by_checkpoint
from odapi_repro.pipeline import load_pipeline
from odapi_repro.trials.evaluations.checkpoint_evaluation import EvaluationRequest, EvaluationResult

KEY = ("plain", "plain")


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationResult:
    """Of one image; its stages are not written and read, which tests/evaluation does."""
    scenes = [Scene()]
    truth = truth_of(scenes)
    (tmp_path / "found.json").write_text(json.dumps(found_in(scenes, truth).to_coco(truth)))
    sizes = {"heights": [SIDE], "widths": [SIDE]}
    (tmp_path / "images.json").write_text(json.dumps(sizes))
    monkeypatch.setattr(assemble, "read_stages", lambda path: stages_of(scenes))
    return EvaluationResult(
        {KEY: tmp_path / "found.json"},
        {"plain": tmp_path / "stages.npz"},
        {KEY: {}},
        frozenset([KEY]),
    )


def chain(result: EvaluationResult, truth: GroundTruth, repository: Path) -> ChainReport:
    source = CheckpointSource("checkpoint", "ckpt-1", "ckpt-1", "", None, "0" * 64, None)
    pipeline = load_pipeline(repository / "pipelines" / "mask_rcnn.config")
    request = EvaluationRequest(source, pipeline, EvalData("scenes", truth), Path("runs"))
    found = found_by_checkpoint("mine", request, result)
    assert found.chain is not None
    return found.chain


def test_the_chain_takes_the_images_own_sizes_where_the_ground_truth_gives_none(
    result: EvaluationResult, repository: Path
) -> None:
    truth = truth_of([Scene()])
    nothing = np.zeros(1, np.int64)
    unsized = dataclasses.replace(truth, heights=nothing, widths=nothing)
    own = chain(result, truth, repository)
    assert own.share_found() == 100.0
    assert np.array_equal(chain(result, unsized, repository).lost_at, own.lost_at)


def test_a_chain_is_not_made_of_images_of_another_size(
    result: EvaluationResult, repository: Path
) -> None:
    wrong = dataclasses.replace(truth_of([Scene()]), widths=np.array([SIDE + 1]))
    with pytest.raises(DataError, match=f"has {SIDE}x{SIDE} pixels"):
        chain(result, wrong, repository)
