"""`python -m odapi_repro.diagnose`: exit codes, streams, what is refused and how."""

from __future__ import annotations

import codecs
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from odapi_repro import diagnose
from odapi_repro.__main__ import main as entry_point

REPOSITORY = Path(__file__).parents[1]
CONFIG = REPOSITORY / "pipelines" / "effdet_d3.config"
TEXT = CONFIG.read_text(encoding="utf-8").replace("PATH_TO_BE_CONFIGURED", "data")
HEAVY = ("tensorflow", "tf_keras", "numpy", "pandas", "matplotlib", "scipy", "PIL", "cv2")
OF_RUNS = ("odapi_repro.diagnosis.finished_run",)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The reference's config with one shard of a hundred and batch 2, as in #10530."""
    path = tmp_path / "my.config"
    text = TEXT.replace("batch_size: 128", "batch_size: 2")
    path.write_text(text.replace("train2017-?????-of-00256", "train2017-00000-of-00100"))
    return path


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Asserts exit 2 with an empty stdout and one message; gives the message."""
    assert diagnose.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("odapi-repro diagnose: ")
    assert captured.err.count("odapi-repro diagnose: ") == 1
    assert "Traceback" not in captured.err
    return captured.err


def told(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> Any:
    """Asserts the exit code and an empty stderr; gives the JSON of stdout."""
    assert diagnose.main([*argv, "--format", "json"]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


@pytest.mark.parametrize("flag", ["", "--pipeline", "--pipeline_config_path"])
def test_a_config_is_given_by_place_or_by_flag(capsys, config, flag):
    argv = [flag, str(config)] if flag else [str(config)]
    content = told(capsys, *argv)
    assert content["pipeline"] == str(config)
    assert content["reference"] == "efficientdet_d3"
    assert content["reference_inferred"]


def test_the_first_finding_of_10530_is_that_it_reads_one_shard_of_a_hundred(capsys, config):
    first = told(capsys, str(config), "--reference", "efficientdet_d3")["findings"][0]
    assert first["cause"] == "single_train_shard"
    assert first["severity"] == "critical"
    assert "1 of 100" in first["found"]
    assert any(one["effect_ap"] == pytest.approx(-30.9) for one in first["evidence"])


def test_a_reference_goes_by_its_short_name_and_by_its_configs(capsys, config):
    names = ("efficientdet_d0", "ssd_efficientdet_d0_512x512_coco17_tpu-8")
    for name in names:
        content = told(capsys, str(config), "--reference", name)
        assert content["reference"] == "efficientdet_d0"
        assert content["reference_inferred"] is None


def test_what_a_config_cannot_know_comes_by_flag(capsys, config):
    argv = ["--num_train_steps", "1000", "--train_images", "500", "--replicas", "2"]
    quantities = told(capsys, str(config), *argv)["quantities"]
    assert quantities["num_steps"]["pipeline"] == 1000
    assert quantities["epochs"]["pipeline"] == 1000 * 2 / 500
    assert quantities["images_per_replica"]["pipeline"] == 1


@pytest.mark.parametrize(
    ("limit", "code"), [("fatal", 0), ("critical", 1), ("warning", 1), ("info", 1), ("never", 0)]
)
def test_fail_on_decides_the_exit_code_and_nothing_else(capsys, config, limit, code):
    content = told(capsys, str(config), "--fail_on", limit, code=code)
    assert content["findings"][0]["severity"] == "critical"


def test_inert_findings_fail_nothing(capsys, tmp_path):
    path = tmp_path / "a.config"
    path.write_text(TEXT.replace("train_config {", "train_config {\n  batch_queue_capacity: 7"))
    severities = {one["severity"] for one in told(capsys, str(path))["findings"]}
    assert "inert" in severities
    assert told(capsys, str(path), "--fail_on", "critical")


def test_a_parse_error_is_a_fatal_finding_and_exit_0(capsys, tmp_path):
    path = tmp_path / "a.config"
    path.write_text(TEXT.replace("train_config {", "train_config {\n  batch_sise: 2"))
    first = told(capsys, str(path))["findings"][0]
    assert (first["severity"], first["cause"]) == ("fatal", "unknown_proto_field")
    assert first["where"].startswith(f"{path}:")


@pytest.mark.parametrize("text", ["Dear all,\nplease find attached\n", "{", "# only a comment\n"])
def test_any_readable_text_gives_findings(capsys, tmp_path, text):
    path = tmp_path / "a.config"
    path.write_text(text)
    content = told(capsys, str(path))
    assert content["findings"][0]["severity"] == "fatal"
    assert content["quantities"] == {}


def test_a_text_with_an_accent_in_another_encoding_gives_findings(capsys, tmp_path):
    path = tmp_path / "a.config"
    path.write_bytes("# größer\n".encode("latin-1") + TEXT.encode())
    content = told(capsys, str(path))
    assert content["reference"] == "efficientdet_d3"
    first = content["findings"][0]
    assert (first["cause"], first["severity"]) == ("not_utf8", "fatal")
    assert first["where"] == f"{path}:1:5"
    assert "byte 5 of line 1 (0xf6, byte 4); it is probably cp1252: `# größer`" in first["found"]
    assert "\\ufffd" not in json.dumps(content)
    assert diagnose.main([str(path), "--fail_on", "fatal"]) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_what_powershell_wrote_is_read_and_told_to_be_utf16(capsys, tmp_path, encoding):
    path = tmp_path / "a.config"
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    path.write_bytes(mark + TEXT.replace("\n", "\r\n").encode(encoding))
    content = told(capsys, str(path))
    assert content["findings"][0]["cause"] == "not_utf8"
    assert content["quantities"]["global_batch"]["pipeline"] == 128


def test_a_label_map_that_does_not_parse_is_a_finding(capsys, tmp_path):
    label_map = tmp_path / "label_map.pbtxt"
    label_map.write_text("item {\n  id: 1\n  name: 'a'\n  id: 2\n}\n")
    path = tmp_path / "a.config"
    path.write_text(TEXT.replace("data/label_map.txt", str(label_map)))
    causes = [one["cause"] for one in told(capsys, str(path))["findings"]]
    assert "label_map_malformed" in causes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b" \n\t\n", "the file is empty"),
        (b"\x08\x00\x12\x00model", "zero bytes"),
        (b"\x80\x81\x82\x83\xff\xfe text", "not UTF-8"),
        (b"\xff\xfe" + bytes(range(256)) * 4, "not a text"),
        (b"#" * (10 * 1024 * 1024 + 1), "10 MB"),
    ],
    ids=["empty", "blank", "binary", "bytes", "marked bytes", "large"],
)
def test_what_is_no_text_is_refused(capsys, tmp_path, content, said):
    path = tmp_path / "a.config"
    path.write_bytes(content)
    message = refused(capsys, str(path), "--format", "json")
    assert said in message
    assert str(path) in message


def test_a_folder_and_a_missing_file_are_refused_with_what_is_there(capsys, config):
    assert "this is a folder" in refused(capsys, str(config.parent))
    message = refused(capsys, str(config.with_name("mi.config")))
    assert "no such pipeline.config" in message
    assert f"did you mean '{config}'" in message


def test_an_unknown_reference_is_refused_with_the_nearest(capsys, config):
    message = refused(capsys, str(config), "--reference", "efficientdet_d9")
    assert "'efficientdet_d9' is no reference" in message
    assert "did you mean efficientdet_d" in message


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "no config was named"),
        (["--formt", "json"], "did you mean 'format'?"),
        (["x.config", "--format", "xml"], "xml"),
        (["x.config", "--num_train_steps", "0"], "num_train_steps"),
        (["x.config", "--num_train_steps", "9" * 5000], "num_train_steps"),
        (["x.config", "--train_images", "-1"], "train_images"),
        (["x.config", "--plot", "a.jpg"], "--plot FILE.png or --plot FILE.svg"),
        (["a.config", "b.config", "--plot", "a.png"], "2 configs were named with --plot"),
        (["a.config", "b.config", "--run", "runs"], "2 configs were named with --run"),
        (["--explain", "LR999"], "no rule 'LR999'"),
        (["--explain", "all", "--format", "json"], "--explain has no json form"),
        (["--run", "no/such/folder"], "no such folder"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_wrong_input_is_one_message(capsys, argv, said):
    assert said in refused(capsys, *argv)


def test_several_configs_are_told_in_their_order(capsys, config):
    content = told(capsys, str(CONFIG), str(config))
    assert [one["pipeline"] for one in content] == [str(CONFIG), str(config)]
    assert diagnose.main([str(CONFIG), str(config), "--fail_on", "critical"]) == 1
    assert capsys.readouterr().out.count("against  efficientdet_d3") == 2


def test_one_unreadable_config_of_several_prints_nothing_of_the_others(capsys, config):
    refused(capsys, str(config), str(config.parent))


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_the_findings_come_before_the_numbers(capsys, config, form):
    assert diagnose.main([str(config), "--format", form]) == 0
    page = capsys.readouterr().out
    first = page.index("single_train_shard")
    assert page[:first].count("\n") <= 8
    assert first < page.index("reported") < page.index("images_seen") < page.index("for informa")


@pytest.mark.parametrize("form", ["text", "markdown", "sarif"])
def test_every_format_names_the_first_finding(capsys, config, form):
    assert diagnose.main([str(config), "--format", form]) == 0
    captured = capsys.readouterr()
    assert "single_train_shard" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("name", ["RUN001", "run_diverged", "run.diverged", "run001"])
def test_a_rules_page_is_found_by_code_name_and_cause(capsys, name):
    assert diagnose.main(["--explain", name]) == 0
    page = capsys.readouterr().out
    for part in ("RUN001", "run_diverged", "Anti-pattern", "Best practice", "Source"):
        assert part in page


def test_explain_with_a_config_tells_what_the_rule_found_there(capsys, config):
    assert diagnose.main([str(config), "--explain", "single_train_shard"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 problem: ")
    assert "lr_too_high" not in out.split("Anti-pattern")[0]
    assert "Best practice" in out


def test_the_pages_in_docs_are_those_of_the_rules(capsys):
    for name, page in (("all", "rules.md"), ("quantities", "quantities.md")):
        assert diagnose.main(["--explain", name, "--format", "markdown"]) == 0
        made = capsys.readouterr().out
        held = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
        assert held == made, f"run: diagnose --explain {name} --format markdown > docs/{page}"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_plot_is_written_beside_the_findings(capsys, config, tmp_path, ending):
    path = tmp_path / f"rates.{ending}"
    content = told(capsys, str(config), "--plot", str(path))
    assert content["schema"] == 1
    head = path.read_bytes()[:200]
    assert head.startswith(b"\x89PNG") if ending == "png" else b"<svg" in path.read_bytes()


def test_a_plot_that_cannot_be_made_is_refused(capsys, config, tmp_path):
    missing = tmp_path / "nowhere" / "a.png"
    assert "cannot be written" in refused(capsys, str(config), "--plot", str(missing))
    config.write_text("model { ssd { } }")
    assert "no learning rate" in refused(capsys, str(config), "--plot", str(tmp_path / "a.png"))


def test_a_finished_run_is_told_with_the_config_that_lies_in_it(capsys, tmp_path):
    (tmp_path / "pipeline.config").write_text(TEXT)
    rows = ["step,learning_rate,total_loss"]
    rows += [f"{step},0.05,{'nan' if step > 500 else 1.0}" for step in range(100, 1100, 100)]
    (tmp_path / "losses.csv").write_text("\n".join(rows) + "\n")
    content = told(capsys, "--run", str(tmp_path))
    assert content["pipeline"] == str(tmp_path / "pipeline.config")
    assert content["findings"][0]["cause"] == "run_diverged"
    assert content["run"]["steps_reached"] == 1000
    causes = {one["cause"] for one in content["findings"]}
    assert {"applied_lr_differs", "run_stopped_early"} <= causes


def test_a_finished_run_without_a_config_is_told_by_its_files(capsys, tmp_path):
    (tmp_path / "losses.csv").write_text("step,total_loss\n20,1.0\n40,0.9\n")
    content = told(capsys, "--run", str(tmp_path))
    assert (content["pipeline"], content["reference"]) == (None, None)
    assert content["run"]["steps_reached"] == 40


def test_the_entry_point_knows_the_command(capsys, config):
    assert entry_point(["diagnose", str(config), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 1


def test_the_pre_commit_hook_refuses_a_config_that_is_known_to_train_badly(capsys, config):
    (hook,) = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["id"] == "odapi-repro-diagnose"
    assert re.search(hook["files"], "configs/pipeline.config")
    program, *arguments = hook["entry"].split()
    assert program == "odapi-repro"
    assert entry_point([*arguments, str(CONFIG), str(config)]) == 1
    assert "single_train_shard" in capsys.readouterr().out
    assert entry_point([*arguments, str(config.with_name("reference.config"))]) == 2
    config.with_name("reference.config").write_text(TEXT)
    assert entry_point([*arguments, str(config.with_name("reference.config"))]) == 0


def child(*argv: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "odapi_repro.diagnose", *argv],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "argv",
    [
        ("my.config", "--format", "text"),
        ("my.config", "--format", "json"),
        ("my.config", "--format", "markdown"),
        ("my.config", "--format", "sarif"),
        ("--run", "model_dir"),
        ("--explain", "LR001"),
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(tmp_path, argv):
    (tmp_path / "label_map.pbtxt").write_text("item { id: 1 name: 'a' }")
    (tmp_path / "my.config").write_text(TEXT.replace("data/label_map.txt", "label_map.pbtxt"))
    (tmp_path / "model_dir").mkdir()
    (tmp_path / "model_dir" / "losses.csv").write_text("step,total_loss\n20,1.0\n40,0.9\n")
    alone = argv[0] == "my.config" and argv[-1] != "sarif"  # which lists all rules
    unneeded = (*HEAVY, *OF_RUNS) if alone else HEAVY
    script = (
        "import sys\n"
        "from odapi_repro import diagnose\n"
        f"code = diagnose.main({list(argv)!r})\n"
        f"loaded = [name for name in {unneeded!r} if name in sys.modules]\n"
        "print(loaded, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


def test_a_terminal_without_utf8_gets_escapes_and_no_traceback(tmp_path):
    path = tmp_path / "größe.config"
    path.write_text(TEXT)
    for form in ("text", "json", "markdown", "sarif"):
        done = child(str(path), "--format", form, PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
        assert b"gr\\xf6" in done.stdout or b"gr\\u00f6" in done.stdout or b"gr%C3" in done.stdout


def test_a_path_that_is_no_utf8_is_told_all_the_same(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff.config")
    with open(path, "wb") as file:
        file.write(TEXT.encode())
    for form in ("text", "json", "markdown", "sarif"):
        done = subprocess.run(
            [sys.executable, "-m", "odapi_repro.diagnose", path, "--format", form],
            cwd=REPOSITORY,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_colours_are_for_terminals_only(config):
    assert b"\x1b" not in child(str(config)).stdout


def test_stdin_may_be_named():
    done = subprocess.run(
        [sys.executable, "-m", "odapi_repro.diagnose", "/dev/stdin", "--format", "json"],
        input=TEXT.encode(),
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert json.loads(done.stdout)["reference"] == "efficientdet_d3"
