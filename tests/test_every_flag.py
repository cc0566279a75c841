"""No flag is lost, and none is for show: each is called once, and shows that it was heeded.

`support/flags_of_commands.txt` lists the flags; whoever adds or removes one changes the list and
the calls here. Trainings and networks are fake, pictures are drawn only where a flag is about them.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib.util
import io
import itertools
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import flags
from coco_sets import CocoSet
from fake_trials import EFFICIENTDET, FAKE_WORKER, MASK_RCNN, small_records
from issue_10530 import edited, issue_10530
from run_writers import VALUE, Tree, write_checkpoint, write_training_checkpoint
from small_sets import random_set

from odapi_repro import __main__ as entry
from odapi_repro import command, data, doctor
from odapi_repro.datasets import source
from odapi_repro.datasets.annotations import DrawnInputs, ModelInput
from odapi_repro.errors import UserError
from odapi_repro.evaluation.inference.evaluation_job import PLAIN
from odapi_repro.features.show import show_pictures
from odapi_repro.page import results_folder
from odapi_repro.pipeline import bind_records, load_pipeline
from odapi_repro.reference import reference_named
from odapi_repro.trials import environment, model_inputs, session
from odapi_repro.trials.environment import Probe
from odapi_repro.trials.evaluations import checkpoint_evaluation
from odapi_repro.trials.evaluations.checkpoint_evaluation import EvaluationRequest, EvaluationResult
from odapi_repro.trials.executors.local_executor import LocalExecutor

SUPPORT = Path(__file__).parent / "support"
FLAGS_OF_COMMANDS = SUPPORT / "flags_of_commands.txt"
COMMANDS = (
    *("run", "explain", "evaluate", "diagnose", "diff", "fix", "zoo", "doctor"),
    *("data convert", "data check", "data show"),
)


@dataclass(frozen=True)
class Call:
    """What is typed, and what tells that its flags were heeded.

    Attributes:
        typed: command and flags, in a folder that `_files` has filled.
        says: what stdout or stderr says, their white space as single spaces.
        silent: what neither says.
        code: the exit code.
        before: another call that has to come first.
        failing: the trials of the call before fail, and so does it.
        leaves: a file, as a pattern -> what it holds.
        drawn: figures are drawn; they take a second or two.
    """

    typed: str
    says: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    code: int = 0
    before: str = ""
    failing: bool = False
    leaves: Mapping[str, str] = field(default_factory=dict)
    drawn: bool = False

    @property
    def command(self) -> str:
        return next(name for name in COMMANDS if self.typed.startswith(f"{name} "))


RECORDS = (
    "--train_records=records/train-* --eval_records=records/val-* "
    "--label_map=records/label_map.pbtxt"
)
RUN = "run --pipeline=d3.config --data=records --ablate=batch_size"
EXPLAIN = "explain --pipeline=mine.config --reference=efficientdet_d3 --data=records"
PAIR = (
    "explain batch.config --reference=efficientdet_d3 --data=records --hold=schedule_length "
    "--name=pair --seeds=1"
)
FOUND = "evaluate --detections=found.json --ground_truth=truth.json --resamples=20"
SCORED = f"{FOUND} --no_report"
SHOWN = (
    "evaluate good/found.json --ground_truth=good/instances.json --images=good/images --resamples=0"
)
TRAINED = "evaluate --checkpoint=trained --no_report --resamples=0"
MASKS = "evaluate --checkpoint=masks/ckpt-3 --no_report --resamples=0"
DIAGNOSE = "diagnose --pipeline=mine.config --reference=efficientdet_d3"
DIFF = "diff --pipeline=mine.config --reference=efficientdet_d3"
FIX = "fix --pipeline=mine.config --reference=efficientdet_d3"
CONVERT = "data convert --output_dir=made --workers=1"
CONVERT_GOOD = f"{CONVERT} --annotations=good/instances.json --image_dir=good/images"
CONVERT_BAD = f"{CONVERT} --annotations=bad/instances.json --image_dir=bad/images"
CHECK = "data check --workers=1 --augmented_images=0"
SHOW = "data show --data=records --output_dir=shown --draws=0"
TRAINING = (
    "--runs_dir=kept --results_dir=told --num_workers=2 --checkpoint_every_n=40 "
    "--checkpoint_max_to_keep=3 --record_summaries --device=cpu --nodeterministic"
)
JOB = (
    '"checkpoint_every_n": 40, "checkpoint_max_to_keep": 3, "seed": 1, "deterministic": false, '
    '"device": "cpu", "num_replicas": 2, "use_tpu": false, "tpu_name": null, "num_workers": 2, '
    '"record_summaries": true'
)
"""What TRAINING makes of a trial's job."""

