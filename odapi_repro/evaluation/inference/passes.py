"""Runs the passes of an evaluation job: images in, detections on disk. In the child process.

It replaces `model_lib_v2.eager_eval_loop` where only detections are wanted. The model, its
preprocessing and its post-processing are the OD API's own. What differs: images are read in order
and to the last, decoded in parallel and put together into batches; the function is compiled as a
whole, without losses and without AutoGraph; masks go from the box straight to run lengths; nothing
is drawn; and an exception is not swallowed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError
from odapi_repro.evaluation.inference.evaluation_job import (
    EvaluationJob,
    Pass,
    detections_path,
    stages_path,
    write_images,
)
from odapi_repro.evaluation.inference.forward import STAGES, variant_key
from odapi_repro.evaluation.inference.mask_paste import paste_masks
from odapi_repro.evaluation.inference.model_edits import check_saved_model_passes
from odapi_repro.evaluation.inference.networks import (
    BatchOutputs,
    Networks,
    ReadyPass,
    saved_model_pass,
)
from odapi_repro.evaluation.inference.stage_tensors import StageRecorder
from odapi_repro.files import replacing

# Batches whose detections wait for the thread that writes them.
_MOST_PENDING = 4


_LEVEL = 4


def to_pixels(boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Gives boxes [N, 4] (ymin xmin ymax xmax, shares of the image) as COCO's x y w h in pixels.

    In float32 throughout, as `box_list_ops.scale` and `coco_tools._ConvertBoxToCOCOFormat` leave
    them, so that IoUs are those of the OD API's own evaluation to the last bit.
    """
    ymin, xmin, ymax, xmax = np.asarray(boxes, np.float32).T
    y_scale, x_scale = np.float32(height), np.float32(width)
    left, top = x_scale * xmin, y_scale * ymin
    return np.stack([left, top, x_scale * xmax - left, y_scale * ymax - top], axis=1)


