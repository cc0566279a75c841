"""`odapi_repro.explain` as a user meets it: plans, refusals, and a study from end to end."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fake_trials import FAKE_WORKER, MASK_RCNN, small_records
from issue_10530 import REFERENCE, edited, issue_10530

from odapi_repro import explain
from odapi_repro.trials import session
from odapi_repro.trials.executors.local_executor import LocalExecutor

Command = Callable[..., int]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command in a folder of its own, on small records, with a fake worker."""
    made = small_records()
    monkeypatch.chdir(tmp_path)
    fake = functools.partial(LocalExecutor, worker=FAKE_WORKER)
    monkeypatch.setattr(session, "LocalExecutor", fake)
    monkeypatch.setattr(session, "check_worker_environment", lambda: None)
    Path("mine.config").write_text(issue_10530().to_text())
    Path("same.config").write_text(REFERENCE.pipeline().to_text())
    Path("inert.config").write_text(edited(use_bfloat16=False).to_text())
    Path("own_reference.config").write_text(edited(learning_rate_base=0.05).to_text())
    data = [
        f"--train_records={made.train_pattern}",
        f"--eval_records={made.val_pattern}",
        f"--label_map={made.label_map_path}",
    ]

    def call(*flags: str) -> int:
        # A report of a study's files takes no data.
        alone = any(flag.startswith("--from") for flag in flags)
        return explain.main([*([] if alone else data), *flags])

    return call


PAIR = ("mine.config", "--hold=train_shards,schedule_length,warmup", "--name=pair")
"""Two deviations: four cells."""


def test_the_plan_says_what_is_varied_at_what_price_and_runs_nothing(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("mine.config", "--reference=efficientdet_d3", "--plan", "--sd=2") == 0
    told = capsys.readouterr().out
    assert "batch_size: 16 -> 2 [128 -> 2 at full scale]" in told
    assert "schedule_length, warmup move together, as schedule_length+warmup" in told
    assert "bfloat16: has no effect" in told
    assert "32 trials of 16 cells (seeds 1, 2), 0 finished before, 32 to run" in told
    assert "AP 45.4 reported for efficientdet_d3" in told
    assert "smallest effect seen with 80 % power" in told
    assert max(map(len, told.splitlines())) <= 100
    assert not Path("runs").exists()
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "no config was named"),
        (["mine.config", "another.config"], "2 configs were named"),
        (["nowhere.config"], "no such pipeline.config"),
        (["mine.config", "--reference=efficientdet_d33"], "did you mean efficientdet_d3"),
        ([str(MASK_RCNN), "--reference=efficientdet_d3"], "is a faster_rcnn model"),
        (["same.config", "--reference=efficientdet_d3"], "does not deviate from efficientdet_d3"),
        (["inert.config", "--reference=efficientdet_d3"], "inert: bfloat16"),
        (["mine.config", "--metric=mask_AP"], "predicts no masks"),
        (["mine.config", "--design=all"], "design"),
        (["mine.config", "--group=batch_size+colour"], "colour is not varied"),
        (["mine.config", "--hold=colour"], "unknown factor"),
        (["mine.config", "--margin=0"], "--margin 0"),
        (["mine.config", "--design=path", "--seeds=1"], "3 give intervals"),
        (["mine.config", "--race", "--seeds=1"], "--race with 1"),
        (["mine.config", "--budget=12"], "with the unit"),
        (["mine.config", "--budget=31trials"], "expected: 32 trials of 16 cells"),
        (["mine.config", "--budget=1min"], "too small for shapley of 4 deviations"),
        (["mine.config", "--design=shapley", "--group=none", "--name=../x"], "name of a study"),
        (["--from=nowhere"], "nowhere"),
        (["--from=nowhere", "--user_ap=20"], "--from with --user_ap"),
        (["mine.config", "--from=nowhere", "--plan"], "--from with mine.config, --"),
        (["mine.config", "--user_ap=140"], "0 to 100"),
        (["mine.config", "--sd=-1"], "--sd -1"),
        (["mine.config", "--sd=inf"], "--sd inf"),
        (["mine.config", "--cost_per_hour=-1"], "--cost_per_hour -1"),
        (["mine.config", "--cost_per_hour=nan"], "--cost_per_hour nan"),
        (["mine.config", f"--budget={'9' * 400}trials"], "--budget 999"),
        (
            ["mine.config", "--user_replicas=1", "--replicas=8", "--scale=full"],
            "levels that cannot be combined",
        ),
    ],
)
def test_bad_input_is_one_message_and_exit_2(
    command: Command, capsys: pytest.CaptureFixture[str], flags: list[str], named: str
) -> None:
    assert command(*flags) == 2
    message = capsys.readouterr().err
    assert named in message
    assert message.count("odapi-repro explain: ") == 1
    assert "Traceback" not in message
    assert not {"runs", "results"} & {path.name for path in Path().iterdir()}