CALLS = (
    # --- run ---
    Call(
        f"{RUN} --levels=2,4 --at=warmup=0.5x --design=grid --seeds=2 --name=told --scale=smoke "
        "--steps=7 --replicas=2 --dry_run",
        says=(
            "study told: batch_size on d3.config",
            "scale smoke",
            "12 training and 6 evaluation images",
            "2 replicas",
            "7 steps",
            "Studied at warmup = 0",
            "4 trials (2 cells x 2 seeds)",
        ),
    ),
    Call(
        f"run --pipeline_config_path=d3.config {RECORDS} --ablate=warmup --num_train_steps=9 "
        "--nodeterministic --device=cpu --dry_run",
        says=("warmup on d3.config", "9 steps", "cpu, 1 replica, not deterministic"),
    ),
    Call(f"{RUN} --scale=full --dry_run", says=("a start asks for --however_long",)),
    Call(f"{RUN} --scale=full --however_long --dry_run", silent=("--however_long",)),
    Call(f"{RUN} --use_tpu --dry_run", says=("number of its cores",), code=2),
    Call(f"{RUN} --use_tpu --tpu_name=mine --replicas=8 --dry_run", says=("tpu, 8 replicas",)),
    Call(f"{RUN} --scale=full --checkpoint=no/ckpt-0", says=("no checkpoint no/ckpt-0",), code=2),
    Call("run d3.config --data=records --sanity --dry_run", says=("hold: 60 steps",)),
    Call(
        f"{RUN} --levels=2 --name=mine {TRAINING} --sample_1_of_n_eval_examples=2",
        leaves={
            "kept/*/job.json": JOB,
            "kept/*/pipeline.config": "sample_1_of_n_examples: 2",
            "told/mine/README.md": "odapi_repro.run",
        },
    ),
    Call(f"{RUN} --levels=2 --retry=failed", says=("2 to run",), before=RUN, failing=True),
    Call(f"{RUN} --levels=2 --fresh_start", says=("2 to run",), before=RUN, failing=True),
    # --- explain ---
    Call(
        f"{EXPLAIN} --plan --sd=2 --user_ap=14 --cost_per_hour=3 --seeds=3 --first_seed=5 --race "
        "--budget=90trials --metric=AP50 --margin=1.5 --group=none --name=told --scale=smoke "
        "--steps=7 --hold=warmup",
        says=(
            "study told: mine.config against efficientdet_d3",
            "scale smoke",
            "14 yours",
            "seeds 5, 6, 7",
            "the race may add up to",
            "at 3 an hour",
            "AP50 (if replicates vary with a standard deviation of 2 (--sd))",
            "warmup: left out on request",
        ),
    ),
    Call(
        f"explain --pipeline_config_path=mine.config {RECORDS} --dry_run --checkpoint_ap=44 "
        "--user_steps=500 --user_replicas=2 --num_train_steps=9 --design=sampled_shapley "
        "--orders=2",
        says=("mine.config against", "1000 at full scale", "1 -> 2 at full", "4 random orders"),
    ),
    Call(
        f"{EXPLAIN} --group=none --design=fractional --resolution=3 --plan",
        says=("Design fractional", "resolution"),
    ),
    Call(f"{EXPLAIN} --device=tpu --plan", says=("number of its cores",), code=2),
    Call(f"{EXPLAIN} --use_tpu --tpu_name=mine --plan", says=("number of its cores",), code=2),
    Call(f"{EXPLAIN} --scale=full --plan", says=("a start asks for --however_long",)),
    Call(f"{EXPLAIN} --scale=full --however_long --plan", silent=("--however_long",)),
    Call(f"{EXPLAIN} --checkpoint=no/ckpt-0 --plan", says=("cannot hold its weights",), code=2),
    Call(
        f"{PAIR} {TRAINING} --replicas=2 --sample_1_of_n_eval_examples=2",
        leaves={
            "kept/*/job.json": JOB,
            "kept/*/pipeline.config": "sample_1_of_n_examples: 2",
            "told/pair/README.md": "odapi_repro.explain",
        },
    ),
    Call("explain --from=results/pair --format=json", says=('"schema": 1',), before=PAIR),
    Call(f"{PAIR} --retry=failed", says=("2 to run",), before=PAIR, failing=True),
    Call(f"{PAIR} --fresh_start", says=("2 to run",), before=PAIR, failing=True),
    # --- evaluate ---
    Call(
        f"{SCORED} --against=other.json --seed=3 --confidence=0.8 --engine=pycocotools "
        "--iou_type=bbox --per_class",
        says=(
            "30 images of truth.json",
            "against other",
            "scored by pycocotools",
            "Intervals of 80 % from 20 resamples of the images (seed 3)",
            "classes, the worst first",
        ),
    ),
    Call(f"{SCORED} --sample_1_of_n_eval_examples=3 --detections=some.json", says=("10 images",)),
    Call(f"{SCORED} --format=json", says=('"results": null',)),
    Call(
        f"{SHOWN} --name=mine --results_dir=told --pictures=1",
        leaves={"told/mine/README.md": "# mine", "told/mine/pictures/best.png": ""},
        drawn=True,
    ),
    Call(f"{SHOWN} --max_image_pixels=9", says=("--max_image_pixels=9 allows fewer",), drawn=True),
    Call(
        "evaluate found.json.gz --ground_truth=truth.json --max_unpacked_bytes=99",
        says=("99 bytes",),
        code=2,
    ),
    Call(
        f"{TRAINED} --pipeline=d0.config --data=records --runs_dir=kept --device=cpu "
        "--batch_size=5",
        says=("asked: d0.config, cpu, batch 5, stages False, in kept", "6 images"),
    ),
    Call(
        f"{MASKS} --pipeline_config_path=mask.config --eval_records=records/val-* "
        "--label_map=records/label_map.pbtxt",
        says=("asked: mask.config, auto, batch None, stages True, in runs",),
    ),
    Call(f"{MASKS} --pipeline=mask.config --data=records --nostages", says=("stages False",)),
    Call(
        f"{TRAINED} --ground_truth=good/instances.json --images=good/images",
        says=("8 images of instances.json",),
    ),
    # --- diagnose ---
    Call(
        f"{DIAGNOSE} --train_images=1000 --num_train_steps=500 --replicas=2 --format=markdown",
        says=("500 steps of 2 are 1,000 images", "| train_images | 1,000 |", "2 over 2 replicas"),
    ),
    Call(
        "diagnose --pipeline_config_path=bound.config --check_data",
        says=("12 training",),
    ),
    Call(f"{DIAGNOSE} --fail_on=critical", code=1),
    Call(f"{DIAGNOSE} --checkpoint_every_n=7000000", says=("every 7 million steps",)),
    Call(f"{DIAGNOSE} --run=trained", says=("reached step 500",)),
    Call(f"{DIAGNOSE} --explain=too_few_steps", says=("STP001", "too_few_steps")),
    Call(f"{DIAGNOSE} --plot=rate.svg", leaves={"rate.svg": "<svg"}, drawn=True),
    # --- diff ---
    Call(
        f"{DIFF} --train_images=1000 --num_train_steps=500 --replicas=2 --format=markdown",
        says=("b: `efficientdet_d3`", "| 1,000 |", "| 500 |", "num_replicas"),
    ),
    Call("diff --pipeline_config_path=mine.config d3.config", says=("b d3.config",)),
    # --- fix ---
    Call(
        f"{FIX} --keep=batch_size --goal=reproduce --replicas=2 --train_images=1000 "
        "--images_per_second=30 --hours=3 --output=there.config --overwrite --diff",
        says=("to reproduce it", "it was kept", "epochs of 1,000", "you have 3 hours", "+++ there"),
        leaves={"there.config": "model {"},
    ),
    Call(f"{FIX} --output=there.config", says=("there.config exists",), code=2),
    Call(
        f"{FIX} --max_batch=8 --steps=700 --dry_run --format=json", says=('"new": 700', '"new": 8')
    ),
    Call(
        "fix --pipeline_config_path=mine.config --num_train_steps=900 --dry_run",
        says=("900 steps",),
    ),
    Call(f"{FIX} --epochs=4 --train_images=1000 --dry_run", says=("4 epochs",)),
    Call(f"{FIX} --steps=10 --dry_run --fail_on=warning", code=1),
    # --- zoo ---
    Call("zoo --format=csv --family=centernet", says=("centernet",), silent=("efficientdet",)),
    Call("zoo efficientdet_d3 --config", says=("model {",)),
    Call("zoo crowd --effects --format=csv", says=("crowd",)),
    # --- doctor ---
    Call(
        "doctor --format=json --runs_dir=kept --timeout_seconds=7 --devices",
        says=('"asked": true', "/kept", "asked for 7 s"),
    ),
    Call("doctor --format=json --nodevices", says=('"asked": false',), silent=("asked for",)),
    # --- data convert ---
    Call(
        f"{CONVERT_GOOD} --split=mine --shards=2 --val_annotations=good/instances.json "
        "--val_image_dir=good/images --val_shards=3 --class_ids=consecutive --classes=person,dog "
        "--empty_images=drop --include_masks=yes --decode_images",
        says=("mine: 7 of 8 images in 2 shards", "val: 7 of 8 images in 3 shards"),
        leaves={"made/label_map.pbtxt": "id: 2", "made/manifest.json": '"include_masks": "yes"'},
    ),
    Call(
        f"{CONVERT_GOOD} --keypoint_annotations=good/keypoints.json "
        "--val_annotations=good/instances.json --val_keypoint_annotations=good/keypoints.json",
        says=("3 objects with keypoints val: 8 of 8", "masks, 1 keypoints 1 image"),
    ),
    Call(f"{CONVERT_GOOD} --images=3 --seed=4", says=("train: 3 of 8 images",)),
    Call(f"{CONVERT_GOOD} --subset=0.5", says=("train: 4 of 8 images",)),
    Call(CONVERT_GOOD, before=f"{CONVERT_GOOD} --images=3", says=("--overwrite",), code=2),
    Call(f"{CONVERT_GOOD} --overwrite", before=f"{CONVERT_GOOD} --images=3", says=("8 of 8",)),
    Call(f"{CONVERT_GOOD} --max_image_pixels=9", says=("--max_image_pixels",), code=2),
    Call(f"{CONVERT_GOOD} --max_unpacked_bytes=9", says=("--max_unpacked_bytes",), code=2),
    Call(
        f"{CONVERT_BAD} --bad_images=drop --bad_annotations=drop --size_mismatch=drop "
        "--nocheck_boxes",
        says=("train: 1 of 3 images",),
    ),
    Call(f"{CONVERT_BAD} --bad_annotations=drop --size_mismatch=drop", says=("boxes",), code=2),
    # --- data check ---
    Call(
        f"{CHECK} --data=records --annotations=records/instances_train.json "
        "--eval_annotations=records/instances_val.json --format=markdown",
        says=("instances_train.json", "instances_val.json", "| images | 12 | 6 |"),
    ),
    Call(f"{CHECK} {RECORDS}", says=("images 12 6",)),
    Call(
        "data check --workers=1 --pipeline=bound.config --augmented_images=2 --seed=3",
        says=("asked for 2 images, 3 draws, seed 3", "2 training images through the pipeline's"),
    ),
    Call(
        f"{CHECK} --pipeline_config_path=bound.config --max_image_pixels=9 --fail_on=info",
        says=("12 of 12 images do not decode",),
        code=1,
    ),
    # --- data show ---
    Call(
        f"{SHOW} --split=val --images=2 --tile=97 --nomasks --seed=3 --pipeline=d3.config "
        "--boxes_limit=5",
        says=("6 images in 2 files", "5 of 27 objects were compared"),
        leaves={"shown/show.json": '"images_shown": 2', "shown/records_val.png": ""},
        drawn=True,
    ),
    Call(
        f"data show {RECORDS} --output_dir=shown --pipeline_config_path=d3.config --draws=2 "
        "--seed=3 --only=small",
        says=("12 images in 4 files", "asked for 2 draws, seed 3"),
        leaves={"shown/show.json": '"only": "small"'},
    ),
    Call(f"{SHOW} --source_ids=no-such", says=("no-such",), code=2),
    Call(
        "data show --data=records --pipeline=d3.config --max_image_pixels=9",
        says=("--max_image_pixels",),
        code=2,
    ),
)


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills the folder that the calls are typed in."""
    monkeypatch.chdir(tmp_path)
    made = small_records()
    Path("records").symlink_to(made.folder)
    bound = bind_records(
        load_pipeline(EFFICIENTDET),
        train_patterns=[made.train_pattern],
        eval_patterns=[made.val_pattern],
        label_map_path=str(made.label_map_path),
        num_classes=6,
        checkpoint=None,
    )
    d0 = reference_named("efficientdet_d0").config_text()
    for name, text in {
        "batch.config": edited(batch_size=2).to_text(),
        "bound.config": bound.to_text(),
        "d0.config": d0,
        "d3.config": EFFICIENTDET.read_text(),
        "mask.config": MASK_RCNN.read_text(),
        "mine.config": issue_10530().to_text(),
        "there.config": "",
    }.items():
        Path(name).write_text(text)
    write_training_checkpoint(Path("trained"), 3, 500)
    Path("trained/pipeline.config").write_text(d0)
    head: Tree = {"_third_stage_heads": {"mask": None}}
    layers = ("_first_stage_box_predictor", "_feature_extractor")
    model: Tree = {**{one: {"x": None} for one in layers}, "_mask_rcnn_box_predictor": head}
    tree: Tree = {"model": model, "step": None}
    write_checkpoint(Path("masks/ckpt-3"), {f"step{VALUE}": 3}, tree=tree)
    truth, found = random_set(7)
    some = [one for one in found if one["image_id"] % 3 == 1]
    for name, content in {
        "truth.json": truth,
        "found.json": found,
        "some.json": some,
        "other.json": random_set(8)[1],
    }.items():
        Path(name).write_text(json.dumps(content))
    Path("found.json.gz").write_bytes(gzip.compress(Path("found.json").read_bytes()))
    _coco_sets()


def _coco_sets() -> None:
    """A good set, one image of it empty, and one with all that can be dropped."""
    good = CocoSet(Path("good"))
    for number in range(1, 9):
        good.image(number)
    for number in range(1, 8):
        outline = [[2, 3, 22, 3, 22, 13, 2, 13]]
        category = 18 if number % 2 else 1
        good.annotation(number, [2, 3, 20, 10], category, segmentation=outline)
    good.write()
    points = {"keypoints": [5, 5, 2], "num_keypoints": 1}
    person = {"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": []}
    held = [{**one, **points} for one in good.content["annotations"] if one["category_id"] == 1]
    content = {**good.content, "annotations": held, "categories": [person]}
    Path("good/keypoints.json").write_text(json.dumps(content))
    one = {"image_id": 1, "category_id": 18, "bbox": [2, 3, 20, 10], "score": 0.9}
    Path("good/found.json").write_text(json.dumps([one]))
    bad = CocoSet(Path("bad"))
    for number in (1, 2, 3):
        bad.image(number)
        bad.annotation(number, [0.1, 0.1, 0.5, 0.5])
    bad.annotation(9, [2, 3, 20, 10])
    bad.content["images"][1]["height"] = 99
    (bad.images / "3.jpg").write_bytes(b"")
    bad.write()


@pytest.fixture
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings, networks and TensorFlow, each played by something that says what it was asked."""
    executor = functools.partial(LocalExecutor, worker=FAKE_WORKER)
    monkeypatch.setattr(session, "LocalExecutor", executor)
    monkeypatch.setattr(session, "check_worker_environment", lambda: None)

    def evaluate(request: EvaluationRequest, _: Any) -> EvaluationResult:
        (one,) = request.passes
        config = request.pipeline and Path(request.pipeline.path).name
        _tell(
            f"asked: {config}, {request.device}, batch {request.batch_size}, "
            f"stages {one.stages}, in {request.runs_dir}"
        )
        Path("detected.json").write_text("[]")
        key = (PLAIN, PLAIN)
        return EvaluationResult({key: Path("detected.json")}, {}, {key: {}}, frozenset([key]))

    def probe(seconds: float) -> Probe:
        _tell(f"asked for {seconds:g} s")
        return Probe({})

    def draw(*_: Any, images: int, draws: int, seed: int) -> DrawnInputs:
        _tell(f"asked for {images} images, {draws} draws, seed {seed}")
        return DrawnInputs(tuple(_input() for _ in range(images * draws)), ())

    def each(_: Any, examples: Any, __: Any, on_input: Any, *, draws: int, seed: int) -> None:
        _tell(f"asked for {draws} draws, seed {seed}")
        for record, draw in itertools.product(range(len(examples)), range(draws)):
            on_input(record, draw, _input())

    found = importlib.util.find_spec
    monkeypatch.setattr(checkpoint_evaluation, "evaluate_checkpoint", evaluate)
    monkeypatch.setattr(source, "embedded_dataset", small_records)
    monkeypatch.setattr(doctor, "probe_tensorflow", probe)
    monkeypatch.setattr(doctor, "lacks", lambda report: [])
    monkeypatch.setattr(
        doctor, "collect", functools.partial(environment.collect, version_of=lambda name: "1.0")
    )
    monkeypatch.setattr(model_inputs, "draw_model_inputs", draw)
    monkeypatch.setattr(show_pictures, "each_model_input", each)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: found("json" if name == "tensorflow" else name)
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _input() -> ModelInput:
    return ModelInput(
        source_id="1",
        image=np.zeros((64, 64, 3), np.uint8),
        true_height=64,
        true_width=64,
        boxes=np.zeros((1, 4), np.float32),
        class_ids=np.ones(1, np.int64),
        masks=None,
        boxes_in_record=1,
    )