def image_results(
    image_id: int | str,
    size: Sequence[int],
    outputs: Mapping[str, NDArray[Any]],
    category_ids: Collection[int] = (),
) -> list[dict[str, Any]]:
    """Gives the detections of one image in COCO's results format, masks as RLE.

    Args:
        image_id: what they are written under.
        size: height and width of the original image.
        outputs: of one image as `forward.compile_forward` gives them, without the batch.
        category_ids: the classes that are kept, 1 for the first; empty for all.
    """
    height, width = size
    categories = outputs["detection_classes"][: int(outputs["num_detections"])] + 1
    if category_ids:
        kept = np.flatnonzero(np.isin(categories, list(category_ids)))
    else:
        kept = np.arange(len(categories))
    boxes = outputs["detection_boxes"][kept]
    masks: list[dict[str, Any]] = []
    if "detection_masks" in outputs:
        masks = paste_masks(outputs["detection_masks"][kept], boxes, height, width)
    results: list[dict[str, Any]] = []
    for index, (category, box, score) in enumerate(
        zip(
            categories[kept].tolist(),
            to_pixels(boxes, height, width).tolist(),
            outputs["detection_scores"][kept].tolist(),
            strict=True,
        )
    ):
        result = {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
        if masks:
            result["segmentation"] = masks[index]
        results.append(result)
    return results


class ResultsFile:
    """Writes a gzipped JSON list of results; images may come in any order.

    The same results make the same bytes. Images that come before their turn are kept as text.

    Args:
        path: is there, whole, once the context has ended well.
    """

    def __init__(self, path: Path) -> None:
        self._replacing = replacing(path)
        self._waiting: dict[int, str] = {}
        self._next = 0
        self._empty = True

    def __enter__(self) -> ResultsFile:
        self._file = gzip.GzipFile("", "wb", _LEVEL, self._replacing.__enter__(), mtime=0)
        self._file.write(b"[")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.ExitStack() as stack:
            stack.push(self._replacing)
            if error is not None:
                raise error
            self._file.write(b"]")
            self._file.close()

    def add(self, position: int, results: Sequence[dict[str, Any]]) -> None:
        """Takes the results of the image at `position`, from 0; each position comes once."""
        self._waiting[position] = json.dumps(results)[1:-1]
        while self._next in self._waiting:
            text = self._waiting.pop(self._next)
            self._next += 1
            if text:
                self._file.write((text if self._empty else f", {text}").encode())
                self._empty = False


class Emit(Protocol):
    """Takes an event by name with its fields, as `execution.events.EventWriter` does."""

    def __call__(self, event: str, **fields: Any) -> None:
        """Takes one event."""


@dataclass(frozen=True)
class PassTimings:
    """What a pass took, in seconds.

    Attributes:
        build_seconds: building the model and tracing its function; 0 where an earlier pass did.
        restore_seconds: reading the checkpoints.
        first_batch_seconds: from the first image asked for to the first detections.
        rest_seconds: from then to the last byte written.
        images: evaluated.
        images_in_first_batch: of them.
    """

    build_seconds: float
    restore_seconds: float
    first_batch_seconds: float
    rest_seconds: float
    images: int
    images_in_first_batch: int


def run_job(job: EvaluationJob, emit: Emit) -> dict[str, PassTimings]:
    """Runs every pass of a job in turn and gives what each took.

    A pass's folder appears when all of it is written. Compatibility patches, devices and
    extensions must have been seen to before.

    Args:
        emit: gets `restored` (pass, build_seconds, restore_seconds), after each batch
            `evaluating` (pass, images: those done), and `pass_done` (pass, and the fields of
            `PassTimings`) when a pass's folder is there.

    Raises:
        UserError: passes that this model cannot run.
        DataError: a checkpoint that is not the model's, an image that does not decode, or
            another number of images than the job says.
    """
    if job.saved_model:
        check_saved_model_passes(job.saved_model, job.passes)
    networks = None if job.saved_model else Networks(job)
    timings = {}
    for one in job.passes:
        ready = saved_model_pass(job, one) if networks is None else networks.ready(one)
        name = {"pass": one.name}
        emit(
            "restored",
            build_seconds=ready.build_seconds,
            restore_seconds=ready.restore_seconds,
            **name,
        )
        folder = detections_path(job.output_dir, one.name, "").parent
        partial = folder.with_name(f".{one.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        timings[one.name] = _run_pass(job, one, ready, partial, emit)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
        emit("pass_done", **name, **dataclasses.asdict(timings[one.name]))
    return timings


def _run_pass(
    job: EvaluationJob, one: Pass, ready: ReadyPass, folder: Path, emit: Emit
) -> PassTimings:
    done = in_first = 0
    began = first = time.monotonic()
    with _Sink(job, one, folder) as sink, ThreadPoolExecutor(1) as writer:
        pending: deque[Future[None]] = deque()
        for batch in ready.batches:
            pending.append(writer.submit(sink.take, batch))
            if len(pending) > _MOST_PENDING:
                pending.popleft().result()
            done += len(batch.positions)
            if not in_first:
                in_first, first = done, time.monotonic()
            emit("evaluating", images=done, **{"pass": one.name})
        for future in pending:
            future.result()
        sink.finish(done)
    return PassTimings(
        build_seconds=ready.build_seconds,
        restore_seconds=ready.restore_seconds,
        first_batch_seconds=first - began,
        rest_seconds=time.monotonic() - first,
        images=done,
        images_in_first_batch=in_first,
    )


class _Sink:
    """Where the outputs of a pass go: files by variant, and the stages."""

    def __init__(self, job: EvaluationJob, one: Pass, folder: Path) -> None:
        self._job = job
        self._pass = one
        self._open = contextlib.ExitStack()
        self._files = {
            variant_key(variant): self._open.enter_context(
                ResultsFile(detections_path(folder.parent, folder.name, variant.name))
            )
            for variant in one.variants
        }
        self._stages_path = stages_path(folder.parent, folder.name)
        self._recorder = StageRecorder() if one.stages else None
        self._stages: dict[int, Mapping[str, NDArray[Any]]] = {}
        self._recorded = 0
        self._sizes: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def take(self, batch: BatchOutputs) -> None:
        """Writes the detections of a batch."""
        positions, sizes, outputs = batch
        ids = self._job.image_ids
        for index, position in enumerate(positions):
            height, width = (int(value) for value in sizes[index])
            self._sizes[position] = (height, width)
            for key, file in self._files.items():
                own = {name: values[index] for name, values in outputs[key].items()}
                image_id = ids[position] if position < len(ids) else position
                results = image_results(image_id, (height, width), own, self._job.category_ids)
                file.add(position, results)
            if self._recorder is not None:
                self._stages[position] = {
                    name: values[index : index + 1] for name, values in outputs[STAGES].items()
                }
        while self._recorder is not None and self._recorded in self._stages:
            self._recorder.add(self._stages.pop(self._recorded))
            self._recorded += 1

    def finish(self, images: int) -> None:
        """Writes what is written once, after the last batch.

        Raises:
            DataError: another number of images than expected, or sizes that an earlier pass had
                otherwise.
        """
        if images != self._job.num_images:
            raise DataError(
                f"{images} images were read",
                expected=f"{self._job.num_images}",
                mend="leave records and images alone while they are evaluated",
            )
        if self._recorder is not None:
            self._recorder.save(self._stages_path)
        heights, widths = zip(*(self._sizes[i] for i in range(images)), strict=True)
        write_images(self._job, heights, widths)
