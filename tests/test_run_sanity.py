"""`run --sanity` as a user meets it: its plan, what it refuses, its report; trainings are fake."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from fake_trials import EFFICIENTDET, MASK_RCNN, small_data, small_records
from run_writers import write_training_checkpoint

from odapi_repro import run
from odapi_repro.datasets import source
from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap, write_label_map
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.errors import EnvironmentMissing
from odapi_repro.features.sanity import sanity_checks, sanity_inputs
from odapi_repro.features.sanity.sanity_verdict import Change, Outcome, Point, Run, Score
from odapi_repro.pipeline import bind_records, load_pipeline
from odapi_repro.trials.scales import scale_pipeline
from odapi_repro.trials.trial import Trial

Command = Callable[..., int]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command on the small records, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(source, "embedded_dataset", small_records)
    made = small_records()

    def call(*flags: str, pipeline: Path = EFFICIENTDET) -> int:
        records = [
            f"--train_records={made.train_pattern}",
            f"--eval_records={made.val_pattern}",
            f"--label_map={made.label_map_path}",
        ]
        own = {flag.split("=")[0] for flag in flags}
        left = [] if "--data" in own else [r for r in records if r.split("=")[0] not in own]
        return run.main([str(pipeline), "--sanity", *left, *flags])

    return call


def message(capsys: pytest.CaptureFixture[str]) -> str:
    """What a refused command says, which is one message."""
    said = capsys.readouterr().err
    assert said.startswith("odapi-repro run: ")
    assert "Traceback" not in said
    return said


def test_the_plan_names_checks_rates_and_price_and_runs_nothing(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command("--dry_run", "--at=learning_rate=20x") == 0
    said = capsys.readouterr().out
    assert "reference: 220 steps, batch 16" in said
    assert "hold: 60 steps" in said
    assert "peak rate 4 (the schedule under test" in said
    assert "3 trainings, 0 finished before, 3 to run; expected time" in said
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "flag", ["--ablate=batch_size", "--levels=2,4", "--design=grid", "--seeds=3"]
)
def test_flags_of_a_study_are_refused_by_name(
    command: Command, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert command(flag, "--dry_run") == 2
    assert flag.split("=", maxsplit=1)[0] in message(capsys)


def test_a_factor_that_is_no_part_of_a_schedule_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--at=augmentation=none", "--dry_run") == 2
    assert "batch_size, learning_rate" in message(capsys)


def test_a_checkpoint_that_is_not_there_is_one_message(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--checkpoint=nowhere/ckpt-3", "--dry_run") == 2
    assert "no checkpoint" in message(capsys)


def trained(folder: Path, path: Path, *, num_classes: int | None = None) -> Path:
    """A training folder with the proxy's config and a checkpoint."""
    folder.mkdir()
    made, data = small_records(), small_data()
    pipeline = bind_records(
        scale_pipeline(load_pipeline(path), "proxy").pipeline,
        train_patterns=[made.train_pattern],
        eval_patterns=[made.val_pattern],
        label_map_path=str(made.label_map_path),
        num_classes=num_classes or data.label_map.num_classes,
        checkpoint=None,
    )
    (folder / "pipeline.config").write_text(pipeline.to_text())
    write_training_checkpoint(folder, 2, 220)
    return folder


