"""A config that is not UTF-8: every command but `diagnose` and `fix` stops in one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from odapi_repro.__main__ import main
from odapi_repro.reference import reference_named

WORDS = {
    "cp949": "학습률",
    "cp936": "训练",
    "cp932": "データ",
    "cp1251": "данные",
    "cp1252": "größer",
}
COMMANDS = [
    ["diff", "{}", "efficientdet_d3"],
    ["run", "--pipeline", "{}", "--ablate", "batch_size", "--dry_run"],
    ["explain", "--pipeline", "{}", "--reference", "efficientdet_d3", "--dry_run"],
    ["evaluate", "--pipeline", "{}", "--detections", "{folder}/dt.json"],
    ["data", "check", "{}"],
    ["data", "show", "{}"],
]


@pytest.mark.parametrize("encoding", list(WORDS))
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_a_config_that_is_not_utf8_is_refused_in_one_message(
    command: list[str], encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.config"
    text = reference_named("efficientdet_d3").config_text()
    text = text.replace("PATH_TO_BE_CONFIGURED", str(tmp_path / WORDS[encoding]))
    path.write_bytes(text.encode(encoding))
    (tmp_path / "dt.json").write_text("[]")
    argv = [part.format(path, folder=tmp_path) for part in command]
    assert main(argv) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("odapi-repro ")
    assert f"{path}:" in told.err
    assert "not UTF-8, at which the OD API stops" in told.err
    assert "\ufffd" not in told.err
    assert "Traceback" not in told.err
