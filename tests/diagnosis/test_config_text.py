"""A broken config is read as far as it goes, and each error is told with its place."""

from __future__ import annotations

import time

import pytest
from google.protobuf import text_format
from hypothesis import example, given, settings
from hypothesis import strategies as st
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.config_text import ConfigText, read_config_text
from odapi_repro.pipeline import Pipeline
from odapi_repro.reference import reference_named

D3 = reference_named("efficientdet_d3")
TEXT = D3.pipeline().to_text()
LINES = TEXT.splitlines()


def read(text: str) -> tuple[ConfigText, Pipeline]:
    return read_config_text(text, "pipeline.config")


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


def kinds(config: ConfigText) -> list[str]:
    return [problem.kind for problem in config.problems]


def eval_patterns(pipeline: Pipeline) -> list[str]:
    (reader,) = pipeline.proto.eval_input_reader
    return list(reader.tf_record_input_reader.input_path)


EVAL_PATTERNS = eval_patterns(D3.pipeline())


def test_a_sound_config_has_no_problems_and_parses_as_protobuf_parses_it() -> None:
    config, pipeline = read(D3.config_text())
    assert config.problems == ()
    assert config.mended == config.text == D3.config_text()
    assert pipeline.proto == text_format.Parse(
        D3.config_text(), pipeline_pb2.TrainEvalPipelineConfig()
    )


def test_an_unknown_field_is_left_out_with_its_block_and_the_rest_is_read() -> None:
    broken = TEXT.replace(
        "  batch_size: 128", "  distort { steps: [1, 2]\n    inner { a: 'x' } }\n  batch_size: 128"
    )
    config, pipeline = read(broken)
    (problem,) = config.problems
    assert (problem.kind, problem.name, problem.message_type) == (
        "unknown_field",
        "distort",
        "TrainConfig",
    )
    assert (problem.line, problem.column) == (line_of(broken, "distort"), 3)
    assert problem.snippet == "distort { steps: [1, 2]"
    assert pipeline.proto == D3.pipeline().proto


def test_a_misspelt_field_is_read_as_the_one_that_was_meant() -> None:
    config, pipeline = read(TEXT.replace("num_steps: 300000", "num_step: 300000"))
    assert [(problem.kind, problem.name) for problem in config.problems] == [
        ("unknown_field", "num_step")
    ]
    assert pipeline.proto == D3.pipeline().proto


@pytest.mark.parametrize("path", [r"C:\Users\me\x.record", r"D:\new" + "\\", r"C:\xabc"])
def test_a_windows_path_is_read_with_slashes(path: str) -> None:
    broken = TEXT.replace(EVAL_PATTERNS[0], path)
    config, pipeline = read(broken)
    assert kinds(config) == ["windows_path"]
    assert config.problems[0].line == line_of(broken, path)
    assert eval_patterns(pipeline) == [path.replace("\\", "/")]


def test_quotes_inside_quotes_do_not_hide_what_follows() -> None:
    name = "fine_tune_checkpoint: "
    broken = TEXT.replace(f'{name}"PATH_TO_BE_CONFIGURED/ckpt-0"', f'{name}"{name}"models/ckpt-0""')
    config, pipeline = read(broken)
    assert kinds(config) == ["syntax"]
    assert config.problems[0].line == line_of(broken, "models/ckpt-0")
    assert pipeline.proto.train_config.fine_tune_checkpoint == "models/ckpt-0"
    assert eval_patterns(pipeline) == EVAL_PATTERNS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("batch_size: 128", "batch_size = 128"),
        ("batch_size: 128", "batch_size 128"),
        ("batch_size: 128", "batch_size: 128 // per step"),
        ('"ssd_efficientnet-b3_bifpn_keras"', "ssd_efficientnet-b3_bifpn_keras"),
        ('"ssd_efficientnet-b3_bifpn_keras"', "“ssd_efficientnet-b3_bifpn_keras”"),
        ('_bifpn_keras"', "_bifpn_keras"),
        ("train_config {", "\ufefftrain_config {"),
        ("eval_config {", "<<<<<<< HEAD\neval_config {"),
        ("eval_config {", "}\neval_config {"),
        ("}\neval_config {", "eval_config {"),
        ("  ssd {", "  ssd"),
        ("    post_processing {", "[    post_processing {"),
    ],
)
def test_what_people_type_by_mistake_costs_nothing_but_a_problem(old: str, new: str) -> None:
    broken = TEXT.replace(old, new, 1)
    assert broken != TEXT
    config, pipeline = read(broken)
    assert len(config.problems) == 1
    assert pipeline.proto == D3.pipeline().proto
    mended = text_format.Merge(config.mended, pipeline_pb2.TrainEvalPipelineConfig())
    assert mended == pipeline.proto
    assert config.mended.count("\n") == broken.count("\n")


def test_a_bracket_too_many_is_told_where_it_stands() -> None:
    broken = TEXT.replace("  num_steps: 300000", "  }\n  num_steps: 300000")
    config, pipeline = read(broken)
    assert [(problem.kind, problem.line) for problem in config.problems] == [
        ("syntax", line_of(broken, "num_steps") - 1)
    ]
    assert pipeline.proto == D3.pipeline().proto


def test_a_value_of_the_wrong_type_is_dropped() -> None:
    config, pipeline = read(TEXT.replace("batch_size: 128", "batch_size: many"))
    assert kinds(config) == ["syntax"]
    expected = D3.pipeline().edited(lambda proto: proto.train_config.ClearField("batch_size"))
    assert pipeline.proto == expected.proto


