"""Starts the child that draws, and gives what it drew."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from object_detection.protos import pipeline_pb2

from odapi_repro.datasets.annotations import DrawnInputs, ModelInput, RefusedInput
from odapi_repro.datasets.example import ParsedExample, parse_example
from odapi_repro.datasets.label_map import read_label_map
from odapi_repro.datasets.records import sample_records
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.errors import DataError, EnvironmentMissing, UserError
from odapi_repro.files import write_whole
from odapi_repro.pipeline import Pipeline
from odapi_repro.training.model_input_job import ModelInputJob, read_input, write_input_job
from odapi_repro.trials.child_process import ChildEnd, run_child
from odapi_repro.trials.executors.local_executor import check_worker_environment

OnInput = Callable[[int, int, ModelInput | RefusedInput], None]
"""Gets the record's index, the draw, and what the model gets of it."""

_WORKER = (sys.executable, "-m", "odapi_repro.trials.model_inputs.model_inputs_worker")
# These put two images side by side, and the boxes of both with them.
_ADDS_BOXES = frozenset({"random_self_concat_image"})


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


def model_inputs(
    pipeline: Pipeline,
    files: Sequence[Path],
    label_map_path: Path,
    *,
    images: int,
    draws: int,
    seed: int,
) -> tuple[ModelInput, ...]:
    """Gives `draws` model inputs of each of `images` records, which the seed chooses.

    Records keep the order of the files, and the draws of a record follow each other. All of them
    are held in memory: `each_model_input` hands them over one by one.

    Raises:
        UserError: the pipeline's input cannot be built; says what the OD API says.
        DataError: records or label map cannot be read.
        EnvironmentMissing: TensorFlow is not installed, or the disk is full.
    """
    return draw_model_inputs(
        pipeline, files, label_map_path, images=images, draws=draws, seed=seed
    ).inputs


def draw_model_inputs(
    pipeline: Pipeline,
    files: Sequence[Path],
    label_map_path: Path,
    *,
    images: int,
    draws: int,
    seed: int,
) -> DrawnInputs:
    """Gives what `model_inputs` gives, and the records that the input functions refuse."""
    drawn: dict[tuple[int, int], ModelInput | RefusedInput] = {}

    def keep(record: int, draw: int, one: ModelInput | RefusedInput) -> None:
        drawn[record, draw] = one

    examples = sample_records(files, images, seed)
    each_model_input(pipeline, examples, label_map_path, keep, draws=draws, seed=seed)
    ordered = [drawn[key] for key in sorted(drawn)]
    return DrawnInputs(
        inputs=tuple(one for one in ordered if isinstance(one, ModelInput)),
        refused=tuple(one for one in ordered if isinstance(one, RefusedInput)),
    )


def each_model_input(
    pipeline: Pipeline,
    examples: Sequence[bytes],
    label_map_path: Path,
    on_input: OnInput,
    *,
    draws: int,
    seed: int,
) -> None:
    """Draws from serialised examples and hands over each result when it is there.

    First comes the first draw of every record, then the second, and so on. The same arguments give
    the same inputs.

    Raises:
        UserError, DataError, EnvironmentMissing: as `model_inputs`.
    """
    check_worker_environment("drawing what the model sees")
    read_label_map(label_map_path)
    parsed = [parse_example(data) for data in examples]
    counts = tuple(len(one.floats("image/object/bbox/ymin")) for one in parsed)
    source_ids = tuple(one.text("image/source_id") for one in parsed)
    with tempfile.TemporaryDirectory(prefix="odapi_repro_inputs_") as name:
        folder = Path(name)
        records = folder / "records"
        write_records(records, examples)
        config = folder / "pipeline.config"
        reading = _reading(pipeline, records, label_map_path, max(counts, default=0))
        write_whole(config, reading.to_text())
        job = ModelInputJob(str(config), name, source_ids, counts, draws, seed)
        job_path = folder / "job.json"
        write_input_job(job, job_path)

        def listen(event: dict[str, Any]) -> None:
            _hand_over(event, parsed, pipeline, on_input)

        log = folder / "inputs.log"
        _check_end(run_child([*_WORKER, str(job_path)], log, listen), pipeline)


def _reading(pipeline: Pipeline, records: Path, label_map_path: Path, most_boxes: int) -> Pipeline:
    """Gives the pipeline with a reader of one file in its order; what decides an input stays."""

    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        proto.train_config.batch_size = 1
        # A copy of the image beside the input; and what TPUs alone are trained with.
        proto.train_config.retain_original_images = False
        proto.train_config.use_bfloat16 = False
        reader = proto.train_input_reader
        reader.tf_record_input_reader.input_path[:] = [str(records)]
        reader.label_map_path = str(label_map_path.absolute())
        reader.shuffle = False
        reader.include_source_id = True
        reader.sample_1_of_n_examples = 1
        reader.num_readers = 1
        reader.num_parallel_batches = 1
        reader.num_prefetch_batches = 1
        reader.ClearField("num_epochs")
        reader.ClearField("sample_from_datasets_weights")
        steps = proto.train_config.data_augmentation_options
        adds = any(step.WhichOneof("preprocessing_step") in _ADDS_BOXES for step in steps)
        if reader.load_instance_masks and not adds:
            # Masks are padded to this many images of float32.
            reader.max_number_of_boxes = min(reader.max_number_of_boxes, max(most_boxes, 1))

    return pipeline.edited(edit)


def _hand_over(
    event: Mapping[str, Any],
    parsed: Sequence[ParsedExample],
    pipeline: Pipeline,
    on_input: OnInput,
) -> None:
    if event["event"] == "refused":
        record, draw = int(event["record"]), int(event["draw"])
        example = parsed[record]
        message, mend = explained_refusal(str(event["message"]), example, pipeline)
        source_id = example.text("image/source_id")
        on_input(record, draw, RefusedInput(source_id, draw, message, mend))
    if event["event"] == "input":
        path = Path(event["path"])
        one = read_input(path)
        path.unlink()
        on_input(int(event["record"]), int(event["draw"]), one)


def _check_end(end: ChildEnd, pipeline: Pipeline) -> None:
    kind, message = end.failure
    if kind == "input":
        found, *rest = message.split("\n")
        raise UserError.told("\n".join([f"{pipeline.path}: {found}", *rest]))
    if kind == "disk_full":
        raise EnvironmentMissing(
            "no space left on the disk while model inputs were drawn",
            expected="room for the images in the folder of temporary files",
            mend="free some space, or set TMPDIR to another folder",
        )
    if kind == "out_of_memory":
        raise UserError(
            message,
            expected="memory for one image of the network's size and its masks",
            mend="fewer objects: a smaller max_number_of_boxes",
        )
    if kind:
        tail = end.log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
        raise UserError.told("\n".join([f"drawing model inputs failed: {message}", *tail]))
