"""Any text has a tree and places; what is no text proto has a tree with its first fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.pipeline import flatten_fields, parse_pipeline
from odapi_repro.pipeline.text_tree import (
    Body,
    Place,
    Places,
    TextTreeError,
    TextWalk,
    lost_comments,
    parse_text_tree,
)

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


# What a broken text is taken for: names, values and what is in messages.
_BROKEN = {
    "a: 1 * 2\nb: 3": ("a=1 b=3", "'* 2"),
    "a {\n  b: 1\n": ("a{b=1}", "the text ends"),
    "a { b: 1 } }\nc: 2": ("a{b=1} c=2", "'}' where a word"),
    "a < b: 1 } c: 2": ("a{b=1} c=2", "'}' where a word"),
    "a: [1, 2\nb: 3": ("a=1,2 b=3", "'b' where ,"),
    "a:\nb: 3": ("a= b=3", "'b' where a value"),
    "a\n  b { c: D }": ("a= b{c=D}", "'b' where a value"),
    'a: "x # y\nb: 3': ('a="x # y b=3', "'\"x # y"),
    'a: x"\nb: 3': ('a=x" b=3', "'\"\nb: 3' is no token"),
    "a = 1 b: 2": ("a=1 b=2", "'= 1 b: 2' is no token"),
    "7: 3\nb: 1 2": ("7=3 b=1", "'7' where a word"),
    "{ a: 1 } b: 2": ("{{a=1} b=2", "'{' where a word"),
}


def _outline(text: str, body: Body) -> str:
    told = []
    for node in body.fields:
        inner = [one.body for one in node.values if one.body is not None]
        values = ",".join(text[one.start : one.end] for one in node.values if one.body is None)
        blocks = "".join(f"{{{_outline(text, one)}}}" for one in inner)
        told.append(node.name + (blocks or f"={values}"))
    return " ".join(told)


@pytest.mark.parametrize("text", _BROKEN)
def test_a_broken_text_has_the_tree_that_was_meant_and_its_first_fault(text: str) -> None:
    meant, fault = _BROKEN[text]
    walk = TextWalk(text).to(len(text))
    assert _outline(text, walk.root) == meant
    assert walk.fault.startswith(fault)
    with pytest.raises(TextTreeError) as error:
        parse_text_tree(text)
    assert str(error.value) == walk.fault


def test_a_walk_tells_what_surrounds_a_place() -> None:
    walk = TextWalk(TEXT).to(TEXT.index("and more"))
    assert walk.names == ["train_input_reader"]
    assert walk.closing(0) == "}"
    assert walk.statement is not None
    assert walk.statement.name == "label_map_path"
    assert walk.closed is not None
    assert (walk.closed[0].name, TEXT[walk.closed[1] :][:2]) == ("train_config", ">\n")


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("a: 1 b: 2", 4),
        ("a: 1, b: 2", 5),
        ("a { b { } } c: 2", 11),
        ("a: 'x' 'y' } b", 10),
        ("a: [1, 2] ; b", 11),
        ("a\nb: 1", 1),
    ],
)
def test_a_field_ends_behind_its_value_and_separator(text: str, end: int) -> None:
    assert TextWalk(text).over_field().root.fields[0].end == end


def test_a_block_that_is_not_closed_is_open_where_the_walk_over_it_ends() -> None:
    assert TextWalk("a < b { } } c: 1").over_field().names == ["a"]
    assert TextWalk("a { b: 1 } }").over_field().names == []


def test_a_field_without_a_value_has_a_place() -> None:
    assert Places("model {\n  ssd\n  num_classes: 3 }").of("model.ssd") == Place(2, 3)


def test_a_word_of_a_comment_without_its_mark_is_not_the_field_of_that_name() -> None:
    text = "model {\n  This ssd is mine.\n  ssd {\n    num_classes: 3 } }"
    assert Places(text).of("model.ssd.num_classes") == Place(4, 5)


def test_comments_that_an_edited_text_lacks_are_told_with_their_lines() -> None:
    text = "a: 1  # x\n# y\nb: '# no' # x\n"
    assert lost_comments(text, "# x\n") == ((2, "# y"), (3, "# x"))