def test_of_a_field_given_twice_the_last_counts_as_in_the_od_api() -> None:
    broken = TEXT.replace("batch_size: 128", "batch_size: 128\n  batch_size: 4")
    broken += 'train_config { fine_tune_checkpoint: "b" }\n'
    config, pipeline = read(broken)
    assert kinds(config) == ["duplicate_field", "duplicate_field"]
    assert config.problems[0].name == "batch_size"
    merged = text_format.Merge(broken, pipeline_pb2.TrainEvalPipelineConfig())
    assert pipeline.proto == merged
    assert pipeline.proto.train_config.batch_size == 4


def test_what_does_not_parse_within_a_repeat_is_mended_too() -> None:
    broken = TEXT + "train_config {\n  num_steps: 7  // fewer\n}\n"
    config, pipeline = read(broken)
    assert kinds(config) == ["duplicate_field", "syntax"]
    assert pipeline.proto.train_config.num_steps == 7
    assert pipeline.proto == text_format.Merge(
        config.mended, pipeline_pb2.TrainEvalPipelineConfig()
    )
    assert "num_steps: 7  # fewer" in config.mended


def test_a_field_that_is_left_out_leaves_its_comments() -> None:
    config, _ = read(TEXT.replace("  batch_size: 128", "  mine {  # a\n  # b\n  x: 1 }  # c\n"))
    assert kinds(config) == ["unknown_field"]
    assert [part in config.mended for part in ("# a", "# b", "# c", "mine")] == [1, 1, 1, 0]


def test_two_of_a_oneof_leave_the_last() -> None:
    broken = TEXT.replace("  optimizer {", "  optimizer {\n    adam_optimizer { }")
    config, pipeline = read(broken)
    assert kinds(config) == ["duplicate_field"]
    assert pipeline.proto == D3.pipeline().proto


def test_several_errors_are_told_in_the_order_of_the_text() -> None:
    broken = TEXT.replace("num_classes: 90", "num_classes: 90\n    foo: 1")
    broken = broken.replace("batch_size: 128", "batch_size = 128")
    broken = broken.replace(EVAL_PATTERNS[0], r"C:\Users\x")
    config, _ = read(broken)
    assert kinds(config) == ["unknown_field", "syntax", "windows_path"]
    assert [p.line for p in config.problems] == sorted(p.line for p in config.problems)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n# nothing\n",
        "{" * 5_000,
        "a {" * 5_000,
        "model { ssd { " * 2_000,
        "[" * 5_000,
        '"' * 5_000,
        "\\",
        "train_config { batch_size: " + "9" * 10_000 + " }",
        'train_config { fine_tune_checkpoint: "\\ud800" }',
        "train_config { fine_tune_checkpoint: '\\xff' }",
        "7: 3\n8 { }\n9 < x",
    ],
)
def test_nothing_makes_it_raise(text: str) -> None:
    config, pipeline = read(text)
    assert config.text == text
    assert pipeline.meta_architecture in ("", "ssd")
    assert pipeline.num_classes == 0
    assert not pipeline.predicts_masks


@pytest.mark.parametrize(
    "piece",
    ["x: 1\n", "x: 1 ", "{", "train_config { batch_size: 2 }\n", "\n", "a", '"\\', "lorem ipsum\n"],
)
def test_ten_megabytes_of_anything_end_in_about_a_second(piece: str) -> None:
    text = piece * (10_000_000 // len(piece))
    start = time.process_time()
    read(text)
    assert time.process_time() - start < 2.0


def test_the_mends_are_bounded_and_the_last_problem_says_so() -> None:
    config, _ = read("word\n" * 1_000)
    assert 50 <= len(config.problems) <= 52
    assert any("the rest is not looked at" in problem.message for problem in config.problems)


def test_a_thorough_reading_mends_on_and_leaves_no_line_out() -> None:
    broken = TEXT + "foo: 1\n" * 60 + f"# {'x' * 200_000}\n"
    config, pipeline = read_config_text(broken, "pipeline.config", thorough=True)
    assert kinds(config) == ["unknown_field"] * 60
    assert config.mended.endswith("x\n")
    assert pipeline.proto == D3.pipeline().proto
    said = {problem.message for problem in read(broken)[0].problems}
    assert "too much does not parse; the rest is not looked at" in said
    assert any("characters in a line" in one for one in said)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(range(len(LINES))), min_size=1, max_size=3), st.data())
def test_broken_lines_are_problems_exactly_where_protobuf_refuses(
    numbers: list[int], data: st.DataObject
) -> None:
    lines = list(LINES)
    for number in numbers:
        line = lines[number]
        cut = data.draw(st.integers(0, len(line)))
        junk = data.draw(st.sampled_from(["", "{", "}", '"', "\\", ":", "=", "[", "#", "x", "\t"]))
        lines[number] = line[:cut] + junk + line[cut + data.draw(st.integers(0, 2)) :]
    text = "\n".join(lines)
    config, pipeline = read(text)
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    try:
        text_format.Parse(text, proto)
    except text_format.ParseError:
        assert config.problems
    else:
        assert not config.problems
        assert pipeline.proto == proto


@settings(max_examples=80, deadline=None)
@example("\u00b9:")
@example("model { ssd { \u00b9 { } } }")
@given(st.text(max_size=200))
def test_any_text_gives_a_pipeline(text: str) -> None:
    config, pipeline = read(text)
    assert pipeline.to_text() is not None
    assert all(p.line >= 1 and p.column >= 1 and len(p.snippet) <= 120 for p in config.problems)
