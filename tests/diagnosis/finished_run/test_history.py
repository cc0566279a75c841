"""The history of a training folder: whole, restarted, cut short, ours or anybody's."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_writers import (
    Report,
    event,
    falling,
    record,
    scalar,
    simple_scalar,
    training_events,
    write_events,
    write_training,
    write_training_checkpoint,
)

from odapi_repro.diagnosis.finished_run import read_run
from odapi_repro.errors import UserError

COCO = {
    "DetectionBoxes_Precision/mAP": 0.25,
    "DetectionBoxes_Precision/mAP@.50IOU": 0.5,
    "DetectionBoxes_Precision/mAP (small)": -1.0,
    "DetectionBoxes_Recall/AR@100 (large)": 0.75,
    "DetectionMasks_Precision/mAP@.75IOU": 0.125,
    "Loss/total_loss": 0.5,
    "PascalBoxes_Precision/mAP@0.5IOU": 0.375,
}


def write_evaluation(folder: Path, step: int, tags: dict[str, float], *, time: int) -> None:
    events = [event(step, time, values=[scalar(tag, value)]) for tag, value in tags.items()]
    write_events(folder, events, started=time)


def test_a_training_of_the_od_api_is_read(tmp_path: Path) -> None:
    losses = {"total_loss": 1.5, "classification_loss": 1.0, "RPNLoss/objectness_loss": 0.25}
    write_training(tmp_path, [(100, 0.5, losses), (200, 0.25, losses)])
    write_training_checkpoint(tmp_path, 2, 200)
    write_evaluation(tmp_path / "eval", 200, COCO, time=10**9 + 300)
    (tmp_path / "pipeline.config").write_text("", encoding="utf-8")
    run = read_run(tmp_path)
    assert run.path == tmp_path
    assert run.steps_reached == 200
    assert run.learning_rates == ((100, 0.5), (200, 0.25))
    assert run.losses == {name: ((100, value), (200, value)) for name, value in losses.items()}
    assert run.first_nonfinite_step is None
    assert run.steps_per_second == 2.0
    assert [one.step for one in run.checkpoints] == [200]
    assert run.last_checkpoint == run.checkpoints[0]
    assert run.restarts == 0
    assert run.config_path == tmp_path / "pipeline.config"
    assert run.images_evaluated is None
    assert run.images_evaluated_bounds is None
    assert run.damage == ()
    (evaluation,) = run.evaluations
    assert (evaluation.step, evaluation.reader) == (200, "")
    # In points; COCO's -1 is no number.
    assert evaluation.metrics == {"AP": 25.0, "AP50": 50.0, "ARl": 75.0, "mask_AP75": 12.5}
    assert evaluation.losses == {"total_loss": 0.5}
    assert evaluation.other_metrics == {"PascalBoxes_Precision/mAP@0.5IOU": 0.375}


@pytest.mark.parametrize(
    ("folder", "reader"), [("eval", ""), ("eval/coco", "coco"), ("eval_0", "eval_0")]
)
def test_an_evaluation_has_the_name_of_its_reader(tmp_path: Path, folder: str, reader: str) -> None:
    write_evaluation(tmp_path / folder, 5, COCO, time=10**9)
    run = read_run(tmp_path)
    assert [(one.step, one.reader) for one in run.evaluations] == [(5, reader)]
    assert run.steps_reached == 5
    assert run.restarts == 0


def test_the_folder_of_the_events_themselves_is_read_by_what_they_hold(tmp_path: Path) -> None:
    write_training(tmp_path, falling([100]))
    write_evaluation(tmp_path / "eval", 100, COCO, time=10**9)
    assert read_run(tmp_path / "train").losses["total_loss"][0][0] == 100
    assert read_run(tmp_path / "eval").evaluations[0].metrics["AP"] == 25.0


def test_a_run_of_tf1_is_read(tmp_path: Path) -> None:
    values = [simple_scalar("Loss/total_loss", 2.0), simple_scalar("learning_rate", 0.5)]
    write_events(tmp_path, [event(10, 1.0, values=values)])
    run = read_run(tmp_path)
    assert run.losses == {"total_loss": ((10, 2.0),)}
    assert run.learning_rates == ((10, 0.5),)


def test_a_restart_from_a_checkpoint_replaces_what_was_trained_after_it(tmp_path: Path) -> None:
    write_training(tmp_path, falling(range(100, 1501, 100)), started=1000)
    write_training(tmp_path, falling(range(1100, 1301, 100), loss=8.0), started=9000)
    run = read_run(tmp_path)
    assert run.restarts == 1
    assert run.steps_reached == 1300
    steps = [step for step, _ in run.losses["total_loss"]]
    assert steps == list(range(100, 1301, 100))
    assert dict(run.losses["total_loss"])[1100] > 1.0 > dict(run.losses["total_loss"])[1000]


def test_evaluations_of_weights_that_a_new_start_threw_away_are_left_out(tmp_path: Path) -> None:
    write_training(tmp_path, falling(range(100, 901, 100)), started=1000)
    write_evaluation(tmp_path / "eval", 800, COCO, time=5000)
    write_training(tmp_path, falling(range(100, 301, 100)), started=9000)
    write_evaluation(tmp_path / "eval", 200, COCO, time=9500)
    assert [one.step for one in read_run(tmp_path).evaluations] == [200]


def test_the_last_of_two_evaluations_of_a_step_counts(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "eval", 800, COCO, time=5000)
    write_evaluation(
        tmp_path / "eval", 800, {**COCO, "DetectionBoxes_Precision/mAP": 0.5}, time=6000
    )
    assert [one.metrics["AP"] for one in read_run(tmp_path).evaluations] == [50.0]


def test_the_first_loss_that_is_not_finite_is_told_with_its_name(tmp_path: Path) -> None:
    def report(step: int, localization: float) -> Report:
        return step, 0.1, {"localization_loss": localization, "total_loss": localization + 1}

    write_training(tmp_path, [report(100, 1.0), report(200, math.inf), report(300, math.nan)])
    run = read_run(tmp_path)
    assert run.first_nonfinite_step == 200
    assert run.first_nonfinite_losses == ("localization_loss",)


def test_the_first_report_of_each_start_tells_no_speed(tmp_path: Path) -> None:
    def write(started: int, speeds: list[float]) -> None:
        events = [
            event(100 * place, values=[scalar("steps_per_sec", speed)])
            for place, speed in enumerate(speeds, start=started)
        ]
        write_events(tmp_path / "train", events, started=started)

    write(1, [0.125, 4.0, 4.0, 2.0])
    write(5, [0.125, 4.0])
    assert read_run(tmp_path).steps_per_second == 4.0


def test_other_workers_and_the_profiler_are_no_restarts(tmp_path: Path) -> None:
    write_training(tmp_path, falling([100]))
    write_training(tmp_path / "train" / "temp_worker_001", falling([100]))
    (tmp_path / "train" / "events.out.tfevents.1.profile-empty").write_bytes(b"")
    assert read_run(tmp_path).restarts == 0


def test_a_trial_of_ours_is_read_from_its_own_files(tmp_path: Path) -> None:
    write_training_checkpoint(tmp_path, 2, 40)
    (tmp_path / "losses.csv").write_text(
        "step,learning_rate,total_loss\n20,0.5,1.5\n40,0.25,1.25\n6", encoding="utf-8"
    )
    (tmp_path / "metrics.json").write_text(
        json.dumps({"metrics": {"AP": 12.5, "APs": None, "APm": -1.0}, "num_images": 160}),
        encoding="utf-8",
    )
    run = read_run(tmp_path)
    assert run.losses == {"total_loss": ((20, 1.5), (40, 1.25))}
    assert run.learning_rates == ((20, 0.5), (40, 0.25))
    assert [(one.step, dict(one.metrics)) for one in run.evaluations] == [(40, {"AP": 12.5})]
    assert run.images_evaluated == 160
    assert run.images_evaluated_bounds == (160, 160)
    assert run.damage == ()


def test_a_trial_that_goes_on_from_a_checkpoint_supersedes_its_rows(tmp_path: Path) -> None:
    rows = "20,1.0\n40,2.0\n60,3.0\n40,4.0\n"
    (tmp_path / "losses.csv").write_text("step,total_loss\n" + rows, encoding="utf-8")
    assert read_run(tmp_path).losses == {"total_loss": ((20, 1.0), (40, 4.0))}


def test_rows_that_no_event_tells_are_added_and_events_count_first(tmp_path: Path) -> None:
    write_training(tmp_path, [(20, 0.5, {"total_loss": 1.5})])
    (tmp_path / "losses.csv").write_text(
        "step,learning_rate,total_loss\n20,9.0,9.0\n40,0.25,nan\n", encoding="utf-8"
    )
    run = read_run(tmp_path)
    assert run.learning_rates == ((20, 0.5), (40, 0.25))
    assert run.first_nonfinite_step == 40


def test_a_trial_stopped_within_a_report_has_diverged(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(
        '{"version": 1, "state": "diverged", "step": 501}', encoding="utf-8"
    )
    run = read_run(tmp_path)
    assert run.first_nonfinite_step == 501
    assert run.first_nonfinite_losses == ("total_loss",)


LOG = """\
I0101 12:00:00.000000 1 model_lib_v2.py:966] Finished eval step 0
INFO:tensorflow:Finished eval step 0
I0101 12:00:00.000000 1 model_lib_v2.py:966] Finished eval step 100
{trouble}INFO:tensorflow:Eval metrics at step 3000
INFO:tensorflow:\t+ DetectionBoxes_Precision/mAP: 0.141000
"""
TROUBLE = """\
INFO:tensorflow:Encountered Input is empty exception.
INFO:tensorflow:A replica probably exhausted all examples. Skipping pending examples on other.
"""


@pytest.mark.parametrize(
    ("config", "bounds"),
    [
        (None, (101, None)),
        ("model { ssd {} }", (101, 200)),
        ("model { ssd {} } eval_config { batch_size: 4 }", (404, 800)),
        ("no config", (101, None)),
    ],
)
def test_a_log_bounds_the_images_that_were_evaluated(
    tmp_path: Path, config: str | None, bounds: tuple[int, int | None]
) -> None:
    write_training(tmp_path, falling([100]))
    (tmp_path / "eval.log").write_text(LOG.format(trouble=""), encoding="utf-8")
    if config is not None:
        (tmp_path / "pipeline.config").write_text(config, encoding="utf-8")
    run = read_run(tmp_path)
    assert run.images_evaluated is None
    assert run.images_evaluated_bounds == bounds
    assert run.evaluation_stopped_by == ""


def test_an_evaluation_that_an_exception_ended_is_told(tmp_path: Path) -> None:
    write_training(tmp_path, falling([100]))
    (tmp_path / "eval.log").write_text(LOG.format(trouble=TROUBLE), encoding="utf-8")
    assert read_run(tmp_path).evaluation_stopped_by == "Input is empty exception."


def test_the_config_may_lie_in_the_parent(tmp_path: Path) -> None:
    write_training(tmp_path / "run", falling([100]))
    (tmp_path / "pipeline.config").write_text("", encoding="utf-8")
    assert read_run(tmp_path / "run").config_path == tmp_path / "pipeline.config"


@pytest.mark.parametrize("name", ["absent", "file", "empty", "sub/absent", "x" * 5000])
def test_a_folder_without_a_training_is_refused_with_a_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "checkpoint").mkdir()
    with pytest.raises(UserError) as caught:
        read_run(tmp_path / name)
    assert caught.value.expected
    assert caught.value.mend


def test_a_folder_of_trainings_names_one_of_them(tmp_path: Path) -> None:
    write_training(tmp_path / "my_run", falling([100]))
    with pytest.raises(UserError, match=r"try .*my_run"):
        read_run(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_folder_damaged_anywhere_gives_a_history_or_a_user_error(
    scratch: Path, data: st.DataObject
) -> None:
    folder = scratch / "run"
    shutil.rmtree(folder, ignore_errors=True)
    write_training(folder, falling(range(100, 501, 100)))
    write_training_checkpoint(folder, 2, 500)
    write_evaluation(folder / "eval", 500, COCO, time=2 * 10**9)
    (folder / "losses.csv").write_text("step,total_loss\n100,1.5\n200,nan\n", encoding="utf-8")
    (folder / "metrics.json").write_text('{"metrics": {"AP": 1}, "num_images": 3}')
    (folder / "state.json").write_text('{"version": 1, "state": "diverged", "step": 3}')
    (folder / "pipeline.config").write_text("model { ssd {} }", encoding="utf-8")
    (folder / "train.log").write_text(LOG.format(trouble=TROUBLE), encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=3, unique=True)):
        content = path.read_bytes()
        begin = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(begin, len(content)))
        path.write_bytes(content[:begin] + data.draw(st.binary(max_size=9)) + content[end:])
    try:
        run = read_run(folder)
    except UserError:
        return
    assert run.steps_reached is None or run.steps_reached >= 0


def test_a_training_that_writes_right_now_is_read_up_to_its_last_whole_event(
    tmp_path: Path,
) -> None:
    path = write_training(tmp_path, falling([100, 200]))
    more = b"".join(record(one) for one in training_events(falling([300]), started=1))
    path.write_bytes(path.read_bytes() + more[:-30])
    run = read_run(tmp_path)
    assert run.losses["total_loss"][-1][0] == 300
    assert run.learning_rates[-1][0] == 200
    assert run.damage == ()


def test_reading_a_run_imports_neither_tensorflow_nor_tensorboard(tmp_path: Path) -> None:
    write_training(tmp_path, falling([100]))
    code = (
        "import sys, pathlib; from odapi_repro.diagnosis.finished_run import read_run;"
        "read_run(pathlib.Path(sys.argv[1]));"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'tensorboard', 'keras')))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 0
