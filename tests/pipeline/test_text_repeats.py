"""What stands twice where one counts is found, and left once without a comment lost."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from odapi_repro.pipeline.text_splices import find_repeats, leave_once
from odapi_repro.pipeline.text_tree import comments_of

STEPS = """\
train_config {
  data_augmentation_options {
    random_horizontal_flip {
    }  # mirrored
    # then cut
    random_crop_image { }
    random_horizontal_flip {}
  }
}
"""


def merged(text: str) -> pipeline_pb2.TrainEvalPipelineConfig:
    """As the OD API reads it."""
    proto: pipeline_pb2.TrainEvalPipelineConfig = text_format.Merge(
        text, pipeline_pb2.TrainEvalPipelineConfig()
    )
    return proto


def strict(text: str) -> pipeline_pb2.TrainEvalPipelineConfig:
    """As it is read where nothing may stand twice."""
    proto: pipeline_pb2.TrainEvalPipelineConfig = text_format.Parse(
        text, pipeline_pb2.TrainEvalPipelineConfig()
    )
    return proto


def kinds(text: str) -> list[str]:
    steps = strict(text).train_config.data_augmentation_options
    return [step.WhichOneof("preprocessing_step") for step in steps]


# (sort, what counts, a text with it). The OD API's own merge says what each means.
ALIKE = [
    ("value", "batch_size", "train_config {\n  batch_size: 1  # old\n  batch_size: 2  # new\n}\n"),
    (
        "block",
        "eval_config",
        "eval_config { batch_size: 1 }\n# why\neval_config { num_examples: 2 }\n",
    ),
    (
        "block",
        "eval_config",
        "eval_config {  # one\n  batch_size: 1  # b\n}  # end\n\n# two\neval_config {  # again\n"
        "  # my remark\n  batch_size: 3\n  metrics_set: 'a'\n}\neval_config < metrics_set: 'b' >\n",
    ),
    (
        "kinds",
        "fixed_shape_resizer",
        "model { ssd { image_resizer {\n  keep_aspect_ratio_resizer { min_dimension: 7 }  # keeps\n"
        "  fixed_shape_resizer { height: 300 }  # fixed\n} } }\n",
    ),
    (
        "kinds",
        "momentum_optimizer",
        "train_config { optimizer { adam_optimizer { } # ad\n momentum_optimizer { } } }\n",
    ),
    (
        "kinds",
        "constant_learning_rate",
        "train_config { optimizer { adam_optimizer { learning_rate {\n"
        "  manual_step_learning_rate { initial_learning_rate: 1 }\n"
        "  constant_learning_rate { learning_rate: 2 } } } } }\n",
    ),
    (
        "kinds",
        "adam_optimizer",  # the pieces on both sides of another kind are not put together
        "train_config { optimizer { adam_optimizer { epsilon: 1 } momentum_optimizer { }\n"
        "  adam_optimizer { use_moving_average: false } } }\n".replace(
            "use_moving_average: false", "epsilon: 2"
        ),
    ),
    ("kinds", "faster_rcnn", "model { ssd { num_classes: 3 } }\nmodel { faster_rcnn { } }\n"),
]


@pytest.mark.parametrize(("sort", "counts", "text"), ALIKE)
def test_what_is_left_once_reads_as_the_od_api_read_it(sort: str, counts: str, text: str) -> None:
    found = {(one.sort, one.counts) for one in find_repeats(text)}
    assert (sort, counts) in found
    once = leave_once(text)
    assert strict(once) == merged(text)
    assert find_repeats(once) == ()
    assert sorted(c for _, c in comments_of(once)) == sorted(c for _, c in comments_of(text))


def test_steps_in_one_block_get_a_block_each_and_all_count() -> None:
    (repeat,) = find_repeats(STEPS)
    assert (repeat.sort, repeat.thing, repeat.counts) == (
        "steps",
        "data_augmentation_options",
        "random_horizontal_flip",
    )
    assert repeat.dropped == ("random_horizontal_flip", "random_crop_image")
    assert repeat.lines == (3, 6, 7)
    assert kinds(leave_once(STEPS)) == [
        "random_horizontal_flip",
        "random_crop_image",
        "random_horizontal_flip",
    ]
    assert leave_once(STEPS) == (
        "train_config {\n"
        "  data_augmentation_options {\n    random_horizontal_flip {\n    }  # mirrored\n  }\n"
        "  data_augmentation_options {\n    # then cut\n    random_crop_image { }\n  }\n"
        "  data_augmentation_options {\n    random_horizontal_flip {}\n  }\n"
        "}\n"
    )


@pytest.mark.parametrize(
    "block",
    [
        "data_augmentation_options { random_adjust_hue {} random_adjust_contrast {} # c\n }",
        "data_augmentation_options: { random_adjust_hue {}, random_adjust_contrast {}; }",
        "data_augmentation_options < random_adjust_hue <> random_adjust_contrast <> >",
        "data_augmentation_options: [{ random_adjust_hue {} random_adjust_contrast {} }]",
        "data_augmentation_options { random_adjust_hue {} random_adjust_hue { max_delta: 0.1 }\n"
        "  random_adjust_contrast {} }",
    ],
)
def test_steps_are_parted_however_the_block_is_written(block: str) -> None:
    text = f"train_config {{\n  {block}\n"
    text += "  data_augmentation_options { random_crop_image {} }\n}\n"
    once = leave_once(text)
    assert kinds(once) == ["random_adjust_hue", "random_adjust_contrast", "random_crop_image"]
    assert [c for _, c in comments_of(once)] == [c for _, c in comments_of(text)]


def test_windows_line_ends_stay() -> None:
    text = STEPS.replace("\n", "\r\n") + "eval_config { }\r\neval_config {\r\n  # x\r\n}\r\n"
    once = leave_once(text)
    assert once.count("\n") == once.count("\r\n")
    strict(once)


def test_a_text_without_repeats_stays_as_it_is() -> None:
    text = "train_config { batch_size: 1 }  # a\nmodel { ssd { } }\n"
    assert find_repeats(text) == ()
    assert leave_once(text) == text
