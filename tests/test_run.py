"""`odapi_repro.run` as a user meets it: what it refuses, and what a study leaves behind."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fake_trials import EFFICIENTDET, FAKE_WORKER, MASK_RCNN, small_records

from odapi_repro import run
from odapi_repro.datasets.example import make_example
from odapi_repro.datasets.label_map import LabelMap, write_label_map
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.trials import session
from odapi_repro.trials.executors.local_executor import LocalExecutor

Command = Callable[..., int]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def data() -> dict[str, str]:
    made = small_records()
    return {
        "train_records": made.train_pattern,
        "eval_records": made.val_pattern,
        "label_map": str(made.label_map_path),
    }


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, str]) -> Command:
    """Runs the command in a folder of its own, on small records, with a fake worker."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        session, "LocalExecutor", functools.partial(LocalExecutor, worker=FAKE_WORKER)
    )
    monkeypatch.setattr(session, "check_worker_environment", lambda: None)

    def call(*flags: str, pipeline: Path | str = EFFICIENTDET, **changed: str) -> int:
        records = [f"--{name}={value}" for name, value in {**data, **changed}.items()]
        return run.main([f"--pipeline={pipeline}", *records, "--name=mine", *flags])

    return call


@pytest.fixture
def refused(command: Command, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The message of a command that must be refused with exit 2, having made nothing."""

    def call(*flags: str, **changed: str) -> str:
        before = sorted(Path().iterdir())
        assert command(*flags, **changed) == 2
        message = capsys.readouterr().err
        assert message.startswith("odapi-repro run: ")
        assert "Traceback" not in message
        assert message.count("help:") <= 1
        assert not {"runs", "results"} & {path.name for path in Path().iterdir()}
        assert sorted(Path().iterdir()) == before
        return message

    return call


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "no factor was named"),
        (["--ablate=batchsize"], "did you mean 'batch_size'?"),
        (["--ablate=batch_size", "--levels=two"], "'two' is no level of batch_size"),
        (["--ablate=lr_scaling", "--levels=linaer"], "did you mean 'linear'?"),
        (["--ablate=batch_size,warmup", "--levels=2"], "--levels batch_size=2"),
        (["--ablate=batch_size", "--levels=warmup=2"], "not among --ablate"),
        (["--ablate=batch_size", "--levels=,"], "holds no level"),
        (["--ablate=batch_size", "--at=warmup"], "expected: factor=level"),
        (["--ablate=batch_size", "--at=warmpu=3"], "did you mean 'warmup'?"),
        (["--ablate=sync_replicas", "--levels=3"], "cannot be shared by 3 replicas"),
        (["--ablate=batch_size", "--num_trian_steps=4"], "did you mean 'num_train_steps'?"),
        (["--ablate=batch_size", "--steps=0"], "steps"),
        (["--ablate=batch_size", "--scale=tiny"], "tiny"),
        (["--ablate=batch_size", "--name=../x"], "cannot be the name of a study"),
        (
            ["--ablate=batch_size", "--checkpoint=nowhere/ckpt-0", "--scale=full"],
            "no checkpoint nowhere/ckpt-0",
        ),
        (["--ablate=batch_size", "--checkpoint=nowhere/ckpt-0"], "cannot hold its weights"),
        (["--ablate=batch_size", "--device=gpu"], "no GPU is visible"),
        (["--ablate=batch_size", "--device=tpu"], "number of its cores"),
        (["--ablate=batch_size", "another.config"], "2 pipelines were named"),
    ],
)
def test_wrong_flags_are_one_message_and_exit_2(refused, flags: list[str], named: str) -> None:
    assert named in refused(*flags)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "no such pipeline.config"),
        ("model { ssd { } }\ntrain_config { batch_sise: 2 }", "mine.config:2:16"),
        ("model { ssd {", "mine.config:"),
        ("model { ssd { } } train_config { batch_size: 2 }", "learning rate"),
        ("", "describes no model"),
    ],
)
def test_a_wrong_pipeline_is_one_message_and_exit_2(refused, tmp_path, text, named) -> None:
    path = tmp_path / "mine.config"
    if text is not None:
        path.write_text(text)
    assert named in refused("--ablate=batch_size", pipeline=path)


def test_a_factor_that_does_not_apply_names_the_pipelines_it_applies_to(refused, tmp_path) -> None:
    text = EFFICIENTDET.read_text()
    start = text.index("cosine_decay_learning_rate {")
    end = text.index("}", start)
    path = tmp_path / "constant.config"
    path.write_text(f"{text[:start]}constant_learning_rate {{ learning_rate: 0.01 {text[end:]}")
    message = refused("--ablate=warmup", "--scale=full", pipeline=path)
    assert "warmup does not apply" in message
    assert "effdet_d3.config" in message


def test_records_that_a_pattern_does_not_match_are_named(refused, tmp_path) -> None:
    assert "matches nothing" in refused("--ablate=batch_size", train_records="no/train-*")


def test_a_truncated_record_is_named_with_its_byte(refused, data, tmp_path) -> None:
    whole = min(Path(data["train_records"]).parent.glob("train-*"))
    cut = tmp_path / "cut.record"
    cut.write_bytes(whole.read_bytes()[:-100])
    message = refused("--ablate=batch_size", train_records=str(cut))
    assert f"{cut}: truncated TFRecord" in message


def test_records_without_boxes_are_refused(refused, data, tmp_path) -> None:
    from odapi_repro.datasets.example import parse_example

    first = next(read_records(min(Path(data["train_records"]).parent.glob("train-*"))))
    image = parse_example(first)
    kept = {key: list(image.bytes_list(key)) for key in ("image/encoded", "image/format")}
    kept["image/height"] = image.ints("image/height")
    kept["image/width"] = image.ints("image/width")
    empty = tmp_path / "empty.record"
    write_records(empty, [make_example(kept)])
    message = refused("--ablate=batch_size", train_records=str(empty))
    assert "1 examples hold no box at all" in message


def test_a_label_map_that_does_not_fit_is_refused(refused, tmp_path) -> None:
    path = tmp_path / "pets_label_map.pbtxt"
    write_label_map(LabelMap({1: "cat", 2: "dog"}), path)
    message = refused("--ablate=batch_size", label_map=str(path))
    assert "the label map" in message


def test_without_space_on_the_disk_nothing_is_begun(refused, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 10**6))
    assert "0.00 GB are free" in refused("--ablate=batch_size")


def test_without_tensorflow_nothing_is_begun_and_the_lock_file_is_named(
    refused, monkeypatch
) -> None:
    from odapi_repro.trials.executors.local_executor import check_worker_environment

    found = importlib.util.find_spec
    monkeypatch.setattr(session, "check_worker_environment", check_worker_environment)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorflow" else found(name)
    )
    message = refused("--ablate=batch_size")
    assert "not installed: tensorflow" in message
    assert "requirements.lock" in message


def test_help_is_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--help"]) == 0
    assert "--ablate" in capsys.readouterr().out


def test_a_dry_run_prints_the_plan_and_makes_nothing(command, capsys, tmp_path) -> None:
    assert command("--ablate=batch_size", "--levels=2", "--seeds=2", "--dry_run") == 0
    printed = capsys.readouterr().out
    assert "4 trials (2 cells x 2 seeds), 0 finished before, 4 to run" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_study_leaves_its_tables_and_the_same_command_runs_nothing(command, capsys) -> None:
    flags = ("--ablate=batch_size", "--levels=2", "--seeds=2")
    assert command(*flags) == 0
    assert {"trials.csv", "effects.csv", "README.md", "study.json"} <= {
        path.name for path in Path("results/mine").iterdir()
    }
    states = {path: path.stat().st_mtime_ns for path in Path("runs").glob("*/state.json")}
    assert len(states) == 4
    trials = Path("results/mine/trials.csv").read_bytes()
    table = pd.read_csv("results/mine/trials.csv")
    assert list(table.columns[:7]) == [
        "trial_id", "study", "pipeline", "scale", "seed", "status", "batch_size",
    ]  # fmt: skip
    capsys.readouterr()
    assert command(*flags) == 0
    assert "4 finished before, 0 to run" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in states} == states
    assert Path("results/mine/trials.csv").read_bytes() == trials

    assert command("--ablate=warmup", "--steps=7") == 2
    message = capsys.readouterr().err
    assert "study 'mine' exists" in message
    assert "pipeline.train_config.num_steps" in message
    assert Path("results/mine/trials.csv").read_bytes() == trials


def test_failed_trials_are_exit_1_and_run_again_only_when_asked(
    command, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", '{"1": "fail", "2": "diverge"}')
    flags = ("--ablate=batch_size", "--levels=1x", "--seeds=2")
    assert command(*flags) == 1
    message = capsys.readouterr().err
    assert "--retry failed runs it again" in message
    assert "train.log" in message
    assert list(pd.read_csv("results/mine/trials.csv")["status"]) == ["failed", "diverged"]
    monkeypatch.delenv("FAKE_WORKER")
    assert command(*flags) == 1
    assert "0 to run" in capsys.readouterr().out
    assert command(*flags, "--retry=failed") == 0
    # A diverged trial is a result: it is not repeated.
    assert list(pd.read_csv("results/mine/trials.csv")["status"]) == ["succeeded", "diverged"]


def test_a_disk_that_fills_while_a_trial_runs_is_exit_2_and_the_table_is_written(
    command, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", '{"2": "disk_full"}')
    assert command("--ablate=batch_size", "--levels=1x", "--seeds=2") == 2
    assert "no space left on the disk" in capsys.readouterr().err
    statuses = list(pd.read_csv("results/mine/trials.csv")["status"])
    assert statuses == ["succeeded", "interrupted"]


def test_a_plan_is_printed_without_importing_tensorflow(data, tmp_path) -> None:
    flags = [f"--{name}={value}" for name, value in data.items()]
    script = (
        "import sys\n"
        f"sys.path.insert(0, {str(EFFICIENTDET.parents[1])!r})\n"
        "from odapi_repro import run\n"
        f"code = run.main([{str(MASK_RCNN)!r}, '--ablate=batch_size', '--dry_run', *{flags!r}])\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'tensorflow', 'tf_keras', 'keras'}, loaded\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "batch_size" in done.stdout