def test_a_proxys_own_checkpoint_takes_the_place_of_the_reference(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = trained(tmp_path / "mine", EFFICIENTDET)
    assert command(f"--checkpoint={folder}", "--dry_run") == 0
    said = capsys.readouterr().out
    assert f"checkpoint  {folder}" in said
    assert "2 trainings" in said


def test_a_checkpoint_of_another_architecture_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = trained(tmp_path / "other", MASK_RCNN)
    assert command(f"--checkpoint={folder}", "--dry_run") == 2
    assert "faster_rcnn" in message(capsys)


def test_a_checkpoint_of_other_classes_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = trained(tmp_path / "other", EFFICIENTDET, num_classes=90)
    assert command(f"--checkpoint={folder}", "--dry_run") == 2
    assert "num_classes" in message(capsys)


def test_a_full_scale_checkpoint_is_refused_at_proxy_scale(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "pipeline.config").write_text(EFFICIENTDET.read_text())
    write_training_checkpoint(folder, 2, 300_000)
    assert command(f"--checkpoint={folder}", "--scale=proxy", "--dry_run") == 2
    assert "cannot be the checkpoint's" in message(capsys)


def rewritten(files: Sequence[Path], path: Path, **changes: object) -> str:
    """The flag value of a copy of these records with some fields of every image replaced."""
    label_map = small_data().label_map
    images = [AnnotatedImage.from_example(one, label_map) for f in files for one in read_records(f)]
    write_records(path, [AnnotatedImage(**{**vars(i), **changes}).to_example() for i in images])
    return str(path)


def test_records_of_other_classes_have_no_reference_and_the_plan_says_what_to_name(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The proxy that the embedded set trains has never seen them."""
    data = small_data()
    names = {i: f"class {i}" for i in data.label_map.items}
    write_label_map(LabelMap(names), tmp_path / "label_map.pbtxt")
    flags = [
        f"--label_map={tmp_path / 'label_map.pbtxt'}",
        f"--train_records={rewritten(data.train_files, tmp_path / 'train.r', class_names=())}",
        f"--eval_records={rewritten(data.eval_files, tmp_path / 'val.r', class_names=())}",
    ]
    assert command(*flags, "--dry_run") == 0
    said = capsys.readouterr().out
    assert "no hold: the reference of this scale knows the embedded shapes" in said
    assert "--checkpoint" in said
    assert "1 training," in said


def test_fewer_than_ten_images_are_refused(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    few = [one for file in small_data().train_files for one in read_records(file)][:5]
    write_records(tmp_path / "train.record", few)
    assert command(f"--train_records={tmp_path / 'train.record'}", "--dry_run") == 2
    assert "at least 10" in message(capsys)


def test_a_mask_rcnn_on_records_without_masks_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bare = rewritten(small_data().train_files, tmp_path / "train.record", masks_png=())
    assert command(f"--train_records={bare}", "--dry_run", pipeline=MASK_RCNN) == 2
    assert "mask" in message(capsys)


def a_config(folder: Path, *, train: str, evaluation: str) -> Path:
    """A config of the user's own, whose readers name these records."""
    pipeline = bind_records(
        load_pipeline(EFFICIENTDET),
        train_patterns=[train],
        eval_patterns=[evaluation],
        label_map_path=str(small_records().label_map_path),
        num_classes=small_data().label_map.num_classes,
        checkpoint=None,
    )
    (folder / "my.config").write_text(pipeline.to_text())
    return folder / "my.config"


def embedded_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the small records stand for the embedded set, which takes half a minute to make."""
    monkeypatch.setattr(source, "embedded_dataset", small_records)


def test_without_a_data_flag_the_records_of_the_configs_readers_are_looked_at(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = small_records()
    config = a_config(tmp_path, train=made.train_pattern, evaluation=made.val_pattern)
    assert run.main([str(config), "--sanity", "--dry_run"]) == 0
    captured = capsys.readouterr()
    told, said = captured.err, captured.out
    assert told.startswith("data: the records that the readers of my.config name, since no flag")
    assert made.train_pattern in told.split("\n")[0]
    assert "12 training and 6 evaluation images" in said


def test_where_the_configs_records_are_not_here_the_shapes_are_said_to_be_looked_at(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedded_stands_in(monkeypatch)
    config = a_config(tmp_path, train="gs://mine/train*", evaluation="/nowhere/val*")
    assert run.main([str(config), "--sanity", "--dry_run"]) == 0
    captured = capsys.readouterr()
    told, said = captured.err, captured.out
    assert told.startswith("data: the embedded shapes, and not the records of my.config: 'gs://")
    assert "data        embedded: 12" in said
    assert "note: Looked at: the embedded shapes, and not the records of my.config" in said


def test_embedded_is_obeyed_where_it_was_typed(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedded_stands_in(monkeypatch)
    made = small_records()
    config = a_config(tmp_path, train=made.train_pattern, evaluation=made.val_pattern)
    assert run.main([str(config), "--sanity", "--dry_run", "--data=embedded"]) == 0
    assert "data        embedded: 12" in capsys.readouterr().out


def test_a_shipped_pipeline_names_no_records_and_means_the_embedded_shapes(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded_stands_in(monkeypatch)
    assert run.main([str(EFFICIENTDET), "--sanity", "--dry_run"]) == 0
    captured = capsys.readouterr()
    told, said = captured.err, captured.out
    assert told.startswith("data: the embedded shapes: effdet_d3.config names no records")
    assert "note: " not in said


def test_a_config_of_which_half_the_records_are_here_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = small_records()
    config = a_config(tmp_path, train=made.train_pattern, evaluation="/nowhere/val*")
    assert run.main([str(config), "--sanity", "--dry_run"]) == 2
    assert "no file matches '/nowhere/val*'" in message(capsys)


def test_evaluation_files_that_are_training_files_are_told(
    command: Command, ends_with: Callable[[Outcome], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the plan, beside the verdict, and in the report."""
    train = small_records().train_pattern
    ends_with(GOOD)
    assert command(f"--eval_records={train}", "--name=mine") == 0
    told = "4 of 4 evaluation files are training files, too"
    assert capsys.readouterr().out.count(told) == 2
    assert told in Path("results/mine/README.md").read_text()
    assert command("--dry_run") == 0
    assert "training files" not in capsys.readouterr().out


def a_run(name: str, *aps: float, status: str = "succeeded", rate: float = 0.2) -> Run:
    points = tuple(Point(20 * i, ap) for i, ap in enumerate(aps))
    steps = points[-1].step if len(points) > 1 else 40
    return Run(
        name, "abc123abc123", status, "", steps, steps, 16, rate, 0.2, "as planned",
        points, ((20, 2.0), (40, 1.0)), 90.0,
    )  # fmt: skip


GOOD = Outcome(
    scale="proxy",
    checkpoint="the proxy reference",
    own_ap=25.0,
    on_eval=Score(25.0, 1.5, 6),
    on_train=Score(27.0, 1.5, 12),
    hold=a_run("hold", 25.0, 25.5, 26.0, rate=0.002),
    hold_change=Change(1.0, -0.3, 2.3),
    overfit=a_run("overfit", 30.0, 45.0, 70.0),
)


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome | BaseException], None]:
    """Lets the checks have this outcome, or end by this error."""

    def set_ending(ending: Outcome | BaseException) -> None:
        raised = isinstance(ending, BaseException)
        outcome = Outcome(scale="proxy", on_eval=GOOD.on_eval) if raised else ending

        def steps(self: sanity_checks.SanityChecks) -> Iterator[Trial]:
            if isinstance(ending, BaseException):
                raise ending
            yield from ()

        monkeypatch.setattr(sanity_checks.SanityChecks, "steps", steps)
        monkeypatch.setattr(sanity_checks.SanityChecks, "outcome", outcome)
        monkeypatch.setattr(sanity_checks.SanityChecks, "trial_ids", [])

    # tests/reporting has the plot.
    monkeypatch.setattr("odapi_repro.features.sanity.sanity_plot.render_curves", lambda outcome: ())
    monkeypatch.setattr("odapi_repro.trials.session.check_worker_environment", lambda: None)
    return set_ending


