"""The cache of the embedded data set: whole or not at all, the same bytes every time."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import odapi_repro.datasets.embedded as embedded_module
from odapi_repro.datasets.embedded import EmbeddedDataset, embedded_dataset
from odapi_repro.datasets.label_map import read_label_map
from odapi_repro.datasets.made_folder import default_cache_root
from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import DataError

_TINY = ShapesSpec(train_images=2, val_images=1, train_shards=2, val_shards=1)


def _hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_files_are_where_the_data_set_says(small: EmbeddedDataset, small_spec: ShapesSpec) -> None:
    train, val = resolve_patterns([small.train_pattern]), resolve_patterns([small.val_pattern])
    assert [path.name for path in train] == [f"train-{i:05d}-of-00004.tfrecord" for i in range(4)]
    assert sum(len(list(read_records(p))) for p in train) == small_spec.train_images
    assert sum(len(list(read_records(p))) for p in val) == small_spec.val_images
    assert read_label_map(small.label_map_path).num_classes == 6
    assert (small.folder / "README").read_text().startswith("Shapes")


def test_the_default_is_a_hundred_train_shards() -> None:
    located = embedded_module._located(Path("x"), ShapesSpec())
    assert Path(located.train_pattern).name == "train-?????-of-00100.tfrecord"
    assert Path(located.val_pattern).name == "val-?????-of-00010.tfrecord"


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first = embedded_dataset(tmp_path / "a", spec=_TINY)
    second = embedded_dataset(tmp_path / "b", spec=_TINY)
    assert _hashes(first.folder) == _hashes(second.folder)
    other = embedded_dataset(tmp_path / "a", spec=dataclasses.replace(_TINY, seed=1))
    assert other.folder != first.folder


def test_a_second_call_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedded_dataset(tmp_path, spec=_TINY)
    monkeypatch.setattr(embedded_module, "_make", lambda *_: pytest.fail("made again"))
    assert embedded_dataset(tmp_path, spec=_TINY) == first


@pytest.mark.parametrize("damage", ["remove", "shorten", "marker"])
def test_a_damaged_folder_is_made_again(tmp_path: Path, damage: str) -> None:
    made = embedded_dataset(tmp_path, spec=_TINY)
    whole = _hashes(made.folder)
    victim = made.folder / ("complete.json" if damage == "marker" else "README")
    if damage == "shorten":
        victim.write_bytes(victim.read_bytes()[:-1])
    else:
        victim.unlink()
    embedded_dataset(tmp_path, spec=_TINY)
    assert _hashes(made.folder) == whole
    assert [path.name for path in tmp_path.iterdir()] == [made.folder.name]


def test_makers_at_the_same_time_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: embedded_dataset(tmp_path, spec=_TINY), range(4)))
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [made[0].folder.name]


def test_an_interrupted_maker_leaves_no_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded_module, "write_label_map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embedded_dataset(tmp_path, spec=_TINY)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / f".shapes-{_TINY.digest()}.left"
    left.mkdir()
    os.utime(left, (0, 0))
    embedded_dataset(tmp_path, spec=_TINY)
    assert not left.exists()


def test_no_space_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DataError, match=r"cannot be made: (.|\n)*No space(.|\n)*free space"):
        embedded_dataset(tmp_path, spec=_TINY)


def test_a_cache_that_is_a_file_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(DataError, match="ODAPI_REPRO_CACHE"):
        embedded_dataset(path, spec=_TINY)


def test_the_cache_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODAPI_REPRO_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert default_cache_root() == Path("/a")
    monkeypatch.delenv("ODAPI_REPRO_CACHE")
    assert default_cache_root() == Path("/b/odapi_repro")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_root() == Path.home() / ".cache" / "odapi_repro"


def test_nothing_here_imports_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from odapi_repro.datasets.embedded import embedded_dataset\n"
        "from odapi_repro.datasets.record_ground_truth import coco_ground_truth\n"
        "from odapi_repro.datasets.label_map import read_label_map\n"
        "from odapi_repro.datasets.object_table import survey_records\n"
        "from odapi_repro.datasets.records import resolve_patterns\n"
        "from odapi_repro.datasets.shapes_spec import ShapesSpec\n"
        "heavy = {'cv2', 'PIL', 'pycocotools', 'matplotlib', 'object_detection'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "spec = ShapesSpec(train_images=1, val_images=1, train_shards=1, val_shards=1)\n"
        f"made = embedded_dataset(Path({str(tmp_path)!r}), spec=spec)\n"
        "lm = read_label_map(made.label_map_path)\n"
        "files = resolve_patterns([made.train_pattern])\n"
        "coco_ground_truth(files, lm, with_masks=True)\n"
        "survey_records(files, lm, pick=1, seed=0)\n"
        "print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert done.stdout.split("\n")[:2] == ["[]", "False"], done.stderr
