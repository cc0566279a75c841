"""`odapi_repro.run` with factors that need no training, as a user meets it; the network is fake."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fake_trials import EFFICIENTDET, MASK_RCNN, small_data, small_records
from run_writers import VALUE, write_checkpoint, write_training_checkpoint

from odapi_repro import run
from odapi_repro.errors import UserError
from odapi_repro.features.sweep import sweep_plot as post_hoc_plot
from odapi_repro.features.sweep import sweep_runner as post_hoc_runner
from odapi_repro.pipeline import Pipeline, bind_records, load_pipeline
from odapi_repro.trials.scales import scale_pipeline

FAKE_CHILD = (sys.executable, str(Path(__file__).parent / "support" / "fake_evaluation_child.py"))
Command = Callable[..., int]


def proxy_config(path: Path) -> Pipeline:
    """The pipeline at proxy scale, on the small records, as a trial's folder holds it."""
    made, data = small_records(), small_data()
    return bind_records(
        scale_pipeline(load_pipeline(path), "proxy").pipeline,
        train_patterns=[made.train_pattern],
        eval_patterns=[made.val_pattern],
        label_map_path=str(made.label_map_path),
        num_classes=data.label_map.num_classes,
        checkpoint=None,
    )


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A folder with three checkpoints and the config that made them."""
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "pipeline.config").write_text(proxy_config(EFFICIENTDET).to_text())
    for number in (3, 1, 2):
        write_training_checkpoint(folder, number, 100 * number)
    return folder


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: Path) -> Command:
    """Runs the command in a folder of its own, with a fake network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKE_EVALUATION_LOG", str(tmp_path / "made.txt"))
    monkeypatch.setattr(
        post_hoc_runner, "detect", functools.partial(post_hoc_runner.detect, worker=FAKE_CHILD)
    )
    # tests/reporting has the plot.
    monkeypatch.setattr(post_hoc_plot, "render_post_hoc_plots", lambda report: ())
    few = functools.partial(post_hoc_runner.CellScores, resamples=20)
    monkeypatch.setattr(post_hoc_runner, "CellScores", few)

    def call(*flags: str, checkpoint: str | None = "trained", name: str = "mine") -> int:
        named = [] if checkpoint is None else [f"--checkpoint={checkpoint}"]
        return run.main([*named, f"--name={name}", *flags])

    return call


@pytest.fixture
def made(tmp_path: Path) -> Callable[[], list[tuple[str, str]]]:
    """What the network has made since the last call: kind of pass and variant."""

    def read() -> list[tuple[str, str]]:
        log = tmp_path / "made.txt"
        lines = log.read_text().split("\n")[:-1] if log.exists() else []
        log.write_text("")
        return [(line.rpartition("-")[0].split(" ")[0], line.split(" ")[1]) for line in lines]

    return read


