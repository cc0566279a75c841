"""Work is done whatever the system grants, in processes or without, to its end or to a signal."""

from __future__ import annotations

import errno
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.datasets.workers import worker_pool
from odapi_repro.datasets.workers.worker_pool import WorkerPool, tick
from odapi_repro.errors import DataError

TASKS = list(range(8))


def squared(number: int) -> int:
    tick(1)
    return number * number


def results_of(workers: int, said: list[str]) -> tuple[list[tuple[int, int]], int]:
    with WorkerPool(workers, __name__, say=said.append) as pool:
        found = [
            (done.place, done.result) for done in pool.results(squared, TASKS) if done is not None
        ]
        return sorted(found), pool.ticks


def refusing(error: BaseException) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise error

    return refuse


WHOLE = ([(number, number * number) for number in TASKS], len(TASKS))


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once_and_counted(workers: int) -> None:
    said: list[str] = []
    assert results_of(workers, said) == WHOLE
    assert said == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EROFS, os.strerror(errno.EROFS)),
        FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        ImportError("This platform lacks a functioning sem_open implementation"),
        NotImplementedError("system provides too few semaphores"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_without_semaphores_the_work_is_done_in_this_process_and_it_says_so(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A /dev/shm that is missing, read-only, full or not ours."""
    context = multiprocessing.get_context("forkserver")
    monkeypatch.setattr(type(context), "Value", refusing(error))
    said: list[str] = []
    assert results_of(2, said) == WHOLE
    (message,) = said
    assert message.startswith("no worker processes are available (")


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM])
def test_without_a_server_the_work_is_done_in_this_process(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A limit on processes, open files or memory."""
    refuse = refusing(OSError(code, os.strerror(code)))
    monkeypatch.setattr(multiprocessing.forkserver, "ensure_running", refuse)
    said: list[str] = []
    assert results_of(2, said) == WHOLE
    assert os.strerror(code) in said[0]


@pytest.mark.parametrize(
    "error", [EOFError("unexpected EOF"), BlockingIOError(errno.EAGAIN, "none left")]
)
@pytest.mark.parametrize("granted", [0, 1, 3])
def test_where_no_further_worker_starts_the_rest_is_done_in_this_process(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, granted: int
) -> None:
    submit = ProcessPoolExecutor.submit
    given: list[int] = []

    def limited(self: ProcessPoolExecutor, *arguments: object) -> object:
        if len(given) == granted:
            raise error
        given.append(1)
        return submit(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ProcessPoolExecutor, "submit", limited)
    said: list[str] = []
    assert results_of(2, said)[0] == WHOLE[0]
    assert len(said) == 1


def test_where_no_thread_starts_the_work_is_done_in_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse = refusing(RuntimeError("can't start new thread"))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    said: list[str] = []
    assert results_of(2, said)[0] == WHOLE[0]
    assert "can't start new thread" in said[0]
    # They would be waited for at the end of this process, and wait themselves.
    assert multiprocessing.active_children() == []


def test_a_limit_on_open_files_ends_in_this_process_and_without_a_traceback() -> None:
    """Somewhere in this range the parent, the server or a worker is the one that has none left."""
    code = (
        "import resource, sys\n"
        "from odapi_repro.datasets.workers.worker_pool import WorkerPool\n"
        "if __name__ == '__main__':\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)\n"
        "    with WorkerPool(2, 'math', say=print) as pool:\n"
        "        print(sorted(done.result for done in pool.results(abs, range(5)) if done))\n"
    )
    said = []
    for limit in range(8, 20, 2):
        done = subprocess.run(
            [sys.executable, "-c", code, str(limit)], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[0, 1, 2, 3, 4]"
        assert done.stderr == ""
        said += done.stdout.splitlines()[:-1]
    assert said
    assert all(one.startswith("no worker processes are available (") for one in said)


def killed_by(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_worker_that_is_killed_is_a_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "_SIGNAL_SECONDS", 0.0)
    with WorkerPool(2, __name__) as pool, pytest.raises(DataError, match="was killed"):
        list(pool.results(killed_by, TASKS))


def slow(_: int) -> None:
    while True:
        time.sleep(0.01)
        tick(1)


def test_leaving_ends_tasks_that_would_go_on_for_ever() -> None:
    began = time.monotonic()
    with WorkerPool(2, __name__) as pool:
        for done in pool.results(slow, TASKS):
            assert done is None
            if pool.ticks > 20:
                break
    assert time.monotonic() - began < 30


CHECK = """
import sys
from odapi_repro.diagnosis import checked_data
from odapi_repro.data import main
from odapi_repro.datasets.census import survey

def telling(*arguments, **more):
    tell = lambda read, total: print(read, flush=True)
    return survey.take_census(*arguments, **{**more, "progress": tell})

if __name__ == "__main__":
    survey._ALONE_BYTES, survey._STRETCH_RECORDS = 0, 20
    checked_data.take_census = telling
    sys.exit(main(["check", "--train_records", sys.argv[1], "--workers=2"]))
"""


@pytest.mark.parametrize("whole_group", [False, True], ids=["to it", "to all its processes"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_check_that_is_asked_to_end_leaves_no_process_and_no_traceback(
    train_files: list[Path], tmp_path: Path, signum: signal.Signals, whole_group: bool
) -> None:
    records = [data for file in train_files for data in read_records(file)]
    write_records(tmp_path / "train.record", records * 300)
    (tmp_path / "check.py").write_text(CHECK)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "check.py"), str(tmp_path / "train.record")],
        text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    (os.killpg if whole_group else os.kill)(process.pid, signum)
    # A pipe ends when the last process that has it is gone.
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    assert stderr.splitlines() == [f"odapi-repro data check: ended by {signum.name}"]
