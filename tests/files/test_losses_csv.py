"""One reader and one writer of losses.csv, over restarts, kills and damage."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odapi_repro.files.trial_files import LossLog, LossTable, read_losses

HEADER = "step,learning_rate,total_loss\n"


def written(tmp_path: Path, text: str) -> LossTable:
    path = tmp_path / "losses.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return read_losses(path)


def log(path: Path, *rows: tuple[int, float]) -> None:
    losses = LossLog(path)
    for step, loss in rows:
        losses.write(step, 0.5, {"Loss/total_loss": loss})


def test_a_step_that_goes_back_supersedes_all_rows_from_there_on(tmp_path: Path) -> None:
    rows = "".join(f"{step},0.5,{loss}\n" for step, loss in ((1, 9), (2, 8), (3, 7), (2, 5)))
    assert written(tmp_path, HEADER + rows).series() == ((1, 9.0), (2, 5.0))


def test_a_step_that_is_reported_again_counts_once(tmp_path: Path) -> None:
    assert written(tmp_path, HEADER + "1,0.5,9\n1,0.5,8\n").series() == ((1, 8.0),)


@pytest.mark.parametrize("end", ["2", "2,0.5", "2,0.5,", "2,0.5,8", "2,0.5,8.25"])
def test_a_row_without_its_end_is_left_out_however_whole_it_looks(tmp_path: Path, end: str) -> None:
    table = written(tmp_path, HEADER + "1,0.5,9\n" + end)
    assert (table.series(), table.is_cut, table.damaged) == (((1, 9.0),), True, 0)


@pytest.mark.parametrize(
    "row", ["x,0.5,8", "-2,0.5,8", "2,0.5", "2,0.5,8,7", "2,0.5,x", "2.5,0.5,8", "\0", "é,,", ",,"]
)
def test_a_damaged_row_is_left_out_and_counted(tmp_path: Path, row: str) -> None:
    table = written(tmp_path, f"{HEADER}1,0.5,9\n{row}\n\n3,0.5,7\n")
    assert (table.series(), table.damaged) == (((1, 9.0), (3, 7.0)), 1)


def test_numbers_that_are_not_finite_are_kept_for_the_caller(tmp_path: Path) -> None:
    (_, first), (_, second) = written(tmp_path, HEADER + "1,0.5,nan\n2,0.5,inf\n").series()
    assert math.isnan(first)
    assert second == math.inf


def test_columns_go_by_name_and_each_header_holds_for_the_rows_below_it(tmp_path: Path) -> None:
    more = "step,total_loss,box_loss,learning_rate\n2,7,3,0.25\n"
    table = written(tmp_path, HEADER + "1,0.5,9\n" + HEADER + more)
    assert table.series() == ((1, 9.0), (2, 7.0))
    assert table.series("box_loss") == ((2, 3.0),)
    assert table.series("learning_rate") == ((1, 0.5), (2, 0.25))
    assert table.series("mask_loss") == ()
    assert table.damaged == 0


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    text = "\ufeff" + (HEADER + "1,0.5,9\n").replace("\n", "\r\n")
    assert written(tmp_path, text).series() == ((1, 9.0),)


def test_no_file_and_no_header_are_no_losses(tmp_path: Path) -> None:
    assert read_losses(tmp_path / "losses.csv") == LossTable()
    assert read_losses(tmp_path) == LossTable()
    assert written(tmp_path, "") == LossTable()
    assert written(tmp_path, "1,0.5,9\n") == LossTable(damaged=1)


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_a_table_is_read(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(HEADER.encode() + content)
    table = read_losses(path)
    assert table.is_cut == (not path.read_bytes().endswith(b"\n"))
    steps = [step for step, _ in table.series()]
    assert steps == sorted(set(steps))


def test_what_is_written_is_read_to_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    log(path, (1, 0.1 + 0.2), (2, 1e-300), (3, math.inf))
    assert read_losses(path).series() == ((1, 0.1 + 0.2), (2, 1e-300), (3, math.inf))
    assert path.read_text().count("step") == 1


def test_a_training_that_goes_on_adds_rows_below_the_one_header(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    log(path, (1, 9.0), (2, 8.0), (3, 7.0))
    log(path, (2, 5.0), (3, 4.0))
    assert path.read_text().count("step") == 1
    assert read_losses(path).series() == ((1, 9.0), (2, 5.0), (3, 4.0))


def test_a_training_goes_on_after_a_kill_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    log(path, (100, 9.0), (200, 8.0))
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = read_losses(path).series()
        log(path, (200, 5.0))
        table = read_losses(path)
        assert (table.series(), table.damaged, table.is_cut) == ((*kept, (200, 5.0)), 0, False)


def test_other_losses_than_before_are_written_below_a_header_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    log(path, (1, 9.0))
    LossLog(path).write(2, 0.5, {"Loss/total_loss": 8.0, "Loss/box_loss": 3.0})
    table = read_losses(path)
    assert (table.series(), table.series("box_loss")) == (((1, 9.0), (2, 8.0)), ((2, 3.0),))


def test_each_row_is_on_its_way_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    losses = LossLog(path)
    for step in (1, 2):
        losses.write(step, 0.5, {"Loss/total_loss": 9.0})
        assert len(read_losses(path).series()) == step


def test_reading_losses_takes_neither_tensorflow_nor_pandas() -> None:
    code = (
        "import sys, odapi_repro.files.trial_files\n"
        "print(sorted({'tensorflow', 'pandas', 'numpy', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


RESUMED = HEADER + "1,0.5,9\n2,0.5,8\n3,0.5,7\n2,0.5,5\n3,0.5,4\n4,0."


def test_every_part_of_the_tool_reads_the_same_losses(tmp_path: Path) -> None:
    """A report's curve, a sanity run, the worker's final loss and the history of a run."""
    from odapi_repro.diagnosis.finished_run import read_run
    from odapi_repro.features.ablate.study_report import _loss_curve
    from odapi_repro.trials.trial_store import TrialStore
    from odapi_repro.trials.worker import _final_loss

    path = tmp_path / "trial" / "losses.csv"
    path.parent.mkdir()
    path.write_text(RESUMED)
    expected = ((1, 9.0), (2, 5.0), (3, 4.0))
    run = read_run(path.parent)
    assert run.losses == {"total_loss": expected}
    assert run.damage == ()
    assert read_losses(path).series() == expected
    assert _final_loss(path) == 4.0
    curve = _loss_curve(TrialStore(tmp_path), "trial", 2)
    assert [(step, loss) for step, _, loss in curve] == list(expected)
