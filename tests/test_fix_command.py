"""`python -m odapi_repro.fix`: what is written, what is told, what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from odapi_repro import diagnose, fix
from odapi_repro.features import fix_config
from odapi_repro.pipeline import load_pipeline
from odapi_repro.pipeline.edit_text import EditedText
from odapi_repro.reference import reference_named

TEXT = reference_named("efficientdet_d3").config_text().replace("PATH_TO_BE_CONFIGURED", "data")
COMMENTS = re.findall(r"#.*", TEXT)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The reference's config with one shard of a hundred and batch 2, as in #10530."""
    path = tmp_path / "my.config"
    text = TEXT.replace("batch_size: 128", "batch_size: 2  # my GPU")
    path.write_text(text.replace("train2017-?????-of-00256", "train2017-00000-of-00100"))
    return path


def told(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> Any:
    assert fix.main([*argv, "--format", "json"]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert fix.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("odapi-repro fix: ")
    assert "Traceback" not in captured.err
    return captured.err


def test_the_mended_config_is_written_beside_the_input_and_keeps_its_comments(capsys, config):
    before = config.read_text()
    argv = [str(config), "--reference", "efficientdet_d3", "--replicas", "1", "--max_batch", "2"]
    assert fix.main(argv) == 0
    assert config.read_text() == before
    output = config.with_name("my.fixed.config")
    text = output.read_text()
    assert all(comment in text for comment in COMMENTS)
    assert "batch_size: 2  # my GPU" in text
    train = load_pipeline(output).proto.train_config
    assert (train.batch_size, train.num_steps) == (2, 19_200_000)
    out = capsys.readouterr().out
    assert "learning_rate_base: 0.08 -> 0.00125" in out
    assert "linear rule" in out
    assert "44.4 days" in out
    assert "--goal fine_tune" in out
    assert "batch norm is trained on 2 images at a time" in out


def test_the_summary_as_json_has_changes_reasons_cost_and_what_is_left(capsys, config):
    content = told(capsys, str(config), "--images_per_second", "7", "--hours", "48")
    assert content["schema"] == 1
    assert content["reference"] == "efficientdet_d3"
    assert content["goal"] == "reproduce"
    assert content["kept_layout"]
    fields = {one["field"]: one for change in content["changes"] for one in change["fields"]}
    assert fields["train_config.num_steps"]["new"] == 19_200_000
    assert all(change["reason"] for change in content["changes"])
    assert [one["cause"] for one in content["yours_to_do"]] == ["tiny_batch_batchnorm"]
    training = content["training"]
    assert training["images_seen"] == 38_400_000
    assert training["hours"] == pytest.approx(38_400_000 / 7 / 3600)
    assert not training["fits"]
    assert [offer["flags"].split()[0] for offer in training["offers"]] == ["--goal", "--steps"]


def test_an_offer_taken_up_fits(capsys, config):
    argv = [str(config), "--images_per_second", "7", "--hours", "48"]
    for offer in told(capsys, *argv)["training"]["offers"]:
        taken = told(capsys, *argv, *offer["flags"].split(), "--overwrite")["training"]
        assert taken["fits"]
        assert taken["num_steps"] == offer["num_steps"]


def test_what_is_kept_stays_and_is_said(capsys, config):
    content = told(capsys, str(config), "--keep", "lr,train_shards", "--max_batch", "16")
    train = load_pipeline(content["output"]).proto
    rate = train.train_config.optimizer.momentum_optimizer.learning_rate
    assert rate.cosine_decay_learning_rate.learning_rate_base == pytest.approx(0.08)
    paths = list(train.train_input_reader.tf_record_input_reader.input_path)
    assert paths == ["data/train2017-00000-of-00100.tfrecord"]
    todo = {one["cause"]: one["what_to_do"] for one in content["yours_to_do"]}
    assert "leave 'train_shards' out of --keep" in todo["single_train_shard"]


def test_the_config_goes_to_stdout_and_the_summary_to_stderr(capsys, config):
    assert fix.main([str(config), "--output", "-"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(TEXT.splitlines()[0])
    assert "num_steps: 19200000" in captured.out
    assert "changes" in captured.err
    assert sorted(path.name for path in config.parent.iterdir()) == ["my.config"]


def test_a_dry_run_writes_nothing_and_the_diff_shows_it_all(capsys, config):
    assert fix.main([str(config), "--dry_run", "--diff"]) == 0
    out = capsys.readouterr().out
    assert "-  num_steps: 300000" in out
    assert "+  num_steps: 19200000" in out
    assert sorted(path.name for path in config.parent.iterdir()) == ["my.config"]


def test_nothing_is_overwritten_unless_asked(capsys, config):
    output = config.with_name("other.config")
    output.write_text("mine")
    argv = [str(config), "--output", str(output)]
    assert "exists" in refused(capsys, *argv)
    assert output.read_text() == "mine"
    assert fix.main([*argv, "--overwrite"]) == 0
    assert output.read_text() != "mine"
    capsys.readouterr()
    assert "exists" in refused(capsys, str(config), "--output", str(config))


def test_windows_line_ends_stay(config):
    config.write_bytes(config.read_bytes().replace(b"\n", b"\r\n"))
    assert fix.main([str(config)]) == 0
    written = config.with_name("my.fixed.config").read_bytes()
    assert b"num_steps: 19200000\r\n" in written
    assert written.count(b"\n") == written.count(b"\r\n")


def test_what_does_not_parse_is_mended_first_and_listed(capsys, config):
    text = config.read_text()
    text = text.replace("  ssd {\n", "  ssd {\n    base_anchor_size: 256  # whose?\n", 1)
    text = re.sub(
        'label_map_path: "[^"]*"', r'label_map_path: "C:\\Users\\me\\map.pbtxt"', text, count=1
    )
    config.write_text(text)
    content = told(capsys, str(config))
    places = [
        (change["code"], change["fields"][0]["new"])
        for change in content["changes"]
        if change["fields"][0]["field"].startswith("line ")
    ]
    assert ("CFG002", "# whose?") in places
    assert ("CFG003", 'label_map_path: "C:/Users/me/map.pbtxt"') in places
    written = Path(content["output"]).read_text()
    assert "base_anchor_size" not in written
    assert "# whose?" in written
    assert load_pipeline(content["output"]).proto.train_input_reader.label_map_path == (
        "C:/Users/me/map.pbtxt"
    )


def test_a_field_that_stands_twice_is_left_once(capsys, config):
    text = config.read_text().replace("  num_steps: 300000", "  num_steps: 7\n  num_steps: 300000")
    config.write_text(text)
    content = told(capsys, str(config), "--keep", "schedule_length")
    assert content["kept_layout"]
    written = Path(content["output"]).read_text()
    assert re.findall(r"num_steps: \d+", written) == ["num_steps: 300000"]


def test_where_the_layout_is_lost_it_says_so(capsys, config):
    # More than is mended: what follows is not looked at.
    config.write_text(config.read_text() + "\n" + "word )  # word\n" * 200)
    content = told(capsys, str(config))
    assert not content["kept_layout"]
    assert fix.main([str(config), "--overwrite"]) == 0
    assert "protobuf's own layout, with your comments at the head" in capsys.readouterr().out
    written = Path(content["output"]).read_text()
    assert written.startswith(TEXT.splitlines()[0])
    assert written.count("# word\n") == 200
    assert content["lost_comments"] == []


def test_a_block_that_stands_twice_becomes_one_with_the_comments_of_both(capsys, config):
    config.write_text(
        config.read_text() + "\n# more\neval_config {\n  # my remark\n  num_examples: 7\n}  # end\n"
    )
    content = told(capsys, str(config))
    assert content["kept_layout"]
    assert content["lost_comments"] == []
    written = Path(content["output"]).read_text()
    assert all(remark in written for remark in ("# more", "# my remark", "# end", *COMMENTS))
    assert len(re.findall(r"^eval_config", written, re.MULTILINE)) == 1
    assert load_pipeline(content["output"]).proto.eval_config.num_examples == 7
    (change,) = [one for one in content["changes"] if one["code"] == "CFG001"]
    assert "a block given twice is merged" in change["reason"]


def test_a_comment_in_an_unknown_block_stays(capsys, config):
    block = "  my_block {\n    # measured by Eva\n    x: 1  # why x\n  }  # the end\n"
    config.write_text(config.read_text().replace("train_config {\n", "train_config {\n" + block))
    content = told(capsys, str(config))
    assert content["lost_comments"] == []
    written = Path(content["output"]).read_text()
    assert "my_block" not in written
    assert all(remark in written for remark in ("# measured by Eva", "# why x", "# the end"))


def test_a_comment_that_has_no_place_is_named(capsys, config, monkeypatch):
    monkeypatch.setattr(
        fix_config, "rewrite_text", lambda text, proto: EditedText("model { ssd { } }\n")
    )
    content = told(capsys, str(config))
    lost = [(one["line"], one["comment"]) for one in content["lost_comments"]]
    assert (1, TEXT.splitlines()[0]) in lost
    assert len(lost) == len(COMMENTS) + 1
    assert fix.main([str(config), "--overwrite"]) == 0
    out = capsys.readouterr().out
    assert f"{len(lost)} comments did not find a place\n\n  line 1 " in out


STEPS = """  data_augmentation_options {
    random_adjust_hue {}  # colours
    # and light
    random_adjust_brightness { max_delta: 0.2 }
    random_horizontal_flip {}
  }
"""


def test_all_steps_of_one_augmentation_block_are_written_in_blocks_of_their_own(capsys, config):
    flip = "  data_augmentation_options { random_horizontal_flip {} }\n"
    config.write_text(config.read_text().replace(flip, STEPS))
    content = told(capsys, str(config))
    written = load_pipeline(content["output"]).proto.train_config.data_augmentation_options
    assert [step.WhichOneof("preprocessing_step") for step in written] == [
        "random_adjust_hue",
        "random_adjust_brightness",
        "random_horizontal_flip",
        "random_scale_crop_and_pad_to_square",
    ]
    (change,) = [one for one in content["changes"] if one["code"] == "CFG001"]
    assert "only the last counts, random_horizontal_flip; now all do" in change["reason"]
    assert [one["old"] != one["new"] for one in change["fields"]] == [True]
    assert "# and light\n    random_adjust_brightness" in Path(content["output"]).read_text()


@pytest.mark.parametrize(
    ("old", "new", "gone", "counts"),
    [
        (
            "    image_resizer {\n",
            "    image_resizer {\n      fixed_shape_resizer { height: 3 width: 3 }  # mine\n",
            "fixed_shape_resizer",
            "keep_aspect_ratio_resizer",
        ),
        (
            "  optimizer {\n",
            "  optimizer {\n    adam_optimizer {}  # mine\n",
            "adam_optimizer",
            "momentum_optimizer",
        ),
        (
            "      learning_rate {\n",
            "      learning_rate {\n        constant_learning_rate {}  # mine\n",
            "constant_learning_rate",
            "cosine_decay_learning_rate",
        ),
    ],
)
def test_of_two_kinds_the_one_that_counts_is_said_and_left(capsys, config, old, new, gone, counts):
    config.write_text(config.read_text().replace(old, new))
    content = told(capsys, str(config))
    (change,) = [one for one in content["changes"] if one["code"] == "CFG001"]
    assert [(one["old"], one["new"]) for one in change["fields"]] == [(gone, None)]
    assert f"only the last counts, {counts}" in change["reason"]
    written = Path(content["output"]).read_text()
    assert gone not in written
    assert "# mine" in written


def test_what_nothing_speaks_against_is_suggested_and_not_made(capsys, config):
    text = TEXT.replace("random_horizontal_flip {}", "random_adjust_hue {}")
    config.write_text(text)
    content = told(capsys, str(config), "--overwrite")
    assert content["changes"] == []
    (idea,) = content["ideas"]
    assert {one["field"].split("[")[0] for one in idea["fields"]} == {
        "train_config.data_augmentation_options"
    }
    assert Path(content["output"]).read_text() == text
    assert fix.main([str(config), "--overwrite"]) == 0
    out = capsys.readouterr().out
    assert "Nothing to change." in out
    assert "1 suggestion, not made" in out
    assert "--goal reproduce" in out


def test_a_reference_that_nobody_would_infer_is_named_in_the_first_line(capsys, config):
    content = told(capsys, str(config), "--reference", "efficientdet_d3_automl")
    written = Path(content["output"]).read_text()
    assert written.startswith(f"# odapi_repro reference: efficientdet_d3_automl\n{TEXT[:20]}")
    assert diagnose.main([content["output"], "--format", "json"]) == 0
    told_again = json.loads(capsys.readouterr().out)
    assert told_again["reference"] == "efficientdet_d3_automl"
    assert told_again["reference_inferred"] == "the config names it in a comment"
    left = {one["cause"] for one in content["findings"]}
    severe = ("fatal", "critical", "warning")
    assert {one["cause"] for one in told_again["findings"] if one["severity"] in severe} <= left


WORDS = {
    "cp949": "학습률",
    "cp936": "训练",
    "cp932": "データ",
    "cp1251": "данные",
    "cp1252": "größer",
    "utf-16": "größer",
}


@pytest.mark.parametrize("encoding", list(WORDS))
def test_another_encoding_is_written_in_utf8_and_named(capsys, config, encoding):
    word = WORDS[encoding]
    text = config.read_text().replace("data/ckpt-0", f"C:/{word}/ckpt-0")
    config.write_bytes(f"# {word}\n{text}".encode(encoding))
    content = told(capsys, str(config))
    (change,) = [one for one in content["changes"] if one["code"] == "CFG008"]
    (field,) = change["fields"]
    assert field["old"].startswith(encoding)
    assert field["new"] == "utf-8"
    written = Path(content["output"]).read_bytes().decode("utf-8")
    assert written.startswith(f"# {word}\n")
    assert "\ufffd" not in written
    pipeline = load_pipeline(content["output"])
    assert pipeline.proto.train_config.fine_tune_checkpoint == f"C:/{word}/ckpt-0"
    assert "not_utf8" not in [one["cause"] for one in content["findings"]]


def test_a_stray_byte_in_a_fields_name_is_left_out_and_said(capsys, config):
    config.write_bytes(config.read_bytes().replace(b"num_classes", b"num_\xccclasses"))
    content = told(capsys, str(config))
    (change,) = [one for one in content["changes"] if one["code"] == "CFG008"]
    assert "no letter of a text or a comment; left out in 1 line" in change["reason"]
    assert load_pipeline(content["output"]).num_classes == 90
    assert content["lost_comments"] == []


def test_an_encoding_that_nobody_can_tell_is_refused(capsys, config):
    config.write_bytes(config.read_bytes() + "# 學習率 資料\n".encode("big5"))
    message = refused(capsys, str(config))
    assert "what it is written in is not clear" in message
    assert "iconv" in message
    assert sorted(path.name for path in config.parent.iterdir()) == ["my.config"]


def test_stdout_gets_utf8_whatever_the_terminal_has(config):
    config.write_bytes("# 학습률\n".encode("cp949") + config.read_bytes())
    found = subprocess.run(
        [sys.executable, "-m", "odapi_repro.fix", str(config), "--output", "-"],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.decode("utf-8").startswith("# 학습률\n")


@pytest.mark.parametrize(("limit", "code"), [("fatal", 0), ("critical", 1), ("never", 0)])
def test_exit_1_is_for_what_is_left_and_only_when_asked(config, limit, code):
    assert fix.main([str(config), "--fail_on", limit]) == code
    assert config.with_name("my.fixed.config").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--keep", "augmentations"], "did you mean 'augmentation'"),
        (["--max_batch", "2", "--replicas", "4"], "cannot be shared by 4 replicas"),
        (["--max_batch", "2", "--keep", "batch_size"], "--max_batch sets what --keep batch_size"),
        (["--steps", "10", "--epochs", "3"], "both given"),
        (["--steps", "10", "--keep", "steps"], "--steps sets what --keep schedule_length keeps"),
        (["--hours", "48"], "needs a speed"),
        (["--epochs", "-1"], "a number above 0"),
        (["--images_per_second", "nan"], "a number above 0"),
        (["--reference", "efficientdet_d33"], "did you mean efficientdet_d3"),
        (["--goal", "win"], "win"),
        (["--max_batch", "0"], "max_batch"),
        (["--output", "."], "is a folder"),
        (["--output", "no/such/folder/x.config"], "cannot be written"),
        (["another.config"], "2 configs were named"),
    ],
)
def test_wrong_input_is_refused_in_one_message(capsys, config, argv, message):
    assert message in refused(capsys, str(config), *argv)
    assert sorted(path.name for path in config.parent.iterdir()) == ["my.config"]


def test_epochs_need_the_number_of_images(capsys, config):
    text = config.read_text().replace("train2017-00000-of-00100", "cats")
    config.write_text(text)
    assert "--train_images" in refused(capsys, str(config), "--epochs", "3")
    training = told(capsys, str(config), "--epochs", "3", "--train_images", "4000")["training"]
    assert training["images_seen"] == 12_000


@pytest.mark.parametrize("text", ["", "train_config { batch_size: 2 }", "lorem ipsum", "{{{{"])
def test_a_text_without_a_model_is_refused(capsys, tmp_path, text):
    path = tmp_path / "x.config"
    path.write_text(text)
    assert "expected: a pipeline.config with a model" in refused(capsys, str(path))


def test_no_config_and_no_such_config_are_refused(capsys, tmp_path):
    assert "no config was named" in refused(capsys)
    assert "no such pipeline.config" in refused(capsys, str(tmp_path / "none.config"))


def test_it_answers_without_tensorflow(config):
    code = (
        "import sys; from odapi_repro import fix; "
        f"code = fix.main([{str(config)!r}]); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 0, found.stderr
