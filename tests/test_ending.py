"""How commands end when the system, a signal or a fault of ours ends them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from odapi_repro.ending import EXIT_INTERNAL, guarded
from odapi_repro.errors import UserError
from odapi_repro.signals import Ended, held, raised_as_exceptions


def _raise(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "results/x.csv"), "results/x.csv"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "n" * 300), "shorter name"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "No such file"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), "runs: the system says"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (MemoryError(), "no memory was left"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deep"),
        (ImportError("x.so: failed to map segment from shared object"), "no memory was left"),
        (UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed"), "encoded"),
    ],
)
def test_what_the_system_refuses_is_one_message_and_exit_2(error, said, capsys):
    assert guarded(lambda: _raise(error), name="run") == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith("odapi-repro run: ")
    assert "expected: " in told
    assert "help: " in told


def test_an_error_of_ours_is_exit_70_and_says_where_the_traceback_is_and_where_to_report(capsys):
    assert guarded(lambda: _raise(KeyError("axis")), name="run") == EXIT_INTERNAL == 70
    told = capsys.readouterr().err
    assert "an error of this program: KeyError: 'axis'" in told
    assert "to report it: " in told
    traceback = next(line for line in told.splitlines() if "where: " in line).split("where: ")[1]
    assert "Traceback (most recent call last)" in Path(traceback).read_text(encoding="utf-8")
    Path(traceback).unlink()


def test_control_characters_of_a_message_do_not_reach_the_terminal(capsys):
    error = UserError("class 'a\x1b[31mb\x9b'", mend="line\nbreaks stay")
    assert guarded(lambda: _raise(error), name="data convert") == 2
    told = capsys.readouterr().err
    assert "class 'a\\x1b[31mb\\x9b'" in told
    assert "line\n  | breaks stay" in told


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_asks_for_the_end_is_128_and_its_number(signum, capsys):
    written = []

    def run() -> int:
        try:
            os.kill(os.getpid(), signum)
            time.sleep(5)
        finally:
            written.append("table")
        return 0

    assert guarded(run, name="run") == 128 + signum
    assert written == ["table"]
    assert signum.name in capsys.readouterr().err


def test_more_signals_do_not_cut_short_what_the_first_has_begun():
    written = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
                os.kill(os.getpid(), signum)
            written.append("table")

    with pytest.raises(Ended), raised_as_exceptions():
        work()
    assert written == ["table"]


def test_the_handlers_of_a_caller_come_back():
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with raised_as_exceptions():
        pass
    assert before == [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_a_signal_that_is_ignored_stays_ignored_as_nohup_wants_it():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised_as_exceptions():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def _shell(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script.replace("PY -m", f"{sys.executable} -m")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_stdout_is_exit_2_and_a_sentence():
    ended = _shell("PY -m odapi_repro.zoo >/dev/full")
    assert ended.returncode == 2
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_closed_stdout_is_exit_2_and_a_sentence():
    ended = _shell("PY -m odapi_repro.zoo >&-")
    assert ended.returncode == 2
    assert "stdout is closed" in ended.stderr


def test_a_closed_stderr_leaves_stdout_to_the_result():
    ended = _shell("PY -m odapi_repro.zoo efficientdet_d0 --config 2>&-")
    assert ended.returncode == 0
    assert ended.stdout.lstrip().startswith("#")


def test_an_ascii_terminal_gets_escapes_and_no_traceback():
    ended = _shell("PYTHONIOENCODING=ascii PY -m odapi_repro.zoo efficientdet_d3")
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


def test_no_memory_for_the_imports_of_a_command_is_exit_2():
    ended = _shell("ulimit -v 60000; OPENBLAS_NUM_THREADS=1 PY -m odapi_repro.run --help")
    assert ended.returncode == 2
    assert "no memory was left" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_removed_working_folder_is_exit_2(tmp_path):
    script = f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && " + (
        f"PYTHONPATH={Path(__file__).parents[1]} PY -m odapi_repro.run "
        f"{Path(__file__).parents[1]}/pipelines/effdet_d3.config --ablate batch_size"
    )
    ended = _shell(script)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_a_closed_terminal_ends_the_command_although_nothing_can_be_printed(tmp_path):
    """What is written on the way out is written, though every print would fail."""
    table = tmp_path / "table"
    program = textwrap.dedent(
        f"""
        import fcntl, pathlib, sys, termios, time
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        from odapi_repro.ending import guarded
        def run():
            try:
                print("running", flush=True)
                time.sleep(60)
            finally:
                print("a line", flush=True)
                print("a line", file=sys.stderr, flush=True)
                pathlib.Path({str(table)!r}).write_text("whole")
        code = guarded(run, name="run")
        pathlib.Path({str(tmp_path / "code")!r}).write_text(str(code))
        """
    )
    master, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        assert b"running" in os.read(master, 100)
        os.close(master)
        process.wait(timeout=60)
    assert table.read_text() == "whole"
    assert (tmp_path / "code").read_text() == str(128 + signal.SIGHUP)


def test_a_signal_that_comes_while_an_object_is_finalised_is_not_lost():
    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0)

    def wait() -> None:
        with raised_as_exceptions():
            Finalised()
            time.sleep(5)

    with pytest.raises(Ended):
        wait()


def test_a_signal_in_a_block_that_fails_counts_and_so_do_later_ones():
    def fail() -> None:
        with held():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("the block fails")

    with pytest.raises(Ended), raised_as_exceptions():
        fail()


def test_blocks_within_blocks_let_a_signal_count_at_the_end_of_the_inner_one():
    seen = []

    def work() -> None:
        with held():
            with held():
                os.kill(os.getpid(), signal.SIGTERM)
                seen.append("inner")
            seen.append("never")

    with pytest.raises(Ended), raised_as_exceptions():
        work()
    assert seen == ["inner"]


def test_an_error_on_the_way_out_does_not_hide_the_signal(capsys):
    def run() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            raise OSError(errno.ENOSPC, "No space left on device", "trials.csv")

    assert guarded(run, name="run") == 128 + signal.SIGTERM
    assert "trials.csv" in capsys.readouterr().err


def test_a_pipe_of_the_work_that_breaks_is_not_taken_for_a_reader_who_left(capsys):
    assert guarded(lambda: _raise(BrokenPipeError(errno.EPIPE, "Broken pipe")), name="run") == 2


@pytest.mark.parametrize(("argument", "code"), [((), 0), ((3,), 3), (("why",), 1)])
def test_an_exit_is_the_interpreters_own(argument, code, capsys):
    assert guarded(lambda: _raise(SystemExit(*argument)), name="run") == code
    assert ("why" in capsys.readouterr().err) == (argument == ("why",))


def test_a_plan_that_nobody_reads_does_not_end_the_work():
    program = "from odapi_repro.ending import guarded, say\n" + (
        "import sys\ndef run():\n    say('x' * 100000)\n    print('worked', file=sys.stderr)\n"
        "    return 3\nsys.exit(guarded(run, name='run'))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b"worked\n"
        assert child.wait(60) == 3
