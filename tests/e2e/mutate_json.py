"""COCO json, mutated at random, never ends a command otherwise than in a result or one message.

`python tests/e2e/mutate_json.py [CASES [SEED]]` mutates small valid files for `data convert`, for
`evaluate` (ground truth, detections) and for `data check --annotations`, CASES times each, calls
the commands' `main` and prints each case that ends in an exception, a warning of numpy's, a signal,
ten seconds of work or an exit code other than 0, 1 and 2. `--case TARGET NUMBER [SEED]` does one
again and prints what it printed. 5,000 cases of each take about five minutes on two free cores.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TARGETS = ("convert", "ground_truth", "detections", "check")
_AT_ONCE = 50  # cases a child does before the next one begins
_MOST_MEMORY = 6 << 30  # bytes of address space; what asks for more gets a MemoryError
_MOST_SECONDS = 60
_SLOW_SECONDS = 10.0  # of processor time
_MOST_MUTATIONS = 3
_REPORT_EVERY = 10  # cases of `evaluate` that write their report
_LONG = "@a whole number of 5,000 digits@"
_FAR = "@1e400@"
_DEEP = "@brackets within brackets@"
_VALUES: tuple[Any, ...] = (
    float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324, 2**31, 2**32, 2**53 + 1,
    2**62, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 2**70, 10**400, -(10**400), _LONG, _FAR, _DEEP,
    0, -1, -0.0, 0.5, 1.5, 7.0, 3e9, True, False, None, "", "1", "nan", "\x1b[2J", "\ud800", "$_{",
    [], {}, [[]], [{}], [None], [1, 2, 3, 4], [[1, 2, 3, 4]], [[1e308] * 8], [[float("nan")] * 8],
    [[5, 5, 25, 5, 25, 15], [1, 2, 3, 4]], [[5, 5, 25, 5, 25, 15, 9]], [[-1e6, 0, 1e6, 0, 1e6, 9]],
    {"size": [2**40, 2**40], "counts": [2**70]}, {"size": [40, 60], "counts": "04`0"},
    {"size": [40, 60], "counts": [2400]}, {"size": [-1, 60], "counts": [2**63]},
    {"size": [40, 60], "counts": [2**64, -(2**64) + 2400]}, {"size": [40, 60], "counts": "P" * 40},
    {"size": [40, 60], "counts": [2**62] * 4 + [2400]}, {"size": [40, 60], "counts": [True] * 9},
    {"counts": "x"}, {"size": "x", "counts": "x"}, {"size": [40.0, 60.0], "counts": []},
    {"size": [40, 60], "counts": "oooooooooooo0"}, {"size": [2**31, 2**31], "counts": "0"},
)  # fmt: skip
_KEYS = (
    "id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "height", "width",
    "file_name", "name", "score", "keypoints", "num_keypoints", "ignore", "segments_info",
    "caption", "size", "counts", "license",
)  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """A case that did not end as it should, and why."""

    target: str
    number: int
    why: str


@dataclass(frozen=True)
class Workplace:
    """A folder with the valid files that are mutated.

    Attributes:
        folder: where they lie; a case writes its file and its output there.
        instances: COCO's instances.
        detections: of these.
    """

    folder: Path
    instances: dict[str, Any]
    detections: list[dict[str, Any]]


def made_workplace(folder: Path) -> Workplace:
    """Writes images, a json, its detections and its records into an empty folder."""
    images, annotations = [], []
    (folder / "images").mkdir()
    for number in (1, 2, 3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 40, "width": 60})
        for x, y, width, height in ((4, 3, 20, 10), (30, 5, 8, 30)):
            corners = [x, y, x + width, y, x + width, y + height, x, y + height]
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number,
                    "category_id": 1 + len(annotations) % 2, "bbox": [x, y, width, height],
                    "area": width * height, "iscrowd": 0, "segmentation": [corners],
                    "keypoints": [x + 1, y + 1, 2, 0, 0, 0], "num_keypoints": 1,
                }
            )  # fmt: skip
    annotations[-1] |= {
        "iscrowd": 1,
        "segmentation": {"size": [40, 60], "counts": [1205, 30, 1165]},
    }
    named = {"keypoints": ["nose", "tail"]}
    categories = [{"id": 1, "name": "cat", **named}, {"id": 2, "name": "dog", **named}]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    detections = [
        {
            "image_id": one["image_id"], "category_id": one["category_id"],
            "bbox": [float(side) for side in one["bbox"]], "score": 0.9 - 0.1 * place,
            "segmentation": one["segmentation"],
        }
        for place, one in enumerate(annotations)
    ]  # fmt: skip
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "detections.json").write_text(json.dumps(detections))
    made = Workplace(folder, instances, detections)
    code, said = _called(_command("convert", made, folder / "instances.json", folder / "records"))
    if code:
        raise RuntimeError(f"the valid files are refused: {said}")
    return made


def mutated(target: str, place: Workplace, rng: random.Random) -> str:
    """Gives the text of a mutated file."""
    content: Any = copy.deepcopy(place.detections if target == "detections" else place.instances)
    for _ in range(rng.randint(1, _MOST_MUTATIONS)):
        holder = {"root": content}
        _mutate(holder, rng)
        content = holder["root"]
    text = json.dumps(content)
    text = text.replace(f'"{_LONG}"', "9" * 5000).replace(f'"{_FAR}"', "1e400")
    text = text.replace(f'"{_DEEP}"', "[" * 2000 + "]" * 2000)
    if rng.random() < 0.06:
        at = rng.randrange(max(len(text), 1))
        text = rng.choice(
            (
                text[:at],
                text[:at] + text[at + 1 :],
                text[:at] + rng.choice('{}[]",:\\ 0x') + text[at:],
            )
        )
    return text


def _mutate(holder: dict[str, Any], rng: random.Random) -> None:
    """Changes one value, key or element at a random place."""
    node: Any = holder
    key: Any = "root"
    while isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.93:
        node = node[key]
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
    action = rng.random()
    if action < 0.7:
        node[key] = copy.deepcopy(rng.choice(_VALUES))
    elif action < 0.8 and node is not holder:
        del node[key]
    elif action < 0.86 and isinstance(node, list):
        node.insert(key, copy.deepcopy(node[key]))
    elif action < 0.93 and isinstance(node, dict):
        node[rng.choice(_KEYS)] = copy.deepcopy(rng.choice(_VALUES))
    elif type(node[key]) is float or (type(node[key]) is int and abs(node[key]) < 2**70):
        node[key] *= rng.choice((-1, 0.5, 1e3, 1e9, 10**20, 1e300))
    else:
        node[key] = [node[key]] * rng.choice((1, 2, 5))


def _command(
    target: str, place: Workplace, file: Path, output: Path, *, with_report: bool = True
) -> Callable[[], int]:
    """Gives a call of the command that reads the file; plots and pictures are most of the work."""
    folder = place.folder
    if target == "convert":
        from odapi_repro.data_convert import main as convert

        argv = [f"--annotations={file}", f"--image_dir={folder / 'images'}"]
        return lambda: convert([*argv, f"--output_dir={output}", "--workers=1"])
    if target == "check":
        from odapi_repro.data_check import main as check

        argv = [f"--train_records={folder / 'records' / 'train-*'}", "--workers=1"]
        argv += [f"--label_map={folder / 'records' / 'label_map.pbtxt'}", f"--annotations={file}"]
        return lambda: check(argv)
    from odapi_repro.evaluate import main as evaluate

    other = folder / ("instances.json" if target == "detections" else "detections.json")
    found, truth = (file, other) if target == "detections" else (other, file)
    argv = [f"--detections={found}", f"--ground_truth={truth}", "--resamples=0"]
    argv += [f"--results_dir={output}", "--pictures=2"] if with_report else ["--no_report"]
    return lambda: evaluate(argv)


def _called(command: Callable[[], int]) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = command()
    return code, out.getvalue() + err.getvalue()


def case(target: str, number: int, seed: int, place: Workplace) -> tuple[str, str]:
    """Does one case; gives what is wrong with how it ended, empty for nothing, and its output."""
    began = time.process_time()
    rng = random.Random(f"{target}:{seed}:{number}")
    file, output = place.folder / f"{target}.json", place.folder / "output"
    file.write_text(mutated(target, place, rng), encoding="utf-8", errors="surrogatepass")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            with_report = number % _REPORT_EVERY == 0
            code, said = _called(_command(target, place, file, output, with_report=with_report))
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [one for one in frames if "odapi_repro" in one.filename] or frames
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return f"{type(error).__name__} at {where}: {str(error)[:120]}", traceback.format_exc()
    finally:
        _remove(output)
    seconds = time.process_time() - began
    if seconds > _SLOW_SECONDS:
        return f"{seconds:.0f} seconds of processor time", said
    if code not in (0, 1, 2):
        return f"exit code {code}", said
    if "Traceback" in said or (
        code == 2 and said.count("odapi-repro ") != 1 + said.count("warning")
    ):
        return f"exit code {code} with another message: {said[:200]}", said
    return "", f"exit code {code}\n{said}"


def failures(target: str, numbers: range, seed: int, place: Workplace) -> Iterator[Failure]:
    """Does cases in child processes, so that a crash costs one; gives those that failed."""
    at = numbers.start
    while at < numbers.stop:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _work(target, range(at, min(at + _AT_ONCE, numbers.stop)), seed, place, writer)
        os.close(writer)
        with os.fdopen(reader, "r", encoding="utf-8") as told:
            for line in told:
                number, why = json.loads(line)
                at = number + 1
                if why:
                    yield Failure(target, number, why)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) or os.WEXITSTATUS(status):
            yield Failure(target, at, f"the process ended with status {status}")
            at += 1


def _work(target: str, numbers: range, seed: int, place: Workplace, writer: int) -> None:
    """What a child does; never returns."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        for number in numbers:
            signal.alarm(_MOST_SECONDS)
            why, _ = case(target, number, seed, place)
            os.write(writer, (json.dumps([number, why]) + "\n").encode())
        os._exit(0)
    finally:
        os._exit(1)


def _remove(folder: Path) -> None:
    import shutil

    for path in folder.parent.glob(f"{folder.name}*"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def _main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="mutated_json_") as name:
        place = made_workplace(Path(name))
        if arguments[:1] == ["--case"]:
            why, said = case(
                arguments[1], int(arguments[2]), int((arguments[3:] or ["0"])[0]), place
            )
            print(said, why, sep="\n")
            return bool(why)
        cases, seed = int((arguments or ["5000"])[0]), int((arguments[1:] or ["0"])[0])
        count = 0
        for target in TARGETS:
            for failure in failures(target, range(cases), seed, place):
                count += 1
                print(f"{target} {failure.number}: {failure.why}", flush=True)
            print(f"{target}: {cases:,} cases", file=sys.stderr, flush=True)
        print(f"{count} of {cases * len(TARGETS):,} cases ended otherwise than they should")
        return bool(count)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    sys.exit(_main(sys.argv[1:]))
