"""Evaluates a checkpoint in a child process, or reads back what an earlier one has found.

`runs/evaluations/<id>/` holds `evaluation.json` (what decides the detections, whose hash is the
id), `detections.json.gz` (COCO's results format) or `stages.npz`, `images.json` (the sizes of the
images as they were decoded) and `provenance.json` (what it took). A folder appears whole or not at
all; one that was damaged since is treated as not there, and set aside (`damaged-<id>`) when it is
made again. The names of passes and variants decide nothing and are left out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import json
import os
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from odapi_repro.errors import DamagedFile, DataError, EnvironmentMissing, UserError
from odapi_repro.evaluation.inference.evaluation_job import (
    EvaluationJob,
    Pass,
    Variant,
    detections_path,
    images_path,
    stages_path,
    write_job,
)
from odapi_repro.evaluation.score_detections import check_image_sizes
from odapi_repro.files import (
    NO_SPACE,
    is_held,
    locked,
    put_in_place,
    read_json,
    write_json,
    write_whole,
)
from odapi_repro.files.trial_files import DETECTIONS
from odapi_repro.foreign_text import shown
from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import duration
from odapi_repro.trials.child_process import run_child
from odapi_repro.trials.environment import check_disk_space, check_writable
from odapi_repro.trials.evaluations.evaluation_spec import (
    WORKER,
    EvaluationRequest,
    Key,
    filled_request,
    specs_of,
)
from odapi_repro.trials.executors.local_executor import check_worker_environment

# --- Finished evaluations: one folder for the detections of one variant of one pass ---


STAGES = "stages.npz"
IMAGES = "images.json"
_SPEC = "evaluation.json"
_PROVENANCE = "provenance.json"
_WORK = ".work-"
_LOCK = "lock"
_STORE_LOCK = ".lock"
_AT_ONCE = 1 << 20


def evaluation_id(spec: Mapping[str, Any]) -> str:
    """Gives twelve hex digits of the SHA-256 of a spec's canonical JSON."""
    return hashlib.sha256(_canonical(spec).encode()).hexdigest()[:12]


def _canonical(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True, indent=1)


class EvaluationStore:
    """The folder of all finished evaluations.

    Args:
        runs_dir: the folder of all trials; `evaluations` in it is made when it is needed.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.folder = runs_dir / "evaluations"

    def find(self, spec: Mapping[str, Any]) -> Path | None:
        """Gives the folder of an evaluation; None if it was never finished, or is damaged."""
        folder = self.folder / evaluation_id(spec)
        return folder if _is_whole(folder, spec) else None

    @staticmethod
    def provenance(folder: Path) -> dict[str, Any]:
        """Gives what an evaluation took, of a folder that `find` gave."""
        return _read(folder / _PROVENANCE)

    def add(
        self,
        spec: Mapping[str, Any],
        found: Path,
        images: Path,
        provenance: Mapping[str, Any],
        log: Path,
    ) -> Path:
        """Adds a finished evaluation and gives its folder.

        Args:
            spec: what decides it.
            found: its detections or stages, below a folder of `work_folder`; moved.
            images: its images.json; copied, for the next pass writes it again.
            provenance: what it took.
            log: what was written so far; copied.

        Raises:
            UserError: the folder cannot be written to.
            EnvironmentMissing: the disk is full.
        """
        folder = self.folder / evaluation_id(spec)
        with self.work_folder() as work, self._writing():
            made = work / folder.name
            made.mkdir()
            shutil.copyfile(images, made / IMAGES)
            shutil.copyfile(log, made / log.name)
            write_whole(made / _SPEC, _canonical(spec) + "\n")
            write_json(made / _PROVENANCE, provenance)
            os.replace(found, made / _content(spec))
            with self._locked():
                # Where somebody else has finished the same, theirs is as good.
                if self.find(spec) is None:
                    self._set_aside(folder)
                    put_in_place(made, folder)
        return folder

    @contextlib.contextmanager
    def work_folder(self) -> Iterator[Path]:
        """Gives a folder for a child to work in; what killed processes have left is removed.

        Raises:
            UserError: the folder of evaluations cannot be written to.
            EnvironmentMissing: the disk is full.
        """
        with contextlib.ExitStack() as held:
            with self._writing():
                self.folder.mkdir(parents=True, exist_ok=True)
                # Nobody sees a folder between its making and its locking.
                with self._locked():
                    for left in self.folder.glob(f"{_WORK}*"):
                        _remove_if_left(left)
                    folder = Path(tempfile.mkdtemp(prefix=_WORK, dir=self.folder))
                    held.callback(shutil.rmtree, folder, ignore_errors=True)
                    held.enter_context(locked(folder / _LOCK))
            yield folder

    def _set_aside(self, folder: Path) -> None:
        """Moves a damaged folder away, in the place of the one before it."""
        if folder.exists():
            aside = self.folder / f"damaged-{folder.name}"
            shutil.rmtree(aside, ignore_errors=True)
            aside.unlink(missing_ok=True)
            os.rename(folder, aside)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.folder / _STORE_LOCK, wait=True):
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises what the system says against writing as an error that a user can mend."""
        try:
            yield
        except OSError as error:
            if error.errno in NO_SPACE:
                raise EnvironmentMissing(
                    "no space left on the disk",
                    expected="room for the detections",
                    mend="free some space and give the same command again; finished passes are "
                    "kept",
                    where=str(self.folder),
                ) from error
            raise UserError(
                f"detections cannot be kept here ({error})",
                expected="a folder that can be written to, on a disk that knows file locks",
                mend="choose another --runs_dir",
                where=str(self.folder),
            ) from error


