"""Every field of a config is found in its text, also when the text does not parse."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.pipeline import flatten_fields, parse_pipeline
from odapi_repro.pipeline.text_tree import Place, Places

PIPELINES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.config"))

TEXT = """# a comment { with a brace
model { ssd { num_classes: 3 } }
train_config: <
  batch_size : 2;
  data_augmentation_options { random_horizontal_flip { } }
  data_augmentation_options { random_crop_image { min_area: 0.5 } }
>
train_input_reader {
  label_map_path: "a \\" { b" 'and more'
  tf_record_input_reader { input_path: ["x", 'y'] input_path: "z" }
}
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ("model.ssd.num_classes", 2, 15),
        ("train_config", 3, 1),
        ("train_config.batch_size", 4, 3),
        ("train_config.data_augmentation_options[1].random_crop_image.min_area", 6, 51),
        ("train_input_reader.label_map_path", 9, 3),
        ("train_input_reader.tf_record_input_reader.input_path[0]", 10, 41),
        ("train_input_reader.tf_record_input_reader.input_path[1]", 10, 46),
        ("train_input_reader.tf_record_input_reader.input_path[2]", 10, 51),
        ("train_input_reader.tf_record_input_reader.input_path", 10, 41),
    ],
)
def test_a_field_is_found_where_it_stands(path: str, line: int, column: int) -> None:
    assert Places(TEXT).of(path) == Place(line, column)


def test_a_field_that_is_not_there_has_the_place_of_the_message_around_it() -> None:
    places = Places(TEXT)
    assert places.of("train_config.optimizer.momentum_optimizer") == Place(3, 1)
    assert places.of("eval_input_reader[0].shuffle") is None


@pytest.mark.parametrize("config", PIPELINES, ids=lambda path: path.stem)
def test_every_field_of_a_shipped_config_is_found_at_its_name(config: Path) -> None:
    text = config.read_text(encoding="utf-8")
    places, lines = Places(text), text.split("\n")
    for path in flatten_fields(parse_pipeline(text).proto):
        place = places.of(path)
        assert place is not None
        there = lines[place.line - 1][place.column - 1 :]
        name = path.rsplit(".", 1)[-1].split("[")[0]
        assert there.startswith(name) or "[" in lines[place.line - 1]


@pytest.mark.parametrize(
    "text",
    ["{" * 3_000_000, "a{" * 2_000_000, '"' * 3_000_000, "a:[1" + ",1" * 2_000_000, "\\" * 9],
    ids=["braces", "messages", "quotes", "list", "backslashes"],
)
def test_a_hostile_text_is_bounded(text: str) -> None:
    assert Places(text).of("model.ssd") is None


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab{}<>[]:;,\"'\\\n #.1", max_size=60))
def test_any_text_has_places_inside_it_or_none(text: str) -> None:
    place = Places(text).of("a.b")
    lines = text.split("\n")
    assert place is None or lines[place.line - 1][place.column - 1 :]
