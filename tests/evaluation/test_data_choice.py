"""What the flags name is what is evaluated on, and no more is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from odapi_repro.datasets.embedded import embedded_dataset
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.source import DataFlags
from odapi_repro.errors import DataError
from odapi_repro.evaluation.eval_data import choose_data
from odapi_repro.pipeline import parse_pipeline


@pytest.fixture
def only_val(tmp_path: Path) -> Path:
    """A folder as someone leaves it who only evaluates."""
    spec = ShapesSpec(train_images=1, val_images=3, train_shards=1, val_shards=2)
    made = embedded_dataset(tmp_path / "shapes", spec=spec)
    folder = tmp_path / "only_val"
    folder.mkdir()
    for path in (made.label_map_path, *made.label_map_path.parent.glob("*val*")):
        shutil.copy(path, folder)
    return folder


def test_a_folder_without_training_records_is_evaluated(only_val: Path) -> None:
    data = choose_data(DataFlags(data=str(only_val)), None, with_masks=True)
    assert (data.name, data.truth.num_images) == ("only_val", 3)
    assert len(data.record_files) == 2


def test_what_lacks_is_asked_for_by_the_flags_of_evaluate(only_val: Path) -> None:
    (next(only_val.glob("*val*"))).unlink()
    with pytest.raises(DataError, match="1 of 2 shards") as caught:
        choose_data(DataFlags(data=str(only_val)), None, with_masks=True)
    assert "--eval_records" in str(caught.value)
    assert "--train_records" not in str(caught.value)


def test_a_label_map_alone_goes_before_that_of_the_configs_own_records(
    only_val: Path, tmp_path: Path
) -> None:
    reader = f"tf_record_input_reader {{ input_path: '{only_val}/val*' }} sample_1_of_n_examples: 2"
    config = parse_pipeline(
        f"model {{ ssd {{ num_classes: 6 }} }} eval_input_reader {{ {reader} }}", "my.config"
    )
    moved = tmp_path / "moved.pbtxt"
    next(only_val.glob("*.pbtxt")).rename(moved)
    with pytest.raises(DataError, match="no label map is named or found"):
        choose_data(DataFlags(), config, with_masks=False)
    flags = DataFlags(label_map=str(moved))
    assert choose_data(flags, config, with_masks=False).truth.num_images == 2
    assert choose_data(flags, config, with_masks=False, sample_1_of_n=1).truth.num_images == 3
