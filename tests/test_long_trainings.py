"""`--scale full` that would take weeks or years is refused at its start, by what it would take."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_trials import (
    EFFICIENTDET,
    FAKE_WORKER,
    MASK_RCNN,
    fake_trial,
    small_data,
    small_records,
)

from odapi_repro import explain, run
from odapi_repro.features.ablate import run_study
from odapi_repro.trials import session, study_flags
from odapi_repro.trials.executors.local_executor import LocalExecutor
from odapi_repro.trials.trial_cost import CostEstimate, long_on_cpu, long_on_few_images

Command = Callable[..., int]
UNKNOWN = CostEstimate(None, "nothing has run")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study_flags, "cpu_count", lambda: 2)
    monkeypatch.setattr(session, "cpu_count", lambda: 2)
    fake = functools.partial(LocalExecutor, worker=FAKE_WORKER)
    monkeypatch.setattr(session, "LocalExecutor", fake)
    monkeypatch.setattr(session, "check_worker_environment", lambda: None)


@pytest.fixture
def records() -> list[str]:
    made = small_records()
    return [
        f"--train_records={made.train_pattern}",
        f"--eval_records={made.val_pattern}",
        f"--label_map={made.label_map_path}",
    ]


@pytest.fixture
def command(records: list[str]) -> Command:
    def call(*flags: str, pipeline: Path = EFFICIENTDET) -> int:
        return run.main([str(pipeline), "--ablate=batch_size", "--levels=1x", *records, *flags])

    return call


def test_a_start_on_a_cpu_is_refused_with_the_estimate_and_the_flag_that_insists(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--scale=full") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--scale full on a CPU: 1 trial sees 38,400,000 images, about 1.1 years on 2 cores" in (
        captured.err
    )
    assert "--however_long trains all the same" in captured.err
    assert list(Path().iterdir()) == []


def test_the_embedded_set_is_not_made_for_what_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ODAPI_REPRO_CACHE", str(tmp_path / "cache"))
    assert run.main([str(EFFICIENTDET), "--ablate=batch_size", "--scale=full"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("odapi-repro run: --scale full on a CPU: 3 trials see")
    assert list(Path().iterdir()) == []


def test_a_dry_run_prints_the_plan_and_warns(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--scale=full", "--dry_run") == 0
    captured = capsys.readouterr()
    plan = " ".join(captured.out.split())
    assert "1 trial (1 cell x 1 seed)" in plan
    assert captured.err.startswith("warning: --scale full on a CPU: 1 trial sees 38,400,000 images")
    assert "a start asks for --however_long" in captured.err
    # One estimate in the plan and in the warning.
    assert "about 1.1 years on 2 cores (at a proxy's cost a pixel;" in captured.err
    assert "expected time: about 1.1 years (at a proxy's cost a pixel;" in plan


@pytest.mark.parametrize(
    "flags",
    [
        ("--scale=full", "--however_long"),
        ("--scale=full", "--num_train_steps=10"),
        ("--scale=auto",),
        ("--scale=proxy",),
    ],
)
def test_who_insists_or_runs_little_is_let_alone(
    command: Command, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    assert command(*flags) == 0
    assert "however_long" not in capsys.readouterr().err
    assert len(list(Path("runs").glob("*/metrics.json"))) == 1


def test_a_family_without_a_proxy_is_not_told_to_take_one(
    command: Command, capsys: pytest.CaptureFixture[str], reference_configs: Path
) -> None:
    path = reference_configs / "centernet_hourglass104_512x512_coco17_tpu-8.config"
    assert command("--scale=full", pipeline=path) == 2
    message = capsys.readouterr().err
    assert "--scale full on a CPU" in message
    assert "--scale proxy" not in message
    assert command("--scale=full", pipeline=EFFICIENTDET) == 2
    assert "--scale proxy takes minutes" in capsys.readouterr().err


def test_a_finished_study_is_reported_again(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--scale=full", "--however_long") == 0
    assert command("--scale=full") == 0
    assert "0 to run" in capsys.readouterr().out
    assert command("--scale=full", "--seeds=2") == 2
    assert "1 trial sees" in capsys.readouterr().err


def test_the_embedded_set_with_a_gpu_that_nobody_named_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_flags, "count_gpus", lambda: 1)
    made = small_data()
    embedded = dataclasses.replace(made, source=dataclasses.replace(made.source, name="embedded"))
    monkeypatch.setattr(run_study, "study_data_of", lambda flags, pipeline, check: embedded)
    assert command("--scale=full") == 2
    message = capsys.readouterr().err
    assert "--scale full on the embedded set: 1 trial sees 38,400,000 images, each of the 12" in (
        message
    )
    assert command("--scale=full", "--device=gpu", "--dry_run") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("flags", [["--device=gpu"], ["--use_tpu", "--replicas=8"], []])
def test_own_records_on_an_accelerator_are_not_refused(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
) -> None:
    monkeypatch.setattr(study_flags, "count_gpus", lambda: 1)
    assert command("--scale=full", "--dry_run", *flags) == 0
    assert capsys.readouterr().err == ""


def test_an_explanation_is_refused_and_its_plan_warned_of(
    records: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = EFFICIENTDET.read_text().replace("batch_size: 128", "batch_size: 2", 1)
    Path("mine.config").write_text(text)
    argv = ["mine.config", "--reference=efficientdet_d3", "--scale=full", *records]
    assert explain.main([*argv, "--plan"]) == 0
    captured = capsys.readouterr()
    assert "to run" in captured.out
    assert "warning: --scale full on a CPU: " in captured.err
    (judged,) = re.findall(r"about ([\d.,]+ \w+) on 2 cores", captured.err)
    assert f"expected time: about {judged} (at a proxy's cost a pixel;" in captured.out
    assert explain.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--however_long trains all the same" in captured.err
    assert sorted(path.name for path in Path().iterdir()) == ["mine.config"]


def test_a_check_of_the_data_is_judged_by_its_own_trainings(
    records: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its overfit sees some thousand images at full scale: hours, and no years."""
    assert run.main([str(MASK_RCNN), "--sanity", "--scale=full", "--dry_run", *records]) == 0
    assert "however_long" not in capsys.readouterr().err


def test_what_has_run_here_says_what_a_trial_takes() -> None:
    trials = [fake_trial(), fake_trial(2)]
    assert long_on_cpu(trials, CostEstimate(7 * 86_400, "timed"), cores=2) == ""
    found = long_on_cpu(trials, CostEstimate(30 * 86_400, "timed"), cores=2)
    assert found == "2 trials see 32 images, about 30 days on 2 cores (timed)"
    assert long_on_cpu([], UNKNOWN, cores=2) == ""
    assert long_on_cpu(trials, UNKNOWN, cores=2) == ""


def test_few_images_are_counted_in_passes() -> None:
    assert long_on_few_images([fake_trial()], images=16) == ""
    assert long_on_few_images([], images=0) == ""
