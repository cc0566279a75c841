"""Starts the child that draws, and gives what it drew."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from object_detection.protos import pipeline_pb2

from odapi_repro.datasets.example import ParsedExample, parse_example
from odapi_repro.datasets.label_map import read_label_map
from odapi_repro.datasets.model_input import DrawnInputs, ModelInput, RefusedInput
from odapi_repro.datasets.record_access import sample_records
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.files import write_whole
from odapi_repro.pipeline import Pipeline
from odapi_repro.training.model_input_job import ModelInputJob, read_input, write_input_job
from odapi_repro.trials.child import ChildEnd, run_child
from odapi_repro.trials.executors.local import check_worker_environment
from odapi_repro.trials.model_inputs.refusals import explained_refusal

OnInput = Callable[[int, int, ModelInput | RefusedInput], None]
"""Gets the record's index, the draw, and what the model gets of it."""

_WORKER = (sys.executable, "-m", "odapi_repro.trials.model_inputs.worker")
# These put two images side by side, and the boxes of both with them.
_ADDS_BOXES = frozenset({"random_self_concat_image"})


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
