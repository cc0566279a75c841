"""Whatever records hold, they are told of; nothing is raised and every format prints."""

from __future__ import annotations

import io
import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_diagnosis import markdown_of, text_of
from PIL import Image

from odapi_repro.datasets.example import make_example
from odapi_repro.datasets.source import DataFlags
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.diagnosis.checked_data import check_data
from odapi_repro.diagnosis.outcome import examine_records
from odapi_repro.diagnosis.render.diagnosis_json import render_json, render_sarif
from odapi_repro.diagnosis.rules import all_rules, records

FLOATS = (0.0, 0.5, 1.0, -3.0, 1e30, -1e30, float("nan"), float("inf"), 300.0, 1e-30)
INTS = (0, 1, 2, 7, -1, 2**62, -(2**62), 90)
TEXTS = ("disc", "Disc ", "", "\x00\x1b[31m", "kółko", "x" * 300)


def picture(rng: random.Random) -> bytes:
    file = io.BytesIO()
    size = rng.choice([(1, 1), (16, 16), (40, 7)])
    Image.new("RGB", size, (rng.randrange(256), 9, 9)).save(file, rng.choice(["JPEG", "PNG"]))
    return rng.choice([file.getvalue(), file.getvalue()[:-5], b"", b"\x00" * 9])


def record(rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(40)))
    count = rng.randrange(4)

    def values(choices: tuple[Any, ...]) -> Any:
        return [rng.choice(choices) for _ in range(count if rng.random() < 0.9 else count + 1)]

    features: dict[str, Any] = {
        "image/encoded": picture(rng),
        "image/source_id": rng.choice(TEXTS),
        "image/filename": rng.choice(TEXTS),
        "image/height": np.array([rng.choice(INTS)], np.int64),
        "image/width": np.array([rng.choice(INTS)], np.int64),
        "image/object/class/text": values(TEXTS),
        "image/object/class/label": np.array(values(INTS), np.int64),
        "image/object/is_crowd": np.array(values(INTS), np.int64),
        "image/object/area": np.array(values(FLOATS), np.float32),
        "image/object/mask": [picture(rng) for _ in range(count)],
    }
    for edge in ("ymin", "xmin", "ymax", "xmax"):
        features[f"image/object/bbox/{edge}"] = np.array(values(FLOATS), np.float32)
    for key in [*features]:
        if rng.random() < 0.1:
            del features[key]
        elif rng.random() < 0.03:
            features[key] = np.array([1.5], np.float32)
    return make_example(features)


@pytest.mark.parametrize("seed", range(25))
def test_any_records_are_told_of_in_every_format(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    (tmp_path / "a_label_map.pbtxt").write_text("item { id: 1 name: 'disc' }")
    content = {
        "images": [{"id": "disc", "height": 16, "width": 16, "file_name": "disc"}],
        "annotations": [
            {"id": 1, "image_id": "disc", "category_id": 1, "bbox": [1, 1, 5, 5], "area": 9}
        ],
        "categories": [{"id": 1, "name": "disc"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    for split in ("train", "val"):
        made = [record(rng) for _ in range(rng.randrange(1, 25))]
        write_records(tmp_path / f"{split}.record", made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = DataFlags(str(tmp_path))
        checked = check_data(named, None, annotations={"train": str(tmp_path / "a.json")})
        diagnosis = examine_records(checked.subject, checked.facts, rules=records.RULES)
        assert json.loads(render_json([diagnosis]))["data"]["splits"]["train"]["records"] >= 1
        assert json.loads(render_sarif([diagnosis], all_rules()))["runs"]
        assert "\x1b[31m" not in text_of(diagnosis)
        assert markdown_of(diagnosis).startswith("# ")
    assert all(one.count > 0 for one in diagnosis.findings)