@functools.cache
def flags_of(name: str) -> Mapping[str, flags.Flag[Any]]:
    """Gives the flags of a command by name, as the command itself parses them."""
    given: dict[str, flags.Flag[Any]] = {}

    def keep(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
        given.update({flag: values[flag] for flag in values})
        raise UserError("no more is wanted")

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()):
        patch.setattr(command, "parse_flags", keep)
        entry.main(name.split())
    return given


def lines_of(name: str) -> list[str]:
    """Gives a line a flag: command, flag, type or choices, default."""
    lines = []
    for flag, held in flags_of(name).items():
        kind = ", ".join(getattr(held.parser, "enum_values", ()) or ()) or held.flag_type()
        if held.parser.syntactic_help and "list" not in kind:
            kind = held.parser.syntactic_help
        if alias := re.match(r"Alias for (--\w+)", held.help or ""):
            kind = f"alias of {alias[1]}"
        lines.append(f"{name} | --{flag} | {kind} | {held.default!r}")
    return lines


def called_flags(call: Call) -> set[str]:
    typed = re.findall(r" --(\w+)", call.typed)
    known = flags_of(call.command)
    return {one if one in known else one.removeprefix("no") for one in typed}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_that_a_command_had_it_has(name: str) -> None:
    listed = FLAGS_OF_COMMANDS.read_text(encoding="utf-8").splitlines()
    assert lines_of(name) == [line for line in listed if line.startswith(f"{name} |")]


