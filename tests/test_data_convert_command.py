"""`data convert` as a user calls it: exit codes, messages, what a kill or a full disk leaves."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from coco_sets import CocoSet

from odapi_repro.data import main
from odapi_repro.datasets.conversion.convert import Progress
from odapi_repro.datasets.conversion.manifest import read_manifest
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.features import convert_data


@pytest.fixture
def few(tmp_path: Path) -> CocoSet:
    made = CocoSet(tmp_path)
    for number in range(1, 9):
        made.image(number, height=240, width=320)
        made.annotation(number, [2, 3, 20, 10], segmentation=[[2, 3, 22, 3, 22, 13, 2, 13]])
    made.write()
    return made


def flags_of(made: CocoSet, *more: str) -> list[str]:
    return [
        "convert", f"--annotations={made.json_path}", f"--image_dir={made.images}",
        f"--output_dir={made.output}", "--workers=1", *more,
    ]  # fmt: skip


def command(made: CocoSet, *more: str) -> list[str]:
    return [sys.executable, "-m", "odapi_repro.data", *flags_of(made, *more)]


def test_a_call_converts_and_accounts_for_every_annotation(
    few: CocoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    few.annotation(1, [300, 3, 30, 10])
    few.annotation(1, [400, 3, 30, 10])
    few.write()
    assert main(flags_of(few, "--shards=2")) == 0
    captured = capsys.readouterr()
    assert "train: 8 of 8 images in 2 shards" in captured.out
    assert "10 annotations, of which" in captured.out
    assert "9   kept, 1 of them clipped to the image (1 by more than a pixel)" in captured.out
    assert "1   box wholly outside of its image" in captured.out
    assert "num_classes: 90 (the highest id; there are 3 classes" in captured.out
    assert f"--data {few.output}" in captured.out
    assert "reading" in captured.err


def test_two_splits_go_into_one_folder(few: CocoSet, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags_of(few, f"--val_annotations={few.json_path}", "--images=3")) == 0
    found = read_manifest(few.output)
    assert found is not None
    assert {name: split.images["written"] for name, split in found.splits.items()} == {
        "train": 3,
        "val": 8,
    }
    assert "shares differ from the whole's by at most" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--image_dir="], "--image_dir is missing"),
        (["--image_dir=/nowhere"], "no such folder or zip archive"),
        (["--annotations=/nowhere/a.json"], "No such file"),
        (["--subset=0.5", "--images=2"], "--subset and --images are both given"),
        (["--images=9"], "--images 9, and 'train' has 8"),
        (["--shards=9"], "9 shards are asked for, and 'train' has 8 images"),
        (["--subset=0"], "--subset 0"),
        (["--split=a/b"], "--split 'a/b'"),
        (["--split=val", "--val_annotations=x"], "--split val and --val_annotations"),
        (["--val_shards=5"], "--val_shards is given without --val_annotations"),
        (["--keypoints=x"], "unknown flag --keypoints"),
        (["more"], "'more' is not a flag"),
        (['--classes=a,"b'], "unexpected end of data"),
        (["--output_dir=/proc/nowhere"], "cannot be written: "),
        (["--class_ids=other"], "a flag was not understood"),
    ],
)
def test_wrong_flags_are_one_message_and_exit_2(
    few: CocoSet, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(flags_of(few, *flags)) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert not few.output.exists()


def test_a_class_whose_name_has_a_comma_is_chosen_in_quotes(
    few: CocoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    few.content["categories"] = [{"id": 1, "name": "horse, wild"}, {"id": 2, "name": "dog"}]
    few.write()
    assert main(flags_of(few, "--classes=horse, wild")) == 2
    assert "double quotes" in capsys.readouterr().err
    assert main(flags_of(few, '--classes="horse, wild", dog')) == 0
    found = read_manifest(few.output)
    assert found is not None
    assert found.splits["train"].per_class == {1: 8, 2: 0}


def test_objects_given_twice_are_told(few: CocoSet, capsys: pytest.CaptureFixture[str]) -> None:
    few.annotation(1, [2, 3, 20, 10])
    few.content["annotations"][-1]["id"] = 1
    few.content["categories"] = [{"id": 3, "name": "one"}]
    for annotation in few.content["annotations"]:
        annotation["category_id"] = 3
    few.write()
    assert main(flags_of(few)) == 0
    out = capsys.readouterr().out
    assert "1 object given again: same image, class and box as an earlier one, kept" in out
    assert "1 annotation whose id an earlier one has" in out
    assert "there is 1 class," in out


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_ctrl_c_and_a_closed_terminal_are_left_to_the_parent_from_the_first_moment() -> None:
    """The server that workers come from, and so they, never get them, whatever they do then."""
    code = (
        "import multiprocessing.forkserver as f, signal\n"
        "from odapi_repro.datasets.workers.worker_pool import start_server\n"
        "start_server('odapi_repro.datasets.conversion.convert')\n"
        "print(f._forkserver._forkserver_pid, signal.pthread_sigmask(signal.SIG_BLOCK, set()))\n"
        "print(open(f'/proc/{f._forkserver._forkserver_pid}/status').read())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (blocked,) = [line for line in done.stdout.splitlines() if line.startswith("SigBlk")]
    for signum in (signal.SIGINT, signal.SIGHUP):
        assert int(blocked.split()[1], 16) >> (signum - 1) & 1
    assert "set()" in done.stdout.splitlines()[0]


WRONG = {
    "list": ([], "the JSON is a list"),
    "results": ([{"image_id": 1, "score": 1.0}], "list of detections with scores"),
    "captions": ({"images": [], "annotations": []}, "the json has no 'categories'"),
    "no images": ({"images": []}, "'images' is empty"),
    "no categories": ({"categories": []}, "'categories' is empty"),
    "named category ids": (
        {"categories": [{"id": "one", "name": "a"}]},
        "category 'a' has id 'one'",
    ),
    "a category id twice": (
        {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
        "category id 1 is given 2 times (1: 'a', 1: 'b')",
    ),
    "a category name twice": (
        {"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]},
        "category name 'a' is given 2 times",
    ),
    "an image without height": ({"images": [{"id": 1, "file_name": "a"}]}, "has no 'height'"),
    "an image of no width": (
        {"images": [{"id": 1, "file_name": "a", "height": 5, "width": 0}]},
        "image 1 has height 5 and width 0",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_json_that_is_not_coco_is_one_message(
    few: CocoSet, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    changed, message = WRONG[name]
    content = changed
    if isinstance(changed, dict) and name != "captions":
        content = {**few.content, **changed}
    few.json_path.write_text(json.dumps(content))
    assert main(flags_of(few)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bbox": None}, "annotation 1 has no bbox"),
        ({"bbox": [1, 2, 3]}, "annotation 1 has a bbox of 3 values"),
        ({"bbox": [1, 2, 3, "4"]}, "annotation 1 has bbox [1, 2, 3, '4']"),
        ({"bbox": "box"}, "annotation 1 has bbox 'box'"),
        ({"category_id": "x"}, "annotation 1 has category_id 'x'"),
        ({"category_id": None}, "annotation 1 has no category_id"),
        ({"category_id": 5}, "1 of 8 annotations are of categories that the json does not hold"),
        ({"image_id": 50}, "1 of 8 annotations are of images that the json does not hold"),
        ({"image_id": 50, "id": 13.0}, "(annotation ids 13)"),
        ({"image_id": 50, "id": "x"}, "(annotation ids none (number 0))"),
        ({"image_id": [1]}, "1 of 8 annotations are of images that the json does not hold"),
        ({"iscrowd": "no"}, "annotation 1 has iscrowd 'no'"),
    ],
)
def test_annotations_that_are_not_cocos_are_named(
    few: CocoSet, capsys: pytest.CaptureFixture[str], changed: dict, message: str
) -> None:
    few.content["annotations"][0].update(changed)
    few.write()
    assert main(flags_of(few)) == 2
    assert message in capsys.readouterr().err


def test_json_and_zip_that_are_cut_short_are_named(
    few: CocoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    text = few.json_path.read_text()
    few.json_path.write_text(text[: len(text) // 2])
    assert main(flags_of(few)) == 2
    assert "the JSON is cut short: the file ends at byte" in capsys.readouterr().err
    few.json_path.write_text(text)
    archive = few.folder / "images.zip"
    archive.write_bytes(b"PK\x03\x04" + bytes(100))
    assert main(flags_of(few, f"--image_dir={archive}")) == 2
    assert "the zip archive is cut short or damaged" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission_is_one_message(
    few: CocoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    few.output.mkdir(mode=0o500)
    assert main(flags_of(few)) == 2
    assert "cannot be written: Permission denied" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    """The limit on a file's size is the system's own: a write beyond it fails as on a full disk."""
    made = CocoSet(tmp_path)
    for number in range(1, 9):
        side = 400 if number == 4 else 100
        made.image(number, height=side, width=side)
        made.annotation(number, [2, 3, 20, 10])
    made.write()
    small = 5 * (made.images / "1.jpg").stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (small, resource.RLIM_INFINITY))

    arguments = command(made, "--shards=2")
    done = subprocess.run(arguments, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("larger than this process may write") == 1
    assert "Traceback" not in done.stderr
    left = sorted(path.name for path in made.output.iterdir())
    assert left == [".conversion", "train-00000-of-00002.tfrecord"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "1 shard kept" in done.stdout
    assert sum(1 for path in made.output.glob("train-*") for _ in read_records(path)) == 8


@pytest.fixture
def slow(tmp_path: Path) -> CocoSet:
    """Takes two workers about a second, in 24 shards."""
    made = CocoSet(tmp_path)
    for number in range(1, 25):
        made.image(number, height=480, width=640)
        for _ in range(20):
            made.annotation(
                number, [2, 3, 600, 400], segmentation=[[2, 3, 602, 3, 602, 403, 2, 403]]
            )
    made.write()
    return made


def ended(made: CocoSet, signum: int, *, whole_group: bool = False) -> tuple[int, str]:
    """Sends a signal to a conversion once two shards are whole; gives its exit code and stderr."""
    process = subprocess.Popen(
        [*command(made, "--shards=24"), "--workers=2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(journalled(made.output)) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    children = descendants(process.pid)
    (os.killpg if whole_group else os.kill)(process.pid, signum)
    _, stderr = process.communicate(timeout=60)
    while any(is_running(one) for one in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    assert not any(is_running(one) for one in children)
    return process.returncode, stderr


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.parametrize("whole_group", [False, True], ids=["to it", "to all its processes"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_conversion_that_is_asked_to_end_leaves_whole_shards_and_no_process(
    slow: CocoSet, signum: signal.Signals, whole_group: bool
) -> None:
    """Ctrl-C and a closed terminal reach all processes, a scheduler's SIGTERM one or all."""
    code, stderr = ended(slow, signum, whole_group=whole_group)
    assert code == 128 + signum
    assert stderr.splitlines()[-1] == f"odapi-repro data convert: ended by {signum.name}"
    assert "Traceback" not in stderr
    assert not list(slow.output.rglob("*.tmp"))
    assert not (slow.output / "manifest.json").exists()
    kept = len(journalled(slow.output))
    assert 2 <= kept < 24
    done = subprocess.run(
        [*command(slow, "--shards=24"), "--workers=2"], capture_output=True, text=True, check=True
    )
    assert f"{kept} shards kept" in done.stdout


