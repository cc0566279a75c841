"""`-` in place of a config is standard input, for every command that reads one and writes none."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from odapi_repro import data_check, diagnose, diff, fix
from odapi_repro.reference import reference_named

TEXT = reference_named("efficientdet_d3").config_text().replace("PATH_TO_BE_CONFIGURED", "data")
Pipe = Callable[[bytes], None]


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    def piped(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    return piped


def told(capsys: pytest.CaptureFixture[str], command: Any, *argv: str) -> Any:
    assert command.main([*argv, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], command: Any, *argv: str) -> str:
    assert command.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("expected: ") == 1
    return captured.err


@pytest.mark.parametrize("argv", [["-"], ["--pipeline", "-"], ["--pipeline_config_path=-"]])
def test_a_piped_config_is_diagnosed_under_the_name_stdin(capsys, pipe, argv):
    pipe(TEXT.replace("batch_size: 128", "batch_size: 2").encode())
    content = told(capsys, diagnose, *argv)
    assert content["pipeline"] == "<stdin>"
    places = [one["where"] for one in content["findings"] if one["where"]]
    assert places
    assert all(one.startswith("<stdin>:") for one in places)


def test_it_says_of_a_piped_config_what_it_says_of_the_file(capsys, pipe, tmp_path):
    path = tmp_path / "my.config"
    path.write_text(TEXT.replace("batch_size: 128", "batch_size: 2"))
    of_file = told(capsys, diagnose, str(path))
    pipe(path.read_bytes())
    of_pipe = told(capsys, diagnose, "-")
    assert json.dumps(of_pipe) == json.dumps(of_file).replace(str(path), "<stdin>")


def test_a_piped_config_is_compared_beside_files(capsys, pipe, tmp_path):
    path = tmp_path / "my.config"
    path.write_text(TEXT)
    pipe(TEXT.replace("batch_size: 128", "batch_size: 2").encode())
    content = told(capsys, diff, str(path), "-")
    assert (content["a"]["name"], content["b"]["name"]) == (str(path), "<stdin>")
    assert content["deviations"]
    pipe(TEXT.encode())
    assert not told(capsys, diff, "-", "--reference", "efficientdet_d3")["a"]["about"]


def test_paths_of_a_piped_config_are_looked_for_from_the_working_folder(
    capsys, pipe, tmp_path, monkeypatch
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "label_map.txt").write_text("item { id: 0 name: 'x' }")
    monkeypatch.chdir(tmp_path)
    pipe(TEXT.encode())
    causes = [one["cause"] for one in told(capsys, diagnose, "-")["findings"]]
    assert "label_map_malformed" in causes or "label_id_offset" in causes


def test_fix_gives_a_piped_config_to_stdout(pipe, capsysbinary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipe(TEXT.replace("batch_size: 128", "batch_size: 2").encode())
    assert fix.main(["-", "--max_batch", "2"]) == 0
    captured = capsysbinary.readouterr()
    assert b"learning_rate_base: 0.00125" in captured.out
    assert captured.err.startswith(b"<stdin> -> ")
    assert not list(tmp_path.iterdir())


def test_fix_writes_a_piped_config_where_it_is_told(pipe, capsys, tmp_path):
    pipe(TEXT.encode())
    assert fix.main(["-", "--output", str(tmp_path / "out.config")]) == 0
    assert "<stdin> -> " in capsys.readouterr().out
    assert (tmp_path / "out.config").is_file()


def test_what_fix_prints_is_what_diagnose_reads():
    command = [sys.executable, "-m", "odapi_repro.fix", "-", "--max_batch", "4"]
    fixed = subprocess.run(command, input=TEXT.encode(), capture_output=True, check=True)
    command = [sys.executable, "-m", "odapi_repro.diagnose", "-", "--fail_on", "fatal"]
    again = subprocess.run(command, input=fixed.stdout, capture_output=True, check=True)
    assert b"<stdin>" in again.stdout


@pytest.mark.parametrize("command", [diagnose, fix, diff, data_check])
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "standard input is empty"),
        (b" \n\n", "standard input is empty"),
        (b"\x0a\x00\x01\x02 tensor", "zero bytes"),
        (b"\x89PNG\r\n\xff\xfe\xfa\x81\x93\x81", "not a text"),
        (b"#" * (10 * 1024 * 1024 + 1), "more than 10 MB"),
    ],
    ids=["empty", "blank", "zeros", "bytes", "large"],
)
def test_what_is_no_config_is_refused_in_one_message(capsys, pipe, command, data, found):
    pipe(data)
    message = refused(capsys, command, "-")
    assert found in message
    assert "<stdin>" in message


@pytest.mark.parametrize("command", [diagnose, fix, diff, data_check])
@pytest.mark.parametrize("stdin", [Terminal(io.BytesIO()), None], ids=["terminal", "closed"])
def test_nobody_waits_for_somebody_to_type_a_config(capsys, monkeypatch, command, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert "nothing is piped in" in refused(capsys, command, "-")


@pytest.mark.parametrize("command", [diagnose, diff])
def test_standard_input_is_named_once(capsys, pipe, command):
    pipe(TEXT.encode())
    assert "standard input is named" in refused(capsys, command, "-", "-")


def test_a_piped_config_that_is_not_utf8_is_told_how_to_mend_it(capsys, pipe):
    pipe(("# größe und höhe\n" + TEXT).encode("cp1252"))
    findings = told(capsys, diagnose, "-")["findings"]
    assert findings[0]["cause"] == "not_utf8"
    assert "<stdin>" not in json.dumps(findings[0]["mend"])