def test_a_sound_set_ends_with_code_0_and_a_report(
    command: Command,
    ends_with: Callable[[Outcome], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    ends_with(GOOD)
    assert command("--name=mine") == 0
    assert "Verdict: sound" in capsys.readouterr().out
    folder = tmp_path / "results" / "mine"
    record = json.loads((folder / "sanity.json").read_text())
    assert record["verdict"]["causes"] == ["sound"]
    assert record["outcome"]["on_train"]["ap"] == 27.0
    trials = pd.read_csv(folder / "trials.csv")
    assert list(trials.columns[:6]) == [
        *("trial_id", "study", "pipeline", "scale", "seed", "status")
    ]  # fmt: skip
    assert (folder / "README.md").read_text().startswith("# mine\n\n**Sound: ")


def test_wrong_data_end_with_code_1(
    command: Command, ends_with: Callable[[Outcome], None], capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(dataclasses.replace(GOOD, on_train=Score(0.3, 0.1, 12)))
    assert command() == 1
    assert "Verdict: training_data" in capsys.readouterr().out


def test_whatever_ends_a_run_the_report_says_what_is_there(
    command: Command,
    ends_with: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    ends_with(EnvironmentMissing("no space left on the disk"))
    assert command("--name=mine") == 2
    record = json.loads((tmp_path / "results" / "mine" / "sanity.json").read_text())
    assert record["verdict"]["causes"] == ["undecided"]
    assert record["outcome"]["on_eval"]["ap"] == 25.0
    assert "no space left" in message(capsys)


def test_a_name_that_stands_for_other_data_is_refused(
    command: Command, ends_with: Callable[[Outcome], None], capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(GOOD)
    assert command("--name=mine") == 0
    assert command("--name=mine") == 0
    capsys.readouterr()
    assert command("--name=mine", "--at=batch_size=2") == 2
    assert "schedule" in message(capsys)


def test_a_folder_of_another_kind_of_result_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "results" / "mine"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text("{}")
    assert command("--name=mine", "--dry_run") == 2
    assert "a study of factors" in message(capsys)


def test_at_takes_only_what_the_documentation_names() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "sanity.md").read_text()
    assert all(f"`{name}`" in page for name in sanity_inputs.SCHEDULE_FACTORS)
