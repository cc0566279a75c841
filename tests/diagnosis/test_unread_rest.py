"""A parse error stands alone on top; what its consequences would be is not found beside it."""

from __future__ import annotations

import pytest

from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.outcome import Diagnosis, examine
from odapi_repro.diagnosis.rules import RULES
from odapi_repro.reference import reference_named

PARSE_ERRORS = {"syntax_error", "unknown_proto_field"}


@pytest.fixture(scope="module")
def config() -> str:
    text = reference_named("efficientdet_d3").pipeline().to_text()
    return text.replace("PATH_TO_BE_CONFIGURED", "data")


def costly(text: str) -> list[str]:
    return [one.cause for one in told(text).findings if one.severity <= Severity.WARNING]


def told(text: str) -> Diagnosis:
    return examine(text, "pipeline.config", rules=RULES)


@pytest.mark.parametrize(
    "text",
    [
        "hello, this is no config\n",
        "import os\nprint('hello')\n",
        '{"model": {"ssd": {}}}',
        "<annotation><object/></annotation>",
        "model:\n  ssd:\n    num_classes: 3\ntrain_config:\n  batch_size: 4\n",
        "modle { ssd { num_classes: 3 } }\n",
    ],
    ids=["prose", "python", "json", "xml", "yaml", "misspelt"],
)
def test_other_texts_have_their_parse_error_and_nothing_else(text: str) -> None:
    assert set(costly(text)) <= PARSE_ERRORS
    assert len(costly(text)) == 1


@pytest.mark.parametrize("twentieth", range(2, 20))
def test_a_config_that_is_cut_short_has_its_parse_error_alone(config: str, twentieth: int) -> None:
    found = costly(config[: len(config) * twentieth // 20])
    assert found[0] in PARSE_ERRORS
    # Where the name of the feature extractor was not reached, the reference may be another.
    assert set(found[1:]) <= {"weight_decay_changed"}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("train_input_reader {", "train_reader {"),
        ("eval_input_reader {", "eval_reader {"),
        ("train_config {", "training {"),
        ("ssd {", "single_shot {"),
        ("optimizer {", "solver {"),
        (": ", " = "),
    ],
)
def test_what_an_unknown_block_would_have_said_is_not_missed(
    config: str, right: str, wrong: str
) -> None:
    assert set(costly(config.replace(right, wrong))) <= PARSE_ERRORS


def test_findings_of_what_was_read_follow_the_parse_error(config: str) -> None:
    broken = config.replace("batch_size: 128", "batch_size: 2").replace(
        "train_input_reader {", "train_reader {"
    )
    found = costly(broken)
    assert found[0] == "unknown_proto_field"
    assert "lr_too_high_for_batch" in found


def test_the_parse_error_stands_before_every_other_fatal_finding(config: str) -> None:
    broken = config.replace('feature_extractor {\n      type: "', 'feature_extractor {\n type: "x')
    assert costly(broken)[0] == "feature_extractor_unknown"
    assert costly(broken.replace("num_classes", "clases"))[0] == "unknown_proto_field"


def test_the_parse_error_tells_how_many_findings_it_left_out() -> None:
    first = told("model: {\n  ssd:\n    num_classes: 3\n").findings[0]
    assert "findings that may only come of it are left out until the text parses" in first.why
    alone = told("modle { ssd { num_classes: 3 } }\n").findings[0]
    assert alone.why.endswith(
        "1 finding that may only come of it is left out until the text parses."
    )


def test_what_is_read_as_it_was_meant_leaves_nothing_out(config: str) -> None:
    text = config.replace('"data/label_map.txt"', '"C:\\Users\\me\\label_map.pbtxt"')
    begin, end = text.index("  data_augmentation_options"), text.index("  sync_replicas")
    found = costly(text[:begin] + text[end:])
    assert found[0] == "windows_path_escape"
    assert "augmentation_removed" in found


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("learning_rate_base: 0.08", "learning_rate_base: 0,08"),
        ("num_steps: 300000", "num_steps: 300,000"),
        ("num_steps: 300000", "num_steps: 300 000"),
        ("batch_size: 128", "batch_size: 1 * 128"),
        ("num_classes: 90", "num_classes: 0 90"),
    ],
)
def test_a_number_of_which_only_the_beginning_was_read_is_not_judged(
    config: str, right: str, wrong: str
) -> None:
    assert right in config
    assert costly(config.replace(right, wrong)) == ["syntax_error"]
