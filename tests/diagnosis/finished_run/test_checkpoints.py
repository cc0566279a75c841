"""Checkpoints: what is on disk, at which step, of which kind, whole or not."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_writers import (
    TRAINING_TREE,
    VALUE,
    Tree,
    table,
    write_checkpoint,
    write_training_checkpoint,
)

from odapi_repro.diagnosis.finished_run import (
    checkpoint_kind,
    list_checkpoints,
    read_checkpoint_state,
    read_index,
    resolve_checkpoint,
)
from odapi_repro.diagnosis.finished_run.tensor_bundle import iterate_table
from odapi_repro.errors import DataError

EXTRACTOR: Tree = {"conv": None}


@settings(deadline=None)
@given(
    st.dictionaries(st.binary(max_size=20), st.binary(max_size=300), max_size=30),
    st.integers(1, 20),
)
def test_a_table_is_read_back(entries: dict[bytes, bytes], block: int) -> None:
    assert list(iterate_table(table(entries, block=block))) == sorted(entries.items())


@given(st.data())
def test_a_table_with_a_changed_byte_is_refused_or_the_same(data: st.DataObject) -> None:
    entries = {b"a": b"1", b"ab": b"22", b"abc": b"", b"b": b"4444"}
    content = bytearray(table(entries))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        found = dict(iterate_table(bytes(content)))
    except DataError:
        return
    # What has no checksum or is not read: the footer, and the metaindex, which is empty.
    assert found in (entries, {})


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_a_data_error(content: bytes) -> None:
    for candidate in (content, content + table({})[-48:]):
        with contextlib.suppress(DataError):
            list(iterate_table(candidate))


def test_a_compressed_table_is_refused_by_the_compression_s_name() -> None:
    with pytest.raises(DataError, match="Snappy"):
        list(iterate_table(table({b"a": b"b"}, compression=1)))


def test_an_index_tells_variables_and_scalars(tmp_path: Path) -> None:
    index = read_index(write_training_checkpoint(tmp_path, 3, 2000))
    assert index.is_object_based
    assert index.scalar(f"step{VALUE}") == 2000
    assert index.scalar(f"model/_feature_extractor/conv{VALUE}") == 0.5
    assert index.scalar("absent") is None
    stored = index.variables[f"step{VALUE}"]
    assert (stored.dtype, stored.shape) == ("int64", ())
    assert index.children() == ("model", "optimizer", "save_counter", "step")
    assert index.children("model") == ("_box_predictor", "_feature_extractor")
    assert index.children("model", "nothing") == ()
    assert index.missing_data() == ""


def test_without_its_data_an_index_still_tells_the_objects_with_variables(tmp_path: Path) -> None:
    prefix = write_training_checkpoint(tmp_path, 1, 100)
    Path(f"{prefix}.data-00000-of-00001").unlink()
    index = read_index(prefix)
    assert index.children() == ("model", "save_counter", "step")
    assert index.children("model") == ("_box_predictor", "_feature_extractor")
    assert index.scalar(f"step{VALUE}") is None
    assert "is missing" in index.missing_data()


@pytest.mark.parametrize(
    ("variables", "tree", "kind"),
    [
        ({f"step{VALUE}": 1}, TRAINING_TREE, "training"),
        ({"x": 1}, {"model": {"_feature_extractor": EXTRACTOR}, "step": None}, "detection"),
        (
            {"x": 1},
            {"model": {"_feature_extractor_for_proposal_features": EXTRACTOR}},
            "detection",
        ),
        ({"x": 1}, {"feature_extractor": EXTRACTOR, "save_counter": None}, "classification"),
        # A Keras model's own weights, and the old layout that ensure_checkpoint_supported refuses.
        ({"x": 1}, {"layer-0": EXTRACTOR, "layer_with_weights-0": EXTRACTOR}, "unknown"),
        ({"x": 1}, {"_feature_extractor": EXTRACTOR}, "unknown"),
        ({"FeatureExtractor/MobilenetV2/Conv/weights": 0.5, "global_step": 7}, None, "tf1"),
        ({}, None, "unknown"),
    ],
)
def test_the_kind_of_a_checkpoint_follows_from_its_objects(
    tmp_path: Path, variables: Mapping[str, int | float], tree: Tree | None, kind: str
) -> None:
    write_checkpoint(tmp_path / "ckpt-0", variables, tree=tree)
    assert checkpoint_kind(tmp_path / "ckpt-0") == kind
    assert checkpoint_kind(str(tmp_path / "ckpt-0.index")) == "unknown"


def test_the_kind_of_a_folder_is_that_of_its_latest_checkpoint(tmp_path: Path) -> None:
    write_training_checkpoint(tmp_path, 1, 0)
    assert checkpoint_kind(tmp_path) == "training"
    assert resolve_checkpoint(tmp_path) == tmp_path / "ckpt-1"


def test_a_checkpoint_of_tf1_s_first_format_is_tf1(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(table({b"": b"", b"\0x": b""}, compression=1))
    assert checkpoint_kind(path) == "tf1"


@pytest.mark.parametrize("name", ["nothing", "", "sub/ckpt-0", "a\0b", "x" * 5000])
def test_the_kind_of_no_checkpoint_is_unknown(tmp_path: Path, name: str) -> None:
    assert checkpoint_kind(f"{tmp_path}/{name}") == "unknown"


@given(st.data())
def test_the_kind_of_a_damaged_checkpoint_raises_nothing(
    scratch: Path, data: st.DataObject
) -> None:
    folder = scratch
    prefix = write_training_checkpoint(folder, 1, 5)
    suffix = data.draw(st.sampled_from([".index", ".data-00000-of-00001"]))
    path = Path(f"{prefix}{suffix}")
    content = bytearray(path.read_bytes())
    del content[data.draw(st.integers(0, len(content))) :]
    if content:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(0, 255))
    path.write_bytes(content)
    assert checkpoint_kind(prefix) in ("training", "detection", "classification", "unknown")
    list_checkpoints(folder, [])


def test_checkpoints_are_listed_with_step_time_and_completeness(tmp_path: Path) -> None:
    for number, step in ((2, 1000), (10, 9000), (9, 8000)):
        write_training_checkpoint(tmp_path, number, step)
    (tmp_path / "ckpt-10.data-00000-of-00001").write_bytes(b"cut")
    damage: list[str] = []
    found = list_checkpoints(tmp_path, damage)
    assert [(one.number, one.step, one.is_complete) for one in found] == [
        (2, 1000, True), (9, 8000, True), (10, None, False),
    ]  # fmt: skip
    assert [one.in_state for one in found] == [False, True, False]
    assert found[1].saved_at == 1e9 + 8000
    assert found[1].size_bytes > 100
    assert len(damage) == 1
    assert "ckpt-10" in damage[0]
    assert "3 of" in damage[0]


def test_data_without_an_index_and_a_named_one_that_is_gone_are_told(tmp_path: Path) -> None:
    write_training_checkpoint(tmp_path, 4, 100)
    (tmp_path / "ckpt-4.index").rename(tmp_path / "index.txt")
    (tmp_path / "ckpt-4.data-00000-of-00001").rename(tmp_path / "ckpt-5.data-00000-of-00001")
    damage: list[str] = []
    found = list_checkpoints(tmp_path, damage)
    assert [(one.number, one.is_complete) for one in found] == [(5, False)]
    assert any("names ckpt-4" in note for note in damage)


def test_paths_of_the_state_are_resolved_against_its_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "/elsewhere/ckpt-2"\nall_model_checkpoint_paths: "ckpt-1"\n'
        'all_model_checkpoint_paths: "/elsewhere/ckpt-2"\nnew_field: 3\n',
        encoding="utf-8",
    )
    state = read_checkpoint_state(tmp_path)
    assert state is not None
    assert state.latest == Path("/elsewhere/ckpt-2")
    assert state.kept == (tmp_path / "ckpt-1", Path("/elsewhere/ckpt-2"))


@pytest.mark.parametrize("text", ["model_checkpoint_path: 3", "{", "\udcff"])
def test_a_broken_state_is_a_data_error_and_a_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "checkpoint").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match="state of checkpoints"):
        read_checkpoint_state(tmp_path)
    damage: list[str] = []
    assert list_checkpoints(tmp_path, damage) == ()
    assert len(damage) == 1
