"""What the evaluation child is told: one input and the passes over it, as JSON on disk."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odapi_repro.errors import DataError, UserError
from odapi_repro.files import write_json, write_whole

PLAIN = "plain"
"""The name of the pass, and of the variant, that change nothing."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+,-]*")
_POST_PROCESSING = re.compile(r"^model\.\w+\.(second_stage_)?post_processing\.")


@dataclass(frozen=True)
class Variant:
    """One post-processing of a network's output; the forward pass is shared with other variants.

    Attributes:
        name: a file name without suffix.
        fields: values by dotted pipeline field, all of them inside `post_processing` (SSD) or
            `second_stage_post_processing` (Faster and Mask R-CNN); None clears a field.
    """

    name: str = PLAIN
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name)
        for path in self.fields:
            if not _POST_PROCESSING.match(path):
                raise UserError(
                    f"variant '{self.name}' sets {path}",
                    expected="a field of model.<kind>.post_processing or "
                    "second_stage_post_processing: variants share the forward pass",
                    mend="set it in the fields of a pass of its own",
                )


@dataclass(frozen=True)
class Pass:
    """One run of a network over all images.

    Attributes:
        name: a folder name.
        checkpoints: prefixes (`.../ckpt-7`); of several the weights are averaged. None for a
            SavedModel, which holds its own.
        fields: values by dotted pipeline field, set before the model is built.
        flip: detect in the mirrored image; boxes and masks are mirrored back.
        scale: the image resizer's sizes are multiplied by it and rounded to what the model takes.
        stages: write what each stage of a two-stage detector gives (`stages.npz`), too.
        variants: what is made of the network's output; at least one.
    """

    name: str = PLAIN
    checkpoints: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    flip: bool = False
    scale: float = 1.0
    stages: bool = False
    variants: tuple[Variant, ...] = field(default_factory=lambda: (Variant(),))

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_names([variant.name for variant in self.variants], f"variants of '{self.name}'")
        if not 0.0 < self.scale < float("inf"):
            raise UserError(f"pass '{self.name}' has scale {self.scale}", expected="above 0")
        if self.stages and self.flip:
            raise UserError(
                f"pass '{self.name}' asks for the stages of mirrored images",
                expected="stages without flip: they are not mirrored back",
            )


@dataclass(frozen=True)
class EvaluationJob:
    """One input and the passes over it.

    Attributes:
        pipeline_path: the pipeline.config the model is built from; empty for a SavedModel.
        saved_model: folder of a SavedModel that exporter_main_v2 wrote; empty for checkpoints.
        record_files: TFRecord files, read one after the other, to the last record.
        image_files: image files (JPEG, PNG, GIF or BMP), instead of records.
        num_images: images that will be evaluated, after `sample_1_of_n`.
        sample_1_of_n: every n-th image, beginning with the first, as the OD API's
            `eval_input_reader.sample_1_of_n_examples`.
        passes: at least one, with names of their own.
        output_dir: where detections go, see `detections_path`.
        batch_size: images that go through the network together.
        device: `cpu`, `gpu` or `tpu`; it must have been chosen before.
        deterministic: the same bits each time; ops run one by one on CPU.
        extensions: training extensions that the model needs (`proxy_backbone`).
        with_masks: whether instance masks are written.
        image_ids: what `image_id` is written for the images, by position; empty for the position.
        category_ids: classes whose detections are written, 1 for the model's first; empty for all.
            A network may have more than the label map (COCO: 90, of which 80 are used), and the
            OD API drops what it finds of them (coco_tools.ExportSingleImageDetectionBoxesToCoco).
    """

    pipeline_path: str
    passes: tuple[Pass, ...]
    output_dir: str
    num_images: int
    record_files: tuple[str, ...] = ()
    image_files: tuple[str, ...] = ()
    saved_model: str = ""
    sample_1_of_n: int = 1
    batch_size: int = 1
    device: str = "cpu"
    deterministic: bool = False
    extensions: tuple[str, ...] = ()
    with_masks: bool = False
    image_ids: tuple[int | str, ...] = ()
    category_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.record_files) == bool(self.image_files):
            raise UserError("a job has record files or image files, and never both")
        if bool(self.pipeline_path) == bool(self.saved_model):
            raise UserError("a job has a pipeline or a SavedModel, and never both")
        for name in ("batch_size", "sample_1_of_n"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}", expected="1 or more")
        if self.image_ids and len(self.image_ids) != self.num_images:
            raise UserError(f"{len(self.image_ids)} image ids for {self.num_images} images")
        _check_names([one.name for one in self.passes], "passes")


def detections_path(output_dir: str | os.PathLike[str], pass_name: str, variant: str) -> Path:
    """Where a variant's detections lie: gzipped JSON, COCO's results format.

    `image_id` is the image's of `EvaluationJob.image_ids`, or its position among those evaluated,
    from 0; `category_id` is 1 for the model's first class; `bbox` is in pixels of the original
    image. Images come in their order, the detections of one as post-processing gives them.
    """
    return Path(output_dir) / pass_name / f"{variant}.json.gz"


def stages_path(output_dir: str | os.PathLike[str], pass_name: str) -> Path:
    """Where the stages of a pass lie that asks for them."""
    return Path(output_dir) / pass_name / "stages.npz"


def images_path(output_dir: str | os.PathLike[str]) -> Path:
    """Where the sizes lie of the images as they were decoded: JSON, `heights` and `widths`."""
    return Path(output_dir) / "images.json"


def write_images(job: EvaluationJob, heights: Sequence[int], widths: Sequence[int]) -> None:
    """Writes the sizes of the images that a pass has read.

    In one step, for the pass before wrote the same, and the parent may be copying it.
    """
    text = json.dumps({"heights": list(heights), "widths": list(widths)}) + "\n"
    write_whole(images_path(job.output_dir), text)


def write_job(job: EvaluationJob, path: Path) -> None:
    """Writes the job as JSON."""
    write_json(path, dataclasses.asdict(job))


def read_job(path: Path) -> EvaluationJob:
    """Reads a job that `write_job` wrote.

    Raises:
        DataError: it is none.
    """
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields["passes"] = tuple(_pass(one) for one in fields["passes"])
        for name in ("record_files", "image_files", "extensions", "image_ids", "category_ids"):
            fields[name] = tuple(fields[name])
        return EvaluationJob(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"no evaluation job: {error}", expected="a file that write_job wrote", where=str(path)
        ) from error


def _pass(fields: Mapping[str, Any]) -> Pass:
    return Pass(
        **{
            **fields,
            "checkpoints": tuple(fields["checkpoints"]),
            "variants": tuple(Variant(**variant) for variant in fields["variants"]),
        }
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' is no name for a file",
            expected="letters, digits and any of . _ = + , -, beginning with one of the first two",
        )


def _check_names(names: list[str], what: str) -> None:
    if not names:
        raise UserError(f"no {what}", expected="at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{what}: '{twice[0]}' is given twice", expected="a name each")
