"""Editing a config's text: what is asked for changes, and nothing else does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from object_detection.protos import pipeline_pb2

from odapi_repro.pipeline.edit_text import rewrite_text
from odapi_repro.pipeline.fields import set_field
from odapi_repro.pipeline.text_tree import TextTreeError, comments_in, parse_text_tree

TEXT = """\
# My config, 3rd try.
model { ssd { num_classes: 90  # COCO
} }

train_config: {
  batch_size : 128;  # 32 cores
  optimizer <
    adam_optimizer: {  # tuned
      learning_rate { constant_learning_rate { learning_rate: 1e-3 } }
    }
  >
  data_augmentation_options { random_horizontal_flip {} }
  data_augmentation_options {
    random_adjust_hue { }  # colours
  }
  fine_tune_checkpoint: 'back/bone # {1}'
  unpad_groundtruth_tensors: false }
train_input_reader {
  tf_record_input_reader {
    input_path: ["a-00000-of-00010",  # the first
                 "a-00001-of-00010"]
  }
  label_map_path: "one "
    "\\"two\\""
}
eval_input_reader { shuffle: true }
"""


def parsed(text: str) -> pipeline_pb2.TrainEvalPipelineConfig:
    proto: pipeline_pb2.TrainEvalPipelineConfig = text_format.Parse(
        text, pipeline_pb2.TrainEvalPipelineConfig()
    )
    return proto


def led(text: str, *edits: tuple[str, object]) -> str:
    """Gives the text led to its proto with these fields set; a message is set from a text."""
    proto = text_format.Merge(text, pipeline_pb2.TrainEvalPipelineConfig())
    for path, value in edits:
        holder: Any = proto
        for step in path.split("."):
            name, _, index = step.removesuffix("]").partition("[")
            kind = holder.DESCRIPTOR.fields_by_name[name].message_type
            if kind is None or value is None:
                break
            holder = getattr(holder, name)
            if index:
                while len(holder) <= int(index):
                    holder.add()
                holder = holder[int(index)]
        else:
            holder.Clear()
            text_format.Parse(value, holder)
            continue
        set_field(proto, path, value)
    return rewrite_text(text, proto).text


def printed(proto: Message) -> str:
    return str(text_format.MessageToString(proto))


def comments(text: str) -> list[str]:
    return [comment for _, comment in comments_in(text, 0, len(text))]


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        ("train_config.batch_size", 2, "batch_size : 128;  # 32", "batch_size : 2;  # 32"),
        ("model.ssd.num_classes", 3, "num_classes: 90  # COCO", "num_classes: 3  # COCO"),
        (
            "train_config.fine_tune_checkpoint",
            "detection/ckpt-0",
            "'back/bone # {1}'",
            "'detection/ckpt-0'",
        ),
        ("train_config.fine_tune_checkpoint", "it's", "'back/bone # {1}'", '"it\\\'s"'),
        (
            "train_input_reader.tf_record_input_reader.input_path",
            ["a-?????-of-00010"],
            '    input_path: ["a-00000-of-00010",  # the first\n'
            '                 "a-00001-of-00010"]\n',
            '    # the first\n    input_path: ["a-?????-of-00010"]\n',
        ),
        (
            "train_input_reader.label_map_path",
            "données",
            '"one "\n    "\\"two\\""',
            '"données"',
        ),
        ("eval_input_reader[0].shuffle", False, "{ shuffle: true }", "{ shuffle: false }"),
        (
            "eval_input_reader[0].num_epochs",
            1,
            "{ shuffle: true }",
            "{ shuffle: true num_epochs: 1 }",
        ),
        (
            "train_config.optimizer",
            "momentum_optimizer { momentum_optimizer_value: 0.9 } use_moving_average: false",
            "    adam_optimizer: {  # tuned\n"
            "      learning_rate { constant_learning_rate { learning_rate: 1e-3 } }\n"
            "    }\n",
            "    # tuned\n    momentum_optimizer {\n      momentum_optimizer_value: 0.9\n    }\n"
            "    use_moving_average: false\n",
        ),
        (
            "train_config.data_augmentation_options[0]",
            None,
            "  data_augmentation_options { random_horizontal_flip {} }\n",
            "",
        ),
        (
            "train_config.data_augmentation_options[2]",
            "random_adjust_saturation {}",
            "    random_adjust_hue { }  # colours\n  }\n",
            "    random_adjust_hue { }  # colours\n  }\n"
            "  data_augmentation_options {\n    random_adjust_saturation {\n    }\n  }\n",
        ),
        ("train_config.num_steps", 7, "tensors: false }", "tensors: false num_steps: 7 }"),
        (
            "eval_config.batch_size",
            1,
            "eval_input_reader { shuffle: true }\n",
            "eval_input_reader { shuffle: true }\neval_config {\n  batch_size: 1\n}\n",
        ),
    ],
)
def test_an_edit_changes_its_own_place_and_no_other(
    path: str, value: object, old: str, new: str
) -> None:
    assert old in TEXT
    assert led(TEXT, (path, value)) == TEXT.replace(old, new)


def test_edits_are_made_in_order() -> None:
    text = led(
        "train_config { batch_size: 1 }",
        ("train_config.num_steps", 5),
        ("train_config.batch_size", None),
        ("train_config.num_steps", 6),
    )
    assert text == "train_config { num_steps: 6 }"


def test_windows_line_ends_stay() -> None:
    text = led("train_config {\r\n  batch_size: 1\r\n}\r\n", ("train_config.num_steps", 5))
    assert text == "train_config {\r\n  batch_size: 1\r\n  num_steps: 5\r\n}\r\n"


def test_a_long_insertion_breaks_a_message_of_one_line() -> None:
    edit = ("train_config.fine_tune_checkpoint", "x" * 90)
    text = led("train_config { batch_size: 1 }\n", edit)
    assert text == (f'train_config {{ batch_size: 1\n  fine_tune_checkpoint: "{"x" * 90}"\n}}\n')


def test_a_field_written_twice_becomes_one() -> None:
    text = "train_config {\n  batch_size: 1\n  batch_size: 2  # the one that counts\n}\n"
    edited = led(text, ("train_config.num_steps", 5))
    assert edited == ("train_config {\n  batch_size: 2  # the one that counts\n  num_steps: 5\n}\n")


def test_a_message_written_twice_becomes_one() -> None:
    text = "# mine\ntrain_config { batch_size: 1 }\ntrain_config { num_steps: 2 }\n"
    target = parsed("train_config { batch_size: 3 num_steps: 2 }")
    edited = rewrite_text(text, target)
    assert edited.kept_layout
    assert edited.text == "# mine\ntrain_config { batch_size: 3 num_steps: 2 }\n"


def test_what_cannot_be_edited_falls_back_to_the_protos_form_under_all_comments() -> None:
    text = "# mine\ntrain_config {\n  batch_size: 1  # small\n  batchsize: 2  # which?\n}\n"
    edited = rewrite_text(text, parsed("train_config { batch_size: 3 }"))
    assert not edited.kept_layout
    assert 'no field named "batchsize"' in edited.why
    assert edited.text == "# mine\n# small\n# which?\ntrain_config {\n  batch_size: 3\n}\n"


def test_an_edit_of_an_unknown_field_is_refused() -> None:
    with pytest.raises(KeyError):
        led(TEXT, ("train_config.batchsize", 2))


@pytest.mark.parametrize("text", ["a", "a {", "a: [1", "a: }", "a: $", "a: [1 2]", "a {" * 5000])
def test_what_is_no_text_proto_is_refused(text: str) -> None:
    with pytest.raises(TextTreeError):
        parse_text_tree(text)


def test_the_reference_configs_can_be_led_to_each_other(reference_configs: Path) -> None:
    paths = sorted(reference_configs.glob("*.config"))
    assert paths
    for path, other in zip(paths, paths[1:] + paths[:1], strict=True):
        text, target = path.read_text(encoding="utf-8"), parsed(other.read_text(encoding="utf-8"))
        edited = rewrite_text(text, target)
        assert edited.kept_layout, (path.name, edited.why)
        assert parsed(edited.text) == target
        assert sorted(comments(edited.text)) == sorted(comments(text))


# Random messages, printed in a random layout, led to other random messages.

_STRINGS = st.text(
    st.characters(blacklist_categories=("Cs",)) | st.sampled_from("{}<>[]#'\"\\:;, \n"), max_size=8
)
_ROOTS = ("train_config", "train_input_reader", "eval_input_reader", "eval_config", "model")


@st.composite
def filled(draw: st.DrawFn, message: Message, depth: int = 0) -> Message:
    """Fills a message with a few random fields."""
    names = _ROOTS if depth == 0 else sorted(f.name for f in message.DESCRIPTOR.fields)
    for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else ():
        descriptor = message.DESCRIPTOR.fields_by_name[name]
        if descriptor.message_type is not None and (depth > 4 or "map" in descriptor.name):
            continue
        value: Any = getattr(message, name)
        if isinstance(value, Message):
            value.SetInParent()
            draw(filled(value, depth + 1))
        elif descriptor.message_type is not None:
            if descriptor.message_type.GetOptions().map_entry:
                continue
            for _ in range(draw(st.integers(1, 3))):
                draw(filled(value.add(), depth + 1))
        elif isinstance(value, (str, bytes, int, float)):
            setattr(message, name, draw(scalar(descriptor)))
        else:
            value.extend(draw(st.lists(scalar(descriptor), min_size=1, max_size=3)))
    return message


def scalar(descriptor: Any) -> st.SearchStrategy[Any]:
    if descriptor.enum_type is not None:
        return st.sampled_from([value.number for value in descriptor.enum_type.values])
    return {
        descriptor.CPPTYPE_STRING: _STRINGS
        if descriptor.type != descriptor.TYPE_BYTES
        else st.binary(max_size=4),
        descriptor.CPPTYPE_BOOL: st.booleans(),
        descriptor.CPPTYPE_FLOAT: st.floats(width=32),
        descriptor.CPPTYPE_DOUBLE: st.floats(),
    }.get(descriptor.cpp_type, st.integers(0, 2**31 - 1))


@st.composite
def laid_out(draw: st.DrawFn, message: Message) -> str:
    """Prints a message with random delimiters, separators, blanks and comments."""

    def blank() -> str:
        return draw(st.sampled_from([" ", "\n", "  # c{}\n", "\t", "\n\n  ", " # it's \"\n"]))

    def scalar_field(name: str, text: str) -> str:
        joined = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', text)
        if joined and draw(st.booleans()):
            text = text + blank() + "''"
        mark = draw(st.sampled_from(["", ",", ";"]))
        return f"{name}{draw(st.sampled_from(['', ' ']))}:{blank()}{text}{mark}{blank()}"

    def body(inside: Message) -> str:
        pieces = [blank()]
        for descriptor, value in inside.ListFields():
            name = descriptor.name
            items = [value] if isinstance(value, (Message, str, bytes, int, float)) else list(value)
            if isinstance(items[0], Message):
                for item in items:
                    opening, closing = draw(st.sampled_from(["{}", "<>"]))
                    colon = draw(st.sampled_from([":", ""]))
                    pieces.append(f"{name}{colon} {opening}{body(item)}{closing}{blank()}")
                continue
            texts = scalar_lines(inside, name)
            if len(texts) > 1 and draw(st.booleans()):
                pieces.append(scalar_field(name, f"[{', '.join(texts)}]"))
            else:
                pieces += [scalar_field(name, text) for text in texts]
        return "".join(pieces)

    return body(message)


def scalar_lines(message: Message, name: str) -> list[str]:
    holder = type(message)()
    value = getattr(message, name)
    if isinstance(value, (str, bytes, int, float)):
        setattr(holder, name, value)
    else:
        getattr(holder, name).extend(value)
    return [
        line.removeprefix(f"{name}: ")
        for line in text_format.MessageToString(holder).rstrip("\n").split("\n")
    ]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_text_is_led_to_any_message_without_losing_a_comment(data: st.DataObject) -> None:
    one = data.draw(filled(pipeline_pb2.TrainEvalPipelineConfig()))
    text = data.draw(laid_out(one))
    assert printed(parsed(text)) == printed(one)
    other = data.draw(filled(pipeline_pb2.TrainEvalPipelineConfig()))
    target = pipeline_pb2.TrainEvalPipelineConfig()
    target.CopyFrom(one)
    target.MergeFrom(other)
    for name in data.draw(st.lists(st.sampled_from(_ROOTS), max_size=2)):
        target.ClearField(name)
    edited = rewrite_text(text, target)
    assert printed(parsed(edited.text)) == printed(target)
    assert edited.kept_layout, edited.why
    assert sorted(comments(edited.text)) == sorted(comments(text))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_text_that_is_right_already_stays_to_the_letter(data: st.DataObject) -> None:
    one = data.draw(filled(pipeline_pb2.TrainEvalPipelineConfig()))
    text = data.draw(laid_out(one))
    assert rewrite_text(text, one).text == text


def test_a_whole_repeated_message_is_led_to_other_items() -> None:
    proto = parsed(TEXT)
    options = proto.train_config.data_augmentation_options
    del options[0]
    text_format.Parse("random_horizontal_flip {}", options.add())
    edited = rewrite_text(TEXT, proto)
    assert edited.kept_layout
    kinds = [
        option.WhichOneof("preprocessing_step")
        for option in parsed(edited.text).train_config.data_augmentation_options
    ]
    assert kinds == ["random_adjust_hue", "random_horizontal_flip"]