def test_the_list_has_every_command_and_no_other() -> None:
    listed = FLAGS_OF_COMMANDS.read_text(encoding="utf-8").splitlines()
    assert tuple(dict.fromkeys(line.split(" | ")[0] for line in listed)) == COMMANDS
    offered = [name for name in entry.COMMANDS if name != "data"]
    assert sorted(COMMANDS) == sorted([*offered, *(f"data {one}" for one in data.COMMANDS)])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_of_a_command_is_called(name: str) -> None:
    called = [called_flags(call) for call in CALLS if call.command == name]
    assert set(flags_of(name)) == set().union(*called)


@pytest.mark.usefixtures("_files", "_fakes")
@pytest.mark.parametrize("call", CALLS, ids=[call.typed for call in CALLS])
def test_flags_are_heeded(
    call: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not call.drawn:
        monkeypatch.setattr(results_folder, "_drawings", lambda listed: ())
    if call.before:
        with monkeypatch.context() as patch:
            patch.setenv("FAKE_WORKER", '{"*": "fail"}' if call.failing else "{}")
            assert entry.main(shlex.split(call.before)) == call.failing
        capsys.readouterr()
    code = entry.main(shlex.split(call.typed))
    captured = capsys.readouterr()
    said = " ".join(f"{captured.out} {captured.err}".split())
    assert code == call.code, said
    assert [text for text in call.says if text not in said] == [], said
    assert [text for text in call.silent if text in said] == []
    for pattern, held in call.leaves.items():
        left = sorted(Path().glob(pattern))
        assert left, pattern
        assert all(not held or held in " ".join(path.read_text().split()) for path in left)