def test_a_reference_without_a_published_number_is_said_and_not_refused(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("mine.config", "--reference=own_reference.config", "--plan") == 0
    assert "no AP is reported for own_reference" in capsys.readouterr().out


def test_one_replicate_is_said_and_not_refused(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("mine.config", "--seeds=1", "--plan") == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert "the effects will have no interval; --seeds 3 gives one" in plan


def test_a_study_from_end_to_end(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*PAIR, "--user_ap=14") == 0
    told = capsys.readouterr().out
    folder = Path("results/pair")
    assert str(folder / "README.md") in told
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 8
    effects = pd.read_csv(folder / "effects.csv")
    contract = ["factor", "from", "to", "metric", "delta", "se", "low", "high", "n", "verdict"]
    assert list(effects.columns[:10]) == contract
    shares = effects[effects["kind"] == "shapley_value"]
    (gap,) = effects[effects["kind"] == "gap"]["delta"]
    # The fake AP is 20 + batch / 10: 16 images against 2 are all of the gap.
    assert gap == pytest.approx(-1.4)
    assert shares["delta"].sum() == pytest.approx(gap)
    assert dict(zip(shares["factor"], shares["delta"], strict=True)) == pytest.approx(
        {"batch_size": -1.4, "learning_rate": 0.0}, abs=1e-9
    )
    assert (folder / "waterfall.svg").exists()


def test_a_committed_study_is_reported_again_without_its_trainings(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*PAIR)
    first = {path.name: path.read_bytes() for path in Path("results/pair").iterdir()}
    shutil.rmtree("runs")
    Path("mine.config").unlink()
    capsys.readouterr()
    assert command("--from=results/pair", "--format=json") == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 1
    assert {path.name: path.read_bytes() for path in Path("results/pair").iterdir()} == first


def test_a_budget_stops_a_design_whose_course_is_not_known_and_a_larger_one_goes_on(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    design = (*PAIR, "--design=path", "--seeds=3")
    assert command(*design, "--budget=6trials") == 0
    assert "the budget is spent" in capsys.readouterr().err
    assert command(*design) == 0
    assert "the budget is spent" not in capsys.readouterr().err


def test_trials_that_failed_are_named_and_the_exit_code_is_1(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", '{"2": "fail"}')
    assert command(*PAIR) == 1
    assert capsys.readouterr().err.count("--retry failed runs it again") == 4
    monkeypatch.delenv("FAKE_WORKER")
    assert command(*PAIR, "--retry=failed") == 0


def test_a_study_of_something_else_is_not_gone_on_with(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*PAIR)
    assert command(*PAIR, "--steps=60") == 2
    assert "its trials were made of something else" in capsys.readouterr().err


@pytest.mark.parametrize("record", ["study.json", "sweep.json", "evaluation.json"])
def test_a_folder_with_another_kind_of_result_is_not_written_over(
    command: Command, capsys: pytest.CaptureFixture[str], record: str
) -> None:
    folder = Path("results/pair")
    folder.mkdir(parents=True)
    (folder / record).write_text("{}")
    assert command(*PAIR) == 2
    assert "this folder holds" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == [record]


def test_full_scale_on_the_embedded_shapes_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    del command
    arguments = [str(tmp_path / "mine.config"), "--reference=efficientdet_d3", "--plan"]
    assert explain.main([*arguments, "--scale=full", "--data=embedded"]) == 2
    assert "--scale full on the embedded shapes" in capsys.readouterr().err


def test_an_ap_out_of_one_is_pointed_out(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("mine.config", "--reference=efficientdet_d3", "--plan", "--user_ap=0.14") == 0
    assert "an AP of 0.14 out of 1 is --user_ap 14" in capsys.readouterr().err