def _content(spec: Mapping[str, Any]) -> str:
    return STAGES if spec.get("stages") else DETECTIONS


def _is_whole(folder: Path, spec: Mapping[str, Any]) -> bool:
    """Whether every file of an evaluation is there and reads to its end."""
    try:
        sizes = _read(folder / IMAGES)
        return (
            _read(folder / _SPEC) == json.loads(_canonical(spec))
            and _read(folder / _PROVENANCE) is not None
            and _are_lengths(sizes.get("heights"))
            and _are_lengths(sizes.get("widths"))
            and len(sizes["heights"]) == len(sizes["widths"])
            and _reads_to_its_end(folder / _content(spec))
        )
    except (
        *(OSError, EOFError, ValueError, RuntimeError),
        *(DamagedFile, zlib.error, zipfile.BadZipFile),
    ):
        return False


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, mend="delete the folder: the evaluation is made again")


def _are_lengths(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int for value in values)


def _reads_to_its_end(path: Path) -> bool:
    """Whether the checksums of a gzip or zip file hold; raises where it cannot be read at all."""
    if not path.is_file():
        return False
    if path.name == STAGES:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    with gzip.open(path, "rb") as file:
        while file.read(_AT_ONCE):
            pass
    return path.stat().st_size > 0


def _remove_if_left(folder: Path) -> None:
    """Removes a work folder whose process is gone, and so its lock."""
    if not is_held(folder / _LOCK):
        shutil.rmtree(folder, ignore_errors=True)


# --- How far an evaluation of checkpoints is, on the live line ---


_QUIET_SECONDS = 20.0


