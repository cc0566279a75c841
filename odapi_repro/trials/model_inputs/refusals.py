"""What is wrong with a record at which the input functions stop, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from odapi_repro.datasets.example import ParsedExample
from odapi_repro.errors import DataError
from odapi_repro.pipeline import Pipeline

_SHORT = re.compile(r"indices\[\d+\] = (-?\d+) is not in \[0, (\d+)\)")
_RAGGED = re.compile(
    r"tensor with (\d+) values, but the requested shape requires a multiple of (\d+)"
)
_APART = "ConcatOp : Dimension"
_NUMERICAL, _PNG = 1, 2  # InstanceMaskType in protos/input_reader.proto
_PERMUTATIONS = ("keypoint_flip_permutation", "keypoint_rot_permutation")
_PLURAL = {"class": "classes", "mask": "masks"}
_REWRITE = "write these records again, one value an object in every list under image/object"


@dataclass(frozen=True)
class _Fault:
    """Something that does not fit, and the message by which TensorFlow stops at it.

    Attributes:
        found, mend: for the user.
        says: the start of a message, or the numbers in one of the two patterns.
    """

    found: str
    mend: str
    says: str | tuple[re.Pattern[str], int | None, int]

    def is_of(self, message: str) -> bool:
        if isinstance(self.says, str):
            return self.says in message
        pattern, first, second = self.says
        match = pattern.search(message)
        if match is None or int(match[2]) != second:
            return False
        # Which index is beyond a list that is too short depends on the boxes that are kept.
        return first is None or int(match[1]) == first


def explained_refusal(message: str, example: ParsedExample, pipeline: Pipeline) -> tuple[str, str]:
    """Gives the message with what is wrong before it, and how to mend that.

    As the message is, with no mending, where nothing is known that would give it: a gather of as
    many keypoints, classes or masks as there are boxes (utils/ops.retain_groundtruth), or their
    reshape (data_decoders/tf_example_decoder.py), or a join of coordinates.

    Args:
        message: what TensorFlow says.
        example: the record.
        pipeline: its train_input_reader is the one that reads it.
    """
    try:
        fault = next((one for one in _faults(example, pipeline) if one.is_of(message)), None)
    except DataError:  # a list of another kind, which stops it with another message
        fault = None
    return (message, "") if fault is None else (f"{fault.found} ({message})", fault.mend)


def _faults(example: ParsedExample, pipeline: Pipeline) -> Iterator[_Fault]:
    """Gives what does not fit in the order in which the OD API comes across it."""
    reader = pipeline.proto.train_input_reader
    boxes = len(example.floats("image/object/bbox/ymin"))
    edges = {
        edge: len(example.floats(f"image/object/bbox/{edge}")) for edge in ("xmin", "ymax", "xmax")
    }
    for edge, count in edges.items():
        if count != boxes:
            yield _Fault(
                f"{count} values in bbox/{edge} and {boxes} in bbox/ymin", _REWRITE, _APART
            )
    if reader.num_keypoints:
        yield from _keypoints(example, pipeline, boxes)
    names = len(example.texts("image/object/class/text"))
    yield from _too_few(names or len(example.ints("image/object/class/label")), boxes, "class")
    if reader.load_instance_masks:
        yield from _masks(example, reader.mask_type, boxes)
    lists = {"area": len(example.floats("image/object/area"))}
    lists |= {key: len(example.ints(f"image/object/{key}")) for key in ("is_crowd", "difficult")}
    for key, count in lists.items():
        if boxes and count % boxes:
            found = f"{count} values of image/object/{key} for {_boxes(boxes)}"
            yield _Fault(found, _REWRITE, (_RAGGED, count, boxes))


def _keypoints(example: ParsedExample, pipeline: Pipeline, boxes: int) -> Iterator[_Fault]:
    each = int(pipeline.proto.train_input_reader.num_keypoints)
    y, x = (len(example.floats(f"image/object/keypoint/{axis}")) for axis in "yx")
    mend = f"{each} values for each box in keypoint/x and keypoint/y, or another num_keypoints"
    if x != y:
        yield _Fault(f"{x} values in keypoint/x and {y} in keypoint/y", mend, _APART)
    elif not x and boxes:
        yield _Fault(
            f"{_boxes(boxes)} and no keypoints, and num_keypoints is {each}",
            "write the records again with keypoints"
            if pipeline.keypoint_tasks
            else "leave num_keypoints out of the reader: the model has no keypoint task",
            (_SHORT, None, 0),
        )
    else:
        found = f"{x} keypoint values for {_boxes(boxes)}, and num_keypoints is {each}"
        # Places are reshaped to [-1, each, 2], visibilities to [-1, each]: either may stop first.
        for values in (1, 2):
            yield _Fault(found, mend, (_RAGGED, values * x, values * each))
        if x // each < boxes:
            yield _Fault(found, mend, (_SHORT, None, x // each))
    for step in pipeline.proto.train_config.data_augmentation_options:
        kind = step.WhichOneof("preprocessing_step")
        for field in _PERMUTATIONS:
            for value in getattr(getattr(step, kind), field, ()) if kind else ():
                if not 0 <= value < each:
                    yield _Fault(
                        f"{field} of {kind} has {value}, and keypoints are 0 to {each - 1}",
                        f"name each of 0 to {each - 1} once in {field}",
                        (_SHORT, value, each),
                    )


def _masks(example: ParsedExample, kind: int, boxes: int) -> Iterator[_Fault]:
    if kind == _PNG:
        yield from _too_few(len(example.bytes_list("image/object/mask")), boxes, "mask")
        return
    sides = [example.ints(f"image/{side}")[:1] for side in ("height", "width")]
    pixels = int(sides[0][0] * sides[1][0]) if all(len(side) for side in sides) else 0
    values = len(example.floats("image/object/mask"))
    if pixels and values % pixels:
        found = f"{values} mask values, of {pixels} pixels an image"
        yield _Fault(found, "write masks of the image's size", (_RAGGED, values, pixels))
    elif pixels:
        yield from _too_few(values // pixels, boxes, "mask")


def _too_few(count: int, boxes: int, what: str) -> Iterator[_Fault]:
    if count < boxes:
        found = f"{_boxes(boxes)} and {count or 'no'} {what if count == 1 else _PLURAL[what]}"
        mend = f"write the records again with a {what} for every box"
        yield _Fault(found, mend, (_SHORT, None, count))


def _boxes(count: int) -> str:
    return f"{count} box" if count == 1 else f"{count} boxes"
