"""Files are there whole or not at all, and our own JSON is read strictly."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from odapi_repro.errors import DamagedFile, EnvironmentMissing, UserError
from odapi_repro.files import (
    append_to,
    digest_of,
    read_json,
    read_record,
    remove_leftovers,
    replacing,
    write_json,
    write_record,
    write_whole,
)

PACKAGE = Path(__file__).parents[1] / "odapi_repro"


def _refusing(code: int):
    def fsync(_: int) -> None:
        raise OSError(code, os.strerror(code))

    return fsync


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_only_copy_as_it_was(tmp_path, monkeypatch, code):
    path = write_whole(tmp_path / "my.config", "the only copy\n")
    monkeypatch.setattr(os, "fsync", _refusing(code))
    with pytest.raises(EnvironmentMissing, match=r"my\.config"):
        write_whole(path, "half of it")
    assert path.read_text() == "the only copy\n"
    assert [one.name for one in tmp_path.iterdir()] == ["my.config"]


def test_an_error_or_an_interrupt_while_writing_leaves_the_only_copy_as_it_was(tmp_path):
    path = write_whole(tmp_path / "labels.pbtxt", b"whole")

    def write(error: type[BaseException]) -> None:
        with replacing(path) as file:
            file.write(b"ha")
            raise error

    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            write(error)
    assert path.read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        path = write_whole(tmp_path / "a.csv", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    path = write_whole(tmp_path / "private.config", "a")
    path.chmod(0o600)
    assert stat.S_IMODE(write_whole(path, "b").stat().st_mode) == 0o600


def test_a_link_is_replaced_and_never_written_through(tmp_path):
    aim = tmp_path / "aim"
    aim.write_text("another's")
    link = tmp_path / "link"
    link.symlink_to(aim)
    write_whole(link, "ours")
    assert aim.read_text() == "another's"
    assert not link.is_symlink()
    assert link.read_text() == "ours"


def test_a_folder_that_does_not_exist_is_a_users_error_with_the_path(tmp_path):
    with pytest.raises(UserError, match=r"none/a\.json: cannot be written"):
        write_json(tmp_path / "none" / "a.json", {})


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stdout", "/dev/fd/1"])
def test_a_device_is_written_to_and_no_file_takes_its_place(name):
    before = os.lstat(name)
    code = "import sys\nfrom odapi_repro.files import write_whole\nwrite_whole(sys.argv[1], 'ours')"
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, check=True)
    assert done.stdout == (b"" if name == "/dev/null" else b"ours")
    assert stat.S_IFMT(os.lstat(name).st_mode) == stat.S_IFMT(before.st_mode)


def test_what_the_source_of_a_file_refuses_is_not_told_as_the_files_own(tmp_path):
    def write() -> None:
        with replacing(tmp_path / "a.record"):
            open(tmp_path / "no.json", "rb")  # noqa: SIM115

    with pytest.raises(FileNotFoundError, match=r"no\.json"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    kept = {".a.tmp", ".a.0123456789AB.tmp", "a.0123456789ab.tmp", ".conversion"}
    for name in (*kept, ".a.0123456789ab.tmp"):
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_log_is_added_to_and_never_through_a_link(tmp_path):
    for text in (b"a", b"b"):
        with append_to(tmp_path / "log") as file:
            file.write(text)
    assert (tmp_path / "log").read_bytes() == b"ab"
    (tmp_path / "link").symlink_to(tmp_path / "log")
    with pytest.raises(UserError, match="cannot be written"):
        append_to(tmp_path / "link")


def test_a_long_name_fits_beside_itself(tmp_path):
    name = "ä" * 120 + ".json"
    assert write_json(tmp_path / name, {"a": 1}).name == name


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path):
    path = write_whole(tmp_path / "state.json", json.dumps({"state": "running"}))
    program = (
        "import sys\nfrom odapi_repro.files import write_whole\nprint('go', flush=True)\n"
        "while True:\n    write_whole(sys.argv[1], '{\"state\": \"' + 's' * 200000 + '\"}')\n"
    )
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.kill()
        assert read_json(path, mend="")["state"][:1] in ("r", "s")


@dataclass(frozen=True)
class Inner:
    name: str


@dataclass(frozen=True)
class Record:
    state: str
    step: int = 0
    inner: Inner | None = None
    numbers: Mapping[str, float] = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[]", "it holds a list, not an object"),
        (b"null", "it holds nothing, not an object"),
        (b'"text"', "it holds a text, not an object"),
        (b"7", "it holds a number, not an object"),
        (b"", "Expecting value"),
        (b'{"state": "run', "Unterminated string"),
        (b"\xff\xfe{}", "byte 0 is not UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"version": 1, "state": ' + b"9" * 5000 + b"}", "integer string conversion"),
        (b'{"version": "1", "state": "x"}', "its version is a text"),
        (b'{"state": "x"}', "its version is nothing"),
        (b'{"version": true, "state": "x"}', "its version is true or false"),
        (b'{"version": 2, "state": "x"}', "has format 2"),
        (b'{"version": 1}', "missing required field `state`"),
        (b'{"version": 1, "state": null}', "Expected `str`, got `null` - at `$.state`"),
        (b'{"version": 1, "state": "x", "step": "3"}', "Expected `int`, got `str` - at `$.step`"),
        (b'{"version": 1, "state": "x", "inner": {}}', "`name` - at `$.inner`"),
        (b'{"version": 1, "state": "x", "numbers": {"a": []}}', "at `$.numbers[...]`"),
    ],
)
def test_a_damaged_record_is_named_with_what_is_wrong_and_what_to_do(tmp_path, content, said):
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFile) as caught:
        read_record(path, Record, version=1, mend="run it again")
    assert said in str(caught.value)
    assert caught.value.where == str(path)
    assert caught.value.mend


def test_a_record_is_read_as_its_dataclass_and_another_key_is_damage(tmp_path):
    path = write_json(
        tmp_path / "r.json",
        {"version": 1, "state": "x", "inner": {"name": "n"}, "numbers": {"a": 1}, "other": []},
    )
    whole = Record("x", 0, Inner("n"), {"a": 1})
    assert read_record(path, Record, version=1, mend="", partly=True) == whole
    with pytest.raises(DamagedFile, match="it holds other, which is never written there"):
        read_record(path, Record, version=1, mend="")


def test_a_value_that_was_changed_since_is_noticed_whatever_it_is(tmp_path):
    path = write_record(tmp_path / "r.json", {"state": "x", "numbers": {1: 2.5}}, version=1)
    assert read_record(path, Record, version=1, mend="").numbers == {"1": 2.5}
    path.write_text(path.read_text().replace("2.5", "3.5"))
    with pytest.raises(DamagedFile, match="changed after it was written"):
        read_record(path, Record, version=1, mend="")


def test_a_folder_a_pipe_and_a_link_to_itself_are_no_files(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert {digest_of(tmp_path / name) for name in ("folder", "pipe", "loop")} == {""}
    for name in ("folder", "pipe", "loop"):
        with pytest.raises(DamagedFile, match=name):
            read_json(tmp_path / name, mend="remove it")


def test_a_file_that_is_not_there_is_no_damage(tmp_path):
    for path in (tmp_path / "none", tmp_path / "none" / "none"):
        with pytest.raises(FileNotFoundError):
            read_json(path, mend="")


def test_what_stdout_leads_to_is_added_to_and_not_cut_off(tmp_path):
    log = tmp_path / "log"
    log.write_text("precious\n")
    program = "from odapi_repro.files import write_whole\nwrite_whole('/dev/stdout', 'new\\n')\n"
    with open(log, "ab") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True, cwd=PACKAGE.parent)
    assert log.read_text() == "precious\nnew\n"


def test_a_device_that_is_full_is_a_refusal_with_its_name():
    with pytest.raises(EnvironmentMissing, match="/dev/full"):
        write_whole("/dev/full", "x" * 100)


def test_a_pipe_gets_what_is_written_and_one_without_a_reader_is_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "told")
    assert os.read(reader, 100) == b"told"
    os.close(reader)
    write_whole(pipe, "whole")
    assert pipe.read_text() == "whole"


def test_refusals_leave_no_descriptor_open(tmp_path):
    (tmp_path / "folder").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(DamagedFile):
            read_json(tmp_path / "folder", mend="")
    assert len(os.listdir("/proc/self/fd")) == before