class EvaluationProgress:
    """Shows the events of the child that evaluates as they come in.

    Args:
        label: what is evaluated; empty where each pass is named.
        num_images: evaluated in a pass.
        passes: names of the passes -> what they are.
        stream: stderr by default.
        clock: for tests.
    """

    def __init__(
        self,
        label: str,
        num_images: int,
        *,
        passes: Mapping[str, str] | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.line = LiveLine(stream, quiet_seconds=_QUIET_SECONDS, clock=clock)
        self._label = label
        self._num_images = num_images
        self._passes = passes or {}
        self._begun: dict[str, tuple[float, int]] = {}
        self._clock = clock

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes one event of the child process."""
        kind, name = event["event"], str(event.get("pass", ""))
        if kind == "started":
            self._tell("", "starting TensorFlow")
        elif kind == "imported":
            self._tell("", "building the model")
        elif kind == "restored":
            self._tell(name, "tracing the first batch")
        elif kind == "evaluating":
            self._evaluating(name, int(event["images"]))
        elif kind == "pass_done":
            # Of a rewritten line; elsewhere the result says it.
            self.line.end()

    def _evaluating(self, name: str, images: int) -> None:
        now = self._clock()
        # The first batch holds the tracing; the rate is that of the others.
        first = self._begun.setdefault(name, (now, images))
        elapsed, done = now - first[0], images - first[1]
        speed = ""
        if elapsed > 0 and done:
            left = (self._num_images - images) * elapsed / done
            speed = f", {done / elapsed:.1f} images/s, {duration(left)} left"
        told = f"{images:,} of {self._num_images:,} images{speed}"
        self._tell(name, told, news=first == (now, images) or images >= self._num_images)

    def _tell(self, name: str, text: str, *, news: bool = True) -> None:
        head = self._label
        if name in self._passes:
            place = len(self._begun) + (name not in self._begun)
            head = f"[{place}/{len(self._passes)}] {self._passes[name]}"
        self.line.update(f"{head}: {text}" if head else text, news=news)


# --- Evaluates a checkpoint in a child process, or reads back what an earlier one has found ---


LOG = "evaluate.log"
OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class EvaluationResult:
    """What was found.

    Attributes:
        detections: (pass, variant) -> file in COCO's results format, image and category ids those
            of the ground truth.
        stages: pass -> stages.npz, for the passes that asked.
        provenance: (pass, variant) -> what it took when it was made: the fields of
            `inference.PassTimings`, `import_seconds` and `tensorflow`.
        read_back: those of `detections` that an earlier evaluation had made.
    """

    detections: Mapping[tuple[str, str], Path]
    stages: Mapping[str, Path]
    provenance: Mapping[tuple[str, str], Mapping[str, Any]]
    read_back: frozenset[tuple[str, str]]


def evaluate_checkpoint(request: EvaluationRequest, on_event: OnEvent) -> EvaluationResult:
    """Gives the detections of every variant of every pass; only what is not there yet is run.

    Each finished pass is kept at once, so a kill loses the running one and no other. Its images
    are compared with the ground truth then, and each time it is read back: heights and widths of
    the ground truth decide no detections, so one that is corrected finds them again.

    Args:
        request: what is asked for.
        on_event: gets the child's events; none where all is read back.

    Raises:
        UserError: passes that the model cannot run, a checkpoint that does not fit, images that
            do not read or are not those of the ground truth, too little memory, or a `runs_dir`
            that cannot be written to.
        EnvironmentMissing: no such device, TensorFlow is not installed, or the disk is full.
    """
    request = filled_request(request)
    store = EvaluationStore(request.runs_dir)
    specs = specs_of(request)
    before = {key: folder for key, spec in specs.items() if (folder := store.find(spec))}
    for folder in dict.fromkeys(before.values()):
        check_image_sizes(folder / IMAGES, request.data.truth)
    missing = [key for key in specs if key not in before]
    if missing:
        _run(request, store, specs, missing, on_event)
    folders = {key: before.get(key) or store.find(spec) for key, spec in specs.items()}
    detections: dict[tuple[str, str], Path] = {}
    provenance = {}
    stages = {}
    for (pass_name, variant), kept in folders.items():
        if kept is None:
            raise UserError(f"the evaluation of pass '{pass_name}' left nothing behind")
        if variant is None:
            stages[pass_name] = kept / STAGES
            continue
        detections[pass_name, variant] = kept / DETECTIONS
        provenance[pass_name, variant] = store.provenance(kept)
    read_back = frozenset((one, variant) for one, variant in before if variant is not None)
    return EvaluationResult(detections, stages, provenance, read_back)


def _run(
    request: EvaluationRequest,
    store: EvaluationStore,
    specs: Mapping[Key, Mapping[str, Any]],
    missing: Sequence[Key],
    on_event: OnEvent,
) -> None:
    if request.worker == WORKER:
        check_worker_environment("a checkpoint's evaluation")
    check_writable(store.folder)
    check_disk_space(store.folder)
    failed_log = store.folder / f"{evaluation_id(specs[missing[0]])}.{LOG}"
    passes = tuple(_rest(one, missing) for one in request.passes if _is_wanted(one, missing))
    with store.work_folder() as folder:
        job = _job(request, passes, folder)
        log = folder / LOG
        provenance: dict[str, Any] = {}

        def listen(event: dict[str, Any]) -> None:
            if event["event"] == "imported":
                provenance.update(import_seconds=event["seconds"], tensorflow=event["tensorflow"])
            if event["event"] == "pass_done":
                took = {k: v for k, v in event.items() if k not in ("event", "elapsed", "pass")}
                _keep(store, specs, job, str(event["pass"]), log, {**provenance, **took})
                check_image_sizes(images_path(folder), request.data.truth)
            on_event(event)

        _run_job(job, listen, log, failed_log, request.worker)
    failed_log.unlink(missing_ok=True)


def _run_job(
    job: EvaluationJob, on_event: OnEvent, log: Path, failed_log: Path, worker: Sequence[str]
) -> None:
    """Runs a job in a child process and raises what went wrong; `failed_log` is its log then."""
    path = Path(job.output_dir) / "job.json"
    write_job(job, path)
    end = run_child([*worker, str(path)], log, on_event)
    kind, message = end.failure
    if kind:
        with contextlib.suppress(OSError):
            os.replace(log, failed_log)
    if kind == "input":
        raise DataError.told(message)
    if kind == "disk_full":
        raise EnvironmentMissing(
            "no space left on the disk while images were evaluated",
            expected="room for the detections",
            mend="free some space and give the same command again; finished passes are kept",
            where=str(failed_log.parent),
        )
    if kind == "out_of_memory":
        raise UserError(
            message,
            expected=f"memory for {job.batch_size} images at once",
            mend="--batch_size 1, or another --device",
        )
    if kind:
        raise UserError.told(f"the evaluation failed: {message}\n{_tail(failed_log)}".rstrip())


def _is_wanted(one: Pass, missing: Sequence[Key]) -> bool:
    return any(name == one.name for name, _ in missing)


def _rest(one: Pass, missing: Sequence[Key]) -> Pass:
    """Gives a pass with the variants that are not there yet; with one, where only stages lack."""
    variants: tuple[Variant, ...] = tuple(
        variant for variant in one.variants if (one.name, variant.name) in missing
    )
    return dataclasses.replace(
        one, variants=variants or one.variants[:1], stages=(one.name, None) in missing
    )


def _job(request: EvaluationRequest, passes: tuple[Pass, ...], folder: Path) -> EvaluationJob:
    pipeline_path = ""
    if request.pipeline is not None:
        pipeline_path = str(folder / "pipeline.config")
        write_whole(pipeline_path, request.pipeline.to_text())
    data = request.data
    assert request.batch_size is not None
    return EvaluationJob(
        pipeline_path=pipeline_path,
        saved_model="" if request.pipeline else request.source.saved_model,
        passes=passes,
        output_dir=str(folder),
        num_images=data.truth.num_images,
        record_files=tuple(str(file.absolute()) for file in data.record_files),
        image_files=tuple(str(file.absolute()) for file in data.image_files),
        # The image files are those of the sample already.
        sample_1_of_n=data.sample_1_of_n if data.record_files else 1,
        batch_size=request.batch_size,
        device=request.device,
        deterministic=request.deterministic,
        extensions=request.source.extensions,
        with_masks=request.with_masks,
        image_ids=data.truth.image_ids,
        category_ids=data.truth.category_ids,
    )


def _keep(
    store: EvaluationStore,
    specs: Mapping[Key, Mapping[str, Any]],
    job: EvaluationJob,
    pass_name: str,
    log: Path,
    provenance: Mapping[str, Any],
) -> None:
    """Takes what a finished pass has written into the store."""
    for (name, variant), spec in specs.items():
        if name != pass_name:
            continue
        if variant is None:
            made = stages_path(job.output_dir, name)
        else:
            made = detections_path(job.output_dir, name, variant)
        if made.is_file() and store.find(spec) is None:
            store.add(spec, made, images_path(job.output_dir), provenance, log)


def _tail(log: Path, count: int = 5) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    lines = [shown(line) for line in lines]
    return "\n".join([*lines[-count:], f"the whole log is {log}"])