def test_a_killed_conversion_goes_on_and_its_workers_are_gone(slow: CocoSet) -> None:
    made = slow
    ended(made, signal.SIGKILL)
    arguments = [*command(made, "--shards=24"), "--workers=2"]
    kept = {name: (made.output / name).stat().st_mtime_ns for name in journalled(made.output)}
    assert 2 <= len(kept) < 24
    assert not (made.output / "manifest.json").exists()
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert f"{len(kept)} shards kept" in done.stdout
    assert all((made.output / name).stat().st_mtime_ns == when for name, when in kept.items())
    assert sum(1 for path in made.output.glob("train-*") for _ in read_records(path)) == 24


def journalled(output: Path) -> list[str]:
    """Gives the shards that the journal names in whole lines."""
    lines = [
        line
        for path in output.glob(".conversion/*.jsonl")
        for line in path.read_text().splitlines(keepends=True)
    ]
    return [json.loads(line)["file"]["name"] for line in lines if line.endswith("\n")]


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_help_is_answered_before_numpy_would_be_imported() -> None:
    code = (
        "import sys\n"
        "from odapi_repro.data import main\n"
        "main(['convert', '--help'])\n"
        "sys.exit('numpy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--image_dir" in done.stdout


def test_progress_tells_no_rate_before_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    line = convert_data._ProgressLine()
    for now, done in ((100.0, 8), (100.001, 16), (102.0, 40)):
        monkeypatch.setattr(convert_data.time, "monotonic", lambda now=now: now)
        line(Progress(done, 100))
    told = [part.rstrip() for part in stream.getvalue().split("\r")[1:]]
    assert told == ["40 of 100 images, 20/s, 3 s left"]
