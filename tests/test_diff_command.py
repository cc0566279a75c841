"""`python -m odapi_repro.diff`: what it prints, in which forms, and what it refuses."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from odapi_repro import diff
from odapi_repro.diagnosis.deviations import find_deviations
from odapi_repro.features.diff_configs import deviation_tables
from odapi_repro.page.blocks import Page
from odapi_repro.page.terminal_page import Terminal, terminal_page
from odapi_repro.pipeline import set_field
from odapi_repro.reference import REFERENCES, reference_named

REPOSITORY = Path(__file__).resolve().parents[1]
STEPS = "num_steps: 300000"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """EfficientDet-D3's reference in a file."""
    path = tmp_path / "my.config"
    path.write_text(reference_named("efficientdet_d3").config_text(), encoding="utf-8")
    return path


@pytest.fixture
def changed(config: Path) -> Path:
    """The same with batch 2, on half the steps, and a field without effect turned."""
    text = config.read_text(encoding="utf-8")
    assert text.count("batch_size: 128") == 1
    assert text.count("sync_replicas: true") == 1
    path = config.with_name("changed.config")
    path.write_text(
        text.replace("batch_size: 128", "batch_size: 2")
        .replace(STEPS, "num_steps: 150000")
        .replace("sync_replicas: true", "sync_replicas: false"),
        encoding="utf-8",
    )
    return path


