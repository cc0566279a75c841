"""`python -m odapi_repro.evaluate`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from run_writers import write_training_checkpoint
from small_sets import Json, data_set, random_set, results

from odapi_repro import evaluate
from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.evaluation.inference.evaluation_job import PLAIN
from odapi_repro.reference import reference_named
from odapi_repro.trials.evaluations import checkpoint_evaluation as evaluations
from odapi_repro.trials.evaluations.checkpoint_evaluation import EvaluationRequest, EvaluationResult

HERE = [100.0, 100.0, 100.0, 100.0]
QUICK = ("--resamples", "20")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A ground truth and a results file."""
    data, found = random_set(7, crowds=0.1)
    return written("instances.json", data), written("mine.json", found)


def written(name: str, content: Any) -> Path:
    path = Path(name)
    path.write_text(json.dumps(content))
    return path


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert evaluate.main([str(argument) for argument in argv]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The message, its lines joined; one message, nothing on stdout, nothing left behind."""
    assert evaluate.main([str(argument) for argument in (*argv, "--format", "json")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert captured.err.count("odapi-repro evaluate:") == 1
    assert not Path("results").exists()
    return " ".join(captured.err.split())


# --- Results files ---


def test_a_results_file_scores_what_pycocotools_scores(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, detections = files
    argv = ("--detections", detections, "--ground_truth", truth, "--no_report")
    content = json.loads(run(capsys, *argv, "--format", "json", "--resamples", 0))
    coco = COCO(str(truth))
    evaluation = COCOeval(coco, coco.loadRes(str(detections)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    values = [one["value"] for one in content["model"]["bbox"]["metrics"].values()]
    assert values == pytest.approx(100 * evaluation.stats, abs=1e-9)
    assert content["results"] is None


def test_text_goes_to_stdout_and_names_the_folder(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, detections = files
    out = run(capsys, detections, "--ground_truth", truth, "--name", "mine", *QUICK)
    assert "30 images of instances.json" in out
    assert "where the points went" in out
    assert out.splitlines()[-1] == "results/mine/README.md"
    command = f"python -m odapi_repro.evaluate {detections} --ground_truth {truth} --name mine"
    assert command in Path("results/mine/README.md").read_text()


def test_a_report_without_room_leaves_the_earlier_one(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit on a file's size is the system's own: a write beyond it fails as on a full disk."""
    truth, detections = files
    argv = [str(detections), "--ground_truth", str(truth), "--name=mine", *QUICK]
    assert evaluate.main(argv) == 0
    before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        code = evaluate.main(argv)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    stderr = capsys.readouterr().err
    assert "the file would be larger than this process may write" in stderr
    assert "Traceback" not in stderr
    after = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    assert after == before


def test_no_report_writes_nothing(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, detections = files
    out = run(capsys, detections, "--ground_truth", truth, "--no_report", "--resamples", 0)
    assert "README" not in out
    assert {path.name for path in Path().iterdir()} == {"instances.json", "mine.json"}
    assert "%" not in out.split("where the points went")[0]


def test_markdown_is_the_readme_without_links_to_files_that_are_not_there(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, detections = files
    out = run(
        capsys, detections, "--ground_truth", truth, "--no_report", "--format=markdown", *QUICK
    )
    assert out.startswith("# mine-on-instances\n")
    assert "](" not in out


def test_two_results_files_are_compared_in_pairs_and_gzip_is_read(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, detections = files
    other = Path("other.json.gz")
    other.write_bytes(gzip.compress(json.dumps(random_set(8)[1]).encode()))
    argv = (detections, "--against", other, "--ground_truth", truth, "--no_report", *QUICK)
    out = run(capsys, *argv)
    header = next(line for line in out.splitlines() if line.split()[:1] == ["metric"])
    assert header.split() == [
        *("metric", "IoU", "area", "max", "mine", "95", "%", "other", "difference", "95", "%")
    ]
    content = json.loads(run(capsys, *argv, "--format", "json"))
    assert content["name"] == "mine-against-other-on-instances"
    assert content["difference"]["bbox"]["AP"]["low"] is not None


def test_seed_and_confidence_decide_the_interval_and_the_same_seed_repeats_it(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, detections = files

    def interval(*flags: object) -> tuple[float, float]:
        argv = (detections, "--ground_truth", truth, "--no_report", "--format", "json", *flags)
        ap = json.loads(run(capsys, *argv, "--resamples", 200))["model"]["bbox"]["metrics"]["AP"]
        return ap["low"], ap["high"]

    wide, narrow = interval("--seed", 1), interval("--seed", 1, "--confidence", 0.8)
    assert interval("--seed", 1) == wide
    assert interval("--seed", 2) != wide
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_one_of_n_images_is_evaluated(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, _ = files
    data = json.loads(truth.read_text())
    kept = {image["id"] for image in data["images"][::3]}
    found = [one for one in random_set(7, crowds=0.1)[1] if one["image_id"] in kept]
    some = written("some.json", found)
    argv = ("--sample_1_of_n_eval_examples", 3, "--no_report", "--format", "json", *QUICK)
    content = json.loads(run(capsys, some, "--ground_truth", truth, *argv))
    assert content["data"]["images"] == 10
    data["images"] = data["images"][::3]
    data["annotations"] = [one for one in data["annotations"] if one["image_id"] in kept]
    alone = json.loads(run(capsys, some, "--ground_truth", written("cut.json", data), *argv[2:]))
    assert content["model"]["bbox"]["metrics"] == alone["model"]["bbox"]["metrics"]


def test_a_results_file_is_scored_against_records_and_their_images_are_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    records, label_map = make_records()
    found = written("found.json", results([(11, 1, HERE, 0.9), (12, 1, HERE, 0.8)]))
    argv = ("--eval_records", records, "--label_map", label_map, "--name", "try", *QUICK)
    assert "AP 50.5 " in run(capsys, found, *argv)
    page = Image.open("results/try/pictures/best.png")
    # The image of the record, not the grey of one that is not there.
    assert (0xC0, 0x20, 0x20) in {color for _, color in page.getcolors(1 << 24)}  # type: ignore[union-attr, misc]


def make_records() -> tuple[Path, Path]:
    """Two red images of 400 pixels with one object each, the second of them elsewhere."""
    stream = Path("red.png")
    Image.new("RGB", (400, 400), "#c02020").save(stream)
    examples = []
    for number, box in ((11, HERE), (12, [250.0, 250.0, 50.0, 50.0])):
        x, y, width, height = (value / 400 for value in box)
        examples.append(
            AnnotatedImage(
                source_id=str(number),
                filename=f"{number}.png",
                height=400,
                width=400,
                image_format="png",
                encoded_image=stream.read_bytes(),
                boxes=[[y, x, y + height, x + width]],  # type: ignore[arg-type]
                class_ids=[1],  # type: ignore[arg-type]
                class_names=("a",),
                is_crowd=[False],  # type: ignore[arg-type]
            ).to_example()
        )
    write_records(Path("val.record"), examples)
    Path("map.pbtxt").write_text("item { id: 1 name: 'a' }")
    return Path("val.record"), Path("map.pbtxt")


# --- Checkpoints, with the child process played by a function ---


class Child:
    """Plays `evaluate_checkpoint`: finds every object, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[EvaluationRequest] = []
        self.read_back = False

    def __call__(self, request: EvaluationRequest, on_event: Any) -> EvaluationResult:
        self.requests.append(request)
        truth = request.data.truth
        on_event({"event": "started", "pid": 1})
        on_event({"event": "evaluating", "images": truth.num_images})
        on_event({"event": "pass_done", "pass": PLAIN})
        found = [
            {
                "image_id": truth.image_ids[image],
                "category_id": truth.category_ids[category],
                "bbox": box,
                "score": 0.9,
            }
            for image, category, box in zip(
                truth.images.tolist(), truth.categories.tolist(), truth.boxes.tolist(), strict=True
            )
        ]
        request.runs_dir.mkdir(exist_ok=True)
        path = request.runs_dir / f"{request.source.digest}.json"
        path.write_text(json.dumps(found))
        key = (PLAIN, PLAIN)
        took = {
            "import_seconds": 15.0,
            "build_seconds": 5.0,
            "restore_seconds": 1.0,
            "first_batch_seconds": 4.0,
            "rest_seconds": 10.0,
            "images": 30,
            "images_in_first_batch": 10,
        }
        return EvaluationResult(
            {key: path}, {}, {key: took}, frozenset([key] if self.read_back else [])
        )


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    played = Child()
    monkeypatch.setattr(evaluations, "evaluate_checkpoint", played)
    return played


def training_folder(name: str = "trained", *, step: int = 500) -> Path:
    folder = Path(name)
    write_training_checkpoint(folder, 3, step)
    text = reference_named("efficientdet_d0").config_text()
    (folder / "pipeline.config").write_text(text)
    return folder


def test_a_checkpoint_is_evaluated_on_records_with_its_own_config(
    child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    records, label_map = make_records()
    folder = training_folder()
    argv = ("--eval_records", records, "--label_map", label_map, "--batch_size", 4, *QUICK)
    argv = (*argv, "--no_report")
    out = run(capsys, "--checkpoint", folder, *argv, "--device", "cpu", "--runs_dir", "kept")
    request = child.requests[0]
    assert request.pipeline is not None
    assert request.pipeline.path == str(folder / "pipeline.config")
    assert (request.batch_size, request.device, request.runs_dir) == (4, "cpu", Path("kept"))
    assert not request.with_masks
    assert request.source.prefix.endswith("ckpt-3")
    assert "AP 100.0" in out
    assert "ckpt-3 (step 500)" in " ".join(out.split())
    assert "25 s to the first batch, then 2.0 images/s" in " ".join(out.split())
    markdown = run(capsys, "--checkpoint", folder, *argv, "--format", "markdown")
    assert markdown.startswith("# trained-on-val\n")


def test_without_data_flags_the_config_s_own_records_are_evaluated(
    child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    records, label_map = make_records()
    folder = training_folder()
    config = folder / "pipeline.config"
    text = config.read_text()
    own = text.index("eval_input_reader")
    text = text[:own] + (
        f"eval_input_reader {{ label_map_path: '{label_map}' sample_1_of_n_examples: 2 "
        f"tf_record_input_reader {{ input_path: '{records}' }} }}\n"
    )
    config.write_text(text)
    run(capsys, folder, "--no_report", *QUICK)
    data = child.requests[0].data
    assert (data.truth.num_images, data.sample_1_of_n) == (1, 2)


def test_progress_and_warnings_stay_out_of_stdout(
    child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    records, label_map = make_records()
    argv = ("--eval_records", records, "--label_map", label_map, "--format", "json")
    argv = (*argv, "--no_report", *QUICK)
    assert evaluate.main([str(a) for a in (training_folder(), *argv)]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["model"]["label"] == "trained"
    assert "starting TensorFlow" in captured.err


def test_what_is_read_back_is_said(child: Child, capsys: pytest.CaptureFixture[str]) -> None:
    records, label_map = make_records()
    child.read_back = True
    argv = ("--eval_records", records, "--label_map", label_map, "--no_report", *QUICK)
    assert "read back from runs" in run(capsys, training_folder(), *argv)


def test_two_checkpoints_are_compared_each_under_its_own_config(
    child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    records, label_map = make_records()
    one, other = training_folder("one"), training_folder("other", step=900)
    argv = ("--eval_records", records, "--label_map", label_map, "--no_report", *QUICK)
    out = run(capsys, "--checkpoint", one, "--against", other, *argv)
    assert [Path(r.source.given).name for r in child.requests] == ["one", "other"]
    assert [Path(r.pipeline.path).parent.name for r in child.requests if r.pipeline] == [
        "one",
        "other",
    ]
    assert "the same as other" in out


def test_coco_images_beside_their_json_are_evaluated(
    child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("images").mkdir()
    Image.new("RGB", (400, 400)).save("images/1.png")
    truth = written("instances.json", data_set([(1, 1, HERE)]))
    argv = ("--ground_truth", truth, "--images", "images", "--no_report", *QUICK)
    run(capsys, training_folder(), *argv)
    assert child.requests[0].data.image_files == (Path("images/1.png"),)


# --- What is refused ---


def test_flags_that_do_not_go_together_are_refused(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = files
    assert "nothing to evaluate was named" in refused(capsys)
    assert "2 things to evaluate" in refused(capsys, found, "--checkpoint", "x")
    both = refused(capsys, found, "--ground_truth", truth, "--data", "embedded")
    assert "--data and --ground_truth name 2 data sets" in both
    Path("val.record").touch()
    assert "--label_map" in refused(capsys, found, "--eval_records", "val.record")
    assert "--eval_records" in refused(capsys, found, "--label_map", "map.pbtxt")
    both = refused(capsys, found, "--ground_truth", truth, "--label_map", "map.pbtxt")
    assert "--label_map and --ground_truth" in both
    assert "--ground_truth" in refused(capsys, found, "--images", "images")
    assert "--images" in refused(capsys, "--checkpoint", "x", "--ground_truth", truth)
    unnamed = refused(capsys, found)
    assert "no records were named" in unnamed
    assert "--ground_truth instances.json (with --images for a checkpoint)" in unnamed
    assert "did you mean" in refused(capsys, found, "--ground_truht", truth)
    assert "flag was not understood" in refused(capsys, found, "--confidence", "95")


def test_a_name_that_is_no_folder_name_or_is_a_study_s_is_refused(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = files
    argv = (found, "--ground_truth", truth, *QUICK)
    assert "cannot be the name" in refused(capsys, *argv, "--name", "a/b")
    Path("studies/mine").mkdir(parents=True)
    Path("studies/mine/README.md").write_text("a study")
    message = refused(capsys, *argv, "--results_dir", "studies", "--name", "mine")
    assert "README.md without evaluation.json" in message


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ("study.json", "a study of factors (run)"),
        ("sweep.json", "a study of factors without training"),
        ("sanity.json", "a sanity run"),
        ("explanation.json", "an explanation"),
    ],
)
def test_a_folder_of_another_kind_is_refused_though_an_evaluation_lies_in_it(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], record: str, kind: str
) -> None:
    truth, found = files
    folder = Path("kept/mine")
    folder.mkdir(parents=True)
    for name in (record, "evaluation.json"):
        (folder / name).write_text("{}")
    argv = (found, "--ground_truth", truth, "--name", "mine", "--results_dir", "kept", *QUICK)
    assert f"this folder holds {kind}" in refused(capsys, *argv)
    assert (folder / record).read_text() == "{}"


def test_another_evaluation_is_not_replaced_and_the_same_is_made_again(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = files
    quick = ("--resamples", 0, "--pictures", 0)
    run(capsys, found, "--ground_truth", truth, *quick)
    made = Path("results/mine-on-instances")
    kept = (made / "evaluation.json").read_bytes()
    Path("results").rename("kept")

    def message(*argv: object) -> str:
        return refused(capsys, *argv, "--results_dir", "kept", "--name", made.name, *quick)

    other = written("other.json", random_set(8)[1])
    assert "an evaluation of other detections" in message(other, "--ground_truth", truth)
    data = json.loads(truth.read_text())
    data["annotations"][0]["bbox"][0] += 1
    moved = written("moved.json", data)
    told = message(found, "--ground_truth", moved)
    assert "an evaluation of other data" in told
    assert "--name mine-on-instances-2" in told
    assert (Path("kept") / made.name / "evaluation.json").read_bytes() == kept
    run(capsys, found, "--ground_truth", truth, "--results_dir", "kept", "--seed", 3, *quick)


def test_boxes_as_shares_are_warned_of_on_stderr(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = files
    content = json.loads(found.read_text())
    for one in content:
        one["bbox"] = [value / 400 for value in one["bbox"]]
    shares = written("shares.json", content)
    argv = [shares, "--ground_truth", truth, "--no_report", "--resamples", 0]
    assert evaluate.main([str(one) for one in argv]) == 0
    assert "read as x, y, width, height as shares of the image" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_saved_model_takes_no_pipeline(child: Child, capsys: pytest.CaptureFixture[str]) -> None:
    records, label_map = make_records()
    training_folder()
    Path("exported/saved_model").mkdir(parents=True)
    Path("exported/saved_model/saved_model.pb").write_bytes(b"graph")
    argv = ("--checkpoint", "exported", "--eval_records", records, "--label_map", label_map)
    told = refused(capsys, *argv, "--pipeline", "trained/pipeline.config")
    assert "--pipeline with a SavedModel" in told
    assert not child.requests


def test_objects_of_classes_beyond_the_model_s_are_refused_before_tensorflow_starts(
    child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("images").mkdir()
    Image.new("RGB", (400, 400)).save("images/1.png")
    data = data_set([(1, 1, HERE)], classes=1)
    data["categories"][0]["id"] = data["annotations"][0]["category_id"] = 91
    truth = written("instances.json", data)
    argv = ("--ground_truth", truth, "--images", "images", "--no_report")
    assert "(id 91)" in refused(capsys, training_folder(), *argv)
    assert not child.requests


def test_wrong_files_are_refused_by_what_they_are(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = files
    assert "no such file" in refused(capsys, "nothing.json", "--ground_truth", truth)
    assert "--ground_truth" in refused(capsys, truth, "--ground_truth", truth)
    assert "--detections" in refused(capsys, found, "--ground_truth", found)
    Path("cut.json").write_text(found.read_text()[:-50])
    assert "cut.json" in refused(capsys, "cut.json", "--ground_truth", truth)
    masks = refused(capsys, found, "--ground_truth", truth, "--iou_type", "segm", *QUICK)
    assert "masks" in masks
    empty = written("empty.json", data_set([]))
    assert "no annotations" in refused(capsys, found, "--ground_truth", empty)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_id": 999}, "999"),
        ({"category_id": 77}, "77"),
        ({"score": float("nan")}, "score"),
        ({"bbox": [1.0, 2.0, -3.0, 4.0]}, "negative"),
    ],
)
def test_a_wrong_detection_is_refused_by_its_value(
    files: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    change: Json,
    told: str,
) -> None:
    truth, found = files
    content = json.loads(found.read_text())
    content[3].update(change)
    assert told in refused(capsys, written("wrong.json", content), "--ground_truth", truth)


def test_a_checkpoint_without_config_or_that_is_none_is_refused(
    child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    records, label_map = make_records()
    argv = ("--eval_records", records, "--label_map", label_map)
    (training_folder() / "pipeline.config").unlink()
    assert "no pipeline.config lies with" in refused(capsys, "trained", *argv)
    Path("nothing").mkdir()
    assert "checkpoint" in refused(capsys, "nothing", *argv)
    assert not child.requests


def test_images_that_are_not_there_are_named(
    child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("images").mkdir()
    truth = written("instances.json", data_set([(1, 1, HERE)]))
    argv = (training_folder(), "--ground_truth", truth, "--images")
    assert "1.png" in refused(capsys, *argv, "images")
    assert "no such folder" in refused(capsys, *argv, "elsewhere")


def test_help_and_dispatch_work_without_importing_numpy_s_friends() -> None:
    code = (
        "import sys; from odapi_repro.__main__ import main; code = main(['evaluate', '--help']); "
        "slow = {'tensorflow', 'pandas', 'scipy', 'matplotlib', 'hotcoco'}; "
        "print(sorted(slow & set(sys.modules)));"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--against" in done.stdout