@pytest.fixture
def refused(command: Command, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The message of a command that must be refused with exit 2, having made nothing."""

    def call(*flags: str, checkpoint: str | None = "trained") -> str:
        assert command(*flags, checkpoint=checkpoint) == 2
        message = capsys.readouterr().err
        assert message.startswith("odapi-repro run: ")
        assert "Traceback" not in message
        assert not {"runs", "results"} & {path.name for path in Path().iterdir()}
        return message

    return call


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--ablate=softnms"], "did you mean 'soft_nms'?"),
        (["--ablate=nms_iou,batch_size"], "mixes batch_size (trained) with nms_iou"),
        (["--ablate=nms_iou", "--levels=2"], "'2' is no level of nms_iou"),
        (["--ablate=nms_iou,soft_nms", "--levels=0.5"], "--levels nms_iou=0.5"),
        (["--ablate=nms_iou", "--seeds=3"], "--seeds with factors that need no training"),
        (["--ablate=nms_iou", "--steps=3", "--replicas=2"], "--steps, --replicas with factors"),
        (["--ablate=nms_iou", "--at=batch_size=2"], "--at with factors"),
        (["--ablate=proposals"], "a ssd has no proposals"),
        (["--ablate=nms_iou", "--name=../x"], "cannot be the name of a study"),
        (["--ablate=nms_iou", "--device=gpu"], "no GPU is visible"),
        (["--ablate=nms_iou", "--device=tpu"], "expected: cpu or gpu"),
        (["--ablate=nms_iou", "--eval_records=no/val*"], "'no/val*' matches nothing"),
        (["--ablate=nms_iou", "--data=nowhere"], "nowhere does not exist"),
        (["--ablate=nms_iou", "one.config", "--pipeline=two.config"], "2 pipelines were named"),
        (["--ablate=box_voting,fusion", "--design=grid"], "a grid would combine"),
        (["--ablate=multi_scale_testing", "--levels=0.5+1"], "stays as it is"),
    ],
)
def test_wrong_flags_are_one_message_and_exit_2(refused, flags: list[str], named: str) -> None:
    assert named in refused(*flags)


@pytest.mark.parametrize(
    ("checkpoint", "flags", "named"),
    [
        (None, ["--ablate=nms_iou,swa"], "nms_iou, swa: no checkpoint was named"),
        ("nowhere", ["--ablate=nms_iou"], "there is no checkpoint"),
        ("trained/ckpt-9", ["--ablate=nms_iou"], "found beside it"),
        ("trained/ckpt-1,trained/ckpt-1", ["--ablate=swa"], "is named twice"),
        ("trained/ckpt-1", ["--ablate=fusion"], "fusion needs several checkpoints"),
    ],
)
def test_a_wrong_checkpoint_is_one_message_and_exit_2(
    refused, checkpoint: str | None, flags: list[str], named: str
) -> None:
    assert named in refused(*flags, checkpoint=checkpoint)


def test_a_pipeline_that_cannot_be_the_checkpoints_own_is_refused(refused, training: Path) -> None:
    text = (training / "pipeline.config").read_text()
    other = training.parent / "other.config"
    other.write_text(text.replace("y_scale: 10.0", "y_scale: 1.0"))
    message = refused("--ablate=nms_iou", f"--pipeline={other}")
    assert "box_coder" in message


def test_a_checkpoint_without_a_config_asks_for_one(refused, training: Path) -> None:
    (training / "pipeline.config").unlink()
    assert "--pipeline" in refused("--ablate=nms_iou")


def test_a_study_of_trainings_and_a_sweep_cannot_have_one_name(command, capsys) -> None:
    Path("results/mine").mkdir(parents=True)
    Path("results/mine/study.json").write_text("{}")
    assert command("--ablate=nms_iou") == 2
    assert "this folder holds a study of factors (run)" in capsys.readouterr().err
    assert command("--ablate=nms_iou", "--levels=0.6", name="sweep") == 0
    made = small_records()
    records = [
        f"--train_records={made.train_pattern}",
        f"--eval_records={made.val_pattern}",
        f"--label_map={made.label_map_path}",
    ]
    flags = ["--ablate=batch_size", f"--pipeline={EFFICIENTDET}", "--name=sweep", *records]
    capsys.readouterr()
    assert run.main(flags) == 2
    assert "holds a study of factors without training" in capsys.readouterr().err


def test_a_dry_run_prints_the_plan_and_makes_nothing(command, capsys, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert command("--ablate=nms_iou,flip_testing,swa,multi_scale_testing", "--dry_run") == 0
    printed = capsys.readouterr().out
    assert "6 images of" in printed
    assert "trained/ckpt-3, mirrored: 1 post-processing" in printed
    assert "mean of 2 checkpoints, trained/ckpt-2 to trained/ckpt-3" in printed
    assert "input 256x256 px" in printed
    assert sorted(tmp_path.iterdir()) == before


def test_a_sweep_leaves_its_tables(command, capsys) -> None:
    flags = ("--ablate=score_threshold,flip_testing,box_voting", "--levels=score_threshold=0.3,0.9")
    assert command(*flags) == 0
    printed = capsys.readouterr().out
    assert "score_threshold" in printed
    folder = Path("results/mine")
    assert {path.name for path in folder.iterdir()} == {
        *("trials.csv", "effects.csv", "README.md", "sweep.json"),
    }
    trials = pd.read_csv(folder / "trials.csv", dtype={"trial_id": str})
    assert list(trials.columns[:9]) == [
        *("trial_id", "study", "pipeline", "scale", "seed", "status"),
        *("score_threshold", "box_voting", "flip_testing"),
    ]
    assert len(trials) == 1 + 2 + 4 + 3
    assert trials["trial_id"].is_unique
    assert set(trials["status"]) == {"succeeded"}
    assert trials["seed"].isna().all()
    effects = pd.read_csv(folder / "effects.csv")
    assert list(effects.columns[:10]) == [
        *("factor", "from", "to", "metric", "delta", "se", "low", "high", "n", "verdict"),
    ]
    assert set(effects["n"]) == {6}
    ap = effects[(effects["metric"] == "AP") & (effects["factor"] == "score_threshold")]
    high = trials[trials["score_threshold"] == 0.9].iloc[0]
    delta = ap[ap["to"].astype(float) == 0.9]["delta"].item()
    assert delta == pytest.approx(high["AP"] - trials.iloc[0]["AP"])
    assert delta < 0
    text = (folder / "README.md").read_text()
    assert "python -m odapi_repro.run --checkpoint=trained" in text
    assert "paired bootstrap over the images" in text


def test_the_same_command_runs_no_network_and_changes_no_byte(command, made) -> None:
    flags = ("--ablate=nms_iou,flip_testing", "--levels=nms_iou=0.6")
    assert command(*flags) == 0
    assert len(made()) == 3
    tables = {p.name: p.read_bytes() for p in Path("results/mine").glob("*.csv")}
    assert command(*flags) == 0
    assert made() == []
    assert {p.name: p.read_bytes() for p in Path("results/mine").glob("*.csv")} == tables


def test_a_sweep_grows_by_levels_and_factors_and_runs_only_what_is_missing(
    command, made, capsys
) -> None:
    assert command("--ablate=score_threshold", "--levels=0.3") == 0
    assert sorted(made()) == [("plain", "as_configured"), ("plain", "score_threshold=0.3")]
    assert command("--ablate=score_threshold,flip_testing", "--levels=score_threshold=0.9") == 0
    assert sorted(made()) == [("flip", "as_configured"), ("plain", "score_threshold=0.9")]
    trials = pd.read_csv("results/mine/trials.csv", dtype=str, keep_default_na=False)
    cells = list(zip(trials["score_threshold"], trials["flip_testing"], strict=True))
    assert cells == [
        *(("1e-08", "off"), ("0.3", "off"), ("0.9", "off")),
        *(("1e-08", "union"), ("1e-08", "soft_union"), ("1e-08", "weighted_boxes")),
    ]
    effects = pd.read_csv("results/mine/effects.csv", dtype=str)
    assert set(effects["to"]) == {"0.3", "0.9", "union", "soft_union", "weighted_boxes"}
    capsys.readouterr()
    assert command("--ablate=score_threshold", checkpoint="trained/ckpt-1") == 2
    message = capsys.readouterr().err
    assert "its trials were made of something else" in message
    assert "checkpoints" in message


def test_checkpoints_of_a_folder_are_taken_oldest_first_and_fused(command, made) -> None:
    assert command("--ablate=fusion,swa,nms_iou", "--levels=nms_iou=0.6") == 0
    passes = sorted(name for name, _ in made())
    # Three single ones, the last of them twice for the two settings, and two means.
    assert passes == ["mean_of_2", "mean_of_3", *["plain"] * 4]
    trials = pd.read_csv("results/mine/trials.csv", dtype=str, keep_default_na=False)
    assert list(trials["fusion"].unique()) == [
        *("single", "best", "union", "soft_union", "consensus", "weighted_boxes"),
    ]
    best = trials[trials["fusion"] == "best"].iloc[0]
    others = best["message"]
    assert "trained/ckpt-1" in others
    assert others.index("ckpt-1") < others.index("ckpt-2") < others.index("ckpt-3")
    shown = [float(part.split(" ")[-1].rstrip(".")) for part in others.partition(":")[2].split(",")]
    assert float(best["AP"]) == pytest.approx(max(shown), abs=0.05)
    single = trials[(trials["fusion"] == "single") & (trials["swa"] == "1")].iloc[0]
    assert float(single["AP"]) == pytest.approx(shown[-1], abs=0.05)
    text = Path("results/mine/README.md").read_text()
    assert "recomputes batch-norm statistics" in text
    assert "Checkpoint 3: `trained/ckpt-3`, step 300" in text


def test_masks_are_scored_and_left_out_where_boxes_move(command, training: Path) -> None:
    (training / "pipeline.config").write_text(proxy_config(MASK_RCNN).to_text())
    for file in training.glob("ckpt-*"):
        file.unlink()
    tree = {"model": {"_first_stage_box_predictor": {"x": None}}}
    write_checkpoint(training / "ckpt-3", {f"step{VALUE}": 3}, tree=_with_masks(tree))
    flags = ("--ablate=box_voting,proposals", "--levels=box_voting=0.8", "--levels=proposals=8")
    assert command(*flags) == 0
    trials = pd.read_csv("results/mine/trials.csv")
    assert list(trials["mask_AP"].isna()) == [False, True, False]
    effects = pd.read_csv("results/mine/effects.csv")
    masks = effects[effects["metric"] == "mask_AP"]
    assert set(masks["factor"]) == {"proposals"}


def _with_masks(tree: dict) -> dict:
    head = {"_third_stage_heads": {"mask": None}}
    model = {**tree["model"], "_mask_rcnn_box_predictor": head, "_feature_extractor": {"x": None}}
    return {**tree, "model": model, "step": None}


def test_every_second_image_alone_is_scored_when_asked(command) -> None:
    assert command("--ablate=nms_iou", "--levels=0.6", "--sample_1_of_n_eval_examples=2") == 0
    assert set(pd.read_csv("results/mine/effects.csv")["n"]) == {3}
    record = json.loads(Path("results/mine/sweep.json").read_text())
    assert record["foundation"]["sample_1_of_n"] == 2


def test_what_the_network_has_made_before_it_fails_is_kept(
    command, made, monkeypatch, capsys
) -> None:
    flags = ("--ablate=flip_testing,nms_iou", "--levels=nms_iou=0.6")
    monkeypatch.setenv("FAKE_EVALUATION_FAILS", "flip")
    assert command(*flags) == 2
    assert "the checkpoint does not fit the model" in capsys.readouterr().err
    assert sorted(name for name, _ in made()) == ["plain", "plain"]
    monkeypatch.delenv("FAKE_EVALUATION_FAILS")
    assert command(*flags) == 0
    assert made() == [("flip", "as_configured")]


@pytest.mark.parametrize(
    ("end", "code"),
    [(UserError("this cell has no score"), 1), (KeyboardInterrupt(), 130)],
    ids=["a cell fails", "Ctrl-C"],
)
def test_a_sweep_that_does_not_come_to_its_end_leaves_what_it_measured_and_goes_on_there(
    command, monkeypatch, capsys, end: BaseException, code: int
) -> None:
    flags = ("--ablate=nms_iou", "--levels=0.3,0.6,0.7")
    result, calls = post_hoc_runner._Scorer.result, []

    def third_ends(scorer, cell):
        calls.append(cell)
        if len(calls) == 3:
            raise end
        return result(scorer, cell)

    monkeypatch.setattr(post_hoc_runner._Scorer, "result", third_ends)
    assert command(*flags) == code
    if code == 1:
        assert "this cell has no score" in capsys.readouterr().err
    trials = pd.read_csv("results/mine/trials.csv")
    # After a failure the next is scored, after Ctrl-C nothing.
    measured = [True, True, False, code == 1]
    assert list(trials["AP"].notna()) == measured
    assert list(trials["status"] == "succeeded") == measured
    assert len(pd.read_csv("results/mine/effects.csv")) == 12 * (sum(measured) - 1)
    before = len(calls)
    assert command(*flags) == 0
    assert len(calls) - before == 4 - sum(measured)
    assert set(pd.read_csv("results/mine/trials.csv")["status"]) == {"succeeded"}


def test_a_grid_measures_every_combination(command) -> None:
    flags = ("--ablate=score_threshold,detections_per_image", "--design=grid")
    levels = ("--levels=score_threshold=0.5", "--levels=detections_per_image=2")
    assert command(*flags, *levels) == 0
    assert len(pd.read_csv("results/mine/trials.csv")) == 4
    # Effects are of one factor alone.
    assert len(pd.read_csv("results/mine/effects.csv")) == 2 * 12


def test_the_folder_of_an_evaluation_is_refused_before_anything_is_run(command, made, capsys):
    Path("results/mine").mkdir(parents=True)
    Path("results/mine/evaluation.json").write_text("{}")
    assert command("--ablate=nms_iou") == 2
    assert "this folder holds an evaluation" in capsys.readouterr().err
    assert not made()