def printed(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert diff.main([str(argument) for argument in argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert diff.main([str(argument) for argument in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert captured.err.count("odapi-repro diff:") == 1
    return captured.err


def as_json(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(printed(capsys, *argv, "--format", "json"))
    return loaded


def test_equal_configs_have_no_difference(config, capsys):
    copy = config.with_name("copy.config")
    copy.write_bytes(config.read_bytes())
    assert printed(capsys, config, copy).startswith("no difference\n")
    assert as_json(capsys, config, copy)["deviations"] == []
    assert "no difference" in printed(capsys, config, copy, "--format", "markdown")


def test_a_reference_in_a_file_does_not_differ_from_the_catalogue(config, capsys):
    assert "no difference" in printed(capsys, config, "--reference", "efficientdet_d3")


def test_what_differs_is_told_in_quantities_first_and_fields_second(changed, capsys):
    out = printed(capsys, changed, "--reference", "efficientdet_d3")
    lines = [line.split() for line in out.splitlines()]
    section = lines[lines.index(["schedule_length", "a", "b"]) :]
    assert section[1] == ["num_steps", "150,000", "300,000"]
    assert section[2] == ["images_seen", "300,000", "38,400,000"]
    assert section[4] == ["train_config.num_steps", "150000", "300000"]


def test_fields_without_effect_come_last_with_the_reason(changed, capsys):
    out = printed(capsys, changed, "--reference", "efficientdet_d3")
    head, row, *_ = out.partition("\nno effect under model_main_tf2 ")[2].splitlines()
    assert head.split() == ["a", "b", "why"]
    assert row.split()[:3] == ["train_config.sync_replicas", "false", "true"]
    assert len(row.split()) > 6
    assert "1 without effect" in out


def test_the_page_in_docs_shows_what_is_printed(tmp_path, monkeypatch, capsys):
    cosine = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"
    readers = ("train_input_reader", "eval_input_reader[0]")
    changes = {
        "train_config.batch_size": 2,
        "train_config.num_steps": 600_000,
        "train_config.use_bfloat16": False,
        "train_config.fine_tune_checkpoint": "efficientnet_b3/ckpt-0",
        f"{cosine}.learning_rate_base": 0.01,
        f"{cosine}.total_steps": 600_000,
        **{f"{reader}.label_map_path": "COCO/label_map.pbtxt" for reader in readers},
        f"{readers[0]}.tf_record_input_reader.input_path": [
            "COCO/coco_train.record-00000-of-00100"
        ],
        f"{readers[1]}.tf_record_input_reader.input_path": ["COCO/coco_val.record-00000-of-00050"],
    }

    def edit(proto):
        for path, value in changes.items():
            set_field(proto, path, value)

    monkeypatch.chdir(tmp_path)
    text = reference_named("efficientdet_d3").pipeline().edited(edit).to_text()
    Path("issue_10530.config").write_text(text, encoding="utf-8")
    argv = ("issue_10530.config", "--reference", "efficientdet_d3", "--replicas", 1)
    page = (REPOSITORY / "docs" / "diff.md").read_text(encoding="utf-8")
    assert f"```\n{printed(capsys, *argv)}```\n" in page


def test_the_nearest_reference_is_taken_and_named(changed, capsys):
    out = printed(capsys, changed)
    assert "b  efficientdet_d3 (" in out
    assert "; inferred: " in " ".join(out.split())


def test_either_side_may_be_a_name_of_the_catalogue(changed, capsys):
    found = as_json(capsys, "efficientdet_d3", "efficientdet_d3_automl")["deviations"]
    assert "box_coder" in {one["factor"] for one in found}
    there = as_json(capsys, "efficientdet_d3", changed)["deviations"]
    back = as_json(capsys, changed, "efficientdet_d3")["deviations"]
    assert [one["factor"] for one in there] == [one["factor"] for one in back]


def test_a_config_of_the_od_api_may_be_named_as_the_zoo_names_it(capsys):
    out = printed(capsys, "efficientdet_d3", "ssd_efficientdet_d3_896x896_coco17_tpu-32")
    assert "no difference" in out
    assert "efficientdet_d3" in out


def test_the_first_config_may_be_given_with_a_flag(changed, capsys):
    assert printed(capsys, "--pipeline", changed, "efficientdet_d3") == printed(
        capsys, changed, "efficientdet_d3"
    )
    assert "batch_size" in printed(
        capsys, "--pipeline_config_path", changed, "--reference", "efficientdet_d3"
    )


def test_the_json_form_has_its_keys_and_only_json(changed, capsys):
    content = as_json(capsys, changed, "--reference", "efficientdet_d3")
    assert content["schema"] == 1
    assert content["a"] == {"name": str(changed), "about": None}
    assert content["b"]["name"] == "efficientdet_d3"
    by_factor = {one["factor"]: one for one in content["deviations"]}
    assert by_factor["batch_size"]["quantities"][0] == {
        "name": "global_batch",
        "unit": "images",
        "a": 2,
        "b": 128,
    }
    assert by_factor["batch_size"]["fields"] == [
        {"path": "train_config.batch_size", "a": 2, "b": 128, "inert": None}
    ]
    assert by_factor["sync_replicas"]["fields"][0]["inert"]


def test_what_is_no_number_is_null_in_json(config, capsys):
    text = config.read_text(encoding="utf-8")
    path = config.with_name("nan.config")
    path.write_text(text.replace("anchor_scale: 4.0", "anchor_scale: nan"), encoding="utf-8")
    found = as_json(capsys, path, config)["deviations"]
    assert [field["a"] for one in found for field in one["fields"]] == [None]


def test_the_markdown_form_is_tables(changed, capsys):
    out = printed(capsys, changed, "--reference", "efficientdet_d3", "--format", "markdown")
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert "| batch_size | a | b |" in rows
    assert "| global_batch (images) | 2 | 128 |" in rows
    inert = rows.index("| no effect under model_main_tf2 | a | b | why |")
    assert {row.count(" | ") for row in rows[:inert]} == {2}
    assert {row.count(" | ") for row in rows[inert:]} == {3}


@pytest.mark.parametrize(
    ("one", "other"),
    list(itertools.combinations(REFERENCES, 2))[::23],
)
@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_text_fits_the_terminal(one, other, width):
    found = find_deviations(reference_named(one).pipeline(), reference_named(other).pipeline())
    page = Page("", tuple(deviation_tables(found)))
    lines = terminal_page(page, Terminal(width)).splitlines()
    assert max(map(len, lines)) <= width
    assert not any(line != line.rstrip() for line in lines)


def test_what_a_terminal_obeys_is_not_printed(config, capsys):
    text = config.read_text(encoding="utf-8")
    path = config.with_name("hostile.config")
    hostile = text.replace("eval_config {", 'eval_config { export_path: "\\033[31mred" ', 1)
    assert hostile != text
    path.write_text(hostile, encoding="utf-8")
    for form in diff.FORMATS:
        assert "\x1b" not in printed(capsys, path, config, "--format", form)


def test_flags_count_for_files_and_not_for_the_catalogue(config, capsys):
    flags = ("--num_train_steps", 2000, "--train_images", 500, "--replicas", 8)
    found = as_json(capsys, config, "efficientdet_d3", *flags)["deviations"]
    told = {q["name"]: (q["a"], q["b"]) for one in found for q in one["quantities"]}
    assert told["num_steps"] == (2000, 300_000)
    assert told["train_images"] == (500, 118_287)
    assert told["num_replicas"] == (8, 32)
    assert told["images_per_replica"] == (16, 4)
    assert not any(one["fields"] for one in found)


def test_a_file_that_is_not_there_is_refused_with_the_nearest(config, capsys):
    err = refused(capsys, config.with_name("mine.config"), "--reference", "efficientdet_d3")
    assert "no such pipeline.config" in err
    assert "my.config" in err


def test_an_unknown_name_is_refused_with_the_nearest(config, capsys):
    err = refused(capsys, config, "eficientdet_d3")
    assert "'eficientdet_d3' is neither a file here nor a reference" in err
    assert "did you mean efficientdet_d3" in err
    assert "efficientdet_d3" in refused(capsys, config, "--reference", "eficientdet_d3")


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param((), id="nothing"),
        pytest.param(("efficientdet_d0", "efficientdet_d1", "efficientdet_d2"), id="three"),
        pytest.param(
            ("efficientdet_d0", "efficientdet_d1", "--reference", "efficientdet_d2"),
            id="two and a reference",
        ),
        pytest.param(("--reference", "efficientdet_d2"), id="a reference alone"),
    ],
)
def test_any_other_number_of_configs_is_refused(argv, capsys):
    assert "two configs, or one and what to compare it with" in refused(capsys, *argv)


def test_a_folder_a_binary_and_what_does_not_parse_are_refused(tmp_path, config, capsys):
    assert "this is a folder" in refused(capsys, tmp_path, config)
    binary = tmp_path / "checkpoint.config"
    binary.write_bytes(bytes(range(256)))
    assert "not a text" in refused(capsys, binary, config)
    broken = tmp_path / "broken.config"
    broken.write_text("model { ssd { no_such_field: 1 } }", encoding="utf-8")
    assert f"{broken}:1:15" in refused(capsys, config, broken)


def test_a_wrong_flag_is_refused(config, capsys):
    assert "--refernce" in refused(capsys, config, "--refernce", "efficientdet_d3")
    assert "html" in refused(capsys, config, "efficientdet_d3", "--format", "html")
    assert "replicas" in refused(capsys, config, "efficientdet_d3", "--replicas", "0")


def test_help_is_exit_0(capsys):
    assert "--reference" in printed(capsys, "--help")


def test_tensorflow_is_not_imported(changed):
    script = (
        "import sys\n"
        "from odapi_repro import diff\n"
        f"code = diff.main([{str(changed)!r}, '--reference', 'efficientdet_d3'])\n"
        "sys.exit(code or ('tensorflow' in sys.modules) or ('pandas' in sys.modules))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "images_seen" in run.stdout
